use mindweave_metering::ProjectId;
use mindweave_policy::{CredentialForm, Fingerprint, ProjectRules};
use serde_json::json;

use super::people::{self, At};
use super::*;

fn rules(server: &Server, project: &str) -> Option<ProjectRules> {
    let snapshot = server.control_plane.snapshots().load();
    snapshot.project_rules.get(&ProjectId::new(project)).map(|rules| (**rules).clone())
}

async fn settings_are_in_force_when_their_change_is_answered_and_null_takes_them_back() {
    let server = Server::start().await;
    let project = server.project("web");
    let path = format!("/projects/{project}/settings");
    let defaults = json!({
        "client_credentials": ["mindweave_key", "anthropic_api_key", "oauth_token"],
        "required_metadata": [],
        "retention": { "raw_days": null },
    });
    assert_eq!(server.client.get(&path).body, defaults);
    assert_eq!(rules(&server, &project), None);
    let change = json!({ "client_credentials": ["oauth_token", "mindweave_key", "oauth_token"],
        "required_metadata": ["ticket", "team", "ticket"], "retention": { "raw_days": 3 } });
    let changed = server.client.patch(&path, &change);
    let shown = json!({ "client_credentials": ["mindweave_key", "oauth_token"],
        "required_metadata": ["team", "ticket"], "retention": { "raw_days": 3 } });
    assert_eq!((changed.status, &changed.body), (200, &shown));
    assert_eq!(server.client.get(&path).header("etag"), changed.header("etag"));
    let expected = ProjectRules {
        credential_forms: Some(vec![CredentialForm::MindweaveKey, CredentialForm::OauthToken]),
        required_metadata: vec!["team".into(), "ticket".into()],
        raw_days: Some(3),
    };
    assert_eq!(rules(&server, &project).as_ref(), Some(&expected));
    let server = server.restart().await;
    assert_eq!(rules(&server, &project).as_ref(), Some(&expected));

    server.client.patch(&path, &json!({ "required_metadata": null, "retention": {} }));
    let rest = ProjectRules { required_metadata: Vec::new(), ..expected };
    assert_eq!(rules(&server, &project), Some(rest), "what is not given stays");
    let all = json!({ "client_credentials": CredentialForm::ALL, "retention": null });
    assert_eq!(server.client.patch(&path, &all).body, defaults);
    assert_eq!(rules(&server, &project), None, "all forms are no rule");
}

async fn settings_that_cannot_be_meant_are_refused_and_so_are_those_of_an_older_version() {
    let server = Server::start().await;
    let project = server.project("web");
    let path = format!("/projects/{project}/settings");
    let many: Vec<_> = (0..17).map(|number| format!("n{number}")).collect();
    for (body, field) in [
        (json!({ "client_credentials": [] }), "client_credentials"),
        (json!({ "client_credentials": ["passport"] }), "client_credentials"),
        (json!({ "client_credentials": "oauth_token" }), "client_credentials"),
        (json!({ "required_metadata": many }), "required_metadata"),
        (json!({ "required_metadata": [" team"] }), "required_metadata"),
        (json!({ "required_metadata": ["n".repeat(129)] }), "required_metadata"),
        (json!({ "retention": { "raw_days": 0 } }), "retention.raw_days"),
        (json!({ "retention": { "raw_days": 3_651 } }), "retention.raw_days"),
        (json!({ "retention": { "minutes": 1 } }), "retention.minutes"),
        (json!({ "retention": 3 }), "retention"),
        (json!({ "upstream": "x" }), "upstream"),
    ] {
        let refused = server.client.patch(&path, &body);
        assert_eq!((refused.status, refused.refused()), (422, vec![field]), "{}", refused.body);
    }
    assert_eq!(rules(&server, &project), None);
    let tag = server.client.get(&path).header("etag").to_owned();
    let change = |name: &str| {
        let headers = [
            ("authorization", format!("Bearer {TOKEN}")),
            ("content-type", "application/json".into()),
            ("if-match", tag.clone()),
        ];
        let body = json!({ "required_metadata": [name] }).to_string();
        server.client.call_with("PATCH", &path, &headers, Some(body.as_bytes()))
    };
    assert_eq!(change("one").status, 200);
    let stale = change("two");
    assert_eq!((stale.status, stale.code()), (412, "precondition_failed"));
}

async fn a_deleted_project_leaves_every_proxy_and_is_gone_but_for_what_it_used() {
    let server = Server::start().await;
    let project = server.project("web");
    let path = format!("/projects/{project}");
    let key = server.client.post(&format!("{path}/keys"), &json!({ "name": "k" })).body;
    let secret = Fingerprint::of(key["secret"].as_str().unwrap().as_bytes());
    let own = "sk-ant-oat01-of-a-developer-1234";
    server.client.post(&format!("{path}/credentials"), &json!({ "api_key": own }));
    server.client.put(&format!("{path}/upstream"), &json!({ "api_key": "sk-ant-api03-upstream" }));
    server.client.patch(&format!("{path}/settings"), &json!({ "required_metadata": ["team"] }));
    let default =
        server.control_plane.snapshots().load().default_principal.clone().unwrap().project_id.clone();
    let refused = server.client.delete(&format!("/projects/{default}"));
    assert_eq!((refused.status, refused.code()), (409, "default_project"));

    assert_eq!(server.client.delete(&path).status, 204);
    let snapshot = server.control_plane.snapshots().load();
    let id = ProjectId::new(&*project);
    assert!(!snapshot.projects.contains_key(&id) && !snapshot.project_rules.contains_key(&id));
    assert!(!snapshot.keys.contains_key(&secret) && snapshot.client_credentials.is_empty());
    for path in [path.clone(), format!("{path}/keys"), format!("{path}/settings"), format!("{path}/upstream")]
    {
        assert_eq!(server.client.get(&path).status, 404, "{path}");
    }
    assert_eq!(server.client.delete(&path).status, 404);
    let listed = server.client.get("/projects").body;
    assert!(!listed.to_string().contains(&project), "{listed}");
    let other = server.project("web"); // names are free again, and so are credentials
    let again = server.client.post(&format!("/projects/{other}/credentials"), &json!({ "api_key": own }));
    assert_eq!(again.status, 201, "{}", again.body);
    for statement in
        ["SELECT count(*) FROM keys WHERE revoked_at IS NULL", "SELECT count(*) FROM upstream_credentials"]
    {
        let count: i64 = crate::db::sql::query_scalar(statement)
            .fetch_one(server.control_plane.db.readers())
            .await
            .unwrap();
        assert_eq!(count, 0, "{statement}");
    }
}

async fn projects_are_made_moved_and_listed_by_whom_it_is_permitted() {
    let server = Server::start().await;
    let org = people::org(&server, "Acme").await;
    let (red, blue) = (people::team(&server, &org, "red").await, people::team(&server, &org, "blue").await);
    let elsewhere = people::org(&server, "Other").await;
    let foreign = people::team(&server, &elsewhere, "red").await;
    let owner = people::person(&server, &org, At::Org, "owner").await;
    let lead = people::person(&server, &org, At::Team(&red), "admin").await;
    let stranger = people::person(&server, &elsewhere, At::Org, "owner").await;
    let client = &server.client;
    let make = |who: &str, body: Value| client.call_as(who, "POST", "/projects", Some(&body));

    let made = make(&lead, json!({ "name": "Red one", "team_id": red }));
    assert_eq!((made.status, &made.body["org_id"]), (201, &org.as_str().into()), "{}", made.body);
    let red_one = made.body["id"].as_str().unwrap().to_owned();
    assert_eq!(make(&lead, json!({ "name": "no team" })).status, 403);
    assert_eq!(make(&lead, json!({ "name": "not mine", "team_id": blue })).refused(), ["team_id"]);
    assert_eq!(make(&owner, json!({ "name": "abroad", "team_id": foreign })).refused(), ["team_id"]);
    let torn = make(&owner, json!({ "name": "torn", "team_id": red, "org_id": elsewhere }));
    assert_eq!(torn.refused(), ["team_id"], "{}", torn.body);
    assert_eq!(make(&stranger, json!({ "name": "x", "org_id": org })).status, 404);
    let free = make(&owner, json!({ "name": "free" }));
    assert_eq!((free.status, &free.body["team_id"]), (201, &Value::Null), "{}", free.body);
    let free = free.body["id"].as_str().unwrap().to_owned();

    let names = |who: &str, query: &str| {
        let answer = client.get_as(who, &format!("/projects?{query}"));
        assert_eq!(answer.status, 200, "{}", answer.body);
        let entries = answer.body["data"].as_array().unwrap().clone();
        entries.iter().map(|project| project["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&owner, ""), ["Red one", "free"]);
    assert_eq!(names(&owner, "sort=-name"), ["free", "Red one"]);
    assert_eq!(names(&owner, "q=RED"), ["Red one"]);
    assert_eq!(names(&owner, "q=%25"), [""; 0], "a percent sign is no pattern");
    assert_eq!(names(&owner, &format!("team_id={red}")), ["Red one"]);
    assert_eq!(names(&owner, &format!("org_id={elsewhere}")), [""; 0]);
    assert_eq!(names(&lead, ""), ["Red one"]);
    assert_eq!(names(&stranger, ""), [""; 0]);

    let change = |who: &str, project: &str, body: Value| {
        client.call_as(who, "PATCH", &format!("/projects/{project}"), Some(&body))
    };
    assert_eq!(change(&lead, &red_one, json!({ "name": "Red two" })).status, 200);
    assert_eq!(change(&lead, &red_one, json!({ "team_id": null })).status, 403);
    assert_eq!(change(&lead, &red_one, json!({ "team_id": blue })).refused(), ["team_id"]);
    assert_eq!(change(&lead, &free, json!({ "name": "mine" })).status, 404);
    assert_eq!(change(&owner, &red_one, json!({ "team_id": foreign })).refused(), ["team_id"]);
    let places = [(org.as_str(), At::Project(&red_one), "admin"), (&org, At::Team(&blue), "admin")];
    let raider = people::person_with(&server, &places, &["*"]).await;
    assert_eq!(change(&raider, &red_one, json!({ "team_id": blue })).status, 403, "its team would lose it");
    let moved = change(&owner, &red_one, json!({ "team_id": blue }));
    assert_eq!((moved.status, &moved.body["team_id"]), (200, &blue.as_str().into()), "{}", moved.body);
    assert_eq!(names(&lead, ""), [""; 0], "its team decides who sees it");

    let body: String = crate::db::sql::query_scalar(
        "SELECT body FROM audit_log WHERE target_id = ? ORDER BY sequence DESC LIMIT 1",
    )
    .bind(&red_one)
    .fetch_one(server.control_plane.db.readers())
    .await
    .unwrap();
    let noted: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(noted["action"], "project.updated");
    assert_eq!((&noted["before"]["team_id"], &noted["after"]["team_id"]), (&json!(red), &json!(blue)));
}

on_every_engine!(
    settings_are_in_force_when_their_change_is_answered_and_null_takes_them_back,
    settings_that_cannot_be_meant_are_refused_and_so_are_those_of_an_older_version,
    a_deleted_project_leaves_every_proxy_and_is_gone_but_for_what_it_used,
    projects_are_made_moved_and_listed_by_whom_it_is_permitted,
);
