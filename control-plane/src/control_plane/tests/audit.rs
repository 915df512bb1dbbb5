use serde_json::json;

use super::people::{At, org, person, person_with};
use super::*;
use crate::audit::{Anchor, export_verify};

on_every_engine!(
    a_change_is_in_the_log_with_who_when_from_where_before_and_after,
    whoever_has_no_business_with_a_log_sees_none_of_it,
    an_export_verifies_offline_and_is_itself_in_the_log,
    a_change_that_cannot_be_logged_is_refused_and_does_not_happen,
);

/// Gives an organisation this name.
fn rename(server: &Server, token: &str, org: &str, name: &str) -> Answer {
    server.client.call_as(token, "PATCH", &format!("/orgs/{org}"), Some(&json!({ "name": name })))
}

async fn a_change_is_in_the_log_with_who_when_from_where_before_and_after() {
    let server = Server::start().await;
    let org = org(&server, "Acme").await;
    let owner = person(&server, &org, At::Org, "owner").await;
    for number in 0..5 {
        let changed = rename(&server, &owner, &org, &format!("Acme {number}"));
        assert_eq!(changed.status, 200, "{}", changed.body);
    }
    let last = rename(&server, &owner, &org, "Acme last");
    let request = last.header("x-request-id").to_owned();
    let path = |query: &str| format!("/audit?org_id={org}&action=org.updated{query}");
    let entry =
        server.client.get_as(&owner, &path(&format!("&request_id={request}"))).body["data"][0].clone();
    assert_eq!(entry["action"], "org.updated");
    assert_eq!((&entry["before"]["name"], &entry["after"]["name"]), (&"Acme 4".into(), &"Acme last".into()));
    assert_eq!((&entry["target"]["kind"], &entry["target"]["id"]), (&"org".into(), &org.as_str().into()));
    assert_eq!((&entry["actor"]["kind"], &entry["address"]), (&"user".into(), &"127.0.0.1".into()));
    assert!(entry["actor"]["token_id"].as_str().unwrap().starts_with("tok_"));
    let all = server.client.get_as(&owner, &path(""));
    let all = all.body["data"].as_array().unwrap();
    let names: Vec<&str> = all.iter().map(|entry| entry["after"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Acme last", "Acme 4", "Acme 3", "Acme 2", "Acme 1", "Acme 0"], "newest first");
    // Page by page, while more is written.
    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server.client.get_as(&owner, &path(&format!("&limit=2{cursor}")));
        paged.extend(page.body["data"].as_array().unwrap().clone());
        assert_eq!(rename(&server, &owner, &org, &format!("Acme {}", paged.len())).status, 200);
        let Some(next) = page.body["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(&paged, all);
    let actor = entry["actor"]["id"].as_str().unwrap();
    let at = entry["at"].as_str().unwrap();
    for (query, found) in [
        (format!("&actor_id={actor}&to={at}"), 5),
        (format!("&target_id={org}&target_kind=org&to={at}"), 5),
        ("&actor_id=usr_nobody".to_owned(), 0),
        ("&target_kind=key".to_owned(), 0),
        ("&project_id=prj_none".to_owned(), 0),
        ("&from=2100-01-01T00:00:00Z".to_owned(), 0),
    ] {
        let answer = server.client.get_as(&owner, &path(&query));
        assert_eq!(answer.body["data"].as_array().unwrap().len(), found, "{query}: {}", answer.body);
    }
    for query in ["&cursor=xyz", "&limit=0", "&from=then", "&color=red"] {
        assert_eq!(server.client.get_as(&owner, &path(query)).status, 400, "{query}");
    }
}

async fn whoever_has_no_business_with_a_log_sees_none_of_it() {
    let server = Server::start().await;
    let (ours, theirs) = (org(&server, "Ours").await, org(&server, "Theirs").await);
    let owner = person(&server, &ours, At::Org, "owner").await;
    assert_eq!(rename(&server, &owner, &ours, "New").status, 200);
    let stranger = person(&server, &theirs, At::Org, "owner").await;
    let auditor = person(&server, &ours, At::Org, "auditor").await;
    let developer = person(&server, &ours, At::Org, "developer").await;
    let narrow = person_with(&server, &[(&ours, At::Org, "owner")], &["keys:write"]).await;
    for path in ["/audit", "/audit/verify", "/audit/export"] {
        let at = |org: &str| format!("{path}?org_id={org}");
        let status = |token: &str, org: &str| server.client.get_as(token, &at(org)).status;
        assert_eq!((status(&owner, &ours), status(&auditor, &ours)), (200, 200), "{path}");
        assert_eq!((status(&stranger, &ours), status(&owner, "org_none")), (404, 404), "{path}");
        assert_eq!((status(&developer, &ours), status(&narrow, &ours)), (403, 403), "{path}");
        assert_eq!(status(&owner, "installation"), 403, "{path}");
        assert_eq!(status(TOKEN, "installation"), 200, "{path}");
        assert_eq!(status(TOKEN, &ours), 200, "{path}");
        assert_eq!(server.client.get_as(&owner, path).status, 200, "{path}: one's only organisation");
    }
    // A place in one chain means nothing in another.
    let page = server.client.get_as(&owner, &format!("/audit?org_id={ours}&limit=1"));
    let cursor = page.body["next_cursor"].as_str().unwrap();
    let other = server.client.get_as(&stranger, &format!("/audit?org_id={theirs}&cursor={cursor}"));
    assert_eq!(other.code(), "invalid_cursor");
}

async fn an_export_verifies_offline_and_is_itself_in_the_log() {
    let server = Server::start().await;
    let org = org(&server, "Acme").await;
    let owner = person(&server, &org, At::Org, "owner").await;
    for number in 0..150 {
        assert_eq!(rename(&server, &owner, &org, &format!("=Acme \"{number}\", Inc")).status, 200);
    }
    let text = |query: &str| {
        let answer = server.client.get_as(&owner, &format!("/audit/export?org_id={org}{query}"));
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body.as_str().unwrap().to_owned()
    };
    let export = text("");
    let report = export_verify(export.as_bytes(), &[]).unwrap();
    assert_eq!((report.fault, report.entries, report.first), (None, 151, Some(1)));
    let last: Value = serde_json::from_str(export.lines().last().unwrap()).unwrap();
    assert!(last["body"].as_str().unwrap().contains("audit.exported"));
    // The server says the same of its chain, and goes on from there.
    let head = report.head.unwrap();
    let verified = server.client.get_as(&owner, &format!("/audit/verify?org_id={org}&head={head}")).body;
    assert_eq!((&verified["valid"], &verified["complete"]), (&true.into(), &true.into()), "{verified}");
    assert_eq!((&verified["entries"], &verified["checkpoint"]), (&151.into(), &head.as_str().into()));
    let lie = format!("999:{}", "ab".repeat(32));
    let fault = server.client.get_as(&owner, &format!("/audit/verify?org_id={org}&head={lie}")).body;
    assert_eq!((&fault["valid"], &fault["fault"]["kind"]), (&false.into(), &"truncated".into()), "{fault}");
    // A part goes on from the whole, and shows it.
    let part = text("&after=151");
    let anchor: Anchor = head.parse().unwrap();
    let report = export_verify(part.as_bytes(), &[anchor]).unwrap();
    assert_eq!((report.fault, report.entries, report.first), (None, 1, Some(152)));
    let cut: String = export.lines().take(100).map(|line| format!("{line}\n")).collect();
    assert!(export_verify(cut.as_bytes(), &[]).unwrap().fault.is_some());
    let csv = text("&format=csv");
    assert!(csv.starts_with("chain,sequence,at,action,"), "{csv}");
    assert_eq!(csv.lines().count(), 1 + 153);
    for query in ["&format=xml", "&after=-1", "&after=x"] {
        assert_eq!(server.client.get_as(&owner, &format!("/audit/export?org_id={org}{query}")).status, 400);
    }
}

async fn a_change_that_cannot_be_logged_is_refused_and_does_not_happen() {
    let server = Server::start().await;
    let org = org(&server, "Acme").await;
    let owner = person(&server, &org, At::Org, "owner").await;
    let project = server.project("before");
    let mut tx = server.control_plane.db.begin_write().await.unwrap();
    let full = match ENGINE.get() {
        Engine::Sqlite => {
            "CREATE TRIGGER full BEFORE INSERT ON audit_log BEGIN SELECT RAISE(ABORT, 'no room'); END"
        }
        Engine::Postgres => "ALTER TABLE audit_log ADD CONSTRAINT no_room CHECK (sequence < 1) NOT VALID",
    };
    crate::db::sql::query(full).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let refused = rename(&server, &owner, &org, "Changed");
    assert_eq!((refused.status, refused.code()), (500, "internal"), "{}", refused.body);
    assert_eq!(server.client.get_as(&owner, &format!("/orgs/{org}")).body["name"], "Acme");
    let key = server.client.post(&format!("/projects/{project}/keys"), &json!({ "name": "k" }));
    assert_eq!(key.status, 500, "{}", key.body);
    let keys = server.client.get(&format!("/projects/{project}/keys"));
    assert_eq!(keys.body["data"].as_array().map(Vec::len), Some(0), "{}", keys.body);
    assert_eq!(server.client.post("/projects", &json!({ "name": "after" })).status, 500);
    assert_eq!(
        server.client.get_as(&owner, &format!("/audit/export?org_id={org}")).status,
        500,
        "nor is anything exported"
    );
}
