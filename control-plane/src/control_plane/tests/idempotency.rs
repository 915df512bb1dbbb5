//! Requests that are sent again with their `Idempotency-Key`.

use serde_json::json;

use super::people::{At, org, person, project, roles_revoke};
use super::*;
use crate::db::{DatabaseOptions, Db, sql};
use crate::http::idempotency::requests_prune;

impl Client {
    /// Sends a request with a key.
    fn keyed(&self, method: &str, path: &str, key: &str, body: &Value) -> Answer {
        let headers = [
            ("authorization", format!("Bearer {TOKEN}")),
            ("content-type", "application/json".to_owned()),
            ("idempotency-key", key.to_owned()),
        ];
        self.call_with(method, path, &headers, Some(body.to_string().as_bytes()))
    }
}

async fn a_request_that_is_sent_again_is_carried_out_once_and_answered_alike() {
    let server = Server::start().await;
    let project = server.project("web");
    let keys = format!("/projects/{project}/keys");
    let body = json!({ "name": "laptop" });
    let first = server.client.keyed("POST", &keys, "k-1", &body);
    assert_eq!((first.status, first.header("idempotency-replayed")), (201, ""), "{}", first.body);
    let again = server.client.keyed("POST", &keys, "k-1", &body);
    assert_eq!((again.status, &again.body), (201, &first.body), "with its secret");
    assert_eq!(again.header("idempotency-replayed"), "true");
    for name in ["location", "content-type"] {
        assert_eq!(again.header(name), first.header(name));
    }
    assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
    assert_eq!(server.client.get(&keys).body["data"].as_array().unwrap().len(), 1);

    let secret = first.body["secret"].as_str().unwrap().as_bytes().to_vec();
    for stored in stored(server.folder.path()) {
        assert!(!stored.windows(secret.len()).any(|bytes| bytes == secret), "the secret is in the database");
    }
    let server = server.restart().await;
    assert_eq!(server.client.keyed("POST", &keys, "k-1", &body).body, first.body, "after a restart");
}

async fn a_key_belongs_to_one_request() {
    let server = Server::start().await;
    let (one, other) = (json!({ "name": "one" }), json!({ "name": "other" }));
    assert_eq!(server.client.keyed("POST", "/projects", "k", &one).status, 201);
    for (method, path, body) in [("POST", "/projects", &other), ("POST", "/projects?x=1", &one)] {
        let refused = server.client.keyed(method, path, "k", body);
        assert_eq!((refused.status, refused.code()), (422, "idempotency_key_reused"), "{}", refused.body);
    }
    assert_eq!(server.client.get("/projects").body["data"].as_array().unwrap().len(), 2, "default, and one");
    for bad in ["", " ", "a b", &"k".repeat(256)] {
        let refused = server.client.keyed("POST", "/projects", bad, &one);
        assert_eq!((refused.status, refused.code()), (400, "invalid_idempotency_key"), "{bad:?}");
    }
    // Refusals are answers too; a read has no use for a key.
    let refused = server.client.keyed("POST", "/projects", "refused", &json!({ "name": "" }));
    let again = server.client.keyed("POST", "/projects", "refused", &json!({ "name": "" }));
    assert_eq!((refused.status, again.status, again.header("idempotency-replayed")), (422, 422, "true"));
    assert_eq!(again.header("content-type"), "application/problem+json");
    let read = |key: &str| {
        let headers = [("authorization", format!("Bearer {TOKEN}")), ("idempotency-key", key.to_owned())];
        server.client.call_with("GET", "/projects", &headers, None)
    };
    assert_eq!((read("k").status, read("k").header("idempotency-replayed")), (200, ""));
    let nobody = server.client.call_with("POST", "/projects", &[("idempotency-key", "k".to_owned())], None);
    assert_eq!(nobody.status, 401, "a key is no way around a token");
}

async fn whoever_has_lost_a_role_is_shown_no_answer_of_before() {
    let server = Server::start().await;
    let acme = org(&server, "acme").await;
    let web = project(&server, &acme, None, "web").await;
    let developer = person(&server, &acme, At::Org, "developer").await;
    let ask = || {
        let headers = [
            ("authorization", format!("Bearer {developer}")),
            ("content-type", "application/json".to_owned()),
            ("idempotency-key", "k".to_owned()),
        ];
        server.client.call_with("POST", &format!("/projects/{web}/keys"), &headers, Some(br#"{"name":"k"}"#))
    };
    let first = ask();
    assert_eq!((first.status, ask().body), (201, first.body.clone()));
    roles_revoke(&server, &developer).await;
    let after = ask();
    assert_eq!(after.status, 422, "{}", after.body);
    assert!(!after.body.to_string().contains(first.body["secret"].as_str().unwrap()));
}

async fn of_many_at_once_at_two_control_planes_exactly_one_is_carried_out() {
    let folder = tempfile::tempdir().unwrap();
    let one = ControlPlane::start(config(folder.path(), "11")).await.unwrap();
    let two = ControlPlane::start(config(folder.path(), "11")).await.unwrap();
    let addresses = [one.local_addr(), two.local_addr()];
    let body = json!({ "name": "once" });
    let answers: Vec<Answer> = tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let send = |number: usize| {
                let (address, body) = (addresses[number % 2], &body);
                scope.spawn(move || {
                    let client = Client::new(address);
                    client.keyed("POST", "/projects", "race", body)
                })
            };
            let sent: Vec<_> = (0..16).map(send).collect();
            sent.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    });
    let fresh = |answer: &&Answer| answer.status == 201 && answer.header("idempotency-replayed").is_empty();
    assert_eq!(answers.iter().filter(fresh).count(), 1);
    for answer in &answers {
        match answer.status {
            201 => assert_eq!(answer.body["name"], "once"),
            409 => assert_eq!((answer.code(), answer.header("retry-after")), ("request_in_progress", "1")),
            status => panic!("{status}: {}", answer.body),
        }
    }
    let projects = Client::new(addresses[0]).get("/projects");
    let named = projects.body["data"].as_array().unwrap().iter().filter(|project| project["name"] == "once");
    assert_eq!(named.count(), 1);
    let after = Client::new(addresses[1]).keyed("POST", "/projects", "race", &body);
    assert_eq!(
        (after.status, after.header("idempotency-replayed")),
        (201, "true"),
        "at the other one as well"
    );
}

async fn a_request_whose_process_died_is_given_up_and_old_keys_are_forgotten() {
    let server = Server::start().await;
    let db = Db::open(&database(server.folder.path()), DatabaseOptions::default()).await.unwrap();
    let set = async |statement: &'static str| {
        let mut tx = db.begin_write().await.unwrap();
        sql::query(statement).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    };
    let body = json!({ "name": "web" });
    let ask = || server.client.keyed("POST", "/projects", "k", &body);
    assert_eq!(ask().status, 201);
    set("UPDATE idempotent_requests SET status = NULL, sealed = NULL").await;
    let running = ask();
    assert_eq!((running.status, running.code()), (409, "request_in_progress"));
    set("UPDATE idempotent_requests SET created_at = created_at - 61000000").await;
    let again = ask();
    assert_eq!((again.status, again.header("idempotency-replayed")), (201, ""), "carried out again");
    assert_eq!(ask().header("idempotency-replayed"), "true");
    set("UPDATE idempotent_requests SET sealed = substr(sealed, 1, 20)").await;
    let lost = ask();
    assert_eq!((lost.status, lost.code()), (409, "answer_not_kept"));
    set("UPDATE idempotent_requests SET expires_at = 1").await;
    requests_prune(&db, clock::now()).await.unwrap();
    let left: i64 =
        sql::query_scalar("SELECT count(*) FROM idempotent_requests").fetch_one(db.readers()).await.unwrap();
    assert_eq!(left, 0);
    assert_eq!(ask().status, 201, "a day later it is a new request");
    db.close().await;
}

on_every_engine!(
    whoever_has_lost_a_role_is_shown_no_answer_of_before,
    a_request_that_is_sent_again_is_carried_out_once_and_answered_alike,
    a_key_belongs_to_one_request,
    of_many_at_once_at_two_control_planes_exactly_one_is_carried_out,
    a_request_whose_process_died_is_given_up_and_old_keys_are_forgotten,
);
