//! Answers as the client sees them.

use super::{answered, case, identical};
use crate::harness::upstream::Answer;

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
    ]);
}

#[test]
fn bodies_pass_whatever_frames_or_codes_them() {
    identical(vec![
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

#[test]
fn heads_of_odd_shapes_pass() {
    let length = "content-length: 0\r\n\r\n";
    identical(vec![
        answered("a long reason", format!("HTTP/1.1 500 {}\r\n{length}", "why ".repeat(500))),
        answered("tabs", format!("HTTP/1.1 200 OK\r\nx-tabs:\ta\tb  c\t\r\n{length}")),
        answered("empty values", format!("HTTP/1.1 200 OK\r\nx-a:\r\nX-A: \r\nx-b:1\r\n{length}")),
        answered("UTF-8", format!("HTTP/1.1 200 OK\r\nx-utf8: \u{e4}\u{1f600}\r\n{length}")),
        answered(
            "several cookies",
            format!(
                "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nx: 1\r\nset-cookie: b=2\r\nSET-COOKIE: c=3\r\n{length}"
            ),
        ),
        answered(
            "a head of 300 KB",
            format!("HTTP/1.1 200 OK\r\nx-long: {}\r\n{length}", "v".repeat(300_000)),
        ),
        answered(
            "date, server and via",
            format!(
                "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: x\r\nVia: 1.1 y\r\n{length}"
            ),
        ),
        case("trailers announced", &["GET /x HTTP/1.1", "te: trailers"], b"", || {
            Answer::whole(
                "HTTP/1.1 200 OK\r\nTrailer: x-t\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-t: 1\r\n\r\n",
            )
        }),
        answered("no type", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        answered(
            "a type that is none",
            "HTTP/1.1 200 OK\r\ncontent-type: ;;;\r\ncontent-length: 2\r\n\r\nok",
        ),
        answered("line feeds only", "HTTP/1.1 200 OK\nx-a: 1\ncontent-length: 2\n\nok"),
    ]);
}

#[test]
fn answers_in_packets_of_one_byte_pass() {
    let bytewise = |text: &'static str| {
        case("bytewise", &["POST /v1/messages HTTP/1.1", "content-length: 2"], b"{}", move || Answer {
            parts: text.bytes().map(|byte| vec![byte]).collect(),
            then: crate::harness::upstream::Then::KeepAlive,
        })
    };
    identical(vec![
        bytewise("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-type: application/json\r\n\r\n[1,2]"),
        bytewise(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=\"y\"\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
        ),
    ]);
}
