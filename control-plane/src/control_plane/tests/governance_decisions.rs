use std::sync::Arc;

use mindweave_metering::{
    Effect, KeyId, Outcome, PolicyId, ProjectId, UsageEvent, UserId, VerdictKind, VerdictMode, VerdictRecord,
};
use serde_json::{Value, json};

use super::usage::deliver;
use super::*;
use crate::testing::{NOON, SECOND, at, event};

/// Refuses what asks for more than a thousand tokens, warns of streams, and refuses a role.
const REGO: &str = r#"package acme.rules

import rego.v1

deny contains {"reason": "too_long", "message": sprintf("%d tokens are too many", [input.request.max_tokens])} if {
	input.request.max_tokens > data.most
}

deny contains {"reason": "no_interns", "message": "not for interns"} if "intern" in input.principal.roles

warn contains {"reason": "streams", "message": "a stream"} if input.request.stream
"#;

fn policy(name: &str, mode: &str, most: u64) -> Value {
    json!({ "name": name, "rego": REGO, "data": { "most": most }, "mode": mode })
}

fn evaluate(server: &Server, body: &Value) -> Value {
    let answer = server.client.post("/governance/evaluate", body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

async fn an_evaluation_says_what_each_policy_in_force_would_say_and_why() {
    let server = Server::start().await;
    let project = server.project("web");
    let enforced = server.client.create("/governance/policies", &policy("enforced", "enforce", 1_000));
    let shadow = server.client.create("/governance/policies", &policy("shadow", "shadow", 10));
    server.client.create("/governance/policies", &policy("off", "off", 1));
    let elsewhere = server.project("elsewhere");
    let mut other = policy("elsewhere", "enforce", 1);
    other["scope"] = json!({ "project": elsewhere });
    server.client.create("/governance/policies", &other);
    let ask = |max_tokens: u64, stream: bool| {
        let request = json!({ "model": "claude-opus-5", "max_tokens": max_tokens, "stream": stream });
        evaluate(&server, &json!({ "principal": { "project_id": project }, "request": request }))
    };
    let refused = ask(2_000, true);
    assert_eq!((&refused["allowed"], &refused["cached"]), (&json!(false), &json!(false)));
    assert_eq!(
        (&refused["decision"]["effect"], &refused["decision"]["reasons"]),
        (&json!("deny"), &json!(["too_long"]))
    );
    assert_eq!(refused["decision"]["message"], "2000 tokens are too many");
    assert_eq!(
        (&refused["decision"]["warnings"], &refused["decision"]["shadow"]),
        (&json!(["streams"]), &json!(["too_long", "streams"]))
    );
    let verdicts = refused["verdicts"].as_array().unwrap();
    let said: Vec<_> = verdicts
        .iter()
        .map(|said| ["policy_id", "mode", "kind", "reason"].map(|field| said[field].as_str().unwrap()))
        .collect();
    assert_eq!(
        said,
        [
            [&*enforced, "enforce", "deny", "too_long"],
            [&enforced, "enforce", "warn", "streams"],
            [&shadow, "shadow", "deny", "too_long"],
            [&shadow, "shadow", "warn", "streams"],
        ]
    );
    assert!(verdicts.iter().all(|said| said["version"] == 1));
    assert_eq!(refused["policies"].as_array().unwrap().len(), 2, "{refused:#}");
    let outcomes = refused["policies"].as_array().unwrap();
    assert!(
        outcomes
            .iter()
            .all(|policy| policy["outcome"] == "deny" && !policy["reads"].as_array().unwrap().is_empty())
    );
    assert_eq!(refused["input"]["request"]["max_tokens"], 2_000);
    assert_eq!(refused["snapshot_revision"], server.control_plane.snapshots().load().revision);
    assert!(refused["timing"]["evaluation_us"].is_u64() && refused["timing"]["evaluated"] == 2);
    let passed = ask(500, false);
    assert_eq!((&passed["allowed"], &passed["decision"]["effect"]), (&json!(true), &json!("allow")));
    assert_eq!(passed["decision"]["shadow"], json!(["too_long"]));
    assert_eq!(ask(2_000, true)["cached"], false, "an evaluation is always made");
}

async fn an_evaluation_reads_bodies_as_proxies_do_and_keys_as_they_are() {
    let server = Server::start().await;
    let project = server.project("web");
    let key = json!({ "name": "k", "roles": ["intern"], "team_id": "team_a", "labels": { "env": "prod" } });
    let made = server.client.post(&format!("/projects/{project}/keys"), &key).body;
    server.client.create("/governance/policies", &policy("p", "enforce", 1_000));
    let body = json!({
        "model": "claude-opus-5", "max_tokens": 7, "stream": true, "metadata": { "user_id": "u" },
        "messages": [{ "role": "user", "content": "write to ada@example.com" }],
        "tools": [{ "name": "mcp__github__create_issue", "input_schema": {} }],
        "mcp_servers": [{ "type": "url", "name": "linear", "url": "https://token@mcp.linear.app/sse?key=SECRET" }],
    });
    let request = json!({ "body": body, "client_ip": "10.1.2.3", "betas": ["b"], "user_agent": "curl" });
    let asked =
        json!({ "principal": { "key_id": made["id"] }, "request": request, "at": "2026-03-01T22:30:00Z" });
    let answer = evaluate(&server, &asked);
    assert_eq!(answer["decision"]["reasons"], json!(["no_interns"]));
    let input = &answer["input"];
    assert_eq!(
        (&input["principal"]["team_id"], &input["principal"]["labels"]["env"]),
        (&json!("team_a"), &json!("prod"))
    );
    assert_eq!(
        (&input["principal"]["project_id"], &input["principal"]["project_name"]),
        (&json!(project), &json!("web"))
    );
    assert_eq!(input["request"]["mcp_tools"], json!([{ "server": "github", "tool": "create_issue" }]));
    assert_eq!(input["request"]["mcp_servers"][0]["host"], "mcp.linear.app");
    assert_eq!(
        (&input["request"]["pii"], &input["request"]["message_count"]),
        (&json!(["email"]), &json!(1))
    );
    assert_eq!(
        (&input["request"]["client_ip"], &input["request"]["kind"]),
        (&json!("10.1.2.3"), &json!("messages"))
    );
    assert_eq!((&input["time"]["hour"], &input["time"]["weekday"]), (&json!(22), &json!("Sunday")));
    assert!(!answer.to_string().contains("SECRET"));
    let short = json!({
        "principal": { "project_id": project, "roles": ["intern"] },
        "request": { "path": "/v1/messages", "model": "m", "tools": ["bash"], "mcp_tools": [{ "server": "s", "tool": "t" }] },
    });
    let answer = evaluate(&server, &short);
    assert_eq!(
        (&answer["allowed"], &answer["input"]["request"]["tools"][0]["name"]),
        (&json!(false), &json!("bash"))
    );
    assert_eq!(answer["input"]["request"]["mcp_tools"], json!([{ "server": "s", "tool": "t" }]));
    assert_eq!(
        answer["input"]["request"]["estimated_input_tokens"],
        Value::Null,
        "nobody said how long it is"
    );
    let unread = json!({ "principal": { "project_id": project }, "request": { "method": "get", "path": "/v1/models", "model": "m" } });
    assert_eq!(
        evaluate(&server, &unread)["input"]["request"]["model"],
        Value::Null,
        "proxies do not read such bodies"
    );
}

async fn a_draft_is_judged_beside_the_policies_in_force_or_in_the_place_of_one() {
    let server = Server::start().await;
    let id = server.client.create("/governance/policies", &policy("p", "enforce", 1_000));
    let ask = |draft: Value| evaluate(&server, &json!({ "request": { "max_tokens": 500 }, "policy": draft }));
    let strict = ask(json!({ "rego": REGO, "data": { "most": 1 } }));
    assert_eq!((&strict["allowed"], &strict["policies"].as_array().unwrap().len()), (&json!(false), &2));
    assert_eq!(strict["verdicts"][0]["policy_id"], "draft");
    assert_eq!(strict["draft"]["package"], "acme.rules");
    let replaced = evaluate(
        &server,
        &json!({ "request": { "max_tokens": 2_000 }, "policy": { "id": id, "rego": REGO, "data": { "most": 9_000 } } }),
    );
    assert_eq!((&replaced["allowed"], &replaced["policies"].as_array().unwrap().len()), (&json!(true), &1));
    assert_eq!(
        server.client.get(&format!("/governance/policies/{id}")).body["version"],
        1,
        "nothing was stored"
    );
}

async fn an_evaluation_names_the_budget_that_would_refuse() {
    let server = Server::start().await;
    let project = server.project("web");
    let org = server.client.get("/orgs").body["data"][0]["id"].as_str().unwrap().to_owned();
    let mut used = event(1, jiff::Timestamp::now().as_microsecond(), 100);
    (used.project_id, used.org_id) = (ProjectId::new(&*project), mindweave_metering::OrgId::new(org));
    used.model = Some("claude-opus-5".into());
    deliver(&server, "journal", &[used]).await;
    let quota = |name: &str, action: &str, model: &str| {
        json!({
            "name": name, "scope": { "project": "*" }, "unit": "tokens", "window": "month", "limit": 100,
            "action": action, "models": [model],
        })
    };
    let blocking = server.client.create("/governance/quotas", &quota("blocking", "block", "claude-opus-*"));
    server.client.create("/governance/quotas", &quota("warning", "warn", "claude-opus-*"));
    server.client.create("/governance/quotas", &quota("other", "block", "claude-haiku-*"));
    let limit = json!({ "name": "l", "metric": "requests_per_minute", "limit": 5 });
    server.client.create("/governance/limits", &limit);
    let ask = |project: &str| {
        evaluate(
            &server,
            &json!({ "principal": { "project_id": project }, "request": { "model": "claude-opus-5" } }),
        )
    };
    let refused = ask(&project);
    assert_eq!(
        (&refused["allowed"], &refused["decision"]["reasons"]),
        (&json!(false), &json!(["budget_exhausted"]))
    );
    let refusing: Vec<_> = refused["budgets"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|budget| budget["would_refuse"] == true)
        .collect();
    assert_eq!(
        (refusing.len(), &refusing[0]["id"], &refusing[0]["used"]),
        (1, &json!(blocking), &json!(100)),
        "{refused:#}"
    );
    assert_eq!(
        (refused["budgets"].as_array().unwrap().len(), refused["limits"][0]["name"].as_str()),
        (3, Some("l"))
    );
    assert_eq!(ask(&server.project("fresh"))["allowed"], true);
}

async fn evaluations_that_cannot_be_meant_are_refused_field_by_field() {
    let server = Server::start().await;
    let cases = [
        (json!({ "principal": {} }), vec!["principal.project_id"]),
        (json!({ "principal": { "project_id": "prj_none" } }), vec!["principal.project_id"]),
        (json!({ "principal": { "key_id": "key_none" } }), vec!["principal.key_id"]),
        (json!({ "principal": { "name": "ada" } }), vec!["principal.project_id", "principal.name"]),
        (json!({ "principal": "ada" }), vec!["principal"]),
        (json!({ "request": { "client_ip": "here" } }), vec!["request.client_ip"]),
        (json!({ "request": { "max_tokens": "many" } }), vec!["request.body"]),
        (json!({ "request": { "pii": ["shoe_size"] } }), vec!["request.pii"]),
        (json!({ "request": { "colour": "red" } }), vec!["request.colour"]),
        (json!({ "at": "noon" }), vec!["at"]),
        (json!({ "policy": {} }), vec!["policy.rego"]),
        (json!({ "policy": { "id": "pol_none", "rego": REGO } }), vec!["policy.id"]),
        (json!({ "input": {} }), vec!["input"]),
    ];
    for (body, fields) in cases {
        let answer = server.client.post("/governance/evaluate", &body);
        assert_eq!((answer.status, answer.code()), (422, "invalid_field"), "{body}: {}", answer.body);
        assert_eq!(answer.refused(), fields, "{body}");
    }
}

fn verdict(policy: &str, mode: VerdictMode, kind: VerdictKind, reason: &str) -> VerdictRecord {
    VerdictRecord {
        policy_id: PolicyId::new(policy),
        version: 2,
        mode,
        kind,
        reason: reason.into(),
        message: "a message".into(),
    }
}

/// An event of `number`, about which these verdicts were given.
fn spoken_of(number: u64, project: &str, verdicts: Vec<VerdictRecord>) -> UsageEvent {
    let mut event = event(number, NOON + i64::try_from(number).unwrap() * SECOND, number);
    event.project_id = ProjectId::new(project);
    let reasons = |mode: VerdictMode| {
        let own =
            verdicts.iter().filter(move |verdict| verdict.mode == mode && verdict.kind == VerdictKind::Deny);
        own.map(|verdict| Arc::clone(&verdict.reason)).collect::<Vec<_>>()
    };
    event.decision.reasons = reasons(VerdictMode::Enforce);
    event.decision.shadow = reasons(VerdictMode::Shadow);
    if !event.decision.reasons.is_empty() {
        (event.decision.effect, event.outcome, event.status) = (Effect::Deny, Outcome::Denied, 403);
    }
    event.decision.verdicts = verdicts;
    event
}

async fn the_decision_log_tells_who_was_refused_what_by_which_version_and_finds_it_by_each_filter() {
    use VerdictKind::{Deny, Warn};
    use VerdictMode::{Enforce, Shadow};
    let server = Server::start().await;
    let id = server.client.create("/governance/policies", &policy("cap", "enforce", 1));
    let quota = json!({ "name": "monthly", "unit": "cost", "window": "month", "limit": 5 });
    let quota = server.client.create("/governance/quotas", &quota);
    let mut by_policy = spoken_of(1, "prj_a", vec![verdict(&id, Enforce, Deny, "too_long")]);
    (by_policy.user_id, by_policy.key_id) = (Some(UserId::new("usr_1")), Some(KeyId::new("key_1")));
    let warned = spoken_of(2, "prj_a", vec![verdict(&id, Enforce, Warn, "streams")]);
    let shadowed = spoken_of(3, "prj_b", vec![verdict("pol_gone", Shadow, Deny, "maybe")]);
    let hinted = spoken_of(4, "prj_b", vec![verdict("pol_gone", Shadow, Warn, "hint")]);
    let mut by_budget = spoken_of(5, "prj_b", vec![]);
    (by_budget.decision.effect, by_budget.outcome, by_budget.status) = (Effect::Deny, Outcome::Denied, 429);
    by_budget.decision.reasons = vec!["budget_exhausted".into()];
    by_budget.decision.refused_by = Some((&*quota).into());
    let silent = spoken_of(6, "prj_a", vec![]);
    deliver(&server, "journal", &[by_policy.clone(), warned, shadowed, hinted, by_budget, silent]).await;
    server.client.delete(&format!("/governance/policies/{id}"));
    server.client.delete(&format!("/governance/quotas/{quota}"));
    let all = server.client.get("/governance/audit").body;
    let rows = all["data"].as_array().unwrap();
    let first = rows.last().unwrap();
    assert_eq!((&first["event_id"], &first["effect"]), (&json!(by_policy.event_id), &json!("deny")));
    assert_eq!(
        (&first["user_id"], &first["key_id"], &first["status"]),
        (&json!("usr_1"), &json!("key_1"), &json!(403))
    );
    assert_eq!(
        (&first["endpoint"], &first["requested_model"]),
        (&json!("/v1/messages"), &json!("claude-sonnet-4-5"))
    );
    let said = &first["verdicts"][0];
    assert_eq!(
        (&said["policy_id"], &said["policy"], &said["version"]),
        (&json!(id), &json!("cap"), &json!(2))
    );
    assert_eq!((&said["reason"], &said["message"]), (&json!("too_long"), &json!("a message")));
    let refused_by = json!({ "id": quota, "kind": "quota", "name": "monthly" });
    assert_eq!(rows[0]["refused_by"], refused_by, "also when it was deleted since");
    let by_id = format!("policy_id={id}");
    let by_user = "user=usr_1&key_id=key_1";
    let cases: [(&str, &[u64]); 15] = [
        ("", &[5, 4, 3, 2, 1]),
        ("project_id=prj_a", &[2, 1]),
        ("project=prj_b", &[5, 4, 3]),
        (by_user, &[1]),
        (&by_id, &[2, 1]),
        ("policy=cap", &[2, 1]),
        ("policy=nobody", &[]),
        ("effect=deny", &[5, 1]),
        ("effect=warn", &[2]),
        ("effect=shadow_deny", &[3]),
        ("effect=shadow_warn", &[4]),
        ("reason=budget_exhausted", &[5]),
        ("reason=maybe&project_id=prj_b", &[3]),
        ("from=2026-01-15T12:00:02Z&to=2026-01-15T12:00:04Z", &[3, 2]),
        ("effect=deny&reason=streams", &[]),
    ];
    for (query, expected) in cases {
        let expected: Vec<_> =
            expected.iter().map(|number| json!(spoken_of(*number, "prj_a", vec![]).event_id)).collect();
        let entries = server.client.pages(&format!("/governance/audit?{query}"), 2, || {});
        let ids: Vec<_> = entries.iter().map(|entry| entry["event_id"].clone()).collect();
        assert_eq!(ids, expected, "{query}");
    }
    let refused = server.client.get("/governance/audit?effect=maybe");
    assert_eq!((refused.status, refused.refused()), (400, vec!["effect"]));
}

async fn a_budget_that_warned_and_then_refused_is_called_by_its_name_both_times() {
    let server = Server::start().await;
    let quota = json!({ "name": "monthly", "unit": "cost", "window": "month", "limit": 5, "action": "warn" });
    let quota = server.client.create("/governance/quotas", &quota);
    let over = verdict(&quota, VerdictMode::Enforce, VerdictKind::Warn, "budget_over");
    let mut refused = spoken_of(1, "prj_a", vec![]);
    (refused.decision.effect, refused.outcome, refused.status) = (Effect::Deny, Outcome::Denied, 429);
    refused.decision.refused_by = Some((&*quota).into());
    deliver(&server, "journal", &[refused, spoken_of(2, "prj_a", vec![over])]).await;
    let rows = server.client.get("/governance/audit").body["data"].clone();
    assert_eq!(rows[0]["verdicts"][0]["policy"], "monthly");
    assert_eq!(rows[1]["refused_by"]["name"], "monthly");
    for query in [format!("policy={quota}"), "effect=warn".to_owned()] {
        let found = server.client.get(&format!("/governance/audit?{query}")).body["data"].clone();
        assert_eq!(found, json!([rows[0]]), "{query}");
    }
}

async fn a_rare_reason_is_found_behind_many_others_page_by_page() {
    let server = Server::start().await;
    let reason = |number: u64| if number == 1 { "rare" } else { "common" };
    let deny = |number| verdict("pol_1", VerdictMode::Enforce, VerdictKind::Deny, reason(number));
    let events: Vec<_> = (1..=1_500).map(|number| spoken_of(number, "prj_a", vec![deny(number)])).collect();
    deliver(&server, "journal", &events).await;
    let found = server.client.pages("/governance/audit?reason=rare", 1, || {});
    assert_eq!(found.len(), 1);
    assert_eq!(server.client.pages("/governance/audit?reason=common", 1_000, || {}).len(), 1_499);
}

async fn shadow_verdicts_are_summed_by_policy_reason_and_project() {
    use VerdictKind::{Deny, Warn};
    use VerdictMode::{Enforce, Shadow};
    let server = Server::start().await;
    let id = server.client.create("/governance/policies", &policy("trial", "shadow", 1));
    let events: Vec<_> = (1..=5)
        .map(|number| {
            let project = if number == 5 { "prj_b" } else { "prj_a" };
            let kind = if number == 4 { Warn } else { Deny };
            let said =
                [verdict(&id, Shadow, kind, "too_long"), verdict("pol_other", Enforce, Warn, "streams")];
            spoken_of(number, project, said.to_vec())
        })
        .collect();
    deliver(&server, "journal", &events).await;
    let path = "/governance/shadow?from=2026-01-15T00:00:00Z&to=2026-01-16T00:00:00Z";
    let summary = server.client.get(path).body;
    assert_eq!(summary["complete"], true);
    let lines = summary["data"].as_array().unwrap();
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                line["project_id"].as_str().unwrap(),
                line["kind"].as_str().unwrap(),
                line["events"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(told[0], ("prj_a", "deny", 3));
    assert_eq!(told.len(), 3, "{summary:#}");
    let first = &lines[0];
    assert_eq!(
        (&first["policy"], &first["version"], &first["reason"]),
        (&json!("trial"), &json!(2), &json!("too_long"))
    );
    let time = |micros: i64| json!(at(micros));
    assert_eq!((&first["first_at"], &first["last_at"]), (&time(NOON + SECOND), &time(NOON + 3 * SECOND)));
    assert_eq!(first["sample_event_ids"].as_array().unwrap().len(), 3);
    let one = server.client.get(&format!("{path}&project=prj_b&policy=trial")).body;
    assert_eq!(one["data"].as_array().unwrap().len(), 1);
    let now = server.client.get("/governance/shadow").body;
    assert_eq!(now["data"], json!([]), "a day is what nobody names");
}

on_every_engine!(
    an_evaluation_says_what_each_policy_in_force_would_say_and_why,
    an_evaluation_reads_bodies_as_proxies_do_and_keys_as_they_are,
    a_draft_is_judged_beside_the_policies_in_force_or_in_the_place_of_one,
    an_evaluation_names_the_budget_that_would_refuse,
    evaluations_that_cannot_be_meant_are_refused_field_by_field,
    the_decision_log_tells_who_was_refused_what_by_which_version_and_finds_it_by_each_filter,
    a_budget_that_warned_and_then_refused_is_called_by_its_name_both_times,
    a_rare_reason_is_found_behind_many_others_page_by_page,
    shadow_verdicts_are_summed_by_policy_reason_and_project,
);
