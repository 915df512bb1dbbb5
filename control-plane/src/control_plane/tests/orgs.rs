//! Organisations: how they begin and end, and what they used.

use jiff::tz::TimeZone;
use mindweave_metering::{OrgId, ProjectId};
use serde_json::{Value, json};

use super::people::project;
use super::tenancy::Person;
use super::usage::deliver;
use super::*;
use crate::clock;
use crate::db::sql;
use crate::testing::{cost_of, event};

on_every_engine!(
    an_organisation_is_made_by_an_installation_admin_who_then_owns_it,
    an_organisation_is_ended_by_an_owner_who_names_it_and_its_keys_stop,
    statements_add_up_by_project_and_model,
    teams_have_names_of_their_own_and_go_when_they_are_empty,
);

async fn an_organisation_is_made_by_an_installation_admin_who_then_owns_it() {
    let server = Server::start().await;
    let (person, admin) = (Person::new(&server, "somebody").await, Person::new(&server, "root").await);
    let mut tx = server.control_plane.db.begin_write().await.unwrap();
    let update = sql::query("UPDATE users SET installation_admin = 1 WHERE id = ?").bind(&admin.id);
    update.execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let body = json!({ "name": "acme", "time_zone": "europe/berlin" });
    let refused = person.call(&server, "POST", "/orgs", Some(&body));
    assert_eq!((refused.status, refused.code()), (403, "forbidden"));
    let made = admin.call(&server, "POST", "/orgs", Some(&body));
    assert_eq!((made.status, &made.body["time_zone"]), (201, &json!("Europe/Berlin")), "{}", made.body);
    let org = made.header("location").to_owned();
    let shown = admin.get(&server, &org);
    assert_eq!((&shown.body, shown.header("etag")), (&made.body, made.header("etag")));
    let member = admin.get(&server, &admin.member_path(&org)).body;
    assert_eq!(member["roles"][0]["role"], "owner");
    assert_eq!(person.get(&server, &org).status, 404);
    for (body, fields) in [
        (json!({}), vec!["name"]),
        (json!({ "name": " ", "time_zone": "Mars/Olympus" }), vec!["name", "time_zone"]),
        (json!({ "name": "x", "owner": "me" }), vec!["owner"]),
    ] {
        let refused = server.client.post("/orgs", &body);
        assert_eq!((refused.status, refused.refused()), (422, fields), "{body}");
    }
    server.client.post("/orgs", &json!({ "name": "beta" }));
    let named = |query: &str| -> Vec<String> {
        let listed = server.client.pages(&format!("/orgs?{query}"), 1, || {});
        listed.iter().map(|org| org["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(named("sort=-name"), ["default", "beta", "acme"]);
    assert_eq!(named("sort=created_at"), ["default", "acme", "beta"]);
    assert_eq!(named("name=beta"), ["beta"]);
}

async fn an_organisation_is_ended_by_an_owner_who_names_it_and_its_keys_stop() {
    let server = Server::start().await;
    let made = server.client.post("/orgs", &json!({ "name": "acme & co" }));
    let org = made.header("location").to_owned();
    let id = org.trim_start_matches("/orgs/").to_owned();
    let (owner, admin) =
        (Person::in_role(&server, &org, "owner").await, Person::in_role(&server, &org, "admin").await);
    let project = project(&server, &id, None, "checkout").await;
    let key =
        owner.call(&server, "POST", &format!("/projects/{project}/keys"), Some(&json!({ "name": "k" })));
    assert_eq!(key.status, 201, "{}", key.body);
    let knows = |keys: usize| {
        let snapshot = server.control_plane.snapshots().load();
        let project = ProjectId::new(project.as_str());
        assert_eq!((snapshot.keys.len(), snapshot.projects.contains_key(&project)), (keys, keys > 0));
    };
    knows(1);
    let invited = json!({ "email": "guest@example.com", "role": "auditor" });
    let invited = owner.call(&server, "POST", &format!("{org}/invitations"), Some(&invited));
    assert_eq!(invited.status, 201, "{}", invited.body);

    let confirmed = format!("{org}?confirm=acme%20%26%20co");
    for (who, path, status, code) in [
        (&owner, org.clone(), 400, "invalid_parameter"),
        (&owner, format!("{org}?confirm=acme"), 400, "invalid_parameter"),
        (&admin, confirmed.clone(), 403, "forbidden"),
    ] {
        let refused = who.call(&server, "DELETE", &path, None);
        assert_eq!((refused.status, refused.code()), (status, code), "{path}");
    }
    knows(1);
    let home = server.client.get("/orgs?name=default").body["data"][0]["id"].as_str().unwrap().to_owned();
    let refused = server.client.delete(&format!("/orgs/{home}?confirm=default"));
    assert_eq!((refused.status, refused.code()), (409, "home_organisation"));

    assert_eq!(owner.call(&server, "DELETE", &confirmed, None).status, 204);
    knows(0); // as soon as the answer is there
    for path in [
        org.clone(),
        format!("{org}/members"),
        format!("/projects/{project}"),
        format!("/projects/{project}/keys"),
    ] {
        assert_eq!(owner.get(&server, &path).status, 404, "{path}");
        assert_eq!(server.client.get(&path).status, 404, "{path}, for the admin token");
    }
    assert_eq!(owner.get(&server, "/orgs").body["data"], json!([]));
    let again = server.client.delete(&confirmed);
    assert_eq!(again.status, 404);
}

/// So many tokens of a model, used by a project of an organisation at a moment.
async fn use_tokens(server: &Server, org: &str, project: &str, tokens: &[(i64, &str, u64)]) {
    let events: Vec<_> = (1..)
        .zip(tokens)
        .map(|(number, (at, model, tokens))| {
            let mut event = event(number, *at, *tokens);
            event.org_id = OrgId::new(org);
            event.project_id = ProjectId::new(project);
            event.model = Some((*model).into());
            event
        })
        .collect();
    deliver(server, project, &events).await;
}

async fn statements_add_up_by_project_and_model() {
    let server = Server::start().await;
    let made = server.client.post("/orgs", &json!({ "name": "acme" }));
    let org = made.header("location").to_owned();
    let id = org.trim_start_matches("/orgs/").to_owned();
    let (web, batch) =
        (project(&server, &id, None, "web, \"new\"").await, project(&server, &id, None, "batch").await);
    let now = clock::now();
    let first = now.to_zoned(TimeZone::UTC).first_of_month().unwrap().start_of_day().unwrap();
    let this = first.timestamp().as_microsecond();
    let last = this - 1; // the last moment of last month
    use_tokens(&server, &id, &web, &[(this, "opus", 5), (last, "opus", 7), (last, "=haiku", 2)]).await;
    use_tokens(&server, &id, &batch, &[(last, "opus", 100)]).await;
    use_tokens(&server, "org_of_others", "prj_of_others", &[(last, "opus", 1_000_000)]).await;

    let usage = server.client.get(&format!("{org}/usage")).body;
    let tokens = |statement: &Value| -> Vec<(String, u64)> {
        let lines = statement["lines"].as_array().unwrap().iter();
        lines
            .map(|line| {
                let model = line["model"].as_str().unwrap_or("");
                let name = format!("{} {model}", line["project_name"].as_str().unwrap());
                (name, line["input_tokens"].as_u64().unwrap())
            })
            .collect()
    };
    assert_eq!(tokens(&usage["this_month"]), [("web, \"new\" ".to_owned(), 5)]);
    assert_eq!(tokens(&usage["last_month"]), [("batch ".to_owned(), 100), ("web, \"new\" ".to_owned(), 9)]);
    assert_eq!(usage["this_month"]["status"], "open");

    let path = format!("{org}/invoices");
    let statements = server.client.pages(&path, 1, || {});
    assert_eq!(statements.len(), 2, "{statements:?}");
    let [newest, oldest] = statements.as_slice() else { panic!("{statements:?}") };
    assert_eq!((newest["to"].clone(), newest["from"].clone()), (newest["to"].clone(), oldest["to"].clone()));
    let expected = [
        ("batch opus".to_owned(), 100),
        ("web, \"new\" opus".to_owned(), 7),
        ("web, \"new\" =haiku".to_owned(), 2),
    ];
    assert_eq!(tokens(oldest), expected);
    let cost = cost_of(100).0 + cost_of(7).0 + cost_of(2).0;
    assert_eq!(oldest["total"]["cost_nano_usd"], cost);
    assert_eq!(oldest["total"]["cost_usd"], "0.000327000");
    let month = oldest["month"].as_str().unwrap();
    assert_eq!(&server.client.get(&format!("{path}/{month}")).body, oldest);
    for wrong in ["9999-01", "2026-1", "latest"] {
        assert_eq!(server.client.get(&format!("{path}/{wrong}")).status, 404, "{wrong}");
    }
    let headers = [
        ("authorization", format!("Bearer {TOKEN}")),
        ("accept", "text/csv, application/json;q=0.5".to_owned()),
    ];
    let csv = server.client.call_with("GET", &format!("{path}/{month}"), &headers, None);
    assert!(csv.header("content-type").starts_with("text/csv"), "{:?}", csv.headers);
    let table = csv.body.as_str().unwrap();
    let row = format!(
        "{month},{},{web},\"web, \"\"new\"\"\",'=haiku,1,2,0,0,0,0,0,",
        oldest["status"].as_str().unwrap()
    );
    assert!(table.contains(&row), "{row} is not in {table}");
    assert_eq!(table.lines().count(), 4);
    let csv = server.client.call_with("GET", &format!("{path}?limit=1"), &headers, None);
    assert!(csv.header("link").ends_with("rel=\"next\""), "{:?}", csv.headers);
}

async fn teams_have_names_of_their_own_and_go_when_they_are_empty() {
    let server = Server::start().await;
    let org = server.client.post("/orgs", &json!({ "name": "acme" })).header("location").to_owned();
    let other = server.client.post("/orgs", &json!({ "name": "other" })).header("location").to_owned();
    let id = org.trim_start_matches("/orgs/").to_owned();
    let path = format!("{org}/teams");
    let made = server.client.post(&path, &json!({ "name": "payments" }));
    assert_eq!(made.status, 201, "{}", made.body);
    let team = made.header("location").to_owned();
    let refused = server.client.post(&path, &json!({ "name": "payments" }));
    assert_eq!((refused.status, refused.code()), (409, "name_taken"));
    assert_eq!(server.client.post(&format!("{other}/teams"), &json!({ "name": "payments" })).status, 201);
    let search = server.client.post(&path, &json!({ "name": "search" }));
    let refused = server.client.patch(search.header("location"), &json!({ "name": "payments" }));
    assert_eq!((refused.status, refused.code()), (409, "name_taken"));
    let renamed = server.client.patch(&team, &json!({ "name": "billing" }));
    assert_eq!((renamed.status, &renamed.body["name"]), (200, &json!("billing")));
    assert_ne!(renamed.header("etag"), made.header("etag"));
    let stale = [
        ("authorization", format!("Bearer {TOKEN}")),
        ("content-type", "application/json".to_owned()),
        ("if-match", made.header("etag").to_owned()),
    ];
    let refused = server.client.call_with("DELETE", &team, &stale, None);
    assert_eq!((refused.status, refused.code()), (412, "precondition_failed"));

    let lead = Person::in_role(&server, &team, "admin").await;
    let names = |person: &Person| {
        let teams = person.get(&server, &path).body;
        let teams = teams["data"].as_array().unwrap();
        teams.iter().map(|team| team["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&lead), ["billing"], "the lead of a team sees this team");
    let listed = server.client.pages(&format!("{path}?sort=-name"), 1, || {});
    assert_eq!(listed.len(), 2);
    let team_id = team.trim_start_matches("/teams/").to_owned();
    let project = project(&server, &id, Some(&team_id), "checkout").await;
    let refused = server.client.delete(&team);
    assert_eq!((refused.status, refused.code()), (409, "not_empty"), "{}", refused.body);
    let mut tx = server.control_plane.db.begin_write().await.unwrap();
    let moved = sql::query("UPDATE projects SET team_id = NULL WHERE id = ?").bind(&project);
    moved.execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(server.client.delete(&team).status, 204);
    assert_eq!(server.client.get(&team).status, 404);
    assert_eq!(lead.get(&server, &org).status, 404, "a role in what is gone is none");
    assert_eq!(server.client.post(&path, &json!({ "name": "billing" })).status, 201, "its name is free");
}
