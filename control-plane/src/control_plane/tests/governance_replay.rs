use std::sync::Arc;

use mindweave_metering::{KeyId, OrgId, Outcome, ProjectId, RequestDigest, UsageEvent, UserId};
use serde_json::{Value, json};

use super::usage::deliver;
use super::*;
use crate::testing::{HOUR, NOON, SECOND, cost_of, event};

const FROM: &str = "2026-01-15T00:00:00Z";
const TO: &str = "2026-01-16T00:00:00Z";

fn rego(rule: &str) -> String {
    format!("package acme.replayed\n\nimport rego.v1\n\n{rule}\n")
}

/// Refuses streams.
fn no_streams() -> String {
    rego(r#"deny contains {"reason": "no_streams", "message": "no"} if input.request.stream"#)
}

/// A past request: its number says how many tokens it cost and how many it asked for.
fn past(server: &Server, number: u64, project: &str, stream: bool) -> UsageEvent {
    let org = server.client.get("/orgs").body["data"][0]["id"].as_str().unwrap().to_owned();
    let mut event = event(number, NOON + i64::try_from(number).unwrap() * SECOND, number);
    (event.org_id, event.project_id) = (OrgId::new(org), ProjectId::new(project));
    event.request = Some(RequestDigest {
        bytes: Some(number * 100),
        stream,
        max_tokens: Some(number),
        message_count: 1,
        betas: vec!["beta-1".into()],
        client_ip: Some("10.0.0.7".parse().unwrap()),
        ..RequestDigest::default()
    });
    event
}

fn replay(server: &Server, id: &str, mut body: Value) -> Value {
    (body["from"], body["to"]) = (json!(FROM), json!(TO));
    let answer = server.client.post(&format!("/governance/policies/{id}/replay"), &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

fn make(server: &Server, rego: &str, scope: Option<&Value>) -> String {
    let body = json!({ "name": "p", "rego": rego, "mode": "off", "scope": scope });
    server.client.create("/governance/policies", &body)
}

async fn a_replay_tells_who_would_have_been_refused_and_what_that_had_cost() {
    let server = Server::start().await;
    let mut ours: Vec<_> = (1..=6).map(|number| past(&server, number, "prj_a", number % 2 == 0)).collect();
    ours[1].user_id = Some(UserId::new("usr_1"));
    (ours[3].outcome, ours[3].cost_nano_usd) = (Outcome::Denied, None);
    ours[5].project_id = ProjectId::new("prj_b");
    let mut outside = past(&server, 7, "prj_a", true);
    outside.timestamp = crate::testing::at(NOON + 13 * HOUR);
    ours.push(outside);
    deliver(&server, "journal", &ours).await;
    let id = make(&server, &no_streams(), None);
    let told = replay(&server, &id, json!({}));
    assert_eq!((&told["events"], &told["denied"], &told["newly_denied"]), (&json!(6), &json!(3), &json!(2)));
    assert_eq!(told["newly_denied_cost_nano_usd"], cost_of(2).0 + cost_of(6).0);
    let reason = &told["by_reason"][0];
    assert_eq!(
        (&reason["reason"], &reason["kind"], &reason["events"]),
        (&json!("no_streams"), &json!("deny"), &json!(3))
    );
    let samples: Vec<_> = [6, 4, 2]
        .map(|number: u64| json!(event(number, NOON + i64::try_from(number).unwrap() * SECOND, 1).event_id))
        .into();
    assert_eq!(reason["sample_event_ids"], json!(samples));
    assert_eq!(
        told["by_project"],
        json!([
            { "project_id": "prj_a", "denied": 2, "warned": 0 },
            { "project_id": "prj_b", "denied": 1, "warned": 0 },
        ])
    );
    assert_eq!(
        told["by_user"],
        json!([
            { "user_id": null, "denied": 2, "warned": 0 },
            { "user_id": "usr_1", "denied": 1, "warned": 0 },
        ])
    );
    assert_eq!(
        (&told["complete"], &told["stopped_by"], &told["version"]),
        (&json!(true), &Value::Null, &json!(1))
    );
    assert_eq!((&told["not_recorded"], &told["approximated"]), (&json!([]), &json!([])));
}

async fn a_version_or_a_draft_can_be_replayed_and_the_scope_of_the_policy_holds() {
    let server = Server::start().await;
    let project = server.project("web");
    let events: Vec<_> = (1..=4)
        .map(|number| past(&server, number, if number < 3 { &project } else { "prj_b" }, true))
        .collect();
    deliver(&server, "journal", &events).await;
    let id = make(&server, &no_streams(), Some(&json!({ "project": project })));
    let never = "deny contains {\"reason\": \"never\", \"message\": \"m\"} if input.request.max_tokens < 0";
    let changed = server.client.patch(&format!("/governance/policies/{id}"), &json!({ "rego": rego(never) }));
    assert_eq!(changed.status, 200, "{}", changed.body);
    let figures = |told: Value| (told["events"].clone(), told["denied"].clone(), told["version"].clone());
    assert_eq!(figures(replay(&server, &id, json!({}))), (json!(2), json!(0), json!(2)));
    assert_eq!(figures(replay(&server, &id, json!({ "version": 1 }))), (json!(2), json!(2), json!(1)));
    let warns =
        "warn contains {\"reason\": \"w\", \"message\": \"m\"} if input.request.max_tokens > data.most";
    let warns = rego(&format!("{never}\n\n{warns}"));
    let told = replay(&server, &id, json!({ "rego": warns, "data": { "most": 1 } }));
    assert_eq!((&told["warned"], &told["version"]), (&json!(1), &Value::Null));
    assert_eq!(
        server.client.get(&format!("/governance/policies/{id}")).body["version"],
        2,
        "nothing was stored"
    );
    let path = format!("/governance/policies/{id}/replay");
    for (body, fields) in [
        (json!({ "version": 9 }), vec!["version"]),
        (json!({ "version": 1, "rego": no_streams() }), vec!["version"]),
        (json!({ "from": TO, "to": FROM }), vec!["from"]),
        (json!({ "limit": 100_001 }), vec!["limit"]),
        (json!({ "since": FROM }), vec!["since"]),
    ] {
        let refused = server.client.post(&path, &body);
        assert_eq!((refused.status, refused.refused()), (422, fields), "{body}");
    }
    assert_eq!(server.client.post("/governance/policies/pol_none/replay", &json!({})).status, 404);
}

async fn a_replay_says_which_of_what_the_policy_reads_events_do_not_keep() {
    let server = Server::start().await;
    let project = server.project("web");
    let key = server
        .client
        .post(&format!("/projects/{project}/keys"), &json!({ "name": "k", "roles": ["intern"] }))
        .body;
    let mut ours = past(&server, 1, &project, false);
    ours.key_id = Some(KeyId::new(key["id"].as_str().unwrap()));
    ours.metadata = [(Arc::from("env"), Arc::from("prod"))].into();
    deliver(&server, "journal", &[ours]).await;
    let blind = rego(
        "deny contains {\"reason\": \"tools\", \"message\": \"m\"} if count(input.request.tools) > 0\n\ndeny contains {\"reason\": \"spent\", \"message\": \"m\"} if input.usage.monthly.percent > 50",
    );
    let id = make(&server, &blind, None);
    let told = replay(&server, &id, json!({}));
    assert_eq!((&told["events"], &told["denied"]), (&json!(1), &json!(0)));
    assert_eq!(told["not_recorded"], json!(["request.tools", "usage"]));
    let seen = rego(
        "deny contains {\"reason\": \"seen\", \"message\": \"m\"} if {\n\t\"intern\" in input.principal.roles\n\tinput.principal.labels.env == \"prod\"\n\tinput.request.client_ip == \"10.0.0.7\"\n\t\"beta-1\" in input.request.betas\n\tinput.request.bytes == 100\n\tinput.request.model == \"claude-sonnet-4-5\"\n\tinput.time.hour == 12\n\tinput.request.kind == \"messages\"\n}",
    );
    let told = replay(&server, &id, json!({ "rego": seen }));
    assert_eq!((&told["denied"], &told["not_recorded"]), (&json!(1), &json!([])), "{told:#}");
    assert_eq!(told["approximated"][0]["path"], "principal.roles");
}

async fn a_replay_that_was_cut_short_says_so_and_saw_the_newest() {
    let server = Server::start().await;
    let template = past(&server, 1, "prj_a", true);
    let events: Vec<_> = (1..=1_200)
        .map(|number| {
            let mut event = event(number, NOON + i64::try_from(number).unwrap() * SECOND, 1);
            (event.org_id, event.request) = (template.org_id.clone(), template.request.clone());
            event
        })
        .collect();
    deliver(&server, "journal", &events).await;
    let id = make(&server, &no_streams(), None);
    let whole = replay(&server, &id, json!({}));
    assert_eq!(
        (&whole["events"], &whole["denied"], &whole["seen_from"]),
        (&json!(1_200), &json!(1_200), &json!(FROM))
    );
    let part = replay(&server, &id, json!({ "limit": 700 }));
    assert_eq!(
        (&part["events"], &part["complete"], &part["stopped_by"]),
        (&json!(700), &json!(false), &json!("limit"))
    );
    assert_eq!(part["seen_from"], json!(events[500].timestamp));
}

on_every_engine!(
    a_replay_tells_who_would_have_been_refused_and_what_that_had_cost,
    a_version_or_a_draft_can_be_replayed_and_the_scope_of_the_policy_holds,
    a_replay_says_which_of_what_the_policy_reads_events_do_not_keep,
    a_replay_that_was_cut_short_says_so_and_saw_the_newest,
);
