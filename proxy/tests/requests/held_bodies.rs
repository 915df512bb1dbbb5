//! Bodies that are held until they are decided on: the API gets the very same bytes in the very same framing.

use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Version};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mindweave_metering::{NanoUsd, Outcome};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::governed::{FORBIDS_A_MODEL, REVISION, body_for, message, policies, policy, post, reasons};
use crate::proxy::TestProxy;
use crate::wire::{Kind, Upstream, call, contains, open};

const FORBIDS_PERSONAL_DATA: &str = r#"package personal
deny contains {"reason": "personal_data", "message": "No personal data."} if count(input.request.pii) > 0"#;

pub(crate) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

async fn holding(upstream: &Upstream, adjust: impl FnOnce(&mut mindweave_proxy::ProxyConfig)) -> TestProxy {
    let proxy = TestProxy::with(upstream.address, "", adjust).await;
    proxy.govern(REVISION, policies(&[policy(FORBIDS_A_MODEL)]));
    proxy
}

fn head(fields: &str) -> Vec<u8> {
    format!(
        "POST /v1/messages?beta=true HTTP/1.1\r\nX-First: 1\r\nHost: h\r\nanthropic-BETA: a\r\n{fields}X-Last: z\r\n\r\n"
    )
    .into_bytes()
}

/// The body in chunks of these sizes, the last of which takes the rest.
fn chunked(body: &[u8], sizes: &[usize], trailers: &str) -> Vec<u8> {
    let mut framed = Vec::new();
    let mut left = body;
    for size in sizes.iter().copied().chain([usize::MAX]) {
        let (chunk, rest) = left.split_at(size.min(left.len()));
        if !chunk.is_empty() {
            framed.extend(format!("{:X}\r\n", chunk.len()).into_bytes());
            framed.extend_from_slice(chunk);
            framed.extend_from_slice(b"\r\n");
        }
        left = rest;
    }
    framed.extend(format!("0\r\n{trailers}\r\n").into_bytes());
    framed
}

#[tokio::test]
async fn held_bodies_arrive_as_if_nobody_had_held_them() {
    let small = body_for("claude-sonnet-4-6", 64).into_bytes();
    let odd = b" \r\n\t{ \"max_tokens\":1 ,\"model\" : \"claude\\u002dsonnet-4-6\" }\n ".to_vec();
    let large = body_for("x", 1).replace("Hello", &"words \\u00e4 ".repeat(60_000)).into_bytes();
    let packed = gzip(&large);
    let length = |body: &[u8]| format!("Content-Length: {}\r\n", body.len());
    let requests = [
        [head(&length(&small)), small.clone()].concat(),
        [head(&length(&odd)), odd.clone()].concat(),
        [head(&length(&large)), large.clone()].concat(),
        [head(&format!("Content-Encoding: gzip\r\n{}", length(&packed))), packed.clone()].concat(),
        [head("Transfer-Encoding: chunked\r\n"), chunked(&small, &[], "")].concat(),
        [head("Transfer-Encoding: chunked\r\n"), chunked(&small, &[1; 40], "")].concat(),
        [head("Transfer-Encoding: chunked\r\n"), chunked(&large, &[70_000, 1, 1, 1, 33_000], "")].concat(),
        [head("Transfer-Encoding: chunked\r\nTrailer: x-sum\r\n"), chunked(&small, &[7], "x-sum: 5\r\n")]
            .concat(),
        [head("Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"), chunked(&packed, &[10, 1], "")]
            .concat(),
    ];
    for request in requests {
        let mut upstream = Upstream::answering(message(1, 1)).await;
        call(upstream.address, &request).await;
        let directly = upstream.request().await;
        let proxy = holding(&upstream, |_| {}).await;
        assert_eq!(call(proxy.address, &request).await.status(), 200);
        let through = upstream.request().await;
        for name in ["content-length", "transfer-encoding"] {
            assert_eq!(through.header(name), directly.header(name));
        }
        assert_eq!(through.end_to_end(), directly.end_to_end());
        let event = proxy.event().await;
        assert_eq!(event.decision.policy_revision, REVISION, "it was decided on");
    }
}

#[tokio::test]
async fn requests_without_a_body_to_hold_keep_their_framing() {
    const RATED: mindweave_policy::LimitMetric = mindweave_policy::LimitMetric::InputTokensPerMinute;
    for request in [
        "POST /v1/messages/batches/msgbatch_1/cancel HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST /v1/messages/batches/msgbatch_1/cancel HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
        "POST /v1/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /v1/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}",
    ] {
        let mut upstream = Upstream::answering(message(1, 1)).await;
        call(upstream.address, request).await;
        let directly = upstream.request().await;
        let proxy = holding(&upstream, |_| {}).await;
        proxy.govern(REVISION + 1, crate::governed::limit(RATED, 1_000_000));
        assert_eq!(call(proxy.address, request).await.status(), 200);
        let through = upstream.request().await;
        assert_eq!(through.header("transfer-encoding"), directly.header("transfer-encoding"));
        assert_eq!(through.end_to_end(), directly.end_to_end(), "{request}");
    }
}

#[tokio::test]
async fn a_client_that_asks_first_may_send_its_body_to_be_decided_on() {
    for (model, status) in [("claude-sonnet-4-6", 200), ("forbidden", 403)] {
        let mut upstream = Upstream::answering(message(1, 1)).await;
        let proxy = holding(&upstream, |_| {}).await;
        let body = body_for(model, 1);
        let asking = post("")
            .replace("Content-Length: 0", &format!("Expect: 100-continue\r\nContent-Length: {}", body.len()));
        let mut client = open(proxy.address, asking).await;
        let interim = client.until(b"\r\n\r\n").await;
        assert!(interim.starts_with(b"HTTP/1.1 100"), "{}", String::from_utf8_lossy(&interim));
        client.stream.write_all(body.as_bytes()).await.unwrap();
        assert_eq!(client.message(Kind::Response).await.unwrap().status(), status);
        if status == 200 {
            let seen = upstream.request().await;
            assert_eq!(
                (seen.header("expect").as_deref(), seen.body),
                (Some("100-continue"), body.into_bytes())
            );
        } else {
            assert!(upstream.is_untouched());
        }
    }
}

/// Frames one after the other, then trailers if there are any.
struct Frames(Vec<Bytes>, Option<HeaderMap>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.0.is_empty() {
            return Poll::Ready(self.1.take().map(|trailers| Ok(Frame::trailers(trailers))));
        }
        let next = self.0.remove(0);
        Poll::Ready(Some(Ok(Frame::data(next))))
    }
}

#[tokio::test]
async fn bodies_of_http2_clients_are_held_with_and_without_a_length() {
    let body = body_for("claude-sonnet-4-6", 1).replace("Hello", &"Hello ".repeat(20_000));
    for with_length in [true, false] {
        let mut upstream = Upstream::answering(message(1, 1)).await;
        let proxy = holding(&upstream, |_| {}).await;
        let stream = TcpStream::connect(proxy.address).await.unwrap();
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let frames = body.as_bytes().chunks(9_999).map(Bytes::copy_from_slice).collect();
        let mut request = Request::post("http://h/v1/messages").version(Version::HTTP_2);
        if with_length {
            request = request.header("content-length", body.len());
        }
        let response = sender.send_request(request.body(Frames(frames, None)).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.unwrap();
        let seen = upstream.request().await;
        assert_eq!((seen.body.as_slice(), seen.whole), (body.as_bytes(), true));
        assert_eq!(seen.header("content-length"), with_length.then(|| body.len().to_string()));
        assert_eq!(seen.header("transfer-encoding").as_deref(), (!with_length).then_some("chunked"));
        assert_eq!(proxy.event().await.decision.policy_revision, REVISION);
    }
}

#[tokio::test]
async fn bodies_over_the_memory_for_them_are_refused_and_give_back_what_they_took() {
    let mut upstream = Upstream::answering(message(1, 1)).await;
    let proxy = holding(&upstream, |config| config.body_limits.held = 1_000).await;
    let large = body_for("m", 1).replace("Hello", &"x".repeat(1_000));
    for framed in [
        post(&large),
        post("").replace("Content-Length: 0", "Transfer-Encoding: chunked").trim_end().to_owned()
            + "\r\n\r\n"
            + &String::from_utf8(chunked(large.as_bytes(), &[100; 8], "")).unwrap(),
    ] {
        let answer = call(proxy.address, framed).await;
        assert_eq!(answer.line(), "HTTP/1.1 529 <none>");
        assert_eq!(answer.header("mindweave-reason").as_deref(), Some("held_bodies_full"));
        assert_eq!(answer.header("retry-after").as_deref(), Some("1"));
        assert_eq!(answer.header("x-should-retry").as_deref(), Some("true"));
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["error"]["type"], "overloaded_error");
    }
    assert!(upstream.is_untouched());
    let event = proxy.event_stream().next().await;
    assert_eq!((event.outcome, reasons(&event)), (Outcome::Denied, vec!["held_bodies_full"]));
    for _ in 0..5 {
        assert_eq!(
            call(proxy.address, post(&body_for("m", 1))).await.status(),
            200,
            "all of it was given back"
        );
    }
}

#[tokio::test]
async fn a_body_that_grows_over_its_limit_while_it_is_held_is_refused() {
    let mut upstream = Upstream::answering(message(1, 1)).await;
    let proxy = holding(&upstream, |config| config.body_limits.messages = 1_000).await;
    let large = body_for("m", 1).replace("Hello", &"x".repeat(1_000));
    let request = [head("Transfer-Encoding: chunked\r\n"), chunked(large.as_bytes(), &[100; 8], "")].concat();
    let answer = call(proxy.address, request).await;
    assert_eq!(answer.status(), 413);
    assert!(upstream.is_untouched());
    let event = proxy.event_stream().next().await;
    assert_eq!((event.outcome, event.status, proxy.record_count()), (Outcome::Denied, 413, 1));
}

#[tokio::test]
async fn a_client_that_leaves_while_its_body_is_held_leaves_one_event() {
    let mut upstream = Upstream::answering(message(1, 1)).await;
    let proxy = holding(&upstream, |_| {}).await;
    let asking =
        "POST /v1/messages HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n";
    let mut client = open(proxy.address, asking).await;
    client.until(b"\r\n\r\n").await; // from here on its body is waited for
    client.stream.write_all(b"{\"model\":").await.unwrap();
    drop(client);
    let event = proxy.event_stream().next().await;
    assert_eq!((event.outcome, event.cost_nano_usd), (Outcome::ClientGone, Some(NanoUsd(0))));
    assert_eq!(proxy.record_count(), 1);
    assert!(upstream.is_untouched());
}

#[tokio::test]
async fn a_client_that_leaves_while_its_body_is_searched_leaves_one_event() {
    let mut upstream = Upstream::answering(message(1, 1)).await;
    let proxy = TestProxy::governed(upstream.address, policies(&[policy(FORBIDS_PERSONAL_DATA)])).await;
    let long = body_for("m", 1).replace("Hello", &"4111 1111 1111 1112 ".repeat(100_000)); // takes a while to search
    let mut client = open(proxy.address, post(&long)).await;
    client.stream.shutdown().await.unwrap();
    let event = proxy.event_stream().next().await;
    assert_eq!((event.outcome, event.cost_nano_usd), (Outcome::ClientGone, Some(NanoUsd(0))));
    assert_eq!(proxy.record_count(), 1);
    assert!(upstream.is_untouched());
}

#[tokio::test]
async fn a_body_that_stops_arriving_is_not_waited_for_for_ever() {
    let mut upstream = Upstream::answering(message(1, 1)).await;
    let proxy =
        holding(&upstream, |config| config.upstream.response_timeout = Duration::from_millis(300)).await;
    let answer =
        call(proxy.address, "POST /v1/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n{").await;
    assert_eq!(answer.status(), 408);
    assert_eq!(answer.header("mindweave-reason").as_deref(), Some("request_stalled"));
    assert!(upstream.is_untouched());
    let event = proxy.event_stream().next().await;
    assert_eq!((event.outcome, event.cost_nano_usd), (Outcome::Deadline, Some(NanoUsd(0))));
    assert!(event.latency_ms >= 300 && event.overhead_us < 150_000, "the wait is the client's: {event:?}");
}

#[tokio::test]
async fn nothing_is_held_for_those_whom_nothing_in_force_is_about() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = TestProxy::start(listener.local_addr().unwrap()).await;
    let mut other_org = (*policy(FORBIDS_A_MODEL)).clone();
    other_org.org_id = mindweave_metering::OrgId::new("org_other");
    other_org.scope.id = Some("org_other".into());
    proxy.govern(REVISION, policies(&[other_org.into()]));
    let _client = open(
        proxy.address,
        "POST /v1/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n{\"model\":\"",
    )
    .await;
    let (stream, _) = listener.accept().await.unwrap();
    let seen = crate::wire::Reader::new(stream).until(b"{\"model\":\"").await;
    assert!(contains(&seen, b"Content-Length: 1000"));
}
