//! What changes while a body is on its way: whoever sent its first byte in time does not escape it.

use mindweave_metering::{Outcome, ProjectId};
use mindweave_policy::{ProjectEntry, Secret};
use tokio::io::AsyncWriteExt;

use crate::governed::{
    FORBIDS_A_MODEL, REVISION, VIRTUAL_KEY, body_for, message, policies, policy, post_on_virtual_key,
    reasons, snapshot,
};
use crate::proxy::TestProxy;
use crate::wire::{Kind, Message, Reader, Upstream, open};

const FORBIDS_ALL: &str = r#"package all
deny contains {"reason": "closed", "message": "Closed."} if true"#;

/// A client whose body the proxy holds and waits for.
async fn waiting(proxy: &TestProxy, body: &str) -> Reader {
    let asking = post_on_virtual_key("")
        .replace("Content-Length: 0", &format!("Expect: 100-continue\r\nContent-Length: {}", body.len()));
    let mut client = open(proxy.address, asking).await;
    client.until(b"\r\n\r\n").await; // from here on its body is waited for
    client
}

async fn finish(mut client: Reader, body: &str) -> Message {
    client.stream.write_all(body.as_bytes()).await.unwrap();
    client.message(Kind::Response).await.unwrap()
}

#[tokio::test]
async fn a_policy_that_comes_into_force_while_a_body_is_held_judges_the_request() {
    let mut upstream = Upstream::answering(message(1, 1)).await;
    let proxy = TestProxy::governed(upstream.address, policies(&[policy(FORBIDS_A_MODEL)])).await;
    let body = body_for("claude-sonnet-4-6", 1);
    let client = waiting(&proxy, &body).await;
    proxy.govern(REVISION + 1, policies(&[policy(FORBIDS_ALL)]));
    let answer = finish(client, &body).await;
    assert_eq!((answer.status(), answer.header("mindweave-reason").as_deref()), (403, Some("closed")));
    assert!(upstream.is_untouched());
    let event = proxy.event_stream().next().await;
    assert_eq!((event.snapshot_revision, event.decision.policy_revision), (REVISION + 1, REVISION + 1));
    assert_eq!((event.outcome, reasons(&event)), (Outcome::Denied, vec!["closed"]));
    assert_eq!(proxy.record_count(), 1);
}

#[tokio::test]
async fn a_key_that_is_revoked_while_a_body_is_held_is_refused() {
    let mut upstream = Upstream::answering(message(1, 1)).await;
    let proxy = TestProxy::governed(upstream.address, policies(&[policy(FORBIDS_A_MODEL)])).await;
    let body = body_for("claude-sonnet-4-6", 1);
    let client = waiting(&proxy, &body).await;
    let mut without_key = snapshot(REVISION + 1, policies(&[policy(FORBIDS_A_MODEL)]));
    without_key.keys.clear();
    assert!(proxy.snapshots.publish(without_key));
    let answer = finish(client, &body).await;
    assert_eq!((answer.status(), answer.header("mindweave-reason").as_deref()), (401, Some("key_unknown")));
    assert!(upstream.is_untouched());
    let event = proxy.event_stream().next().await;
    assert_eq!((event.snapshot_revision, event.outcome), (REVISION + 1, Outcome::Denied));
    assert_eq!(reasons(&event), ["key_unknown"]);
    assert_eq!(proxy.record_count(), 1);
}

#[tokio::test]
async fn a_held_request_goes_on_with_the_key_and_the_freedom_of_its_decision() {
    let mut upstream = Upstream::answering(message(1, 1)).await;
    let proxy = TestProxy::governed(upstream.address, policies(&[policy(FORBIDS_A_MODEL)])).await;
    let body = body_for("forbidden", 1);
    let client = waiting(&proxy, &body).await;
    let mut free = snapshot(REVISION + 1, policies(&[]));
    let upstream_key = Some(Secret::new("sk-ant-api03-next".into()));
    free.projects
        .insert(ProjectId::new("prj_default"), ProjectEntry { name: "checkout-bot".into(), upstream_key });
    assert!(proxy.snapshots.publish(free));
    assert_eq!(finish(client, &body).await.status(), 200);
    let seen = upstream.request().await;
    assert_eq!(seen.header("x-api-key").as_deref(), Some("sk-ant-api03-next"), "{VIRTUAL_KEY} was exchanged");
    assert_eq!(seen.body, body.into_bytes());
    let event = proxy.event().await;
    assert_eq!((event.snapshot_revision, event.outcome), (REVISION + 1, Outcome::Complete));
}
