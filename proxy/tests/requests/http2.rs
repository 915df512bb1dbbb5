//! HTTP/2 clients in front of an HTTP/1.1 upstream.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Empty, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mindweave_metering::Outcome;
use tokio::net::TcpStream;

use crate::proxy::TestProxy;
use crate::wire::{Upstream, send};

type Body = BoxBody<Bytes, std::convert::Infallible>;

async fn connect(proxy: &TestProxy) -> http2::SendRequest<Body> {
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn get(path: &str, body: Body) -> Request<Body> {
    Request::get(format!("http://gateway.example{path}"))
        .header("cookie", "a=1")
        .header("x-last", "1")
        .header("cookie", "b=2")
        .version(Version::HTTP_2)
        .body(body)
        .unwrap()
}

async fn text(response: Response<Incoming>) -> Vec<u8> {
    response.into_body().collect().await.unwrap().to_bytes().to_vec()
}

#[tokio::test]
async fn requests_and_answers_change_protocol_without_changing_content() {
    let mut upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    )
    .await;
    let proxy = TestProxy::start(upstream.address).await;
    let mut client = connect(&proxy).await;
    let response = client.send_request(get("/v1/models?limit=1000", Empty::new().boxed())).await.unwrap();
    let names: Vec<_> = response.headers().keys().map(http::HeaderName::as_str).collect();
    assert_eq!(names, ["x-a"]);
    assert_eq!(text(response).await, b"ok");
    let seen = upstream.request().await;
    assert_eq!(seen.line(), "GET /v1/models?limit=1000 HTTP/1.1");
    assert_eq!(seen.names(), ["host", "cookie", "x-last"]);
    assert_eq!(seen.header("host"), Some(upstream.address.to_string()));
    assert_eq!(seen.header("cookie").as_deref(), Some("a=1; b=2"));
    assert_eq!(proxy.event().await.outcome, Outcome::Complete);
}

#[tokio::test]
async fn a_body_without_a_length_arrives_whatever_the_method() {
    let mut upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let proxy = TestProxy::start(upstream.address).await;
    let mut client = connect(&proxy).await;
    let body = TwoFrames(vec!["abc", "de"].into_iter()).boxed();
    assert_eq!(text(client.send_request(get("/x", body)).await.unwrap()).await, b"ok");
    assert_eq!(upstream.request().await.body, b"abcde");
}

#[tokio::test]
async fn results_urls_name_the_authority_of_the_request() {
    let body = "{\"results_url\":\"https://api.anthropic.com/v1/messages/batches/b/results\"}";
    let upstream = Upstream::start(vec![send(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))])
    .await;
    let proxy = TestProxy::start(upstream.address).await;
    let mut client = connect(&proxy).await;
    let response = client.send_request(get("/v1/messages/batches/b", Empty::new().boxed())).await.unwrap();
    let expected = "{\"results_url\":\"http://gateway.example/v1/messages/batches/b/results\"}";
    assert_eq!(text(response).await, expected.as_bytes());
}

/// A body of two frames whose length nobody knows.
struct TwoFrames(std::vec::IntoIter<&'static str>);

impl hyper::body::Body for TwoFrames {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.next().map(|text| Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
    }
}
