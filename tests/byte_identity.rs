//! Byte identity: what a client and the API see of each other does not depend on whether MindWeave stands between.
//!
//! Every case goes to a scripted upstream twice, directly and through the real binary, as raw bytes on a socket.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod harness;

use std::net::SocketAddr;

use harness::http::{self, Message};
use harness::server::MindWeave;
use harness::upstream::{Answer, Upstream};

/// A request and the answer it gets.
struct Case {
    name: &'static str,
    request: Vec<u8>,
    answer: fn() -> Answer,
}

/// A case whose request has a head made of these lines and this body.
fn case(name: &'static str, lines: &[&str], body: &[u8], answer: fn() -> Answer) -> Case {
    let mut request = lines.join("\r\n").into_bytes();
    request.extend_from_slice(b"\r\n\r\n");
    request.extend_from_slice(body);
    Case { name, request, answer }
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
        let name = case.name;
        assert_eq!(without_version(&proxied), without_version(&direct), "{name}: status and reason");
        assert_eq!(proxied.end_to_end_headers(), direct.end_to_end_headers(), "{name}: response headers");
        assert!(proxied.body == direct.body, "{name}: response body");
        assert_eq!(proxied.trailers, direct.trailers, "{name}: response trailers");
        assert_eq!(proxied.complete, direct.complete, "{name}: how the response ended");
        assert_eq!(seen_proxied.start_line, seen_direct.start_line, "{name}: request line");
        assert_eq!(without_host(&seen_proxied), without_host(&seen_direct), "{name}: request headers");
        assert!(seen_proxied.body == seen_direct.body, "{name}: request body");
        assert_eq!(seen_proxied.trailers, seen_direct.trailers, "{name}: request trailers");
    }
}

/// Sends one case; returns the response and the request as the upstream saw it.
fn send(number: usize, case: &Case, to: SocketAddr, upstream: &Upstream) -> (Message, Message) {
    let mut request = case.request.clone();
    let first_line = request.windows(2).position(|two| two == b"\r\n").expect("a request line") + 2;
    let own = format!("host: api.example\r\nx-case: {number}\r\n");
    request.splice(first_line..first_line, own.into_bytes());
    let response = http::exchange(to, &request).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let seen = upstream.seen().pop().expect("the upstream saw the request");
    (response, seen)
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

#[test]
fn methods_and_targets_arrive_as_they_were_sent() {
    identical(vec![
        case("GET without body", &["GET /v1/models?limit=1000 HTTP/1.1"], b"", ok),
        case("beta query", &["POST /v1/messages?beta=true HTTP/1.1", "content-length: 2"], b"{}", ok),
        case("empty query", &["GET /v1/models? HTTP/1.1"], b"", ok),
        case("double slashes and dots", &["GET //v1/./models/../x//y HTTP/1.1"], b"", ok),
        case("percent escapes", &["GET /v1/files/a%2Fb%20c%00?q=%3F&&=;x=1&x=2 HTTP/1.1"], b"", ok),
        case("unusual characters", &["GET /v1/a;b=c,d'(e)*f!~@:$&+=g|h HTTP/1.1"], b"", ok),
        case("unknown method", &["PURGE /anything HTTP/1.1"], b"", ok),
        case("lower-case method", &["get /v1/models HTTP/1.1"], b"", ok),
        case("DELETE with body", &["DELETE /v1/files/file_1 HTTP/1.1", "content-length: 3"], b"abc", ok),
        case("GET with body", &["GET /v1/messages HTTP/1.1", "content-length: 3"], b"abc", ok),
        case("POST with empty body", &["POST /v1/x HTTP/1.1", "content-length: 0"], b"", ok),
        case("POST without any length", &["POST /v1/x HTTP/1.1"], b"", ok),
        case("OPTIONS", &["OPTIONS /v1/messages HTTP/1.1", "origin: https://a.example"], b"", ok),
        case("OPTIONS of the server", &["OPTIONS * HTTP/1.1"], b"", ok),
        case("very long path", &[&format!("GET /{} HTTP/1.1", "p".repeat(20_000))], b"", ok),
    ]);
}

#[test]
fn request_headers_keep_their_order_case_and_values() {
    let many: Vec<String> = (0..150).map(|n| format!("X-Many-{n}: value {n}")).collect();
    let mut lines = vec!["GET /v1/models HTTP/1.1"];
    lines.extend(many.iter().map(String::as_str));
    identical(vec![
        case(
            "mixed case and order",
            &["GET /x HTTP/1.1", "Zeta: 1", "alpha: 2", "X-MiXeD-CaSe: 3", "Beta: 4"],
            b"",
            ok,
        ),
        case(
            "repeated",
            &["GET /x HTTP/1.1", "anthropic-beta: a", "other: x", "anthropic-beta: b,c"],
            b"",
            ok,
        ),
        case("empty value", &["GET /x HTTP/1.1", "x-empty:", "x-next: 1"], b"", ok),
        case("odd whitespace", &["GET /x HTTP/1.1", "x-tabs:\ta\tb  c\t"], b"", ok),
        case("long value", &["GET /x HTTP/1.1", &format!("x-long: {}", "v".repeat(60_000))], b"", ok),
        case("accept-encoding", &["GET /x HTTP/1.1", "accept-encoding: gzip, deflate, br, zstd"], b"", ok),
        case(
            "credentials of the client",
            &["GET /x HTTP/1.1", "x-api-key: sk-ant-api03-x", "authorization: Bearer sk-ant-oat01-y"],
            b"",
            ok,
        ),
        case(
            "trace headers",
            &["GET /x HTTP/1.1", "traceparent: 00-1-2-01", "tracestate: a=b", "baggage: c=d"],
            b"",
            ok,
        ),
        case("more than a hundred", &lines, b"", ok),
    ]);
}

#[test]
fn request_bodies_arrive_whole_however_they_are_framed() {
    let chunked = "transfer-encoding: chunked";
    let json = br#"{"model":"claude-opus-5","max_tokens":8,"messages":[{"role":"user","content":"hi"}]}"#;
    identical(vec![
        case(
            "message",
            &["POST /v1/messages HTTP/1.1", &format!("content-length: {}", json.len())],
            json,
            ok,
        ),
        case("not JSON", &["POST /v1/messages HTTP/1.1", "content-length: 6"], b"{\"a\":\xff", ok),
        case("chunked", &["POST /v1/x HTTP/1.1", chunked], b"3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\n\r\n", ok),
        case("chunked message", &["POST /v1/messages HTTP/1.1", chunked], b"2\r\n{}\r\n0\r\n\r\n", ok),
        case("empty chunked", &["POST /v1/x HTTP/1.1", chunked], b"0\r\n\r\n", ok),
        case(
            "said to be gzip",
            &["POST /v1/messages HTTP/1.1", "content-encoding: gzip", "content-length: 4"],
            b"\x1f\x8b\x08\x00",
            ok,
        ),
        case(
            "large binary",
            &[
                "POST /v1/files HTTP/1.1",
                "content-type: multipart/form-data; boundary=x",
                "content-length: 3000000",
            ],
            &[0xA5; 3_000_000],
            ok,
        ),
    ]);
}

#[test]
fn responses_arrive_as_the_api_sent_them() {
    identical(vec![
        case("unusual status and reason", &["GET /x HTTP/1.1"], b"", || {
            Answer::whole("HTTP/1.1 529 Site is overloaded\r\ncontent-length: 0\r\n\r\n")
        }),
        case("empty reason", &["GET /x HTTP/1.1"], b"", || {
            Answer::whole("HTTP/1.1 299 \r\ncontent-length: 0\r\n\r\n")
        }),
        case("no content", &["DELETE /x HTTP/1.1"], b"", || {
            Answer::whole("HTTP/1.1 204 No Content\r\nx-a: 1\r\n\r\n")
        }),
        case("not modified", &["GET /x HTTP/1.1"], b"", || {
            Answer::whole("HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n")
        }),
        case("redirect is not followed", &["GET /x HTTP/1.1"], b"", || {
            Answer::whole(
                "HTTP/1.1 307 Temporary Redirect\r\nlocation: https://e.example/y\r\ncontent-length: 0\r\n\r\n",
            )
        }),
        case("HEAD with length", &["HEAD /api/hello HTTP/1.1"], b"", || {
            Answer::whole("HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n")
        }),
        case("order, case and repeats", &["GET /x HTTP/1.1"], b"", || {
            Answer::whole(
                "HTTP/1.1 200 OK\r\nZeta: 1\r\nset-cookie: a=1\r\nALPHA: 2\r\nset-cookie: b=2\r\nX-Empty:\r\ncontent-length: 0\r\n\r\n",
            )
        }),
        case("bytes beyond ASCII in a value", &["GET /x HTTP/1.1"], b"", || {
            Answer::whole(b"HTTP/1.1 200 OK\r\nx-latin: caf\xe9\r\ncontent-length: 0\r\n\r\n".to_vec())
        }),
        case("until close", &["GET /x HTTP/1.1"], b"", || {
            Answer::then_close("HTTP/1.1 200 OK\r\n\r\nno length at all")
        }),
        case("HTTP/1.0 upstream", &["GET /x HTTP/1.1"], b"", || {
            Answer::then_close("HTTP/1.0 200 OK\r\n\r\nold")
        }),
        case("interim responses", &["GET /x HTTP/1.1"], b"", || {
            Answer::whole(
                "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            )
        }),
        case("chunks and their extensions", &["GET /x HTTP/1.1"], b"", || {
            Answer::whole(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
            )
        }),
        case("said to be gzip", &["POST /v1/messages HTTP/1.1", "content-length: 2"], b"{}", || {
            Answer::whole(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc",
            )
        }),
        case("unknown coding", &["POST /v1/messages HTTP/1.1", "content-length: 2"], b"{}", || {
            Answer::whole(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: x-new\r\ncontent-length: 3\r\n\r\nabc",
            )
        }),
        case(
            "garbage events",
            &["POST /v1/messages HTTP/1.1", "content-length: 15"],
            b"{\"stream\":true}",
            || {
                Answer::whole(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 20\r\n\r\nevent: x\ndata: {{{\n\r\n",
                )
            },
        ),
        case("many headers", &["GET /x HTTP/1.1"], b"", || {
            Answer::whole(format!(
                "HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n",
                (0..150).map(|n| format!("x-h{n}: {n}\r\n")).collect::<String>()
            ))
        }),
    ]);
}

#[test]
fn an_answer_that_breaks_off_stays_broken() {
    identical(vec![
        case("short of its length", &["GET /x HTTP/1.1"], b"", || {
            Answer::then_close("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this")
        }),
        case("chunks without an end", &["GET /x HTTP/1.1"], b"", || {
            Answer::then_close("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        }),
        case("inside a chunk", &["GET /x HTTP/1.1"], b"", || {
            Answer::then_close("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\nabc")
        }),
        case(
            "a stream in the middle",
            &["POST /v1/messages HTTP/1.1", "content-length: 15"],
            b"{\"stream\":true}",
            || {
                Answer::then_close(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n10\r\nevent: ping\ndata\r\n",
                )
            },
        ),
    ]);
}
