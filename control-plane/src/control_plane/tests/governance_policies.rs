use mindweave_policy::{OnError, PolicyMode};
use serde_json::{Value, json};

use super::*;

const POLICIES: &str = "/governance/policies";

/// A policy that refuses one model.
fn without(model: &str) -> String {
    format!(
        "package acme.models\n\nimport rego.v1\n\ndeny contains {{\"reason\": \"model_not_allowed\", \"message\": \"not this one\"}} if {{\n\tinput.request.model == \"{model}\"\n}}\n"
    )
}

async fn a_policy_is_in_force_when_its_creation_is_answered_and_gone_when_its_deletion_is() {
    let server = Server::start().await;
    let project = server.project("web");
    let request = json!({
        "name": "no opus", "rego": without("claude-opus-5"), "data": { "list": [1] }, "scope": { "project": project },
    });
    let id = server.client.create(POLICIES, &request);
    assert!(id.starts_with("pol_"));
    let path = format!("{POLICIES}/{id}");
    let shown = server.client.get(&path).body;
    assert_eq!(
        (&shown["mode"], &shown["on_error"], &shown["version"]),
        (&json!("enforce"), &json!("deny"), &json!(1))
    );
    assert_eq!((&shown["rego"], &shown["data"]), (&request["rego"], &request["data"]));
    assert_eq!((&shown["package"], &shown["reads"]), (&json!("acme.models"), &json!(["request.model"])));
    let snapshot = server.control_plane.snapshots().load();
    let policy = &snapshot.governance.policies[0];
    assert_eq!((policy.id.as_str(), policy.version, policy.mode), (&*id, 1, PolicyMode::Enforce));
    assert_eq!(policy.on_error, OnError::Deny);
    let judged = |snapshot: &mindweave_policy::Snapshot| {
        let mut principal = mindweave_policy::Principal::clone(snapshot.default_principal.as_ref().unwrap());
        principal.project_id = mindweave_metering::ProjectId::new(&*project);
        snapshot.policies.in_force(&principal).is_some()
    };
    assert!(judged(&snapshot));
    let listed = server.client.get(POLICIES).body["data"][0].clone();
    assert_eq!(
        (&listed["id"], &listed["name"], &listed["rego"]),
        (&json!(id), &json!("no opus"), &Value::Null)
    );
    let server = server.restart().await;
    assert!(judged(&server.control_plane.snapshots().load()), "it is compiled at every start");
    assert_eq!(server.client.get(&path).body, shown);
    assert_eq!(server.client.delete(&path).status, 204);
    assert!(!judged(&server.control_plane.snapshots().load()));
    assert_eq!((server.client.get(&path).status, server.client.delete(&path).status), (404, 404));
    let version = server.client.get(&format!("{path}/versions/1"));
    assert_eq!((version.status, &version.body["rego"]), (200, &request["rego"]), "the decision log names it");
    assert_eq!(server.client.get(&format!("{path}/versions")).body["data"].as_array().unwrap().len(), 1);
    server.client.create(POLICIES, &request); // its name is free again
}

async fn a_change_of_text_or_data_makes_a_version_and_nothing_else_does() {
    let server = Server::start().await;
    let id =
        server.client.create(POLICIES, &json!({ "name": "p", "rego": without("a"), "data": { "n": 1 } }));
    let path = format!("{POLICIES}/{id}");
    let change = |body: Value| {
        let answer = server.client.patch(&path, &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["version"].as_u64().unwrap()
    };
    assert_eq!(change(json!({ "mode": "shadow", "name": "q", "on_error": "allow" })), 1);
    assert_eq!(change(json!({ "rego": without("a"), "data": { "n": 1 } })), 1, "the same again");
    assert_eq!(change(json!({ "rego": without("b") })), 2);
    assert_eq!(change(json!({ "data": { "n": 2 } })), 3);
    assert_eq!(change(json!({ "data": null, "mode": null })), 4);
    let shown = server.client.get(&path).body;
    assert_eq!((&shown["rego"], &shown["data"]), (&json!(without("b")), &json!({})));
    assert_eq!(
        (&shown["mode"], &shown["on_error"], &shown["name"]),
        (&json!("enforce"), &json!("allow"), &json!("q"))
    );
    let snapshot = server.control_plane.snapshots().load();
    assert_eq!((snapshot.governance.policies[0].version, &*snapshot.governance.policies[0].name), (4, "q"));
    let versions = server.client.pages(&format!("{path}/versions"), 3, || {});
    let numbers: Vec<_> = versions.iter().map(|version| version["version"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [4, 3, 2, 1]);
    assert_eq!(change(json!({ "mode": "off" })), 4);
    assert!(server.control_plane.snapshots().load().governance.policies.is_empty(), "what is off is nowhere");
}

async fn versions_can_be_compared_and_restored() {
    let server = Server::start().await;
    let id =
        server.client.create(POLICIES, &json!({ "name": "p", "rego": without("a"), "data": { "n": 1 } }));
    let path = format!("{POLICIES}/{id}");
    server.client.patch(&path, &json!({ "rego": without("b"), "data": { "n": 2, "m": [] } }));
    let diff = server.client.get(&format!("{path}/diff?from=1&to=2")).body;
    let rego = diff["rego"].as_str().unwrap();
    assert!(rego.contains("-\tinput.request.model == \"a\"\n+\tinput.request.model == \"b\"\n"), "{rego}");
    let data = diff["data"].as_str().unwrap();
    assert!(
        data.starts_with("--- data version 1\n+++ data version 2\n") && data.contains("-  \"n\": 1\n"),
        "{data}"
    );
    assert_eq!(server.client.get(&format!("{path}/diff")).body, diff, "the last change is what nobody names");
    let same = server.client.get(&format!("{path}/diff?from=2&to=2")).body;
    assert_eq!((&same["rego"], &same["data"]), (&json!(""), &json!("")));
    assert_eq!(server.client.get(&format!("{path}/diff?from=1&to=9")).status, 404);
    assert_eq!(server.client.get(&format!("{path}/diff?from=x")).code(), "invalid_parameter");
    let restored = server.client.post(&format!("{path}/restore"), &json!({ "version": 1 }));
    assert_eq!(restored.status, 200, "{}", restored.body);
    assert_eq!((&restored.body["version"], &restored.body["data"]), (&json!(3), &json!({ "n": 1 })));
    assert_eq!(server.client.get(&format!("{path}/versions/3")).body["restored_from"], 1);
    assert_eq!(&*server.control_plane.snapshots().load().governance.policies[0].rego, without("a"));
    for body in [json!({ "version": 9 }), json!({ "version": 0 }), json!({}), json!({ "version": "1" })] {
        let refused = server.client.post(&format!("{path}/restore"), &body);
        assert_eq!((refused.status, refused.refused()), (422, vec!["version"]), "{body}");
    }
    assert_eq!(server.client.get(&format!("{path}/versions/x")).status, 404);
    assert_eq!(server.client.get(&format!("{path}/versions/4")).status, 404);
    assert_eq!(
        server.client.post("/governance/policies/pol_none/restore", &json!({ "version": 1 })).status,
        404
    );
}

async fn broken_rego_is_refused_with_its_place_and_the_old_version_stays() {
    let server = Server::start().await;
    let id = server.client.create(POLICIES, &json!({ "name": "p", "rego": without("a") }));
    let path = format!("{POLICIES}/{id}");
    let broken = "package p\n\nimport rego.v1\n\ndeny contains x if {\n\tinput.request.model ==\n}\n";
    let before = server.control_plane.snapshots().load().revision;
    let refusals = [
        server.client.patch(&path, &json!({ "rego": broken })),
        server.client.post(POLICIES, &json!({ "name": "new", "rego": broken })),
        server.client.post("/governance/evaluate", &json!({ "policy": { "rego": broken } })),
        server.client.post(&format!("{path}/replay"), &json!({ "rego": broken })),
    ];
    for refused in refusals {
        assert_eq!((refused.status, refused.code()), (422, "invalid_policy"), "{}", refused.body);
        let fault = &refused.body["errors"][0];
        assert!(fault["line"].as_u64().is_some_and(|line| (6..=7).contains(&line)), "{}", refused.body);
        assert!(fault["column"].is_u64() && fault["message"].is_string(), "{}", refused.body);
    }
    let shown = server.client.get(&path).body;
    assert_eq!((&shown["version"], &shown["rego"]), (&json!(1), &json!(without("a"))));
    assert_eq!(server.control_plane.snapshots().load().revision, before);
    assert_eq!(server.client.get(POLICIES).body["data"].as_array().unwrap().len(), 1);
}

async fn policies_that_cannot_be_meant_are_refused_field_by_field() {
    let server = Server::start().await;
    let rego = without("a");
    let cases = [
        (json!({}), vec!["name", "rego"]),
        (json!({ "name": "p", "rego": 1 }), vec!["rego"]),
        (json!({ "name": "p", "rego": "" }), vec!["rego"]),
        (json!({ "name": "p", "rego": rego, "bundled": "max_tokens_cap" }), vec!["bundled"]),
        (json!({ "name": "p", "bundled": "no_such" }), vec!["bundled"]),
        (json!({ "name": "p", "rego": rego, "data": [1] }), vec!["data"]),
        (json!({ "name": "p", "rego": rego, "mode": "on" }), vec!["mode"]),
        (json!({ "name": "p", "rego": rego, "on_error": "ignore" }), vec!["on_error"]),
        (json!({ "name": "p", "rego": rego, "scope": { "key": "*" } }), vec!["scope"]),
        (json!({ "name": "p", "rego": rego, "scope": { "user": "usr_1" } }), vec!["scope"]),
        (json!({ "name": "p", "rego": rego, "scope": { "project": "*" } }), vec!["scope"]),
        (json!({ "name": "p", "rego": rego, "scope": { "project": "prj_none" } }), vec!["scope"]),
        (json!({ "name": "p", "rego": rego, "priority": 1 }), vec!["priority"]),
    ];
    for (body, fields) in cases {
        let answer = server.client.post(POLICIES, &body);
        assert_eq!((answer.status, answer.code()), (422, "invalid_field"), "{body}");
        assert_eq!(answer.refused(), fields, "{body}");
    }
    let id = server.client.create(POLICIES, &json!({ "name": "p", "rego": rego }));
    let again = server.client.post(POLICIES, &json!({ "name": "p", "rego": rego }));
    assert_eq!((again.status, again.code()), (409, "name_taken"));
    let path = format!("{POLICIES}/{id}");
    let cleared = server.client.patch(&path, &json!({ "rego": null }));
    assert_eq!((cleared.status, cleared.refused()), (422, vec!["rego"]));
    let comment = format!("{rego}# {}\n", "x".repeat(3 * 1024 * 1024));
    let large = server.client.post(POLICIES, &json!({ "name": "l", "rego": comment }));
    assert_eq!(large.refused(), ["rego"], "{}", large.body);
}

async fn bundled_policies_can_be_read_and_put_in_force_with_data_of_ones_own() {
    let server = Server::start().await;
    let listed = server.client.get("/governance/policies/bundled").body["data"].clone();
    for template in listed.as_array().unwrap() {
        let name = template["name"].as_str().unwrap();
        let whole = server.client.get(&format!("/governance/policies/bundled/{name}")).body;
        assert!(whole["rego"].as_str().unwrap().contains("package "), "{name}");
        let started =
            server.client.post(POLICIES, &json!({ "name": name, "bundled": name, "mode": "shadow" }));
        assert_eq!(started.status, 201, "{name}: {}", started.body);
        assert_eq!((&started.body["rego"], &started.body["data"]), (&whole["rego"], &whole["example_data"]));
        assert!(started.body["warnings"].to_string().contains("example"), "{}", started.body);
        let path = format!("{POLICIES}/{}", started.body["id"].as_str().unwrap());
        let own = server.client.patch(&path, &json!({ "data": { "of_ones": "own" } })).body;
        assert_eq!((&own["bundled"], &own["data"]), (&json!(name), &json!({ "of_ones": "own" })));
        assert!(!own["warnings"].to_string().contains("example"), "{own}");
        let changed = server.client.patch(&path, &json!({ "rego": without("a") })).body;
        assert_eq!((&changed["bundled"], &changed["version"]), (&Value::Null, &json!(3)));
    }
    assert!(!listed.as_array().unwrap().is_empty());
    assert_eq!(server.client.get("/governance/policies/bundled/none").status, 404);
}

async fn of_two_changes_to_the_same_version_one_is_told_that_it_came_late() {
    let server = Server::start().await;
    let id = server.client.create(POLICIES, &json!({ "name": "p", "rego": without("a") }));
    let path = format!("{POLICIES}/{id}");
    let answers: Vec<_> = tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let change = |number: usize| {
                let (client, path) = (Client::new(server.control_plane.local_addr()), &path);
                scope.spawn(move || client.patch(path, &json!({ "rego": without(&format!("m{number}")) })))
            };
            let threads: Vec<_> = (0..8).map(change).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    });
    let taken = answers.iter().filter(|answer| answer.status == 200).count();
    for late in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!((late.status, late.code()), (409, "changed_meanwhile"), "{}", late.body);
    }
    let versions = server.client.get(&format!("{path}/versions")).body["data"].as_array().unwrap().len();
    assert!(taken >= 1);
    assert_eq!(versions, taken + 1, "what was answered with success is a version, and nothing else is");
}

on_every_engine!(
    a_policy_is_in_force_when_its_creation_is_answered_and_gone_when_its_deletion_is,
    a_change_of_text_or_data_makes_a_version_and_nothing_else_does,
    versions_can_be_compared_and_restored,
    broken_rego_is_refused_with_its_place_and_the_old_version_stays,
    policies_that_cannot_be_meant_are_refused_field_by_field,
    bundled_policies_can_be_read_and_put_in_force_with_data_of_ones_own,
    of_two_changes_to_the_same_version_one_is_told_that_it_came_late,
);
