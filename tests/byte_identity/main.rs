//! Byte identity: what a client and the API see of each other does not depend on whether MindWeave stands between.
//!
//! Every case goes to a scripted upstream twice, directly and through the real binary, as raw bytes on a socket. Every case
//! that went through the binary makes exactly one event in the ledger.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../harness/mod.rs"]
mod harness;

mod connections;
mod documented;
mod expectations;
mod pace;
mod requests;
mod responses;
mod statuses;
mod streams;

use std::io::{BufReader, Write};
use std::net::SocketAddr;

use harness::http::{self, Message};
use harness::server::MindWeave;
use harness::upstream::{Answer, Upstream};

/// A request and the answer it gets.
struct Case {
    name: String,
    request: Vec<u8>,
    answer: Box<dyn Fn() -> Answer + Send + Sync>,
    pace: Pace,
}

/// How the client writes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    Whole,
    /// Every byte in a packet of its own.
    Bytewise,
}

impl Case {
    /// The same case from a client that sends every byte in a packet of its own.
    fn bytewise(mut self) -> Self {
        self.pace = Pace::Bytewise;
        self
    }
}

/// A case whose request has a head made of these lines and this body.
fn case(
    name: impl Into<String>,
    lines: &[&str],
    body: &[u8],
    answer: impl Fn() -> Answer + Send + Sync + 'static,
) -> Case {
    let mut request = lines.join("\r\n").into_bytes();
    request.extend_from_slice(b"\r\n\r\n");
    request.extend_from_slice(body);
    Case { name: name.into(), request, answer: Box::new(answer), pace: Pace::Whole }
}

/// A GET that is answered with these bytes.
fn answered(name: impl Into<String>, answer: impl Into<Vec<u8>>) -> Case {
    let answer = answer.into();
    case(name, &["GET /x HTTP/1.1"], b"", move || Answer::whole(answer.clone()))
}

/// Sends every case both ways and compares what the client got and what the upstream got.
fn identical(cases: Vec<Case>) {
    let cases: &'static [Case] = Vec::leak(cases);
    let upstream = Upstream::start(|request| {
        let number: usize = request.header("x-case").and_then(|n| n.parse().ok()).expect("a case number");
        (cases[number].answer)()
    });
    let server = MindWeave::start(&upstream.url());
    for (number, case) in cases.iter().enumerate() {
        let (direct, seen_direct) = send(number, case, upstream.addr, &upstream);
        let (proxied, seen_proxied) = send(number, case, server.proxy, &upstream);
        let name = &case.name;
        assert_eq!(without_version(&proxied), without_version(&direct), "{name}: status and reason");
        assert_eq!(proxied.end_to_end_headers(), direct.end_to_end_headers(), "{name}: response headers");
        assert!(proxied.body == direct.body, "{name}: response body");
        assert_eq!(proxied.trailers, direct.trailers, "{name}: response trailers");
        assert_eq!(proxied.complete, direct.complete, "{name}: how the response ended");
        let line = seen_direct.start_line.replace(" HTTP/1.0", " HTTP/1.1"); // the version belongs to the hop, too
        assert_eq!(seen_proxied.start_line, line, "{name}: request line");
        assert_eq!(without_host(&seen_proxied), without_host(&seen_direct), "{name}: request headers");
        assert!(seen_proxied.body == seen_direct.body, "{name}: request body");
        assert_eq!(seen_proxied.trailers, seen_direct.trailers, "{name}: request trailers");
    }
    server.ledger().await_events("", cases.len());
}

/// Sends one case; returns the response and the request as the upstream saw it.
fn send(number: usize, case: &Case, to: SocketAddr, upstream: &Upstream) -> (Message, Message) {
    let mut request = case.request.clone();
    let first_line = request.windows(2).position(|two| two == b"\r\n").expect("a request line") + 2;
    let own = format!("host: api.example\r\nx-case: {number}\r\n");
    request.splice(first_line..first_line, own.into_bytes());
    let response = match case.pace {
        Pace::Whole => http::exchange(to, &request),
        Pace::Bytewise => exchange_bytewise(to, &request),
    };
    let response = response.unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let seen = upstream.seen().pop().expect("the upstream saw the request");
    (response, seen)
}

fn exchange_bytewise(to: SocketAddr, request: &[u8]) -> std::io::Result<Message> {
    let mut stream = http::connect(to)?;
    for byte in request {
        stream.write_all(&[*byte])?;
    }
    http::read_response(&mut BufReader::new(stream), request.starts_with(b"HEAD "))
}

/// The version belongs to the hop: every sender states its own (RFC 9110, section 2.5).
fn without_version(response: &Message) -> &str {
    response.start_line.split_once(' ').map_or("", |(_, rest)| rest)
}

/// The one header that must differ is the name of the host that was asked.
fn without_host(message: &Message) -> Vec<(String, Vec<u8>)> {
    let mut headers = message.end_to_end_headers();
    headers.retain(|(name, _)| !name.eq_ignore_ascii_case("host"));
    headers
}

fn ok() -> Answer {
    Answer::whole("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{}")
}
