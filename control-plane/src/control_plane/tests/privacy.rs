use mindweave_metering::{OrgId, ProjectId, UsageEvent, UserId};
use serde_json::{Value, json};

use super::people::{At, org, person, person_with, project};
use super::usage::deliver;
use super::*;
use crate::clock;
use crate::db::sql;
use crate::privacy::erasures_run;
use crate::testing::{MINUTE, NOON, event};

on_every_engine!(
    an_erased_person_is_nowhere_and_every_figure_stays,
    what_arrives_after_an_erasure_is_booked_under_the_pseudonym,
    an_account_without_another_organisation_ends_with_its_erasure,
    whoever_was_removed_before_or_came_back_is_erased_like_anybody,
    the_last_owner_is_not_erased,
    an_export_has_everything_page_by_page_and_is_noted,
);

/// Whoever is erased here. Unlike any other text, so that it can be looked for.
const ADA: &str = "ada.lovelace@example.com";

fn call(number: u64, org_id: &str, project_id: &str, user: &str) -> UsageEvent {
    UsageEvent {
        org_id: OrgId::new(org_id),
        project_id: ProjectId::new(project_id),
        user_id: Some(UserId::new(user)),
        ..event(number, NOON + i64::try_from(number).unwrap() * MINUTE, 10)
    }
}

/// Everything that the database says, as text.
fn said(folder: &Path) -> String {
    stored(folder).iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
}

async fn finished(server: &Server, erasure: &str) -> Value {
    erasures_run(&server.control_plane.db, clock::now()).await.unwrap();
    let answer = server.client.get(erasure);
    assert!(!answer.body["finished_at"].is_null(), "{}", answer.body);
    answer.body
}

async fn an_erased_person_is_nowhere_and_every_figure_stays() {
    let server = Server::start().await;
    let org_id = org(&server, "acme").await;
    let project_id = project(&server, &org_id, None, "checkout").await;
    let owner = person(&server, &org_id, At::Org, "owner").await;
    let client = &server.client;
    let keys = format!("/projects/{project_id}/keys");
    let key = client.create(&keys, &json!({"name": "k", "user_id": ADA}));
    let quota = json!({"name": "each", "unit": "tokens", "window": "month", "limit": 1_000_000, "org_id": org_id, "scope": {"user": "*"}});
    let each = client.create("/governance/quotas", &quota);
    let own = json!({"name": "hers", "unit": "tokens", "window": "month", "limit": 1_000_000, "org_id": org_id, "scope": {"user": ADA}});
    let hers = client.create("/governance/quotas", &own);
    client.create("/governance/limits", &json!({"name": "hers", "metric": "requests_per_minute", "limit": 5, "org_id": org_id, "scope": {"user": ADA}}));
    let calls: Vec<_> = (1..=1_200)
        .map(|number| call(number, &org_id, &project_id, if number % 2 == 0 { ADA } else { "bob" }))
        .collect();
    deliver(&server, "journal", &calls).await;
    let sums = |group: &str| {
        client.get(&format!("/analytics/usage?group_by={group}&interval=day&from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z")).body
    };
    let before = sums("project");

    let begin = client.call_as(
        &owner,
        "POST",
        &format!("/orgs/{org_id}/privacy/erase"),
        Some(&json!({"user_id": ADA})),
    );
    assert_eq!(begin.status, 202, "{}", begin.body);
    let pseudonym = begin.body["pseudonym"].as_str().unwrap().to_owned();
    assert_eq!(client.get(&format!("{keys}/{key}")).body["user_id"], pseudonym, "at once");
    let done = finished(&server, begin.header("location")).await;
    assert_eq!(done["events"], 600);

    assert_eq!(sums("project"), before, "figures stay");
    let by_user = sums("user").to_string();
    assert!(by_user.contains(&pseudonym) && !by_user.contains(ADA), "{by_user}");
    let listed = client.get(&format!("/v1/usage/events?user_id={pseudonym}&limit=1000")).body;
    assert_eq!(listed["data"].as_array().unwrap().len(), 600);
    assert_eq!(client.get(&format!("/governance/quotas/{hers}")).body["scope"], json!({"user": pseudonym}));
    let subjects = client.get(&format!("/governance/quotas/{each}/usage")).body.to_string();
    assert!(!subjects.contains(ADA), "{subjects}");
    let verified = client.get(&format!("/audit/verify?org_id={org_id}")).body;
    assert_eq!(verified["valid"], true, "{verified}");
    let again = client.call_as(
        &owner,
        "POST",
        &format!("/orgs/{org_id}/privacy/erase"),
        Some(&json!({"user_id": ADA})),
    );
    assert_eq!(again.status, 404, "{}", again.body);
    let folder = server.folder;
    server.control_plane.shutdown().await;
    vacuum(&folder).await;
    let said = said(folder.path());
    // What stands before it says where it is.
    let before = said.split_once(ADA).map(|(before, _)| before.chars().rev().take(300).collect::<String>());
    assert_eq!(before, None, "it still stands behind this, read backwards");
}

/// What was overwritten may stand in a file's free pages until they are used again; here it is looked for at once.
async fn vacuum(folder: &TempDir) {
    if let Database::Sqlite(path) = database(folder.path()) {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let mut connection =
            <sqlx::SqliteConnection as sqlx::Connection>::connect_with(&options).await.unwrap();
        sqlx::query("VACUUM").execute(&mut connection).await.unwrap();
        sqlx::Connection::close(connection).await.unwrap();
    }
}

async fn what_arrives_after_an_erasure_is_booked_under_the_pseudonym() {
    let server = Server::start().await;
    let (org_id, other) = (org(&server, "acme").await, org(&server, "other").await);
    let project_id = project(&server, &org_id, None, "checkout").await;
    let foreign = project(&server, &other, None, "search").await;
    deliver(&server, "journal", &[call(1, &org_id, &project_id, ADA)]).await;
    let begin = server.client.post(&format!("/orgs/{org_id}/privacy/erase"), &json!({"user_id": ADA}));
    assert_eq!(begin.status, 202, "{}", begin.body);
    let pseudonym = begin.body["pseudonym"].as_str().unwrap().to_owned();
    deliver(&server, "journal", &[call(2, &org_id, &project_id, ADA), call(3, &other, &foreign, ADA)]).await;
    finished(&server, begin.header("location")).await;
    deliver(&server, "another", &[call(4, &org_id, &project_id, ADA)]).await;
    let users = |project: &str| -> Vec<Value> {
        let events = server.client.get(&format!("/v1/usage/events?project_id={project}")).body;
        events["data"].as_array().unwrap().iter().map(|event| event["user_id"].clone()).collect()
    };
    assert_eq!(users(&project_id), [pseudonym.as_str(), &pseudonym, &pseudonym]);
    assert_eq!(users(&foreign), [ADA], "the same name elsewhere is somebody else");
    server.control_plane.shutdown().await;
}

/// The id of the holder of a token.
fn holder(server: &Server, token: &str) -> String {
    let me = server.client.get_as(token, "/auth/me");
    assert_eq!(me.status, 200, "{}", me.body);
    me.body["id"].as_str().or_else(|| me.body["user"]["id"].as_str()).unwrap().to_owned()
}

async fn an_account_without_another_organisation_ends_with_its_erasure() {
    let server = Server::start().await;
    let org_id = org(&server, "acme").await;
    let owner = person(&server, &org_id, At::Org, "owner").await;
    let leaver = person(&server, &org_id, At::Org, "developer").await;
    let id = holder(&server, &leaver);
    let body = json!({ "user_id": id });
    let erase = format!("/orgs/{org_id}/privacy/erase");
    let begin = server.client.call_as(&owner, "POST", &erase, Some(&body));
    assert_eq!(begin.status, 202, "{}", begin.body);
    assert_eq!(server.client.get_as(&leaver, "/auth/me").status, 401, "the token is gone");
    let email: String = sql::query_scalar("SELECT email FROM users WHERE id = ?")
        .bind(&id)
        .fetch_one(server.control_plane.db.readers())
        .await
        .unwrap();
    assert_eq!(email, begin.body["pseudonym"].as_str().unwrap());
    server.control_plane.shutdown().await;
}

async fn whoever_was_removed_before_or_came_back_is_erased_like_anybody() {
    let server = Server::start().await;
    let (org_id, ended) = (org(&server, "acme").await, org(&server, "ended").await);
    let client = &server.client;
    let places = [(org_id.as_str(), At::Org, "developer"), (&ended, At::Org, "developer")];
    let leaver = person_with(&server, &places, &["*"]).await;
    let id = holder(&server, &leaver);
    let email = client.get_as(&leaver, "/auth/me").body.to_string();
    let email = email.split('"').find(|text| text.contains("@example.com")).unwrap().to_owned();
    let invitation = json!({ "email": email.to_uppercase(), "role": "auditor" });
    assert_eq!(client.post(&format!("/orgs/{org_id}/invitations"), &invitation).status, 201);
    assert_eq!(client.delete(&format!("/orgs/{ended}?confirm=ended")).status, 204);
    assert_eq!(client.delete(&format!("/orgs/{org_id}/members/{id}")).status, 204);
    let body = json!({ "user_id": id });
    let erase = format!("/orgs/{org_id}/privacy/erase");
    let begin = client.post(&erase, &body);
    assert_eq!(begin.status, 202, "{}", begin.body);
    finished(&server, begin.header("location")).await;
    assert_eq!(client.get_as(&leaver, "/auth/me").status, 401, "a role in what has ended keeps no account");
    let log = client.get(&format!("/audit?org_id={org_id}&limit=1000")).body.to_string().to_lowercase();
    assert!(!log.contains(&email), "{log}");

    let project_id = project(&server, &org_id, None, "checkout").await;
    for number in 1..=2 {
        deliver(&server, &format!("journal-{number}"), &[call(number, &org_id, &project_id, ADA)]).await;
        client.create(&format!("/projects/{project_id}/keys"), &json!({"name": "back", "user_id": ADA}));
        let begin = client.post(&erase, &json!({ "user_id": ADA }));
        assert_eq!(begin.status, 202, "{}", begin.body);
        finished(&server, begin.header("location")).await;
    }
    let keys = client.get(&format!("/projects/{project_id}/keys")).body;
    assert_eq!(keys["data"][0]["user_id"], keys["data"][1]["user_id"], "one pseudonym");
    server.control_plane.shutdown().await;
}

async fn the_last_owner_is_not_erased() {
    let server = Server::start().await;
    let org_id = org(&server, "acme").await;
    let owner = person(&server, &org_id, At::Org, "owner").await;
    let id = holder(&server, &owner);
    let erase = format!("/orgs/{org_id}/privacy/erase");
    let answer = server.client.call_as(&owner, "POST", &erase, Some(&json!({ "user_id": id })));
    assert_eq!((answer.status, answer.code()), (409, "last_owner"), "{}", answer.body);
    assert_eq!(server.client.get_as(&owner, "/auth/me").status, 200, "nothing of it has happened");
    server.control_plane.shutdown().await;
}

async fn an_export_has_everything_page_by_page_and_is_noted() {
    let server = Server::start().await;
    let org_id = org(&server, "acme").await;
    let project_id = project(&server, &org_id, None, "checkout").await;
    let client = &server.client;
    client.create(&format!("/projects/{project_id}/keys"), &json!({"name": "k", "user_id": ADA}));
    let calls: Vec<_> = (1..=250).map(|number| call(number, &org_id, &project_id, ADA)).collect();
    deliver(&server, "journal", &calls).await;
    deliver(&server, "journal", &[call(900, &org_id, &project_id, "bob")]).await;
    let (mut records, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let body = json!({"user_id": ADA, "cursor": cursor});
        let answer = client.post(&format!("/orgs/{org_id}/privacy/export"), &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        records.extend(answer.body["data"].as_array().unwrap().clone());
        cursor = answer.body["next_cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    let count = |section: &str| records.iter().filter(|record| record["section"] == section).count();
    assert_eq!((count("key"), count("event")), (1, 250));
    assert!(!Value::from(records).to_string().contains("bob"));
    let noted = client.get(&format!("/audit?org_id={org_id}&action=person.exported")).body;
    assert_eq!(noted["data"].as_array().unwrap().len(), 3, "each page: {noted}");
    server.control_plane.shutdown().await;
}

#[tokio::test]
async fn the_documentation_says_of_every_column_what_it_holds() {
    let document = include_str!("../../../../docs/privacy.md");
    let ledger = crate::testing::Ledger::new().await;
    let columns: Vec<(String, String)> = sql::query_as(
        "SELECT t.name, c.name FROM sqlite_master t JOIN pragma_table_info(t.name) c
         WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' AND t.name <> '_sqlx_migrations'",
    )
    .fetch_all(ledger.db.readers())
    .await
    .unwrap();
    assert!(columns.len() > 200);
    for (table, column) in columns {
        let mut lines = document.lines().filter(|line| line.starts_with(&format!("| `{table}` |")));
        assert!(lines.any(|line| line.contains(&format!("`{column}`"))), "docs/privacy.md: {table}.{column}");
    }
}
