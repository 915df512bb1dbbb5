//! What was open when a proxy died is booked when the next one starts.

use std::sync::Arc;

use mindweave_eventlog::{Journal, JournalConfig};
use mindweave_metering::{Certainty, NanoUsd, Outcome};
use mindweave_policy::PolicyMode;

use crate::governed::{FORBIDS_A_MODEL, REVISION, body_for, policies, policy_with, post};
use crate::proxy::TestProxy;
use crate::wire::{Step, Upstream, call, open};

/// Copies the journal of a running proxy, which is what a kill -9 at this moment would leave behind.
fn copy(journal: &TestProxy) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(journal.dir.path()).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_file() {
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
    }
    copy
}

#[tokio::test]
async fn requests_that_were_open_become_interrupted_events_and_finished_ones_stay() {
    let mut hanging = Upstream::start(vec![Step::Hang]).await;
    let first = TestProxy::start(hanging.address).await;
    let _messages =
        open(first.address, "POST /v1/messages HTTP/1.1\r\nHost: h\r\nX-Claude-Code-Session-Id: s1\r\nContent-Length: 2\r\n\r\n{}").await;
    hanging.request().await;
    let _models = open(first.address, "GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n").await;
    hanging.request().await;

    let left_behind = copy(&first);
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let second = TestProxy::in_dir(left_behind, &format!("http://{}", upstream.address), |_| {}).await;
    let events = second.events(2).await;
    assert!(events.iter().all(|event| event.outcome == Outcome::Interrupted && event.status == 0));
    let messages = events.iter().find(|event| &*event.endpoint == "/v1/messages").unwrap();
    assert_eq!((messages.certainty, messages.cost_nano_usd), (Certainty::Unknown, None));
    assert_eq!(messages.certainty_reason.as_deref(), Some("proxy_stopped"));
    assert_eq!(messages.session_id.as_deref(), Some("s1"));
    assert_eq!(messages.project_id.as_str(), "prj_default");
    assert_eq!(messages.metadata.get("cost_centre"), Some(&Arc::from("42")));
    let models = events.iter().find(|event| &*event.endpoint == "/v1/models").unwrap();
    assert_eq!((models.certainty, models.cost_nano_usd), (Certainty::Exact, Some(NanoUsd(0))));

    // A third start finds nothing open, and the new proxy's own request is booked beside them.
    assert_eq!(call(second.address, "GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n").await.status(), 200);
    assert_eq!(second.events(3).await.len(), 3);
    let again = copy(&second);
    let (_journal, recovery) = Journal::open(JournalConfig::new(again.path())).unwrap();
    assert!(recovery.interrupted.is_empty());
}

#[tokio::test]
async fn what_was_decided_about_a_request_outlives_the_proxy_that_decided_it() {
    let mut hanging = Upstream::start(vec![Step::Hang]).await;
    let shadow = policies(&[policy_with(FORBIDS_A_MODEL, PolicyMode::Shadow)]);
    let first = TestProxy::governed(hanging.address, shadow).await;
    let _client = open(first.address, post(&body_for("forbidden", 1))).await;
    hanging.request().await;
    let second = TestProxy::in_dir(copy(&first), &format!("http://{}", hanging.address), |_| {}).await;
    let event = second.events(1).await.remove(0);
    assert_eq!((event.outcome, event.requested_model.as_deref()), (Outcome::Interrupted, Some("forbidden")));
    assert_eq!(event.decision.shadow, ["model_forbidden".into()]);
    assert_eq!(event.decision.policy_revision, REVISION);
}
