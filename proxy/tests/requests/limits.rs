//! Request bodies that are too long, and a journal without room.

use mindweave_eventlog::{JournalConfig, Sequence, SyncPolicy};
use mindweave_metering::{Effect, NanoUsd, Outcome};
use mindweave_proxy::JournalFull;
use tokio::io::AsyncWriteExt;

use crate::proxy::TestProxy;
use crate::wire::{Kind, Step, Upstream, call, contains, open};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn a_declared_length_over_the_limit_is_refused_without_waiting_for_the_body() {
    let mut upstream = Upstream::answering(OK).await;
    let proxy = TestProxy::start(upstream.address).await;
    for (path, over) in [
        ("/v1/messages", 32 * 1024 * 1024 + 1_u64),
        ("/v1/messages/count_tokens", 32 * 1024 * 1024 + 1),
        ("/v1/messages/batches", 256 * 1024 * 1024 + 1),
        ("/v1/files", 500 * 1024 * 1024 + 1),
    ] {
        let answer = call(
            proxy.address,
            format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {over}\r\n\r\n{{"),
        )
        .await;
        assert_eq!(answer.status(), 413, "{path}");
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["error"]["type"], "request_too_large");
        assert!(body["error"]["message"].as_str().unwrap().contains(&(over - 1).to_string()));
        assert_eq!(answer.header("mindweave-reason").as_deref(), Some("request_too_large"));
    }
    assert!(upstream.is_untouched());
    let events = proxy.events(4).await;
    assert!(events.iter().all(|event| event.outcome == Outcome::Denied
        && event.status == 413
        && event.cost_nano_usd == Some(NanoUsd(0))
        && event.decision.effect == Effect::Deny));
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_passes() {
    let mut upstream = Upstream::answering(OK).await;
    let proxy = TestProxy::with(upstream.address, "", |config| config.body_limits.messages = 1_000).await;
    let body = "x".repeat(1_000);
    for framed in [
        format!("Content-Length: 1000\r\n\r\n{body}"),
        format!("Transfer-Encoding: chunked\r\n\r\n3e8\r\n{body}\r\n0\r\n\r\n"),
    ] {
        let answer = call(proxy.address, format!("POST /v1/messages HTTP/1.1\r\nHost: h\r\n{framed}")).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(upstream.request().await.body.len(), 1_000);
    }
}

#[tokio::test]
async fn a_chunked_body_that_grows_over_the_limit_is_refused_and_never_arrives_whole() {
    let mut upstream = Upstream::answering(OK).await;
    let proxy = TestProxy::with(upstream.address, "", |config| config.body_limits.messages = 1_000).await;
    let chunk = format!("c8\r\n{}\r\n", "x".repeat(200));
    let mut client =
        open(proxy.address, "POST /v1/messages HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
    for _ in 0..6 {
        client.stream.write_all(chunk.as_bytes()).await.unwrap();
    }
    let answer = client.message(Kind::Response).await.unwrap();
    assert_eq!(answer.status(), 413);
    let event = proxy.event().await;
    assert_eq!((event.outcome, event.status, event.cost_nano_usd), (Outcome::Denied, 413, Some(NanoUsd(0))));
    assert!(upstream.is_untouched());
}

#[tokio::test]
async fn a_refused_client_that_sends_on_still_gets_its_answer() {
    let upstream = Upstream::answering(OK).await;
    let proxy = TestProxy::with(upstream.address, "", |config| config.body_limits.messages = 1_000).await;
    // More than all socket buffers on the way: a connection closed with unread bytes would be reset under the client.
    const LENGTH: usize = 24 * 1024 * 1024;
    let request = format!("POST /v1/messages HTTP/1.1\r\nHost: h\r\nContent-Length: {LENGTH}\r\n\r\n");
    let mut client = open(proxy.address, request).await;
    let piece = vec![b'x'; 64 * 1024];
    for _ in 0..LENGTH / piece.len() {
        client.stream.write_all(&piece).await.unwrap();
    }
    assert_eq!(client.message(Kind::Response).await.unwrap().status(), 413);
    // And the connection is good for the next request.
    client.stream.write_all(b"GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    assert_eq!(client.message(Kind::Response).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_client_that_asks_before_sending_too_much_is_not_told_to_go_on() {
    let upstream = Upstream::answering(OK).await;
    let proxy = TestProxy::start(upstream.address).await;
    let mut client = open(
        proxy.address,
        "POST /v1/messages HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n",
    )
    .await;
    let first = client.until(b"\r\n\r\n").await;
    assert!(first.starts_with(b"HTTP/1.1 413"), "{}", String::from_utf8_lossy(&first));
}

#[tokio::test]
async fn requests_wait_for_the_disk_where_the_journal_promises_it() {
    let upstream = Upstream::answering(OK).await;
    let dir = tempfile::tempdir().unwrap();
    let mut journal = JournalConfig::new(dir.path());
    journal.segment_bytes = 1024 * 1024;
    journal.sync = SyncPolicy::Always;
    let url = format!("http://{}", upstream.address);
    let proxy = TestProxy::with_journal(dir, journal, &url, |_| {}).await;
    assert_eq!(call(proxy.address, "GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n").await.status(), 200);
    assert!(proxy.journal.stats().synced >= Sequence::new(1), "the admission at least");
    assert_eq!(proxy.event().await.outcome, Outcome::Complete);
}

#[tokio::test]
async fn a_large_body_streams_through_while_it_is_still_being_sent() {
    // An upstream that has the beginning although the client has not sent the end: nothing is held back.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = TestProxy::start(address).await;
    let _client = open(
        proxy.address,
        "POST /v1/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n{\"model\":\"",
    )
    .await;
    let (stream, _) = listener.accept().await.unwrap();
    let seen = crate::wire::Reader::new(stream).until(b"{\"model\":\"").await;
    assert!(contains(&seen, b"Content-Length: 1000"));
}

/// A proxy whose journal has room for a few requests only, none of which is ever delivered to a consumer.
pub(crate) async fn with_small_journal(upstream: &Upstream, full: JournalFull) -> TestProxy {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = JournalConfig::new(dir.path());
    journal.segment_bytes = 64 * 1024;
    journal.max_bytes = 128 * 1024;
    let url = format!("http://{}", upstream.address);
    TestProxy::with_journal(dir, journal, &url, |config| config.journal_full = full).await
}

#[tokio::test]
async fn a_full_journal_refuses_requests_and_what_was_admitted_is_all_there() {
    let upstream = Upstream::answering(OK).await;
    let proxy = with_small_journal(&upstream, JournalFull::Refuse).await;
    let mut answered = 0;
    let refusal = loop {
        let answer = call(proxy.address, "GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n").await;
        if answer.status() != 200 {
            break answer;
        }
        answered += 1;
        assert!(answered < 1_000, "the journal never filled up");
    };
    assert_eq!(refusal.status(), 503);
    assert_eq!(refusal.header("mindweave-reason").as_deref(), Some("journal_full"));
    assert!(refusal.header("retry-after").is_some());
    let body: serde_json::Value = serde_json::from_slice(&refusal.body).unwrap();
    assert_eq!(body["error"]["type"], "api_error");
    assert!(answered > 0);
    assert_eq!(proxy.events(answered).await.len(), answered);
}

#[tokio::test]
async fn a_full_journal_lets_requests_pass_where_the_configuration_says_so() {
    let upstream = Upstream::answering(OK).await;
    let proxy = with_small_journal(&upstream, JournalFull::Drop).await;
    for _ in 0..300 {
        assert_eq!(call(proxy.address, "GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n").await.status(), 200);
    }
    assert!(proxy.journal.stats().refused_full > 0, "the journal did fill up");
}

#[tokio::test]
async fn a_body_that_stalls_does_not_hold_an_upstream_connection_for_ever() {
    let upstream = Upstream::start(vec![Step::Hang]).await;
    let proxy = TestProxy::with(upstream.address, "", |config| {
        config.upstream.response_timeout = std::time::Duration::from_millis(100);
    })
    .await;
    let answer =
        call(proxy.address, "POST /v1/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n{").await;
    assert_eq!(answer.status(), 408);
    let event = proxy.event().await;
    assert_eq!((event.outcome, event.cost_nano_usd), (Outcome::Deadline, Some(NanoUsd(0))));
}
