use std::time::Instant;

use serde_json::json;

use super::people::{At, org, person, person_with, project};
use super::second_factors::{execute, somebody};
use super::*;
use crate::clock;
use crate::db::sql;

on_every_engine!(
    a_personal_token_does_what_its_scopes_say_until_it_is_revoked,
    a_token_makes_no_other_and_ends_itself_only,
    service_accounts_act_by_their_roles_and_die_at_once,
    nobody_gets_a_more_powerful_role_by_way_of_a_service_account,
);

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn token_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert_eq!(answer.header("cache-control"), "no-store");
    answer.body["token"].as_str().expect("a token").to_owned()
}

async fn a_personal_token_does_what_its_scopes_say_until_it_is_revoked() {
    let server = Server::start().await;
    let other = ControlPlane::start(config(server.folder.path(), "11")).await.unwrap();
    let there = Client::new(other.local_addr());
    let ada = somebody(&server, "ada").await;
    let acme = org(&server, "Acme").await;
    let insert = sql::query(
        "INSERT INTO role_bindings (id, principal_id, org_id, place, place_id, role, created_at, updated_at)
         VALUES ('rol_1', ?, ?, 'org', ?, 'admin', 0, 0)",
    );
    execute(&server, insert.bind(&ada.id).bind(&acme).bind(&acme)).await;
    let session = ada.session(&server);
    let make = |body: Value| server.client.call_as(&session, "POST", "/auth/tokens", Some(&body));
    for (body, refused) in [
        (json!({ "scopes": ["*"] }), "name"),
        (json!({ "name": "ci" }), "scopes"),
        (json!({ "name": "ci", "scopes": [] }), "scopes"),
        (json!({ "name": "ci", "scopes": ["keys:delete"] }), "scopes"),
        (json!({ "name": "ci", "scopes": ["*"], "expires_in_days": 367 }), "expires_in_days"),
        (json!({ "name": "ci", "scopes": ["*"], "expires_in_days": 0 }), "expires_in_days"),
    ] {
        assert_eq!(make(body).refused(), [refused]);
    }
    let made = make(json!({ "name": "ci", "scopes": ["usage:read", "org:read", "usage:read"] }));
    let token = token_of(&made);
    assert_eq!(made.body["scopes"], json!(["org:read", "usage:read"]));
    let path = made.header("location").to_owned();
    let view = server.client.get_as(&session, "/auth/tokens").body["data"][0].clone();
    assert!(view.get("token").is_none() && token.ends_with(view["hint"].as_str().unwrap()), "{view}");
    let days = |view: &Value| {
        let at = |name: &str| view[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        at("expires_at").duration_since(at("created_at")).as_hours() / 24
    };
    assert_eq!(days(&view), 90);
    for file in stored(server.folder.path()) {
        assert!(!file.windows(token.len()).any(|window| window == token.as_bytes()), "it is stored in clear");
    }

    assert_eq!(server.client.get_as(&token, &format!("/orgs/{acme}")).status, 200);
    let other_area = server.client.get_as(&token, &format!("/orgs/{acme}/service-accounts"));
    assert_eq!((other_area.status, other_area.code()), (403, "scope_missing"));
    assert_eq!(server.client.get_as(&session, &format!("/orgs/{acme}/service-accounts")).status, 200);
    let begun = Instant::now();
    while server.client.get_as(&session, "/auth/tokens").body["data"][0]["last_used_at"].is_null() {
        assert!(begun.elapsed() < PATIENCE, "its use is not noted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    assert_eq!(there.get_as(&token, &format!("/orgs/{acme}")).status, 200);
    assert_eq!(server.client.call_as(&session, "DELETE", &path, None).status, 204);
    for client in [&server.client, &there] {
        assert_eq!(
            client.get_as(&token, &format!("/orgs/{acme}")).status,
            401,
            "it is revoked everywhere at once"
        );
    }
    let short = token_of(&make(json!({ "name": "short", "scopes": ["*"], "expires_in_days": 1 })));
    assert_eq!(there.get_as(&short, "/auth/tokens").status, 200);
    let update = sql::query("UPDATE api_tokens SET expires_at = ? WHERE principal_id = ? AND name = 'short'");
    execute(&server, update.bind(clock::now().as_microsecond()).bind(&ada.id)).await;
    assert_eq!(there.get_as(&short, "/auth/tokens").status, 401, "it has expired");
    let noted = ada.noted(&server).await;
    assert_eq!(noted.iter().filter(|action| *action == "token.created").count(), 2, "{noted:?}");
    assert_eq!(noted.iter().filter(|action| *action == "token.revoked").count(), 1, "{noted:?}");
    other.shutdown().await;
}

async fn a_token_makes_no_other_and_ends_itself_only() {
    let server = Server::start().await;
    let (ada, eve) = (somebody(&server, "ada").await, somebody(&server, "eve").await);
    let (session, eves) = (ada.session(&server), eve.session(&server));
    let body = json!({ "name": "all", "scopes": ["*"] });
    let make = |token: &str| server.client.call_as(token, "POST", "/auth/tokens", Some(&body));
    let (first, second) = (make(&session), make(&session));
    let (token, path) = (token_of(&first), first.header("location"));
    let delete = |token: &str, path: &str| server.client.call_as(token, "DELETE", path, None);
    for answer in [make(&token), delete(&token, second.header("location")), make(TOKEN)] {
        assert_eq!((answer.status, answer.code()), (403, "sign_in_required"), "{}", answer.body);
    }
    assert_eq!(delete(&eves, path).status, 404, "it is somebody else's");
    assert_eq!(server.client.get_as(&eves, "/auth/tokens").body["data"], json!([]));
    assert_eq!(server.client.get_as(&token, "/auth/tokens").body["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(delete(&token, path).status, 204, "it may end itself");
    assert_eq!(server.client.get_as(&token, "/auth/tokens").status, 401);
    assert_eq!(delete(&session, path).status, 204, "it stays revoked");
    let page = server.client.get_as(&session, "/auth/tokens?limit=1");
    let cursor = page.body["next_cursor"].as_str().unwrap();
    let rest = server.client.get_as(&session, &format!("/auth/tokens?limit=1&cursor={cursor}"));
    assert_eq!(rest.body["data"][0]["id"], second.body["id"]);
    assert!(page.body["data"][0]["revoked_at"].is_string() && rest.body["next_cursor"].is_null());
}

async fn service_accounts_act_by_their_roles_and_die_at_once() {
    let server = Server::start().await;
    let (acme, globex) = (org(&server, "Acme").await, org(&server, "Globex").await);
    let web = project(&server, &acme, None, "web").await;
    let admin = person(&server, &acme, At::Org, "admin").await;
    let stranger = person(&server, &globex, At::Org, "owner").await;
    let auditor = person(&server, &acme, At::Org, "auditor").await;
    let accounts = format!("/orgs/{acme}/service-accounts");
    let ask = |token: &str, method: &str, path: &str, body: Value| {
        let body = (!body.is_null()).then_some(body);
        server.client.call_as(token, method, path, body.as_ref())
    };
    let made = ask(&admin, "POST", &accounts, json!({ "name": "deploy", "role": "developer" }));
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.body["role"], "developer");
    let path = made.header("location").to_owned();
    assert_eq!(ask(&admin, "GET", &path, Value::Null).body, made.body);
    let tokens = format!("{path}/tokens");
    let token = token_of(&ask(&admin, "POST", &tokens, json!({ "name": "ci", "scopes": ["*"] })));
    let keys = format!("/projects/{web}/keys");
    assert_eq!(ask(&token, "POST", &keys, json!({ "name": "k" })).status, 201);
    let more = ask(&token, "POST", &accounts, json!({ "name": "another" }));
    assert_eq!((more.status, more.code()), (403, "forbidden"), "a developer makes none");

    for (method, path, body) in [
        ("GET", &accounts, Value::Null),
        ("POST", &accounts, json!({ "name": "x" })),
        ("GET", &path, Value::Null),
        ("PATCH", &path, json!({ "disabled": true })),
        ("DELETE", &path, Value::Null),
        ("GET", &tokens, Value::Null),
        ("POST", &tokens, json!({ "name": "x", "scopes": ["*"] })),
    ] {
        assert_eq!(ask(&stranger, method, path, body.clone()).status, 404, "{method} {path}");
        let elsewhere = path.replace(&acme, &globex);
        if elsewhere.len() > format!("/orgs/{globex}/service-accounts").len() {
            assert_eq!(ask(&stranger, method, &elsewhere, body.clone()).status, 404, "{method} {elsewhere}");
        }
        let reads = method == "GET";
        assert_eq!(
            ask(&auditor, method, path, body).status,
            if reads { 200 } else { 403 },
            "{method} {path}"
        );
    }

    let etag = ask(&admin, "GET", &path, Value::Null).header("etag").to_owned();
    assert_eq!(ask(&admin, "PATCH", &path, json!({ "disabled": true })).status, 200);
    assert_eq!(ask(&token, "GET", &keys, Value::Null).status, 401, "it is disabled");
    let headers = [
        ("authorization", format!("Bearer {admin}")),
        ("content-type", "application/json".into()),
        ("if-match", etag),
    ];
    let stale = server.client.call_with("PATCH", &path, &headers, Some(br#"{"disabled":false}"#));
    assert_eq!((stale.status, stale.code()), (412, "precondition_failed"));
    assert_eq!(ask(&admin, "PATCH", &path, json!({ "disabled": false, "name": "ci" })).status, 200);
    assert_eq!(ask(&token, "GET", &keys, Value::Null).status, 200);
    assert_eq!(ask(&admin, "PATCH", &path, json!({ "disabled": "no" })).refused(), ["disabled"]);

    let second = ask(&admin, "POST", &tokens, json!({ "name": "second", "scopes": ["keys:read"] }));
    let second_path = second.header("location").to_owned();
    assert_eq!(ask(&stranger, "DELETE", &second_path, Value::Null).status, 404);
    assert_eq!(ask(&admin, "DELETE", &second_path, Value::Null).status, 204);
    assert_eq!(ask(&token_of(&second), "GET", &keys, Value::Null).status, 401);
    assert_eq!(ask(&admin, "DELETE", &path, Value::Null).status, 204);
    assert_eq!(ask(&token, "GET", &keys, Value::Null).status, 401, "it is gone");
    assert_eq!(ask(&admin, "GET", &path, Value::Null).status, 404);
    assert_eq!(ask(&admin, "GET", &accounts, Value::Null).body["data"], json!([]));
    let id = made.body["id"].as_str().unwrap();
    its_roles_are_taken_and_everything_is_noted(&server, &acme, id).await;
}

async fn its_roles_are_taken_and_everything_is_noted(server: &Server, acme: &str, id: &str) {
    let left: i64 = sql::query_scalar("SELECT count(*) FROM role_bindings WHERE principal_id = ?")
        .bind(id)
        .fetch_one(server.control_plane.db.readers())
        .await
        .unwrap();
    assert_eq!(left, 0, "its roles are taken");
    let noted: Vec<String> = sql::query_scalar(
        "SELECT action FROM audit_log WHERE chain = ? AND action NOT LIKE 'key.%' ORDER BY sequence",
    )
    .bind(acme)
    .fetch_all(server.control_plane.db.readers())
    .await
    .unwrap();
    let expected = [
        "service_account.created",
        "member.added",
        "token.created",
        "service_account.disabled",
        "service_account.enabled",
        "token.created",
        "token.revoked",
        "member.removed",
        "service_account.deleted",
    ];
    assert_eq!(noted, expected);
}

async fn nobody_gets_a_more_powerful_role_by_way_of_a_service_account() {
    let server = Server::start().await;
    let acme = org(&server, "Acme").await;
    let owner = person(&server, &acme, At::Org, "owner").await;
    let admin = person(&server, &acme, At::Org, "admin").await;
    let narrow = person_with(&server, &[(&acme, At::Org, "owner")], &["members:write"]).await;
    let accounts = format!("/orgs/{acme}/service-accounts");
    let ask = |token: &str, method: &str, path: &str, body: Value| {
        server.client.call_as(token, method, path, Some(&body))
    };
    let too_powerful = |answer: &Answer| {
        assert_eq!((answer.status, answer.code()), (403, "role_too_powerful"), "{}", answer.body);
    };
    too_powerful(&ask(&admin, "POST", &accounts, json!({ "name": "root", "role": "owner" })));
    let made = ask(&owner, "POST", &accounts, json!({ "name": "root", "role": "owner" }));
    let path = made.header("location").to_owned();
    let tokens = format!("{path}/tokens");
    let all = json!({ "name": "all", "scopes": ["*"] });
    too_powerful(&ask(&admin, "POST", &tokens, all.clone()));
    let token = token_of(&ask(&owner, "POST", &tokens, all.clone()));
    let wider = ask(&narrow, "POST", &tokens, all);
    assert_eq!((wider.status, wider.code()), (403, "scope_missing"), "{}", wider.body);
    let same =
        ask(&narrow, "POST", &tokens, json!({ "name": "same", "scopes": ["members:read", "members:write"] }));
    token_of(&same);

    // To stop one that was stolen takes no more than being an admin; to let it go on does.
    assert_eq!(ask(&admin, "PATCH", &path, json!({ "disabled": true })).status, 200);
    assert_eq!(server.client.get_as(&token, &accounts).status, 401);
    too_powerful(&ask(&admin, "PATCH", &path, json!({ "disabled": false })));
    too_powerful(&server.client.call_as(&admin, "DELETE", &path, None));
    assert_eq!(server.client.call_as(&admin, "DELETE", same.header("location"), None).status, 204);
    assert_eq!(ask(&owner, "PATCH", &path, json!({ "disabled": false })).status, 200);
    assert_eq!(server.client.get_as(&token, &accounts).status, 200);
    assert_eq!(server.client.call_as(&owner, "DELETE", &path, None).status, 204);
}
