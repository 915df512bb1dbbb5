use mindweave_metering::ProjectId;
use mindweave_policy::Fingerprint;
use serde_json::{Value, json};

use super::*;

const CLAUDE_KEY: &str = "sk-ant-api03-the-key-of-the-project-wxyz";

fn fingerprint(secret: &str) -> Fingerprint {
    Fingerprint::of(secret.as_bytes())
}

async fn the_first_start_makes_the_default_project_and_later_starts_keep_it() {
    let server = Server::start().await;
    let first = server.client.get("/projects").body;
    assert_eq!(first["data"].as_array().unwrap().len(), 1);
    assert_eq!(first["data"][0]["name"], "default");
    let principal = server.control_plane.snapshots().load().default_principal.clone().unwrap();
    assert_eq!(first["data"][0]["id"], principal.project_id.as_str());
    assert_eq!(first["data"][0]["org_id"], principal.org_id.as_str());
    let server = server.restart().await;
    assert_eq!(server.client.get("/projects").body, first);
    server.control_plane.shutdown().await;
}

async fn a_project_is_made_listed_and_found() {
    let server = Server::start().await;
    let made = server.client.post("/projects", &json!({ "name": "checkout" }));
    assert_eq!(made.status, 201);
    let id = made.body["id"].as_str().unwrap();
    assert!(id.starts_with("prj_"));
    assert_eq!(made.header("location"), format!("/projects/{id}"));
    assert_eq!(server.client.get(&format!("/projects/{id}")).body, made.body);
    assert_eq!(server.client.get("/projects").body["data"][1], made.body);
    let snapshot = server.control_plane.snapshots().load();
    assert_eq!(&*snapshot.projects[&ProjectId::new(id)].name, "checkout");
}

async fn a_key_is_in_force_when_its_creation_is_answered_and_gone_when_its_revocation_is() {
    let server = Server::start().await;
    let project = server.project("web");
    let request = json!({
        "name": "ci", "user_id": "usr_7", "team_id": "team_3", "labels": { "env": "prod" },
        "expires_at": "2099-01-01T00:00:00Z",
    });
    let made = server.client.post(&format!("/projects/{project}/keys"), &request);
    assert_eq!(made.status, 201, "{}", made.body);
    let secret = made.body["secret"].as_str().unwrap();
    assert!(secret.starts_with("mw_") && secret.len() > 40);
    let snapshots = server.control_plane.snapshots();
    let snapshot = snapshots.load();
    let entry = &snapshot.keys[&fingerprint(secret)];
    assert_eq!(entry.principal.project_id.as_str(), project);
    assert_eq!(entry.principal.key_id.as_ref().unwrap().as_str(), made.body["id"]);
    assert_eq!(entry.principal.user_id.as_ref().unwrap().as_str(), "usr_7");
    assert_eq!(entry.principal.team_id.as_ref().unwrap().as_str(), "team_3");
    assert_eq!(&*entry.principal.labels["env"], "prod");
    assert_eq!(entry.expires_at, Some("2099-01-01T00:00:00Z".parse().unwrap()));
    let path = format!("/projects/{project}/keys/{}", made.body["id"].as_str().unwrap());
    assert_eq!(server.client.delete(&path).status, 204);
    let after = snapshots.load();
    assert!(!after.keys.contains_key(&fingerprint(secret)));
    assert!(after.revision > snapshot.revision);
    let listed = server.client.get(&format!("/projects/{project}/keys")).body["data"][0].clone();
    assert!(listed["revoked_at"].is_string(), "{listed}");
    assert_eq!(server.client.delete(&path).status, 204, "revoking twice is no error");
    let again = server.client.get(&format!("/projects/{project}/keys")).body["data"][0].clone();
    assert_eq!(again["revoked_at"], listed["revoked_at"]);
}

async fn a_key_changes_hands_and_roles_at_once_and_keeps_its_secret() {
    let server = Server::start().await;
    let project = server.project("web");
    let request = json!({ "name": "ci", "user_id": "usr_7", "team_id": "team_3", "roles": ["developer"],
        "labels": { "env": "prod" }, "expires_at": "2099-01-01T00:00:00Z" });
    let made = server.client.post(&format!("/projects/{project}/keys"), &request);
    let path = format!("/projects/{project}/keys/{}", made.body["id"].as_str().unwrap());
    assert_eq!(made.header("location"), path);
    let snapshots = server.control_plane.snapshots();
    let entry = || snapshots.load().keys[&fingerprint(made.body["secret"].as_str().unwrap())].clone();
    let changed = server.client.patch(&path, &json!({ "roles": ["auditor", "admin", "admin"] }));
    assert_eq!((changed.status, &changed.body["roles"]), (200, &json!(["admin", "auditor"])));
    assert_eq!(entry().principal.roles, ["admin".into(), "auditor".into()]);
    assert_eq!(entry().principal.user_id.as_ref().unwrap().as_str(), "usr_7", "what is not given stays");
    let rest = json!({ "name": "nightly", "user_id": "usr_8", "team_id": null, "labels": { "env": "test" },
        "expires_at": null });
    let changed = server.client.patch(&path, &rest);
    assert_eq!((changed.status, &changed.body["name"]), (200, &"nightly".into()), "{}", changed.body);
    let after = entry();
    assert_eq!((after.expires_at, after.principal.team_id.clone()), (None, None));
    assert_eq!(after.principal.user_id.as_ref().unwrap().as_str(), "usr_8");
    assert_eq!(&*after.principal.labels["env"], "test");
    assert_eq!(server.client.get(&path).body, changed.body);
    assert!(changed.body.get("secret").is_none() && changed.body["hint"] == made.body["hint"]);
    let revision = snapshots.load().revision;
    assert_eq!(server.client.patch(&path, &json!({ "name": "nightly" })).body, changed.body);
    assert_eq!(snapshots.load().revision, revision, "nothing changed");
}

async fn a_change_of_a_key_that_cannot_be_meant_is_refused() {
    let server = Server::start().await;
    let (project, other) = (server.project("web"), server.project("other"));
    let made = server.client.post(&format!("/projects/{project}/keys"), &json!({ "name": "k" })).body;
    let id = made["id"].as_str().unwrap();
    let path = format!("/projects/{project}/keys/{id}");
    for (body, field) in [
        (json!({ "name": null }), "name"),
        (json!({ "roles": "admin" }), "roles"),
        (json!({ "labels": { "a": 1 } }), "labels"),
        (json!({ "expires_at": "2020-01-01T00:00:00Z" }), "expires_at"),
        (json!({ "secret": "mw_x" }), "secret"),
        (json!({ "project_id": other }), "project_id"),
    ] {
        let answer = server.client.patch(&path, &body);
        assert_eq!((answer.status, answer.refused()), (422, vec![field]), "{}", answer.body);
    }
    let elsewhere = format!("/projects/{other}/keys/{id}");
    assert_eq!(server.client.get(&elsewhere).status, 404);
    assert_eq!(server.client.patch(&elsewhere, &json!({ "name": "x" })).status, 404);
    server.client.delete(&path);
    let late = server.client.patch(&path, &json!({ "roles": ["admin"] }));
    assert_eq!((late.status, late.code()), (409, "key_revoked"));
    assert!(server.client.get(&path).body["revoked_at"].is_string());
}

async fn a_credential_changes_hands_and_roles_at_once() {
    let server = Server::start().await;
    let (mine, other) = (server.project("mine"), server.project("other"));
    let credential = "sk-ant-oat01-of-a-developer-1234";
    let request = json!({ "api_key": credential, "user_id": "usr_ada", "roles": ["developer"] });
    let made = server.client.post(&format!("/projects/{mine}/credentials"), &request);
    let path = format!("/projects/{mine}/credentials/{}", made.body["id"].as_str().unwrap());
    assert_eq!(made.header("location"), path);
    let change = json!({ "name": "laptop", "team_id": "team_1", "user_id": null, "roles": ["admin"],
        "labels": { "os": "linux" } });
    let changed = server.client.patch(&path, &change);
    assert_eq!((changed.status, &changed.body["name"]), (200, &"laptop".into()), "{}", changed.body);
    let snapshot = server.control_plane.snapshots().load();
    let principal = &snapshot.client_credentials[&fingerprint(credential)];
    assert_eq!(principal.roles, ["admin".into()]);
    assert_eq!((principal.user_id.as_ref(), &*principal.labels["os"]), (None, "linux"));
    assert_eq!(server.client.get(&path).body, changed.body);
    assert_eq!(server.client.patch(&path, &json!({ "name": null })).body["name"], "unnamed");
    let refused = server.client.patch(&path, &json!({ "api_key": "sk-ant-x" }));
    assert_eq!((refused.status, refused.refused()), (422, vec!["api_key"]));
    let elsewhere = path.replace(&mine, &other);
    assert_eq!(server.client.get(&elsewhere).status, 404);
    assert_eq!(server.client.patch(&elsewhere, &json!({ "name": "x" })).status, 404);
}

async fn a_key_of_another_project_is_not_revoked() {
    let server = Server::start().await;
    let (mine, other) = (server.project("mine"), server.project("other"));
    let made = server.client.post(&format!("/projects/{mine}/keys"), &json!({ "name": "k" })).body;
    let path = format!("/projects/{other}/keys/{}", made["id"].as_str().unwrap());
    assert_eq!(server.client.delete(&path).status, 404);
    let secret = made["secret"].as_str().unwrap();
    assert!(server.control_plane.snapshots().load().keys.contains_key(&fingerprint(secret)));
}

async fn an_upstream_key_reaches_the_snapshot_and_can_never_be_read_again() {
    let server = Server::start().await;
    let project = server.project("web");
    let path = format!("/projects/{project}/upstream");
    let set = server.client.put(&path, &json!({ "api_key": CLAUDE_KEY }));
    assert_eq!(set.status, 200, "{}", set.body);
    assert_eq!((&set.body["configured"], &set.body["hint"]), (&Value::Bool(true), &"wxyz".into()));
    let in_force = |server: &Server| {
        let entry = server.control_plane.snapshots().load().projects[&ProjectId::new(&*project)].clone();
        entry.upstream_key.map(|key| key.expose_secret().to_owned())
    };
    assert_eq!(in_force(&server).as_deref(), Some(CLAUDE_KEY));
    for path in [path.clone(), format!("/projects/{project}"), "/projects".to_owned()] {
        let answer = server.client.get(&path).body.to_string();
        assert!(answer.contains("wxyz") && !answer.contains("sk-ant"), "{path}: {answer}");
    }
    let server = server.restart().await;
    assert_eq!(in_force(&server).as_deref(), Some(CLAUDE_KEY));
    assert_eq!(server.client.delete(&path).status, 204);
    assert_eq!(in_force(&server), None);
    assert_eq!(server.client.get(&path).body["configured"], false);
}

async fn no_secret_is_in_the_database() {
    let server = Server::start().await;
    let project = server.project("web");
    server.client.put(&format!("/projects/{project}/upstream"), &json!({ "api_key": CLAUDE_KEY }));
    let oauth = "sk-ant-oat01-of-a-developer-1234";
    server.client.post(&format!("/projects/{project}/credentials"), &json!({ "api_key": oauth }));
    let made = server.client.post(&format!("/projects/{project}/keys"), &json!({ "name": "k" })).body;
    let secret = made["secret"].as_str().unwrap().to_owned();
    let stored = stored(server.folder.path());
    let has = |text: &[u8]| stored.iter().any(|bytes| bytes.windows(text.len()).any(|window| window == text));
    assert!(has(project.as_bytes()), "what is looked through holds what was stored");
    for secret in [CLAUDE_KEY, oauth, &secret, TOKEN] {
        let as_hexadecimal: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(!has(secret.as_bytes()) && !has(as_hexadecimal.as_bytes()));
    }
}

async fn a_start_with_another_master_key_is_refused_by_name() {
    let server = Server::start().await;
    let project = server.project("web");
    server.client.put(&format!("/projects/{project}/upstream"), &json!({ "api_key": CLAUDE_KEY }));
    server.control_plane.shutdown().await;
    let error = ControlPlane::start(config(server.folder.path(), "22")).await.unwrap_err();
    assert!(error.to_string().contains(&project), "{error}");
}

async fn a_client_credential_is_recognised_until_it_is_removed() {
    let server = Server::start().await;
    let (mine, other) = (server.project("mine"), server.project("other"));
    let credential = "sk-ant-oat01-of-a-developer-1234";
    let request = json!({ "api_key": credential, "name": "Ada's laptop", "user_id": "usr_ada" });
    let made = server.client.post(&format!("/projects/{mine}/credentials"), &request);
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.body["hint"], "1234");
    let principal = |server: &Server| {
        server.control_plane.snapshots().load().client_credentials.get(&fingerprint(credential)).cloned()
    };
    let found = principal(&server).unwrap();
    assert_eq!(found.project_id.as_str(), mine);
    assert_eq!(found.user_id.as_ref().unwrap().as_str(), "usr_ada");
    let twice = server.client.post(&format!("/projects/{other}/credentials"), &request);
    assert_eq!((twice.status, twice.code()), (409, "credential_already_registered"));
    let listed = server.client.get(&format!("/projects/{mine}/credentials")).body;
    assert_eq!(listed["data"], json!([made.body]));
    let path = format!("/projects/{mine}/credentials/{}", made.body["id"].as_str().unwrap());
    assert_eq!(server.client.delete(&path).status, 204);
    assert!(principal(&server).is_none());
    assert_eq!(server.client.delete(&path).status, 404);
    assert_eq!(server.client.post(&format!("/projects/{other}/credentials"), &request).status, 201);
}

async fn pages_of_a_list_are_complete_while_entries_are_added() {
    let server = Server::start().await;
    let project = server.project("web");
    let path = format!("/projects/{project}/keys");
    let add = |name: String| assert_eq!(server.client.post(&path, &json!({ "name": name })).status, 201);
    (0..7).for_each(|number| add(format!("old-{number}")));
    let mut added = 0;
    let listed = server.client.pages(&path, 2, || {
        if added < 3 {
            add(format!("new-{added}"));
            added += 1;
        }
    });
    let mut ids: Vec<_> = listed.iter().map(|key| key["id"].as_str().unwrap()).collect();
    let old = listed.iter().filter(|key| key["name"].as_str().unwrap().starts_with("old-")).count();
    assert_eq!(old, 7);
    ids.dedup();
    assert_eq!(ids.len(), listed.len(), "no entry comes twice");
    assert!(listed.iter().all(|key| key.get("secret").is_none()));
}

async fn a_change_that_another_process_committed_is_in_force_within_a_second() {
    let server = Server::start().await;
    let snapshots = server.control_plane.snapshots();
    let before = snapshots.load().revision;
    let mut tx = server.control_plane.db.begin_write().await.unwrap();
    crate::snapshot::revision_raise(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    let published = async {
        while snapshots.load().revision <= before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(1), published).await.unwrap();
}

on_every_engine!(
    the_first_start_makes_the_default_project_and_later_starts_keep_it,
    a_project_is_made_listed_and_found,
    a_key_is_in_force_when_its_creation_is_answered_and_gone_when_its_revocation_is,
    a_key_changes_hands_and_roles_at_once_and_keeps_its_secret,
    a_change_of_a_key_that_cannot_be_meant_is_refused,
    a_credential_changes_hands_and_roles_at_once,
    a_key_of_another_project_is_not_revoked,
    an_upstream_key_reaches_the_snapshot_and_can_never_be_read_again,
    no_secret_is_in_the_database,
    a_start_with_another_master_key_is_refused_by_name,
    a_client_credential_is_recognised_until_it_is_removed,
    pages_of_a_list_are_complete_while_entries_are_added,
    a_change_that_another_process_committed_is_in_force_within_a_second,
);
