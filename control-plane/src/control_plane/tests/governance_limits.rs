use mindweave_policy::{LimitMetric, ModelPattern};
use serde_json::{Value, json};

use super::*;

const LIMITS: &str = "/governance/limits";

async fn a_limit_is_in_force_when_its_creation_is_answered_and_gone_when_its_deletion_is() {
    let server = Server::start().await;
    let project = server.project("web");
    let request = json!({
        "name": "web", "scope": { "project": project }, "metric": "tokens_per_minute", "limit": 1_000, "burst": 2_000,
        "models": ["claude-opus-*"],
    });
    let id = server.client.create(LIMITS, &request);
    let in_force = |server: &Server| server.control_plane.snapshots().load().governance.limits.clone();
    let limits = in_force(&server);
    assert_eq!(limits.len(), 1);
    assert_eq!((limits[0].id.as_str(), &*limits[0].name), (&*id, "web"));
    assert_eq!((limits[0].metric, limits[0].limit), (LimitMetric::TokensPerMinute, 1_000));
    assert_eq!(
        (limits[0].burst, &limits[0].models),
        (Some(2_000), &vec![ModelPattern::new("claude-opus-*")])
    );
    let path = format!("{LIMITS}/{id}");
    let shown = server.client.get(&path).body;
    assert_eq!(shown["scope"], json!({ "project": project }));
    assert_eq!(server.client.get(LIMITS).body["data"], json!([shown]));
    let server = server.restart().await;
    assert_eq!(in_force(&server), limits);
    assert_eq!(server.client.get(&path).body, shown);
    assert_eq!(server.client.delete(&path).status, 204);
    assert!(in_force(&server).is_empty());
    assert_eq!(server.client.delete(&path).status, 404);
    assert_eq!(server.client.get(&path).status, 404);
    assert_eq!(server.client.patch(&path, &json!({ "limit": 1 })).status, 404);
    server.client.create(LIMITS, &request); // its name is free again
}

async fn a_change_touches_the_fields_that_are_given_and_null_clears_what_is_optional() {
    let server = Server::start().await;
    let request = json!({
        "name": "all", "metric": "requests_per_minute", "limit": 10, "burst": 5, "models": ["claude-opus-4-1"],
    });
    let id = server.client.create(LIMITS, &request);
    let path = format!("{LIMITS}/{id}");
    let before = server.client.get(&path).body;
    let org = server.client.get("/orgs").body["data"][0]["id"].clone();
    assert_eq!(before["scope"], json!({ "org": org }), "the organisation is what nobody names");
    let changed = server.client.patch(&path, &json!({ "limit": 20 }));
    assert_eq!(changed.status, 200, "{}", changed.body);
    let mut expected = before;
    expected["limit"] = 20.into();
    expected["updated_at"] = changed.body["updated_at"].clone();
    assert_eq!(changed.body, expected);
    let cleared = server.client.patch(&path, &json!({ "burst": null, "models": null })).body;
    assert_eq!((&cleared["burst"], &cleared["models"]), (&Value::Null, &json!([])));
    assert_eq!(cleared["limit"], 20);
    let in_force = server.control_plane.snapshots().load().governance.limits[0].clone();
    assert_eq!((in_force.limit, in_force.burst, in_force.models.len()), (20, None, 0));
    let revision = server.control_plane.snapshots().load().revision;
    assert_eq!(server.client.patch(&path, &json!({})).body, cleared);
    assert_eq!(server.control_plane.snapshots().load().revision, revision, "nothing changed");
    let refused = server.client.patch(&path, &json!({ "name": null, "limit": null }));
    assert_eq!((refused.status, refused.refused()), (422, vec!["name", "limit"]));
}

async fn limits_that_cannot_be_meant_are_refused_field_by_field() {
    let server = Server::start().await;
    let with = |changes: Value| {
        let mut limit = json!({ "name": "l", "metric": "requests_per_minute", "limit": 1 });
        limit.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        limit
    };
    let cases = [
        (json!({}), vec!["name", "metric", "limit"]),
        (with(json!({ "limit": 0 })), vec!["limit"]),
        (with(json!({ "limit": 1.5 })), vec!["limit"]),
        (with(json!({ "limit": "10" })), vec!["limit"]),
        (with(json!({ "limit": -1, "burst": 0 })), vec!["limit", "burst"]),
        (with(json!({ "metric": "requests_per_hour" })), vec!["metric"]),
        (with(json!({ "metric": "concurrent_requests", "burst": 2 })), vec!["burst"]),
        (with(json!({ "scope": { "project": "prj_none" } })), vec!["scope"]),
        (with(json!({ "scope": { "key": "key_none" } })), vec!["scope"]),
        (with(json!({ "scope": { "org": "org_none" } })), vec!["scope"]),
        (with(json!({ "scope": { "org": "*", "key": "*" } })), vec!["scope"]),
        (with(json!({ "scope": { "planet": "earth" } })), vec!["scope"]),
        (with(json!({ "scope": "org" })), vec!["scope"]),
        (with(json!({ "models": "claude-opus-*" })), vec!["models"]),
        (with(json!({ "models": ["claude-*-4"] })), vec!["models"]),
        (with(json!({ "models": [""] })), vec!["models"]),
        (with(json!({ "colour": 1, "window": "day" })), vec!["colour", "window"]),
    ];
    for (body, mut fields) in cases {
        fields.sort_unstable();
        let answer = server.client.post(LIMITS, &body);
        assert_eq!((answer.status, answer.code()), (422, "invalid_field"), "{body}");
        let mut refused = answer.refused();
        refused.sort_unstable(); // what is unknown comes in no certain order
        assert_eq!(refused, fields, "{body}");
    }
    assert_eq!(server.client.get(LIMITS).body["data"], json!([]), "nothing was made");
}

async fn names_are_unique_among_limits_and_each_kind_of_subject_can_be_counted() {
    let server = Server::start().await;
    let project = server.project("web");
    let made = server
        .client
        .post(&format!("/projects/{project}/keys"), &json!({ "name": "k", "team_id": "team_a" }));
    let key = made.body["id"].as_str().unwrap();
    let limit = |name: &str, scope: Value| json!({ "name": name, "scope": scope, "metric": "concurrent_requests", "limit": 2 });
    for (number, scope) in [
        json!({ "org": "*" }),
        json!({ "project": project }),
        json!({ "key": key }),
        json!({ "team": "team_a" }),
        json!({ "user": "*" }),
        json!({ "key": "*" }),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = server.client.post(LIMITS, &limit(&format!("l{number}"), scope.clone()));
        assert_eq!(answer.status, 201, "{}", answer.body);
        assert_eq!(answer.body["scope"], scope);
        assert_eq!(answer.body["warnings"], Value::Null);
    }
    let nobody = server.client.post(LIMITS, &limit("nobody", json!({ "user": "usr_nobody" })));
    assert_eq!(nobody.status, 201, "{}", nobody.body);
    assert!(nobody.body["warnings"][0].as_str().unwrap().contains("user_id"), "{}", nobody.body);
    let again = server.client.post(LIMITS, &limit("l1", json!({ "org": "*" })));
    assert_eq!((again.status, again.code()), (409, "name_taken"));
    let path = format!("{LIMITS}/{}", nobody.body["id"].as_str().unwrap());
    let renamed = server.client.patch(&path, &json!({ "name": "l1" }));
    assert_eq!((renamed.status, renamed.code()), (409, "name_taken"));
    assert_eq!(server.client.pages(LIMITS, 2, || {}).len(), 7);
}

async fn concurrent_changes_of_different_fields_are_all_kept() {
    let server = Server::start().await;
    let limit = json!({ "name": "l", "metric": "tokens_per_minute", "limit": 1, "burst": 1 });
    let path = format!("{LIMITS}/{}", server.client.create(LIMITS, &limit));
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            for (field, value) in [("limit", json!(7)), ("burst", json!(9)), ("models", json!(["a"]))] {
                let (client, path) = (Client::new(server.control_plane.local_addr()), &path);
                scope.spawn(move || {
                    for _ in 0..10 {
                        let answer = client.patch(path, &json!({ field: value }));
                        assert_eq!(answer.status, 200, "{}", answer.body);
                    }
                });
            }
        });
    });
    let after = server.client.get(&path).body;
    assert_eq!((&after["limit"], &after["burst"], &after["models"]), (&json!(7), &json!(9), &json!(["a"])));
}

async fn keys_and_credentials_carry_roles_into_the_snapshot() {
    let server = Server::start().await;
    let project = server.project("web");
    let roles = json!(["developer", "batch", "developer"]);
    let made =
        server.client.post(&format!("/projects/{project}/keys"), &json!({ "name": "k", "roles": roles }));
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.body["roles"], json!(["batch", "developer"]));
    let listed = server.client.get(&format!("/projects/{project}/keys")).body;
    assert_eq!(listed["data"][0]["roles"], json!(["batch", "developer"]));
    let credential = "sk-ant-oat01-of-a-developer-1234";
    let request = json!({ "api_key": credential, "roles": ["auditor"] });
    let registered = server.client.post(&format!("/projects/{project}/credentials"), &request).body;
    assert_eq!(registered["roles"], json!(["auditor"]));
    let server = server.restart().await;
    let snapshot = server.control_plane.snapshots().load();
    let roles_of = |principal: &mindweave_policy::Principal| principal.roles.clone();
    assert_eq!(
        roles_of(&snapshot.keys.values().next().unwrap().principal),
        ["batch".into(), "developer".into()]
    );
    assert_eq!(roles_of(snapshot.client_credentials.values().next().unwrap()), ["auditor".into()]);
    for roles in [json!("developer"), json!([""]), json!([1]), json!(vec!["r"; 33])] {
        let answer =
            server.client.post(&format!("/projects/{project}/keys"), &json!({ "name": "k", "roles": roles }));
        assert_eq!((answer.status, answer.refused()), (422, vec!["roles"]));
    }
}

on_every_engine!(
    a_limit_is_in_force_when_its_creation_is_answered_and_gone_when_its_deletion_is,
    a_change_touches_the_fields_that_are_given_and_null_clears_what_is_optional,
    limits_that_cannot_be_meant_are_refused_field_by_field,
    names_are_unique_among_limits_and_each_kind_of_subject_can_be_counted,
    concurrent_changes_of_different_fields_are_all_kept,
    keys_and_credentials_carry_roles_into_the_snapshot,
);
