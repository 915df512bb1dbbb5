//! What is different behind MindWeave, each as `docs/transparency.md` says it is.

use std::io::Write;
use std::net::Shutdown;

use super::{Case, answered, case, ok};
use crate::harness::eventually;
use crate::harness::http::{self, Message};
use crate::harness::server::MindWeave;
use crate::harness::upstream::{Answer, Then, Upstream};

/// Sends a case through the binary; returns what the client got, and what the API saw if it saw anything.
fn through(case: Case) -> (Message, Option<Message>) {
    let upstream = Upstream::start(move |_| (case.answer)());
    let server = MindWeave::start(&upstream.url());
    let answer = http::exchange(server.proxy, &case.request).expect("an answer");
    (answer, upstream.seen().pop())
}

#[test]
fn a_target_with_bytes_that_no_uri_may_have_is_refused() {
    for target in ["/x<", "/x>", "/x`", "/x?<", "/x?>", "/x?\"", "/x\u{1}", "x", ""] {
        let (answer, seen) = through(case(target, &[&format!("GET {target} HTTP/1.1"), "host: h"], b"", ok));
        assert_eq!((answer.status(), seen), (400, None), "{target:?}");
    }
}

#[test]
fn a_fragment_which_no_request_may_have_is_dropped() {
    let (_, seen) = through(case("fragment", &["GET /x?q=1#f HTTP/1.1", "host: h"], b"", ok));
    assert_eq!(seen.expect("the API saw the request").start_line, "GET /x?q=1 HTTP/1.1");
}

#[test]
fn trailers_that_nobody_announced_are_dropped_and_announced_ones_lose_their_letter_case() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n";
    let lines = ["GET /x HTTP/1.1", "host: h", "te: trailers"];
    for (announcement, expected) in [("", None), ("trailer: X-Sum\r\n", Some("x-sum"))] {
        let whole = format!("{chunked}{announcement}\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n");
        let (answer, _) = through(case("trailers", &lines, b"", move || Answer::whole(whole.clone())));
        assert_eq!(answer.body, b"ok");
        assert_eq!(answer.trailers.first().map(|(name, _)| name.as_str()), expected);
    }
}

#[test]
fn a_length_that_is_said_twice_alike_is_said_once() {
    let twice = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx-a: 1\r\ncontent-length: 2\r\n\r\nok";
    let mut case = answered("lengths", twice);
    case.request = b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n".to_vec();
    let (answer, _) = through(case);
    assert_eq!(
        answer.headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["Content-Length", "x-a"]
    );
    let lines = ["POST /x HTTP/1.1", "host: h", "content-length: 2", "x-a: 1", "content-length: 2"];
    let (_, seen) = through(super::case("lengths", &lines, b"{}", ok));
    let seen = seen.expect("the API saw the request");
    assert_eq!(seen.headers.iter().filter(|(name, _)| name == "content-length").count(), 1);
    assert_eq!(seen.body, b"{}");
}

#[test]
fn an_absolute_target_becomes_a_path() {
    let lines = ["GET http://elsewhere.example/v1/models?a=b HTTP/1.1", "host: elsewhere.example"];
    let (answer, seen) = through(case("absolute", &lines, b"", ok));
    assert_eq!(answer.status(), 200);
    assert_eq!(seen.expect("the API saw the request").start_line, "GET /v1/models?a=b HTTP/1.1");
}

#[test]
fn a_target_beyond_64_kb_is_refused() {
    let line = format!("GET /{} HTTP/1.1", "p".repeat(65_600));
    let (answer, seen) = through(case("long", &[&line, "host: h"], b"", ok));
    assert_eq!((answer.status(), seen), (414, None));
}

#[test]
fn a_reason_beyond_ascii_is_left_out() {
    let mut case = answered("reason", b"HTTP/1.1 200 caf\xe9\r\ncontent-length: 0\r\n\r\n".to_vec());
    case.request = b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n".to_vec();
    let (answer, _) = through(case);
    assert_eq!(answer.start_line, "HTTP/1.1 200 ");
}

#[test]
fn a_reason_that_is_missing_with_its_space_gets_the_space() {
    let mut case = answered("reason", "HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n");
    case.request = b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n".to_vec();
    let (answer, _) = through(case);
    assert_eq!(answer.start_line, "HTTP/1.1 200 ");
}

#[test]
fn a_client_that_closes_its_sending_side_is_taken_to_have_left() {
    let upstream = Upstream::start(|_| Answer { parts: Vec::new(), then: Then::KeepAlive });
    let server = MindWeave::start(&upstream.url());
    let mut client = http::connect(server.proxy).expect("a connection");
    client.write_all(b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n").expect("a request");
    eventually("the API is asked", || upstream.seen().pop());
    client.shutdown(Shutdown::Write).expect("an open connection");
    assert_eq!(server.ledger().await_events("", 1)[0]["outcome"], "client_gone");
}

#[test]
fn an_answer_with_two_framings_keeps_the_one_that_counts() {
    let both = "HTTP/1.1 200 OK\r\ncontent-length: 99\r\nx-a: 1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let mut case = answered("both", both);
    case.request = b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n".to_vec();
    let (answer, _) = through(case);
    assert_eq!((answer.body.as_slice(), answer.header("content-length")), (&b"ok"[..], None));
}

#[test]
fn an_answer_that_breaks_the_rules_of_heads_is_a_502() {
    let fields: String = (0..257).map(|n| format!("x-h{n}: {n}\r\n")).collect();
    for answer in [
        "HTTP/1.1 200 OK\r\nx-a: b\r\n folded\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nx-a : b\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nx-a: b\0c\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nok".to_owned(),
        "HTTP/1.1 99 Low\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "ICY 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n\r\n"),
    ] {
        let mut case = answered("broken", answer.clone());
        case.request = b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n".to_vec();
        assert_eq!(through(case).0.status(), 502, "{answer:.80}");
    }
}
