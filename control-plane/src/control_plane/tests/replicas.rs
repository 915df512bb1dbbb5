use std::time::Instant;

use serde_json::json;

use super::usage::{Subscriber, deliver};
use super::*;
use crate::testing::{NOON, event};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Another control plane of the same database.
async fn beside(server: &Server) -> Server {
    let control_plane = ControlPlane::start(config(server.folder.path(), "11")).await.unwrap();
    let client = Client::new(control_plane.local_addr());
    Server { control_plane, client, folder: tempfile::tempdir().unwrap() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_through_one_control_plane_is_in_force_at_the_others() {
    ENGINE.scope(Engine::Postgres, change_through_one()).await;
}

async fn change_through_one() {
    let server = Server::start().await;
    let other = beside(&server).await;
    for (here, there) in [(&server, &other), (&other, &server)] {
        let project = here.project("web");
        let keys = there.control_plane.snapshots().load().keys.len();
        here.client.create("/governance/quotas", &quota(&project));
        let made = here.client.post(&format!("/projects/{project}/keys"), &json!({ "name": "k" }));
        assert_eq!(made.status, 201, "{}", made.body);
        let begun = Instant::now();
        while there.control_plane.snapshots().load().keys.len() == keys {
            assert!(begun.elapsed() < PATIENCE, "the key is not known");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(there.client.get(&format!("/projects/{project}/keys")).status, 200);
    }
}

fn quota(project: &str) -> Value {
    json!({ "name": project, "scope": { "project": project }, "unit": "requests", "window": "day", "limit": 10 })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_control_plane_books_is_seen_live_at_the_others() {
    ENGINE.scope(Engine::Postgres, booked_by_one()).await;
}

async fn booked_by_one() {
    let server = Server::start().await;
    let other = beside(&server).await;
    let mut watching = [Subscriber::connect(&server, ""), Subscriber::connect(&other, "")];
    deliver(&server, "journal-1", &[event(1, NOON, 1)]).await;
    for subscriber in &mut watching {
        assert_eq!(subscriber.event()["input_tokens"], 1);
    }
    deliver(&other, "journal-2", &[event(1, NOON, 1), event(2, NOON, 2)]).await;
    for subscriber in &mut watching {
        assert_eq!(subscriber.event()["input_tokens"], 2, "and not the first one once more");
    }
    // With one of them stopped, the other goes on.
    let [mut here, _] = watching;
    other.control_plane.shutdown().await;
    deliver(&server, "journal-1", &[event(3, NOON, 3)]).await;
    assert_eq!(here.event()["input_tokens"], 3);
}
