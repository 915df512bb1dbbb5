//! HTTP/2 on either side: each shape of request and answer comes out as it does over HTTP/1.1.
//!
//! Names are in lower case there, and there are no reasons: that is HTTP/2. All else is compared.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod harness;

use std::net::SocketAddr;
use std::process::Command;

use harness::clients;
use harness::http::{self, Message};
use harness::server::MindWeave;
use harness::upstream::{Answer, Upstream};
use rcgen::{CertificateParams, KeyPair};

const ANSWERS: [(&str, &str); 16] = [
    ("GET", "200 OK\r\ncontent-length: 2\r\nx-b: 2\r\nx-a: 1\r\n\r\nok"),
    ("GET", "200 OK\r\ntransfer-encoding: chunked\r\nx-b: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ("GET", "200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("GET", "200 OK\r\ncontent-length: 0\r\nx-b: 2\r\n\r\n"),
    ("GET", "200 OK\r\nset-cookie: a=1\r\nx-a:\r\nset-cookie: b=2\r\ncontent-length: 0\r\n\r\n"),
    ("GET", "204 No Content\r\nx-a: 1\r\n\r\n"),
    ("GET", "206 Partial Content\r\ncontent-range: bytes 0-1/9\r\ncontent-length: 2\r\n\r\nok"),
    ("GET", "304 Not Modified\r\netag: \"x\"\r\n\r\n"),
    ("GET", "307 Temporary Redirect\r\nlocation: /y\r\ncontent-length: 0\r\n\r\n"),
    (
        "POST",
        "400 Bad Request\r\ncontent-type: application/json\r\nx-should-retry: false\r\ncontent-length: 2\r\n\r\n{}",
    ),
    ("POST", "429 Too Many Requests\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\n{}"),
    ("POST", "529 Overloaded\r\ncontent-length: 2\r\n\r\n{}"),
    ("DELETE", "200 OK\r\ncontent-length: 2\r\n\r\nok"),
    ("PURGE", "200 OK\r\ncontent-length: 2\r\n\r\nok"),
    ("HEAD", "200 OK\r\ncontent-length: 1234\r\nx-b: 2\r\n\r\n"),
    ("HEAD", "200 OK\r\nx-b: 2\r\n\r\n"),
];

/// The status, the headers that both protocols have, and the body.
type Shape = (u16, Vec<(String, Vec<u8>)>, Vec<u8>);

fn shape(message: &Message) -> Shape {
    let mut headers = message.end_to_end_headers();
    for (name, _) in &mut headers {
        name.make_ascii_lowercase();
    }
    (message.status(), headers, message.body.clone())
}

/// An upstream that gives the answer whose number is in `x-case`.
fn api() -> Upstream {
    Upstream::start(|request| {
        let number: usize = request.header("x-case").and_then(|n| n.parse().ok()).expect("a case number");
        Answer::whole(format!("HTTP/1.1 {}", ANSWERS[number].1))
    })
}

fn request(number: usize) -> Vec<u8> {
    let method = ANSWERS[number].0;
    let (length, body) = if method == "POST" { ("content-length: 2\r\n", "{}") } else { ("", "") };
    format!(
        "{method} /v1/x?a=b HTTP/1.1\r\nhost: h\r\nx-case: {number}\r\ncookie: a=1; b=2\r\n{length}\r\n{body}"
    )
    .into_bytes()
}

fn exchange(number: usize, to: SocketAddr) -> Shape {
    shape(&http::exchange(to, &request(number)).expect("an answer"))
}

/// The same request from curl over HTTP/2.
fn exchange_over_http2(number: usize, server: &MindWeave) -> Shape {
    let method = ANSWERS[number].0;
    let mut command = Command::new("curl");
    command.args(["--disable", "--silent", "--show-error", "--max-time", "30", "--include"]);
    command.args(["--http2-prior-knowledge", "-H", &format!("x-case: {number}"), "-H", "cookie: a=1; b=2"]);
    match method {
        "HEAD" => command.arg("--head"),
        "POST" => command.args(["--data-binary", "{}"]),
        other => command.args(["--request", other]),
    };
    let output = clients::run(command.arg(format!("{}/v1/x?a=b", server.url())));
    // What curl shows is a head like any other; the body is what is left.
    let end = output.stdout.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let mut message = http::read_response(&mut &output.stdout[..end], true).expect("a head");
    message.body = output.stdout[end..].to_vec();
    shape(&message)
}

#[test]
fn clients_get_the_same_answers_over_http_2() {
    let upstream = api();
    let server = MindWeave::start(&upstream.url());
    for (number, (method, answer)) in ANSWERS.iter().enumerate() {
        let direct = exchange(number, upstream.addr);
        assert_eq!(exchange_over_http2(number, &server), direct, "{method}: {answer}");
        let seen = upstream.seen().pop().expect("the request came through");
        assert_eq!(seen.start_line, format!("{method} /v1/x?a=b HTTP/1.1"));
        assert_eq!(seen.body, if *method == "POST" { &b"{}"[..] } else { b"" });
        assert_eq!(seen.header("transfer-encoding"), None, "{method} has no body, or one of known length");
    }
    server.ledger().await_events("", ANSWERS.len());
}

#[test]
fn the_api_is_asked_and_answers_the_same_over_http_2() {
    let upstream = api();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .expect("a name")
        .self_signed(&key)
        .expect("a certificate");
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("a plain path").to_owned()
    };
    let (cert, key) = (file("cert.pem", certificate.pem()), file("key.pem", key.serialize_pem()));
    let tls = [
        ("MINDWEAVE_PROXY__TLS__CERT_FILE", cert.as_str()),
        ("MINDWEAVE_PROXY__TLS__KEY_FILE", key.as_str()),
    ];
    // A second MindWeave stands in for an API that speaks HTTP/2.
    let http2 = MindWeave::start_with(&upstream.url(), &tls);
    let settings = [
        ("MINDWEAVE_PROXY__UPSTREAM_CA_FILE", cert.as_str()),
        ("MINDWEAVE_PROXY__UPSTREAM_PROTOCOL", "http2"),
    ];
    let server = MindWeave::start_with(&format!("https://{}", http2.proxy), &settings);
    for (number, (method, answer)) in ANSWERS.iter().enumerate() {
        let direct = exchange(number, upstream.addr);
        let seen_direct = shape(&upstream.seen().pop().expect("the request"));
        assert_eq!(exchange(number, server.proxy), direct, "{method}: {answer}");
        let seen = shape(&upstream.seen().pop().expect("the request came through"));
        let without_host = |(_, mut headers, body): Shape| {
            // hyper states the length of every empty body but those of GET, HEAD and DELETE: docs/transparency.md.
            let stated = *method == "PURGE";
            headers.retain(|(name, value)| {
                name != "host" && !(stated && name == "content-length" && value == b"0")
            });
            (headers, body)
        };
        assert_eq!(without_host(seen), without_host(seen_direct), "{method}");
    }
    server.ledger().await_events("", ANSWERS.len());
}
