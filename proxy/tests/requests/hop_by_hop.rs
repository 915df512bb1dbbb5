//! What belongs to one connection stays on it.

use crate::proxy::TestProxy;
use crate::wire::{Upstream, call};

#[tokio::test]
async fn fields_of_the_client_connection_stop_at_the_proxy() {
    let mut upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let proxy = TestProxy::start(upstream.address).await;
    call(
        proxy.address,
        "GET /x HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, X-Named , Content-Length, Host\r\nX-Named: 1\r\nConnection: x-other\r\n\
         X-Other: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: gzip;q=0.5, trailers\r\n\
         Upgrade: websocket\r\nX-MindWeave-Anything: 1\r\nX-End: 1\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let seen = upstream.request().await;
    assert_eq!(seen.names(), ["Host", "TE", "X-End", "Content-Length"]);
    assert_eq!(seen.header("te").as_deref(), Some("trailers"));
}

#[tokio::test]
async fn a_te_that_does_not_ask_for_trailers_is_not_forwarded() {
    let mut upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let proxy = TestProxy::start(upstream.address).await;
    call(proxy.address, "GET /x HTTP/1.1\r\nHost: h\r\nTE: gzip\r\nConnection: TE\r\n\r\n").await;
    assert_eq!(upstream.request().await.names(), ["Host"]);
}

#[tokio::test]
async fn fields_of_the_upstream_connection_stop_at_the_proxy() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Named\r\nX-Named: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Connection: x\r\nUpgrade: h2c\r\nX-End: 1\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let proxy = TestProxy::start(upstream.address).await;
    let answer = call(proxy.address, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(answer.names(), ["X-End", "Content-Length"]);
}

#[tokio::test]
async fn nothing_is_added_on_the_way() {
    let mut upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let proxy = TestProxy::start(upstream.address).await;
    let answer =
        call(proxy.address, "POST /v1/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}").await;
    assert_eq!(answer.names(), ["Content-Length"]);
    assert_eq!(upstream.request().await.names(), ["Host", "Content-Length"]);
}

#[tokio::test]
async fn what_could_be_read_in_two_ways_is_refused() {
    let mut upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let proxy = TestProxy::start(upstream.address).await;
    for framing in [
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity, chunked",
    ] {
        let answer =
            call(proxy.address, format!("POST /x HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n0\r\n\r\n")).await;
        assert_eq!(answer.status(), 501, "{framing}");
    }
    let answer = call(proxy.address, "GET /x HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n").await;
    assert_eq!(
        (answer.status(), answer.header("mindweave-reason").as_deref()),
        (400, Some("host_ambiguous"))
    );
    assert!(upstream.is_untouched());
}

#[tokio::test]
async fn a_length_beside_chunked_framing_does_not_travel_on() {
    let mut upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let proxy = TestProxy::start(upstream.address).await;
    for order in
        ["Content-Length: 3\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 3"]
    {
        let request = format!("POST /x HTTP/1.1\r\nHost: h\r\n{order}\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        let answer = call(proxy.address, request).await;
        if answer.status() == 200 {
            let seen = upstream.request().await;
            assert_eq!(seen.header("content-length"), None);
            assert_eq!(seen.body, b"hello");
        } else {
            assert_eq!(answer.status(), 400);
        }
    }
}
