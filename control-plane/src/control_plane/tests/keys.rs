use jiff::Timestamp;
use mindweave_eventlog::Sequence;
use mindweave_policy::{Fingerprint, KeyEntry};
use serde_json::json;

use super::*;
use crate::clock;
use crate::db::sql;
use crate::keys::uses_note;

fn in_force(server: &Server, secret: &str) -> Option<KeyEntry> {
    server.control_plane.snapshots().load().keys.get(&Fingerprint::of(secret.as_bytes())).cloned()
}

/// What was noted of a thing, oldest first.
async fn noted(server: &Server, target: &str) -> Vec<Value> {
    let sql = "SELECT body FROM audit_log WHERE target_id = ? ORDER BY sequence";
    let bodies = sql::query_scalar::<String>(sql).bind(target);
    let bodies = bodies.fetch_all(server.control_plane.db.readers()).await.unwrap();
    bodies.iter().map(|body| serde_json::from_str(body).unwrap()).collect()
}

async fn a_rotated_key_has_both_secrets_for_a_while_and_one_without_an_overlap_at_once() {
    let server = Server::start().await;
    let project = server.project("web");
    let expiry = "2099-01-01T00:00:00Z";
    let path = format!("/projects/{project}/keys");
    let made =
        server.client.post(&path, &json!({ "name": "ci", "team_id": "team_7", "expires_at": expiry })).body;
    let first = made["secret"].as_str().unwrap().to_owned();
    let path = format!("{path}/{}", made["id"].as_str().unwrap());
    let rotate = format!("{path}/rotate");

    let rotated = server.client.post(&rotate, &json!({ "overlap_seconds": 3_600 }));
    assert_eq!(rotated.status, 200, "{}", rotated.body);
    assert_eq!(rotated.header("cache-control"), "no-store");
    let second = rotated.body["secret"].as_str().unwrap().to_owned();
    assert!(second.starts_with("mw_") && second != first);
    assert_eq!((&rotated.body["id"], &rotated.body["team_id"]), (&made["id"], &"team_7".into()));
    let ends: Timestamp = rotated.body["previous_expires_at"].as_str().unwrap().parse().unwrap();
    let (old, new) = (in_force(&server, &first).unwrap(), in_force(&server, &second).unwrap());
    assert_eq!((old.expires_at, old.principal), (Some(ends), new.principal.clone()));
    assert_eq!(new.expires_at, Some(expiry.parse().unwrap()));
    let seconds = ends.duration_since(clock::now()).as_secs();
    assert!((3_000..=3_600).contains(&seconds), "{seconds}");

    // The key's own end is that of both its secrets.
    let soon = clock::now() + jiff::SignedDuration::from_secs(60);
    server.client.patch(&path, &json!({ "expires_at": soon.to_string() }));
    assert_eq!(in_force(&server, &first).unwrap().expires_at, Some(soon));
    server.client.patch(&path, &json!({ "expires_at": null }));

    let again = server.client.post(&rotate, &json!({}));
    let third = again.body["secret"].as_str().unwrap().to_owned();
    assert!(in_force(&server, &first).is_none(), "only the secret before the present one stays good");
    assert!(in_force(&server, &second).is_some() && in_force(&server, &third).is_some());

    let at_once = server.client.post(&rotate, &json!({ "overlap_seconds": 0 })).body;
    assert_eq!(at_once["previous_expires_at"], Value::Null);
    let fourth = at_once["secret"].as_str().unwrap();
    for gone in [&first, &second, &third] {
        assert!(in_force(&server, gone).is_none());
    }
    assert!(in_force(&server, fourth).is_some());
    for (body, field) in [
        (json!({ "overlap_seconds": -1 }), "overlap_seconds"),
        (json!({ "overlap_seconds": 30 * 86_400 + 1 }), "overlap_seconds"),
        (json!({ "overlap_seconds": 1.5 }), "overlap_seconds"),
        (json!({ "secret": "mw_mine" }), "secret"),
    ] {
        let refused = server.client.post(&rotate, &body);
        assert_eq!((refused.status, refused.refused()), (422, vec![field]), "{}", refused.body);
    }
    server.client.delete(&path);
    assert!(in_force(&server, fourth).is_none());
    let late = server.client.post(&rotate, &json!({}));
    assert_eq!((late.status, late.code()), (409, "key_revoked"));

    let log = noted(&server, made["id"].as_str().unwrap()).await;
    let actions: Vec<_> = log.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    let (rotated, updated) = ("key.rotated", "key.updated");
    assert_eq!(actions, ["key.created", rotated, updated, updated, rotated, rotated, "key.revoked"]);
    let text = serde_json::to_string(&log).unwrap();
    for secret in [&*first, &second, &third, fourth] {
        assert!(!text.contains(secret), "no secret is in the log");
    }
    assert_eq!(log[1]["after"]["hint"], second.chars().skip(second.len() - 4).collect::<String>());
}

async fn a_disabled_key_is_refused_until_it_is_enabled_and_its_old_secret_too() {
    let server = Server::start().await;
    let project = server.project("web");
    let made = server.client.post(&format!("/projects/{project}/keys"), &json!({ "name": "ci" })).body;
    let path = format!("/projects/{project}/keys/{}", made["id"].as_str().unwrap());
    let first = made["secret"].as_str().unwrap();
    let second =
        server.client.post(&format!("{path}/rotate"), &json!({})).body["secret"].as_str().unwrap().to_owned();
    let disabled = server.client.patch(&path, &json!({ "disabled": true }));
    assert_eq!((disabled.status, &disabled.body["state"]), (200, &"disabled".into()), "{}", disabled.body);
    assert!(in_force(&server, first).is_none() && in_force(&server, &second).is_none());
    let again = server.client.patch(&path, &json!({ "disabled": true }));
    assert_eq!(again.body["disabled_at"], disabled.body["disabled_at"], "since when stays");
    let enabled = server.client.patch(&path, &json!({ "disabled": false }));
    assert_eq!((&enabled.body["state"], &enabled.body["disabled_at"]), (&"active".into(), &Value::Null));
    assert!(in_force(&server, first).is_some() && in_force(&server, &second).is_some());
    let refused = server.client.patch(&path, &json!({ "disabled": "yes" }));
    assert_eq!((refused.status, refused.refused()), (422, vec!["disabled"]));
    let log = noted(&server, made["id"].as_str().unwrap()).await;
    let actions: Vec<_> = log.iter().skip(2).map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["key.disabled", "key.enabled"]);
    assert_eq!(log[2]["project_id"], *project);
    assert_eq!(
        (&log[2]["before"]["disabled_at"], &log[2]["actor"]["kind"]),
        (&Value::Null, &"admin_token".into())
    );
}

async fn a_change_that_is_based_on_an_older_version_is_refused_and_use_makes_no_new_version() {
    let server = Server::start().await;
    let project = server.project("web");
    let key = server.client.create(&format!("/projects/{project}/keys"), &json!({ "name": "one" }));
    let path = format!("/projects/{project}/keys/{key}");
    let tag = server.client.get(&path).header("etag").to_owned();
    let now = clock::now().as_microsecond();
    use_at(&server, &project, &key, now).await;
    let headers = |tag: &str| {
        vec![
            ("authorization", format!("Bearer {TOKEN}")),
            ("content-type", "application/json".into()),
            ("if-match", tag.into()),
        ]
    };
    let change = |name: &str, tag: &str| {
        let body = json!({ "name": name }).to_string();
        server.client.call_with("PATCH", &path, &headers(tag), Some(body.as_bytes()))
    };
    let changed = change("two", &tag);
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(micros(&changed.body["last_used_at"]), now - now % MINUTE, "to the minute");
    let stale = change("three", &tag);
    assert_eq!((stale.status, stale.code()), (412, "precondition_failed"));
    assert_eq!(server.client.call_with("DELETE", &path, &headers(&tag), None).status, 412);
    assert_eq!(change("three", changed.header("etag")).status, 200);
    assert_eq!(server.client.get(&path).body["name"], "three");
}

const MINUTE: i64 = 60_000_000;

fn micros(time: &Value) -> i64 {
    time.as_str().unwrap().parse::<Timestamp>().unwrap().as_microsecond()
}

/// Books a request of a key.
async fn use_at(server: &Server, project: &str, key: &str, micros: i64) {
    use crate::testing::{event, record};
    let mut event = event(u64::try_from(micros / 1_000_000).unwrap(), micros, 1);
    event.project_id = mindweave_metering::ProjectId::new(project);
    event.key_id = Some(mindweave_metering::KeyId::new(key));
    let source = format!("journal-{key}-{micros}");
    let (mut claim, _) = server.control_plane.ingest.claim(&source).await.unwrap();
    let last = Sequence::new(1);
    server.control_plane.ingest.apply(&mut claim, &[record(1, &event)], last).await.unwrap();
    uses_note(&server.control_plane.db, clock::now()).await.unwrap();
}

async fn keys_are_listed_by_state_owner_and_last_use() {
    let server = Server::start().await;
    let project = server.project("web");
    let path = format!("/projects/{project}/keys");
    let make = |name: &str, more: Value| {
        let mut body = json!({ "name": name });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.client.create(&path, &body)
    };
    let [old, busy, idle] = ["old", "busy", "idle"].map(|name| make(name, json!({ "user_id": "usr_1" })));
    let off = make("off", json!({ "team_id": "team_1" }));
    let gone = make("gone", json!({}));
    server.client.patch(&format!("{path}/{off}"), &json!({ "disabled": true }));
    server.client.delete(&format!("{path}/{gone}"));
    let sql = "UPDATE keys SET expires_at = 1 WHERE id = ?";
    let mut tx = server.control_plane.db.begin_write().await.unwrap();
    sql::query(sql).bind(&*old).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let now = clock::now().as_microsecond();
    use_at(&server, &project, &busy, now).await;
    use_at(&server, &project, &busy, now - 9 * MINUTE).await; // arrives late: the last use stays
    use_at(&server, &project, &old, now - 3 * 24 * 60 * MINUTE).await; // very late
    use_at(&server, &project, &idle, now + 600 * MINUTE).await; // a clock that is ahead

    let names = |query: &str| {
        let entries = server.client.pages(&format!("{path}?{query}"), 2, || ());
        entries.iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("state=active"), ["busy", "idle"]);
    assert_eq!(names("state=expired"), ["old"]);
    assert_eq!(names("state=disabled"), ["off"]);
    assert_eq!(names("state=revoked"), ["gone"]);
    assert_eq!(names("user_id=usr_1"), ["old", "busy", "idle"]);
    assert_eq!(names("team_id=team_1&state=disabled"), ["off"]);
    assert_eq!(names("sort=name"), ["busy", "gone", "idle", "off", "old"]);
    assert_eq!(names("sort=-name"), ["old", "off", "idle", "gone", "busy"]);
    assert_eq!(names("sort=-created_at"), ["gone", "off", "idle", "busy", "old"]);
    assert_eq!(names("sort=-last_used_at")[..2], ["busy", "old"]);
    assert_eq!(names("sort=last_used_at")[3..], ["old", "busy"]);
    let used = |id: &str| server.client.get(&format!("{path}/{id}")).body["last_used_at"].clone();
    assert_eq!(micros(&used(&busy)), now - now % MINUTE);
    let late = now - micros(&used(&old));
    assert!((2 * 24 * 60 * MINUTE..=4 * 24 * 60 * MINUTE).contains(&late), "{late}");
    assert_eq!((used(&idle), used(&gone)), (Value::Null, Value::Null));
    for query in ["state=gone", "sort=secret", "limit=0", "order=up"] {
        let refused = server.client.get(&format!("{path}?{query}"));
        assert_eq!((refused.status, refused.code()), (400, "invalid_parameter"), "{query}");
    }
    let by_name = server.client.get(&format!("{path}?limit=1&sort=name")).body["next_cursor"].clone();
    let cursor = by_name.as_str().unwrap();
    let mixed = server.client.get(&format!("{path}?cursor={cursor}"));
    assert_eq!((mixed.status, mixed.code()), (400, "invalid_cursor"));
}

on_every_engine!(
    a_rotated_key_has_both_secrets_for_a_while_and_one_without_an_overlap_at_once,
    a_disabled_key_is_refused_until_it_is_enabled_and_its_old_secret_too,
    a_change_that_is_based_on_an_older_version_is_refused_and_use_makes_no_new_version,
    keys_are_listed_by_state_owner_and_last_use,
);
