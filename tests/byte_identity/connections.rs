//! How connections of clients are held: order, reuse, ends, and that the API's own connections do not show.

use std::io::{BufReader, Read, Write};

use crate::harness::eventually;
use crate::harness::http::{self, Message};
use crate::harness::server::MindWeave;
use crate::harness::upstream::{Answer, Then, Upstream};

/// An upstream that says in its answer which path was asked and how many bytes came with it.
fn echo() -> Upstream {
    Upstream::start(|request| {
        let path = request.start_line.split(' ').nth(1).unwrap_or_default().to_owned();
        let body = format!("{path} {}", request.body.len());
        Answer::whole(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
    })
}

fn text(message: &Message) -> String {
    String::from_utf8_lossy(&message.body).into_owned()
}

#[test]
fn pipelined_requests_are_answered_in_order_and_booked_one_by_one() {
    let upstream = echo();
    let server = MindWeave::start(&upstream.url());
    let mut stream = http::connect(server.proxy).expect("a connection");
    let mut all = Vec::new();
    for number in 0..20 {
        all.extend_from_slice(
            match number % 4 {
                0 => format!("GET /{number} HTTP/1.1\r\nhost: h\r\n\r\n"),
                1 => format!("POST /{number} HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello"),
                2 => format!("POST /{number} HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"),
                _ => format!("DELETE /{number} HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n"),
            }
            .as_bytes(),
        );
    }
    stream.write_all(&all).expect("all requests at once");
    let mut reader = BufReader::new(stream);
    for number in 0..20 {
        let answer = http::read_response(&mut reader, false).expect("an answer to each request");
        assert_eq!(text(&answer), format!("/{number} {}", [0, 5, 2, 0][number % 4]));
    }
    server.ledger().await_events("", 20);
}

#[test]
fn one_connection_carries_every_kind_of_request_and_answer() {
    let upstream = Upstream::start(|request| match request.header("x-answer").as_deref() {
        Some("head") => Answer::whole("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n"),
        Some("304") => Answer::whole("HTTP/1.1 304 Not Modified\r\ncontent-length: 99\r\n\r\n"),
        Some("204") => Answer::whole("HTTP/1.1 204 No Content\r\n\r\n"),
        Some("chunked") => Answer::whole(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-t: 1\r\n\r\n",
        ),
        Some("close") => Answer::then_close("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nok"),
        _ => Answer::then_close("HTTP/1.0 404 No\r\n\r\nok"),
    });
    let server = MindWeave::start(&upstream.url());
    let mut stream = http::connect(server.proxy).expect("a connection");
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let answers = ["chunked", "head", "304", "close", "204", "old", "head", "chunked"];
    for answer in answers {
        let method = if answer == "head" { "HEAD" } else { "POST" };
        let request = format!(
            "{method} /{answer} HTTP/1.1\r\nhost: h\r\nx-answer: {answer}\r\ncontent-length: 0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("the connection is still open");
        let response = http::read_response(&mut reader, method == "HEAD").expect("an answer");
        let expected = if matches!(answer, "head" | "304" | "204") { "" } else { "ok" };
        assert_eq!((text(&response).as_str(), response.complete), (expected, true), "{answer}");
        assert_eq!(response.header("connection"), None, "{answer}: the client's connection goes on");
    }
    server.ledger().await_events("", answers.len());
}

/// Sends the request, and returns what came back until the proxy closed the connection.
fn until_closed(server: &MindWeave, request: &str) -> String {
    let mut stream = http::connect(server.proxy).expect("a connection");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("the proxy closes");
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn a_client_that_wants_to_close_is_told_so_and_gets_everything() {
    let upstream = echo();
    let server = MindWeave::start(&upstream.url());
    let answer = until_closed(&server, "GET /1 HTTP/1.1\r\nhost: h\r\nConnection: close\r\n\r\n");
    assert_eq!(answer, "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\n/1 0");
    // The client's wish is about its own connection.
    assert_eq!(upstream.seen()[0].header("connection"), None);
}

#[test]
fn http_1_0_clients_get_plain_bodies_and_keep_their_connection_only_if_they_ask() {
    let upstream = Upstream::start(|request| match request.start_line.as_str() {
        "GET /chunked HTTP/1.1" => Answer::whole(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n1\r\n!\r\n0\r\n\r\n",
        ),
        _ => Answer::whole("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok!"),
    });
    let server = MindWeave::start(&upstream.url());
    for path in ["/chunked", "/sized"] {
        let answer = until_closed(&server, &format!("GET {path} HTTP/1.0\r\n\r\n"));
        assert!(answer.ends_with("\r\n\r\nok!"), "{answer}");
        assert!(!answer.contains("transfer-encoding"), "{answer}");
        // Without a length only the end of the connection ends the body.
        let answer = until_closed(&server, "GET /chunked HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert!(answer.ends_with("\r\n\r\nok!"), "{answer}");
    }
    let mut stream = http::connect(server.proxy).expect("a connection");
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    for _ in 0..3 {
        stream
            .write_all(b"GET /sized HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
            .expect("the connection is still open");
        let answer = http::read_response(&mut reader, false).expect("an answer");
        assert_eq!(text(&answer), "ok!");
        assert_eq!(answer.header("connection").as_deref(), Some("keep-alive"));
    }
}

#[test]
fn connections_to_the_api_are_reused_and_replaced_without_a_trace() {
    let upstream = Upstream::start(|request| {
        let bytes = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        match request.start_line.contains("close") {
            true => Answer::then_close(bytes), // without a word about it, as servers do at their idle timeout
            false => Answer::whole(bytes),
        }
    });
    let server = MindWeave::start(&upstream.url());
    for number in 0..30 {
        let path = if number % 3 == 0 { "close" } else { "keep" };
        let request = format!("POST /{path} HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n{{}}");
        let answer = http::exchange(server.proxy, request.as_bytes()).expect("an answer");
        assert_eq!(answer.status(), 200, "request {number}");
        eventually("the connection is closed", || (upstream.closed() > number / 3).then_some(()));
    }
    server.ledger().await_events("", 30);
    assert_eq!(upstream.seen().len(), 30);
}

#[test]
fn bytes_behind_an_answer_never_reach_anybody() {
    let upstream = Upstream::start(|request| match request.start_line.contains("odd") {
        true => Answer::whole(
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
        ),
        false => Answer::whole("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood"),
    });
    let server = MindWeave::start(&upstream.url());
    let mut stream = http::connect(server.proxy).expect("a connection");
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    for (path, expected) in [("odd", "ok"), ("even", "good"), ("odd", "ok"), ("even", "good")] {
        write!(stream, "GET /{path} HTTP/1.1\r\nhost: h\r\n\r\n").expect("the connection is open");
        let answer = http::read_response(&mut reader, false).expect("an answer");
        assert_eq!(text(&answer), expected);
    }
}

#[test]
fn an_api_that_closes_connections_just_as_they_are_reused_is_not_taken_for_broken() {
    let upstream = Upstream::start(|request| match request.start_line.contains("close") {
        true => Answer { parts: Vec::new(), then: Then::Close },
        false => Answer::whole("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
    });
    let server = MindWeave::start(&upstream.url());
    for _ in 0..10 {
        for (path, status) in [("keep", 200), ("close", 502)] {
            // With a body: it may have been worked on, and is not sent again.
            let request = format!("POST /{path} HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n{{}}");
            let answer = http::exchange(server.proxy, request.as_bytes()).expect("an answer");
            assert_eq!(answer.status(), status, "the circuit breaker has nothing to do with it");
        }
    }
    server.ledger().await_events("", 20);
}
