//! Policies: published, obeyed at once, scoped, shadowed, versioned, refused when broken.

use serde_json::{Value, json};

use crate::harness::governed::{Call, await_settled, error_message, json_of};
use crate::harness::server::MindWeave;
use crate::harness::simulator::Simulator;

/// Refuses everything but one model.
const ONLY_HAIKU: &str = r#"package models

deny contains {"reason": "model_not_allowed", "message": message} if {
    some model in input.request.models
    not startswith(model, data.prefix)
    message := sprintf("model %s is not allowed for %s; use one that starts with %s", [model, input.principal.project_name, data.prefix])
}
"#;

fn only_haiku(mode: &str, scope: &Value) -> Value {
    json!({ "name": "only haiku", "rego": ONLY_HAIKU, "data": { "prefix": "claude-haiku" }, "mode": mode, "scope": scope })
}

#[test]
fn a_denial_is_a_permission_error_with_the_policys_own_words() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("governed");
    let (_, free) = ledger.project_with_key("free");
    let policy =
        ledger.create("/governance/policies", &only_haiku("enforce", &json!({ "project": project })));
    let refused = Call::new(&server, &key).send();
    assert_eq!(refused.status(), 403);
    assert_eq!(refused.header("mindweave-reason").as_deref(), Some("model_not_allowed"));
    assert_eq!(refused.header("x-should-retry").as_deref(), Some("false"));
    assert_eq!(json_of(&refused)["error"]["type"], "permission_error");
    assert!(
        error_message(&refused)
            .contains("is not allowed for governed; use one that starts with claude-haiku")
    );
    let haiku = Call::new(&server, &key).field("model", "claude-haiku-4-5");
    assert_eq!(haiku.send().status(), 200);
    assert_eq!(Call::new(&server, &free).send().status(), 200, "another project is not its business");

    let events = await_settled(&ledger, &project, 2);
    let denied = events.iter().find(|event| event["outcome"] == "denied").expect("a refusal is an event");
    assert_eq!(denied["decision"]["effect"], "deny", "{denied:#}");
    assert_eq!(denied["decision"]["reasons"], json!(["model_not_allowed"]), "{denied:#}");
    let verdict = &denied["decision"]["verdicts"][0];
    assert_eq!((&verdict["policy_id"], &verdict["version"]), (&json!(policy), &json!(1)), "{denied:#}");
    assert_eq!((&denied["status"], &denied["cost_nano_usd"]), (&json!(403), &json!(0)), "{denied:#}");
}

#[test]
fn an_edit_is_obeyed_when_the_api_answers_and_no_open_stream_breaks() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("edited");
    let policy = ledger.create("/governance/policies", &only_haiku("off", &json!({ "project": project })));
    let path = format!("/governance/policies/{policy}");
    let slow = Call::new(&server, &key)
        .field("stream", true)
        .simulate("chunk_delay_ms=20; events=100; output_tokens=100");
    let streams: Vec<_> = (0..200).map(|_| slow.open().answered()).collect();
    for round in 0..5 {
        ledger.patch(
            &path,
            &json!({ "mode": "enforce", "data": { "prefix": "claude-haiku", "round": round } }),
        );
        assert_eq!(Call::new(&server, &key).send().status(), 403, "round {round}");
        ledger.patch(&path, &json!({ "mode": "off" }));
        assert_eq!(Call::new(&server, &key).send().status(), 200, "round {round}");
    }
    for stream in streams {
        let answer = stream.finish();
        assert!(answer.complete && answer.body.ends_with(b"\n\n"), "a stream broke: {answer:?}");
    }
    let events = await_settled(&ledger, &project, 210);
    let complete = events.iter().filter(|event| event["outcome"] == "complete").count();
    assert_eq!(complete, 205, "200 streams and five calls between");
}

#[test]
fn a_shadow_policy_refuses_nothing_and_is_on_every_event_it_would_have_refused() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("shadowed");
    let policy = ledger.create("/governance/policies", &only_haiku("shadow", &json!({ "project": project })));
    for _ in 0..3 {
        assert_eq!(Call::new(&server, &key).send().status(), 200);
    }
    Call::new(&server, &key).field("model", "claude-haiku-4-5").send();
    let events = await_settled(&ledger, &project, 4);
    let shadowed: Vec<_> =
        events.iter().filter(|event| event["decision"]["shadow"] == json!(["model_not_allowed"])).collect();
    assert_eq!(shadowed.len(), 3, "{events:#?}");
    assert_eq!(shadowed[0]["decision"]["effect"], "allow", "{:#}", shadowed[0]);
    let summary = ledger.get("/governance/shadow");
    assert!(summary.to_string().contains(&policy), "{summary:#}");
}

#[test]
fn broken_rego_is_refused_with_its_line_and_the_old_version_stays() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("kept");
    let policy =
        ledger.create("/governance/policies", &only_haiku("enforce", &json!({ "project": project })));
    let broken = "package models\n\ndeny contains {\"reason\": \"x\", \"message\": \"y\"} if {\n    input.request.model ==\n}\n";
    let (status, problem) =
        ledger.refused("/governance/policies", &json!({ "name": "broken", "rego": broken }));
    assert_eq!(status, 422, "{problem:#}");
    assert_eq!(problem["code"], "invalid_policy", "{problem:#}");
    let line = problem["errors"][0]["line"].as_u64();
    assert!(matches!(line, Some(4 | 5)), "{problem:#}");
    assert!(problem["errors"][0]["column"].is_u64(), "{problem:#}");
    for hostile in [
        "package p\ndeny contains {\"reason\": \"r\", \"message\": \"m\"} if { numbers.range(1, 200000000)[_] == 0 }\n".to_owned(),
        format!("package p\ndeny contains {{\"reason\": \"r\", \"message\": \"m\"}} if {{ x := {}1{} }}\n", "[".repeat(60), "]".repeat(60)),
        "package p\nallow := true\n".to_owned(),
        "deny contains 1 if { true }\n".to_owned(),
    ] {
        let (status, problem) = ledger.refused("/governance/policies", &json!({ "name": "hostile", "rego": hostile }));
        assert_eq!(status, 422, "{hostile:.80}: {problem:#}");
    }
    assert_eq!(Call::new(&server, &key).send().status(), 403, "the good policy is still in force");
    assert_eq!(ledger.get(&format!("/governance/policies/{policy}"))["version"], 1);
}

#[test]
fn versions_are_kept_compared_and_restored() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("versions");
    let policy =
        ledger.create("/governance/policies", &only_haiku("enforce", &json!({ "project": project })));
    let path = format!("/governance/policies/{policy}");
    ledger.patch(&path, &json!({ "data": { "prefix": "claude-opus" } }));
    assert_eq!(Call::new(&server, &key).send().status(), 200);
    let diff = ledger.get(&format!("{path}/diff?from=1&to=2")).to_string();
    assert!(diff.contains("claude-haiku") && diff.contains("claude-opus"), "{diff}");
    ledger.post(&format!("{path}/restore"), &json!({ "version": 1 }));
    assert_eq!(Call::new(&server, &key).send().status(), 403);
    assert_eq!(ledger.get(&path)["version"], 3, "what was restored is a version of its own");
    assert_eq!(ledger.get(&format!("{path}/versions"))["data"].as_array().map(Vec::len), Some(3));
}

#[test]
fn a_body_that_two_readers_could_take_differently_is_refused_under_policy_and_passed_on_without() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("smuggled");
    let body = r#"{"model":"claude-haiku-4-5","max_tokens":8,"messages":[{"role":"user","content":"hi"}],"model":"claude-opus-5"}"#;
    let request = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: proxy\r\nx-api-key: {key}\r\nanthropic-version: 2023-06-01\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let send =
        || crate::harness::http::exchange(server.proxy, request.as_bytes()).expect("the proxy answers");
    let before = send();
    assert_eq!(before.header("mindweave-reason"), None, "without a policy the API judges it: {before:?}");
    ledger.post("/governance/policies", &only_haiku("enforce", &json!({ "project": project })));
    let refused = send();
    assert_eq!(
        (refused.status(), refused.header("mindweave-reason").as_deref()),
        (400, Some("request_field_duplicate"))
    );
}

#[test]
fn a_decision_can_be_asked_for_without_sending_a_request() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, _) = ledger.project_with_key("asked");
    let policy =
        ledger.create("/governance/policies", &only_haiku("enforce", &json!({ "project": project })));
    let ask = |model: &str| {
        ledger.post(
            "/governance/evaluate",
            &json!({ "principal": { "project_id": project }, "request": { "model": model, "endpoint": "/v1/messages" } }),
        )
    };
    let denied = ask("claude-opus-5");
    assert_eq!(denied["allowed"], false, "{denied:#}");
    assert!(
        denied.to_string().contains(&policy) && denied.to_string().contains("model_not_allowed"),
        "{denied:#}"
    );
    assert_eq!(ask("claude-haiku-4-5")["allowed"], true);
}

#[test]
fn a_draft_is_replayed_against_past_traffic() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("past");
    for model in ["claude-opus-5", "claude-opus-5", "claude-haiku-4-5"] {
        assert_eq!(Call::new(&server, &key).field("model", model).send().status(), 200);
    }
    await_settled(&ledger, &project, 3);
    let policy = ledger.create("/governance/policies", &only_haiku("off", &json!({ "project": project })));
    let replay = ledger.post(
        &format!("/governance/policies/{policy}/replay"),
        &json!({ "from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z" }),
    );
    assert_eq!((&replay["events"], &replay["denied"]), (&json!(3), &json!(2)), "{replay:#}");
    assert!(
        replay.to_string().contains("model_not_allowed") && replay.to_string().contains(&project),
        "{replay:#}"
    );
}
