//! Answers that the proxy makes because there is none from the API.

use mindweave_metering::{Certainty, NanoUsd, Outcome};
use mindweave_proxy::BreakerConfig;

use crate::proxy::TestProxy;
use crate::wire::{Message, Step, Upstream, call, send};

const MESSAGES: &str = "POST /v1/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}";

fn assert_is_ours(answer: &Message, status: u16, kind: &str, reason: &str, should_retry: &str) {
    assert_eq!(answer.status(), status);
    assert_eq!(answer.header("mindweave-reason").as_deref(), Some(reason));
    assert_eq!(answer.header("x-should-retry").as_deref(), Some(should_retry));
    assert_eq!(answer.header("content-type").as_deref(), Some("application/json"));
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["type"], "error");
    assert_eq!(body["error"]["type"], kind);
    assert!(!body["error"]["message"].as_str().unwrap().is_empty());
}

/// An address that nothing listens on.
async fn nowhere() -> std::net::SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn an_unreachable_upstream_is_a_free_502_and_soon_an_open_circuit() {
    let proxy = TestProxy::start(nowhere().await).await;
    let failures = BreakerConfig::default().failures;
    for _ in 0..failures {
        let answer = call(proxy.address, MESSAGES).await;
        assert_is_ours(&answer, 502, "api_error", "upstream_unreachable", "true");
    }
    let answer = call(proxy.address, MESSAGES).await;
    assert_is_ours(&answer, 529, "overloaded_error", "circuit_open", "true");
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    let events = proxy.events(failures + 1).await;
    assert!(events.iter().all(|event| event.outcome == Outcome::UpstreamError
        && event.certainty == Certainty::Exact
        && event.cost_nano_usd == Some(NanoUsd(0))));
    assert_eq!(events.last().map(|event| event.status), Some(529));
}

#[tokio::test]
async fn an_upstream_that_closes_without_an_answer_is_a_502_of_unknown_cost() {
    let upstream = Upstream::start(vec![Step::Close]).await;
    let proxy = TestProxy::start(upstream.address).await;
    assert_is_ours(&call(proxy.address, MESSAGES).await, 502, "api_error", "upstream_closed", "true");
    let event = proxy.event().await;
    assert_eq!((event.outcome, event.status), (Outcome::UpstreamError, 502));
    assert_eq!((event.certainty, event.cost_nano_usd), (Certainty::Unknown, None));
    assert_eq!(event.error_type.as_deref(), Some("api_error"));
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_a_502() {
    let upstream = Upstream::start(vec![send("SSH-2.0-OpenSSH_9.9\r\n\r\n"), Step::Close]).await;
    let proxy = TestProxy::start(upstream.address).await;
    assert_is_ours(&call(proxy.address, MESSAGES).await, 502, "api_error", "upstream_invalid", "false");
    assert_eq!(proxy.event().await.certainty, Certainty::Unknown);
}

#[tokio::test]
async fn a_head_request_gets_the_head_of_our_answer() {
    let proxy = TestProxy::start(nowhere().await).await;
    let answer = call(proxy.address, "HEAD /api/hello HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(answer.status(), 502);
    assert!(answer.body.is_empty());
    assert!(answer.header("content-length").is_some_and(|length| length != "0"));
}
