//! What a client and the API see of each other through the proxy is what they would see directly.

use crate::proxy::TestProxy;
use crate::wire::{Message, Upstream, call};

/// The same request sent directly and through the proxy: what arrived upstream, and what came back, both ways.
async fn both_ways(request: &[u8], answer: &[u8]) -> [(Message, Message); 2] {
    let mut upstream = Upstream::answering(answer).await;
    let direct = call(upstream.address, request).await;
    let seen_directly = upstream.request().await;
    let proxy = TestProxy::start(upstream.address).await;
    let through = call(proxy.address, request).await;
    let seen_through = upstream.request().await;
    [(seen_directly, direct), (seen_through, through)]
}

async fn assert_identical(request: &[u8], answer: &[u8]) {
    let [direct, through] = both_ways(request, answer).await;
    let shown = String::from_utf8_lossy(request).into_owned();
    assert_eq!(through.0.end_to_end(), direct.0.end_to_end(), "as the API sees it: {shown}");
    assert_eq!(through.1.end_to_end(), direct.1.end_to_end(), "as the client sees it: {shown}");
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn methods_and_odd_targets_arrive_as_they_were_sent() {
    for line in [
        "GET /",
        "GET //a/../b;c?x=1&x=2",
        "GET /v1/messages?",
        "GET /v1/messages?beta=true",
        "GET /a%2Fb%2f%00?q=%zz",
        "GET /a+b/~c/'(d)*!$&,;=:@",
        "GET /\u{e4}\u{1f600}?q=\u{e4}",
        "GET /a?b?c=/d",
        "GET /./",
        "OPTIONS *",
        "OPTIONS /v1/messages",
        "DELETE /v1/files/file_1",
        "PURGE /x",
        "M-SEARCH /x",
        "TRACE /x",
    ] {
        assert_identical(format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes(), OK).await;
    }
    for method in ["POST", "PUT", "PATCH", "DELETE", "GET", "OPTIONS", "QUERY"] {
        assert_identical(
            format!("{method} /v1/x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello").as_bytes(),
            OK,
        )
        .await;
    }
}

#[tokio::test]
async fn an_absolute_target_is_sent_on_as_its_path() {
    let mut upstream = Upstream::answering(OK).await;
    let proxy = TestProxy::start(upstream.address).await;
    call(
        proxy.address,
        "GET http://elsewhere.example/v1/models?limit=1000 HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n",
    )
    .await;
    let seen = upstream.request().await;
    assert_eq!(seen.line(), "GET /v1/models?limit=1000 HTTP/1.1");
    assert_eq!(seen.header("host"), Some(upstream.address.to_string()));
}

#[tokio::test]
async fn request_headers_keep_order_case_values_and_repetition() {
    assert_identical(
        b"POST /v1/messages HTTP/1.1\r\nHost: h\r\nX-Zed: 1\r\nanthropic-version: 2023-06-01\r\nAnthropic-Beta: a,b\r\n\
          anthropic-BETA: c\r\nx-empty:\r\nX-Api-Key: sk-ant-api03-x\r\nAccept-Encoding: gzip, br;q=0.5, zstd\r\n\
          x-bytes: \xe4\xff\r\nx-spaces: a  b\tc\r\nCookie: a=1; b=2\r\nUser-Agent: t\r\nContent-Type: application/json\r\n\
          Accept: */*\r\nExpect: something-else\r\nForwarded: for=1.2.3.4\r\nVia: 1.0 x\r\nContent-Length: 2\r\nX-Last: z\r\n\r\n{}",
        OK,
    )
    .await;
}

#[tokio::test]
async fn removing_hop_by_hop_headers_does_not_disturb_the_order_of_the_others() {
    assert_identical(
        b"POST /v1/messages HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\nX-A: 1\r\nX-B: 2\r\nX-C: 3\r\nX-D: 4\r\n\
          Content-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nDate: d\r\nConnection: keep-alive\r\nX-A: 1\r\nx-a: 3\r\nX-B: 2\r\nKeep-Alive: timeout=5\r\n\
          X-C: 3\r\nContent-Length: 2\r\nX-D: 4\r\n\r\nok",
    )
    .await;
}

#[tokio::test]
async fn chunked_requests_arrive_chunked_whatever_the_method() {
    for method in ["POST", "GET", "PUT", "DELETE"] {
        let mut upstream = Upstream::answering(OK).await;
        let proxy = TestProxy::start(upstream.address).await;
        let request = format!(
            "{method} /v1/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
             3\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 5\r\n\r\n"
        );
        assert_eq!(call(proxy.address, request).await.body, b"ok");
        let seen = upstream.request().await;
        assert_eq!((seen.body.as_slice(), seen.whole), (&b"abcde"[..], true), "{method}");
        assert_eq!(seen.header("transfer-encoding").as_deref(), Some("chunked"));
        assert_eq!(seen.header("content-length"), None);
        assert_eq!(seen.trailers, [(b"x-sum".to_vec(), b"5".to_vec())]);
    }
}

#[tokio::test]
async fn requests_without_a_body_get_no_framing_headers() {
    for method in ["GET", "POST", "DELETE", "HEAD"] {
        let mut upstream = Upstream::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
        let proxy = TestProxy::start(upstream.address).await;
        call(proxy.address, format!("{method} /v1/x HTTP/1.1\r\nHost: h\r\n\r\n")).await;
        let seen = upstream.request().await;
        assert_eq!(seen.names(), ["Host"], "{method}");
    }
}

#[tokio::test]
async fn statuses_and_reason_phrases_come_back_as_they_were() {
    for head in [
        "200 OK",
        "200 Fine",
        "200 ",
        "201 Created",
        "299 Odd",
        "302 Found\r\nLocation: /elsewhere",
        "400 Bad Request",
        "418 I'm a teapot",
        "429 Too Many Requests\r\nRetry-After: 7\r\nx-should-retry: true",
        "499 Whatever",
        "529 Overloaded",
        "529 ",
        "999 Most",
    ] {
        let answer = format!("HTTP/1.1 {head}\r\nContent-Length: 2\r\n\r\nok");
        assert_identical(
            b"POST /v1/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}",
            answer.as_bytes(),
        )
        .await;
    }
}

#[tokio::test]
async fn bodies_of_every_framing_come_back_whole() {
    const GET: &[u8] = b"GET /v1/x HTTP/1.1\r\nHost: h\r\nTE: trailers\r\n\r\n";
    for answer in [
        &b"HTTP/1.1 200 OK\r\nX-First: 1\r\nContent-Length: 0\r\nX-Last: 1\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Last: 1\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x00",
        b"HTTP/1.1 204 No Content\r\nX-First: 1\r\nX-Last: 1\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 1234\r\nX-Last: 1\r\n\r\n",
    ] {
        let [(_, direct), (_, through)] = both_ways(GET, answer).await;
        let lower = |message: Message| {
            let mut message = message.end_to_end();
            // The one known difference: hyper writes the names of trailers in lower case.
            for (name, _) in &mut message.trailers {
                name.make_ascii_lowercase();
            }
            message
        };
        assert!(through.whole);
        assert_eq!(lower(through), lower(direct), "{}", String::from_utf8_lossy(answer));
    }
}

#[tokio::test]
async fn a_body_that_ends_with_the_connection_comes_back_whole() {
    let upstream = Upstream::start(vec![
        crate::wire::send("HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\nuntil the end"),
        crate::wire::Step::Close,
    ])
    .await;
    let proxy = TestProxy::start(upstream.address).await;
    let answer = call(proxy.address, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(answer.whole);
    assert_eq!(answer.body, b"until the end");
    assert_eq!(answer.header("content-length"), None);
}

#[tokio::test]
async fn head_answers_keep_the_length_of_the_body_they_do_not_have() {
    assert_identical(
        b"HEAD /api/hello HTTP/1.1\r\nHost: h\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-First: 1\r\nContent-Length: 1234\r\nX-Last: 1\r\n\r\n",
    )
    .await;
    assert_identical(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", b"HTTP/1.1 200 OK\r\nX-Last: 1\r\n\r\n").await;
}

#[tokio::test]
async fn a_connection_goes_on_after_answers_without_a_body() {
    let mut upstream =
        Upstream::answering("HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\nETag: \"x\"\r\n\r\n").await;
    let proxy = TestProxy::start(upstream.address).await;
    let mut client = crate::wire::open(proxy.address, "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n").await;
    for next in 2..5 {
        let answer = client.message(crate::wire::Kind::Response).await.unwrap();
        assert_eq!(answer.status(), 304);
        upstream.request().await;
        tokio::io::AsyncWriteExt::write_all(
            &mut client.stream,
            format!("GET /{next} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes(),
        )
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn http_1_0_clients_are_served() {
    let mut upstream =
        Upstream::answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
            .await;
    let proxy = TestProxy::start(upstream.address).await;
    let answer = call(proxy.address, "GET /v1/models HTTP/1.0\r\n\r\n").await;
    assert_eq!(answer.body, b"ok");
    assert_eq!(answer.header("transfer-encoding"), None);
    let seen = upstream.request().await;
    assert_eq!(seen.line(), "GET /v1/models HTTP/1.1");
    assert_eq!(seen.header("host"), Some(upstream.address.to_string()));
}

#[tokio::test]
async fn an_expectation_is_met_and_passed_on() {
    let mut upstream = Upstream::answering(OK).await;
    let proxy = TestProxy::start(upstream.address).await;
    let mut client = crate::wire::open(
        proxy.address,
        "POST /v1/messages HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
    )
    .await;
    let interim = client.until(b"\r\n\r\n").await;
    assert!(interim.starts_with(b"HTTP/1.1 100"), "{}", String::from_utf8_lossy(&interim));
    tokio::io::AsyncWriteExt::write_all(&mut client.stream, b"{}").await.unwrap();
    assert_eq!(client.message(crate::wire::Kind::Response).await.unwrap().body, b"ok");
    assert_eq!(upstream.request().await.header("expect").as_deref(), Some("100-continue"));
}

#[tokio::test]
async fn an_upstream_with_a_path_prefix_gets_it_before_every_path() {
    let mut upstream = Upstream::answering(OK).await;
    let proxy = TestProxy::with(upstream.address, "/claude/", |_| {}).await;
    for (sent, arrived) in [("/v1/models?", "/claude/v1/models?"), ("//x", "/claude//x"), ("*", "*")] {
        call(proxy.address, format!("OPTIONS {sent} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
        assert_eq!(upstream.request().await.line(), format!("OPTIONS {arrived} HTTP/1.1"));
    }
}

#[tokio::test]
async fn a_target_that_is_no_path_is_refused() {
    let mut upstream = Upstream::answering(OK).await;
    let proxy = TestProxy::start(upstream.address).await;
    let answer = call(proxy.address, "CONNECT api.anthropic.com:443 HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.header("mindweave-reason").as_deref(), Some("method_not_supported"));
    assert!(upstream.is_untouched());
}
