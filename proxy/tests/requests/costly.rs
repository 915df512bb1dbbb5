//! Requests that cost more than they look: others do not wait for them.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mindweave_policy::{Fingerprint, KeyEntry, LimitMetric, OnError, PolicySpec, Subject, SubjectKind};

use crate::governed::{
    FORBIDS_A_MODEL, REVISION, VIRTUAL_KEY, body_for, limit, message, policies, policy, post,
    post_on_virtual_key, reasons, snapshot,
};
use crate::held_bodies::gzip;
use crate::proxy::{TestProxy, principal};
use crate::wire::{Upstream, call};

/// A message request with so many blanks in it, packed.
fn bomb(blanks: usize) -> Vec<u8> {
    let body = body_for("claude-sonnet-4-6", 5).replacen('{', &format!("{{{}", " ".repeat(blanks)), 1);
    let packed = gzip(body.as_bytes());
    let head = post("")
        .replace("Content-Length: 0", &format!("Content-Encoding: gzip\r\nContent-Length: {}", packed.len()));
    [head.into_bytes(), packed].concat()
}

#[tokio::test]
async fn what_is_too_long_once_it_is_decoded_is_refused_where_something_depends_on_it() {
    for governance in
        [policies(&[policy(FORBIDS_A_MODEL)]), limit(LimitMetric::InputTokensPerMinute, 1 << 40)]
    {
        let mut upstream = Upstream::answering(message(1, 1)).await;
        let proxy =
            TestProxy::with(upstream.address, "", |config| config.body_limits.messages = 100_000).await;
        proxy.govern(REVISION, governance);
        assert_eq!(call(proxy.address, bomb(90_000)).await.status(), 200);
        upstream.request().await;
        let answer = call(proxy.address, bomb(200_000)).await;
        assert_eq!(answer.status(), 413);
        assert_eq!(answer.header("mindweave-reason").as_deref(), Some("request_too_large_decoded"));
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["error"]["type"], "request_too_large");
        assert!(upstream.is_untouched());
        let mut events = proxy.event_stream();
        events.next().await;
        assert_eq!(reasons(&events.next().await), ["request_too_large_decoded"]);
    }
}

#[tokio::test]
async fn what_is_too_long_once_it_is_decoded_passes_where_nothing_depends_on_it() {
    let mut upstream = Upstream::answering(message(1, 1)).await;
    let proxy = TestProxy::with(upstream.address, "", |config| config.body_limits.messages = 100_000).await;
    let request = bomb(200_000);
    assert_eq!(call(proxy.address, &request).await.status(), 200);
    assert!(request.ends_with(&upstream.request().await.body));
    assert_eq!(proxy.event().await.requested_model, None);
}

/// The longest time in which no other task of this thread got a turn until the request was answered, and all of it.
async fn longest_pause(proxy: &TestProxy, request: Vec<u8>) -> (Duration, Duration) {
    let longest = Rc::new(Cell::new(Duration::ZERO));
    let begin = Instant::now();
    let watching = {
        let longest = Rc::clone(&longest);
        async move {
            loop {
                let before = Instant::now();
                tokio::task::yield_now().await;
                longest.set(longest.get().max(before.elapsed()));
            }
        }
    };
    tokio::select! {
        answer = call(proxy.address, request) => assert_eq!(answer.status(), 200),
        () = watching => {}
    }
    (longest.get(), begin.elapsed())
}

#[tokio::test]
async fn others_get_their_turns_while_a_body_is_decoded() {
    for governance in [policies(&[policy(FORBIDS_A_MODEL)]), policies(&[])] {
        let upstream = Upstream::answering(message(1, 1)).await;
        let proxy = TestProxy::governed(upstream.address, governance).await;
        let (pause, all) = longest_pause(&proxy, bomb(8 << 20)).await;
        assert!(pause < all / 4, "{pause:?} of {all:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_do_not_wait_for_policies_that_take_long() {
    const COSTLY: &str = r#"package costly
deny contains {"reason": "x", "message": "m"} if {
    count([1 | some a in numbers.range(1, 48); some b in numbers.range(1, 48); a * b == input.time.now_ns]) > 0
}"#;
    let upstream = Upstream::answering(message(1, 1)).await;
    let proxy = TestProxy::start(upstream.address).await;
    let costly: Vec<Arc<PolicySpec>> = (0..4)
        .map(|number| {
            let rego = COSTLY.replace("costly", &format!("costly{number}"));
            let scope = Subject { kind: SubjectKind::Project, id: Some("prj_costly".into()) };
            Arc::new(PolicySpec { scope, on_error: OnError::Allow, ..(*policy(&rego)).clone() })
        })
        .collect();
    let mut snapshot = snapshot(REVISION, policies(&costly));
    let entry = KeyEntry { principal: principal("prj_costly"), expires_at: None };
    snapshot.keys.insert(Fingerprint::of(b"mw_costly"), entry);
    let project = snapshot.projects.values().next().unwrap().clone();
    snapshot.projects.insert(mindweave_metering::ProjectId::new("prj_costly"), project);
    assert!(proxy.snapshots.publish(snapshot));
    let body = body_for("claude-sonnet-4-6", 1);
    let request = |key| post_on_virtual_key(&body).replace(VIRTUAL_KEY, key);

    let begin = Instant::now();
    let address = proxy.address;
    let mut under_way = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let request = request("mw_costly");
        under_way.spawn(async move { call(address, request).await.status() });
    }
    let (mut longest, mut count) = (Duration::ZERO, 0);
    while under_way.try_join_next().inspect(|status| assert_eq!(*status.as_ref().unwrap(), 200)).is_some()
        || !under_way.is_empty()
    {
        let before = Instant::now();
        assert_eq!(call(address, request(VIRTUAL_KEY)).await.status(), 200);
        (longest, count) = (longest.max(before.elapsed()), count + 1);
    }
    let all = begin.elapsed();
    assert!(count > 10 && longest < all / 4, "{count} others took up to {longest:?} of {all:?}");
}

#[tokio::test]
async fn a_name_that_is_spelled_oddly_is_told_as_that() {
    let upstream = Upstream::answering(message(1, 1)).await;
    let proxy = TestProxy::governed(upstream.address, policies(&[policy(FORBIDS_A_MODEL)])).await;
    for model in ["Claude-Opus-4-5", " claude-opus-4-5", "claude-opus-4-5\\u0000"] {
        let answer = call(proxy.address, post(&body_for(model, 1))).await;
        assert_eq!(answer.status(), 400);
        assert_eq!(answer.header("mindweave-reason").as_deref(), Some("request_field_spelling"), "{model}");
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert!(body["error"]["message"].as_str().unwrap().contains("`model`"), "{body}");
    }
}

#[tokio::test]
async fn others_get_their_turns_while_an_answer_is_decoded_and_its_figures_are_exact() {
    let plain = message(3, 4);
    let (_, body) = plain.split_once("\r\n\r\n").unwrap();
    let packed = gzip(body.replacen('{', &format!("{{{}", " ".repeat(8 << 20)), 1).as_bytes());
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        packed.len()
    );
    let upstream = Upstream::answering([head.as_bytes(), packed.as_slice()].concat()).await;
    let proxy = TestProxy::start(upstream.address).await;
    let request = post(&body_for("claude-sonnet-4-6", 5)).into_bytes();
    let (pause, all) = longest_pause(&proxy, request).await;
    assert!(pause < all / 4, "{pause:?} of {all:?}");
    let event = proxy.event().await;
    assert_eq!((event.input_tokens, event.output_tokens), (3, 4));
}
