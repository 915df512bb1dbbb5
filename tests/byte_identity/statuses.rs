//! Every status, with and without a body, to requests that allow one and to those that do not.

use super::{answered, case, identical};
use crate::harness::upstream::Answer;

#[test]
fn every_final_status_passes_with_its_reason_and_its_body() {
    let statuses = (200..600).step_by(7).chain([203, 205, 206, 207, 226, 299, 300, 402, 407, 411, 413]);
    let more =
        [414, 416, 418, 421, 422, 425, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 507, 511];
    let rest = [520, 522, 524, 529, 599, 600, 799, 999];
    let bodiless = [204, 205, 304];
    identical(
        statuses
            .chain(more)
            .chain(rest)
            .filter(|status| !bodiless.contains(status))
            .map(|status| {
                answered(
                    status.to_string(),
                    format!("HTTP/1.1 {status} Reason of {status}\r\ncontent-length: 4\r\n\r\nbody"),
                )
            })
            .collect(),
    );
}

#[test]
fn answers_without_a_body_keep_whatever_their_head_says() {
    let head = |name: &str, answer: &'static str| {
        case(format!("HEAD: {name}"), &["HEAD /x HTTP/1.1"], b"", move || Answer::whole(answer))
    };
    identical(vec![
        answered("200 with length 0", "HTTP/1.1 200 OK\r\nx-a: 1\r\ncontent-length: 0\r\nx-b: 2\r\n\r\n"),
        answered("200 without bytes until close", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        answered("204", "HTTP/1.1 204 No Content\r\nx-a: 1\r\n\r\n"),
        answered(
            "204 with length",
            "HTTP/1.1 204 No Content\r\nx-a: 1\r\ncontent-length: 0\r\nx-b: 2\r\n\r\n",
        ),
        answered("205", "HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n"),
        answered("304 with length", "HTTP/1.1 304 Not Modified\r\ncontent-length: 77\r\netag: \"x\"\r\n\r\n"),
        answered("304 with a type", "HTTP/1.1 304 Not Modified\r\ncontent-type: text/x\r\n\r\n"),
        answered("empty chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-b: 2\r\n\r\n0\r\n\r\n"),
        answered("empty error", "HTTP/1.1 503 Busy\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"),
        head("length", "HTTP/1.1 200 OK\r\ncontent-length: 1234\r\nx-b: 2\r\n\r\n"),
        head("length 0", "HTTP/1.1 200 OK\r\nx-a: 1\r\ncontent-length: 0\r\nx-b: 2\r\n\r\n"),
        head("no length", "HTTP/1.1 200 OK\r\nx-a: 1\r\n\r\n"),
        head("chunked", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-b: 2\r\n\r\n"),
        head("404", "HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\ncontent-type: application/json\r\n\r\n"),
        head("204", "HTTP/1.1 204 No Content\r\n\r\n"),
        head("304", "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n"),
    ]);
}

#[test]
fn ranges_pass_both_ways() {
    identical(vec![
        case(
            "part",
            &["GET /v1/files/f/content HTTP/1.1", "range: bytes=2-4", "if-range: \"e\""],
            b"",
            || {
                Answer::whole(
                    "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 2-4/10\r\naccept-ranges: bytes\r\netag: \"e\"\r\ncontent-length: 3\r\n\r\ncde",
                )
            },
        ),
        case("parts", &["GET /v1/files/f/content HTTP/1.1", "range: bytes=0-0,9-"], b"", || {
            Answer::whole(
                "HTTP/1.1 206 Partial Content\r\ncontent-type: multipart/byteranges; boundary=b\r\ncontent-length: 10\r\n\r\n--b--\r\n\r\n\0",
            )
        }),
        case("none", &["GET /v1/files/f/content HTTP/1.1", "range: bytes=99-"], b"", || {
            Answer::whole(
                "HTTP/1.1 416 Range Not Satisfiable\r\ncontent-range: bytes */10\r\ncontent-length: 0\r\n\r\n",
            )
        }),
    ]);
}

#[test]
fn framings_of_little_sense_pass() {
    let to_http_1_0 = |name: &str, method: &str, answer: &'static str| {
        case(format!("HTTP/1.0 client: {name}"), &[&format!("{method} /x HTTP/1.0")], b"", move || {
            Answer::then_close(answer)
        })
    };
    let head = |name: &str, answer: &'static str| {
        case(name, &["HEAD /x HTTP/1.1"], b"", move || Answer::then_close(answer))
    };
    identical(vec![
        answered("204, chunked", "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\nx-b: 2\r\n\r\n"),
        answered("304, chunked", "HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\nx-b: 2\r\n\r\n"),
        answered("205 with a body", "HTTP/1.1 205 Reset Content\r\ncontent-length: 2\r\n\r\nok"),
        answered("205, chunked", "HTTP/1.1 205 Reset Content\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        answered("length with zeros", "HTTP/1.1 200 OK\r\ncontent-length: 002\r\n\r\nok"),
        answered(
            "coding in capitals",
            "HTTP/1.1 200 OK\r\nTRANSFER-ENCODING: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
        answered(
            "a coding below",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
        answered("a message of 1 byte", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n\0"),
        head("HEAD with a body", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        head(
            "HEAD with an error",
            "HTTP/1.1 500 No\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n",
        ),
        to_http_1_0("chunked", "GET", "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil close"),
        to_http_1_0("length", "GET", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        to_http_1_0("304", "GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n"),
        to_http_1_0("204", "GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        to_http_1_0("empty", "GET", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        to_http_1_0("HEAD", "HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"),
    ]);
}
