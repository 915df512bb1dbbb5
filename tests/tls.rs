//! TLS and HTTP/2, towards clients and towards the API, with curl and with raw TLS as clients.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod harness;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use harness::http::{self, Message};
use harness::server::MindWeave;
use harness::upstream::{Answer, Then, Upstream};
use harness::{clients, eventually};
use rcgen::{CertificateParams, KeyPair};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;

const STREAM: [&str; 4] = [
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"claude-opus-4-1-20250805\",\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}}\n\n",
    "event: ping\ndata: {\"type\": \"ping\"}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":7}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
];
const MESSAGE: &str = r#"{"model":"claude-opus-4-1","max_tokens":9,"stream":true,"messages":[]}"#;

/// A folder with `cert.pem` and `key.pem`.
struct Certificate {
    folder: tempfile::TempDir,
}

impl Certificate {
    fn new() -> Self {
        let certificate = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        certificate.renew();
        certificate
    }

    /// Writes a new certificate for this machine over the files; returns it.
    fn renew(&self) -> CertificateDer<'static> {
        let key = KeyPair::generate().expect("a key");
        let names = vec!["127.0.0.1".to_owned()];
        let certificate =
            CertificateParams::new(names).expect("names").self_signed(&key).expect("a certificate");
        std::fs::write(self.folder.path().join("key.pem"), key.serialize_pem()).expect("a key file");
        std::fs::write(self.file(), certificate.pem()).expect("a certificate file");
        certificate.der().clone()
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// A server that shows it to its clients.
    fn server(&self, upstream: &str) -> MindWeave {
        let (cert, key) = (self.file(), self.folder.path().join("key.pem"));
        let settings = [
            ("MINDWEAVE_PROXY__TLS__CERT_FILE", cert.to_str().expect("a plain path")),
            ("MINDWEAVE_PROXY__TLS__KEY_FILE", key.to_str().expect("a plain path")),
        ];
        MindWeave::start_with(upstream, &settings)
    }
}

/// The body that curl got, and the protocol and status it got it with.
fn curl(arguments: &[&str]) -> (Vec<u8>, String) {
    let mut command = Command::new("curl");
    command.args(["--disable", "--silent", "--show-error", "--no-buffer", "--max-time", "30"]);
    let output =
        clients::run(command.args(["--write-out", "\n%{http_version} %{http_code}"]).args(arguments));
    let end = output.stdout.iter().rposition(|byte| *byte == b'\n').expect("the line that was asked for");
    let figures = String::from_utf8_lossy(&output.stdout[end + 1..]).into_owned();
    (output.stdout[..end].to_vec(), figures)
}

/// An upstream that answers a message with [`STREAM`], one event a write, and everything else by saying what it saw.
fn api() -> Upstream {
    Upstream::start(|request| {
        if request.start_line.starts_with("POST /v1/messages ") {
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            let chunks = STREAM.iter().map(|event| format!("{:x}\r\n{event}\r\n", event.len()).into_bytes());
            let parts = std::iter::once(head.into()).chain(chunks).chain([b"0\r\n\r\n".to_vec()]).collect();
            return Answer { parts, then: Then::KeepAlive };
        }
        let text = format!("{} {}", request.start_line, request.body.len());
        Answer::whole(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()))
    })
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// What the one event of a server says about [`STREAM`].
fn assert_metered(event: &Value) {
    let seen = ["input_tokens", "output_tokens", "certainty", "outcome", "streamed", "status"]
        .map(|name| &event[name]);
    assert_eq!(
        Value::from_iter(seen.map(Clone::clone)),
        serde_json::json!([10, 7, "exact", "complete", true, 200])
    );
    // $15 and $75 a million tokens: 10 x 15 000 + 7 x 75 000 nano-dollars.
    assert_eq!(event["cost_nano_usd"], 675_000);
}

#[test]
fn clients_get_http_1_1_or_http_2_over_tls_as_they_ask() {
    let (upstream, certificate) = (api(), Certificate::new());
    let server = certificate.server(&upstream.url());
    let url = format!("https://{}", server.proxy);
    let ca = certificate.file();
    let large = certificate.folder.path().join("large");
    std::fs::write(&large, vec![0xA5; 5_000_000]).expect("a file");
    let upload = format!("@{}", text(&large));
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let (body, figures) = curl(&[option, "--cacert", text(&ca), &format!("{url}/v1/models?limit=1")]);
        assert_eq!(String::from_utf8_lossy(&body), "GET /v1/models?limit=1 HTTP/1.1 0");
        assert_eq!(figures, format!("{version} 200"));
        let (body, figures) =
            curl(&[option, "--cacert", text(&ca), "--data-binary", &upload, &format!("{url}/v1/files")]);
        assert_eq!(String::from_utf8_lossy(&body), "POST /v1/files HTTP/1.1 5000000");
        assert_eq!(figures, format!("{version} 200"));
    }
    assert!(upstream.seen().iter().all(|request| request.body.iter().all(|byte| *byte == 0xA5)));
    server.ledger().await_events("", 4);
}

#[test]
fn the_plain_port_takes_http_2_from_clients_that_know() {
    let upstream = api();
    let server = MindWeave::start(&upstream.url());
    let url = format!("{}/v1/messages", server.url());
    let (body, figures) = curl(&["--http2-prior-knowledge", "--data-binary", MESSAGE, &url]);
    assert_eq!((String::from_utf8_lossy(&body).into_owned(), figures.as_str()), (STREAM.concat(), "2 200"));
    assert_eq!(upstream.seen()[0].body, MESSAGE.as_bytes());
    assert_metered(&server.ledger().await_events("", 1)[0]);
}

/// One HTTP/1.1 connection over TLS to a server whose certificate must be this one.
fn connect(
    server: &MindWeave,
    trusted: &CertificateDer<'static>,
) -> std::io::Result<BufReader<StreamOwned<ClientConnection, TcpStream>>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let mut connection = ClientConnection::new(Arc::new(config), name).expect("a configuration that works");
    let mut tcp = http::connect(server.proxy)?;
    connection.complete_io(&mut tcp)?;
    Ok(BufReader::new(StreamOwned::new(connection, tcp)))
}

fn ask(connection: &mut BufReader<StreamOwned<ClientConnection, TcpStream>>) -> Message {
    connection.get_mut().write_all(b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n").expect("the connection is open");
    http::read_response(connection, false).expect("an answer")
}

#[test]
fn a_new_certificate_is_shown_to_new_clients_and_a_broken_one_is_not() {
    let (upstream, certificate) = (api(), Certificate::new());
    let first = certificate.renew();
    let server = certificate.server(&upstream.url());
    let mut old_client = connect(&server, &first).expect("the first certificate is shown");
    assert_eq!(ask(&mut old_client).status(), 200);

    let second = certificate.renew();
    let mut new_client = eventually("the second certificate is shown", || connect(&server, &second).ok());
    assert_eq!(ask(&mut new_client).status(), 200);
    assert!(connect(&server, &first).is_err(), "the first certificate is gone");
    assert_eq!(ask(&mut old_client).status(), 200, "open connections go on");

    std::fs::write(certificate.file(), "no certificate").expect("a file");
    eventually("the broken file is noticed", || server.log().contains("keeping the old").then_some(()));
    let mut later_client = connect(&server, &second).expect("the second certificate is still shown");
    for client in [&mut old_client, &mut new_client, &mut later_client] {
        assert_eq!(ask(client).status(), 200);
    }
}

#[test]
fn streams_are_metered_exactly_over_every_protocol_to_the_api() {
    let (upstream, certificate) = (api(), Certificate::new());
    for protocol in ["http1", "http2", "auto"] {
        // A second MindWeave stands in for an API that speaks TLS; it meters too.
        let api = certificate.server(&upstream.url());
        let ca = certificate.file();
        let settings = [
            ("MINDWEAVE_PROXY__UPSTREAM_CA_FILE", text(&ca)),
            ("MINDWEAVE_PROXY__UPSTREAM_PROTOCOL", protocol),
        ];
        let server = MindWeave::start_with(&format!("https://{}", api.proxy), &settings);
        let url = format!("{}/v1/messages", server.url());
        for (number, option) in ["--http2-prior-knowledge", "--http1.1"].into_iter().enumerate() {
            let (body, figures) = curl(&[option, "--data-binary", MESSAGE, &url]);
            assert_eq!(String::from_utf8_lossy(&body), STREAM.concat(), "{protocol}");
            assert!(figures.ends_with(" 200"), "{protocol}: {figures}");
            for server in [&server, &api] {
                assert_metered(&server.ledger().await_events("", number + 1)[number]);
            }
        }
        let seen = upstream.seen().pop().expect("the request came through");
        assert_eq!(seen.body, MESSAGE.as_bytes(), "{protocol}");
    }
}

#[test]
fn an_api_with_a_certificate_that_nobody_vouches_for_gets_no_request() {
    let (upstream, certificate) = (api(), Certificate::new());
    let api = certificate.server(&upstream.url());
    let server = MindWeave::start(&format!("https://{}", api.proxy));
    let answer = http::exchange(server.proxy, b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n").expect("an answer");
    assert_eq!(answer.status(), 502);
    let event = server.ledger().await_events("", 1).remove(0);
    assert_eq!((&event["outcome"], &event["cost_nano_usd"]), (&"upstream_error".into(), &0.into()));
    assert_eq!(upstream.seen(), []);
}

#[test]
fn a_client_that_leaves_an_http_2_stream_is_booked_once() {
    let upstream = Upstream::start(|_| Answer {
        parts: vec![
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
                .to_vec(),
            format!("{:x}\r\n{}\r\n", STREAM[0].len(), STREAM[0]).into_bytes(),
        ],
        then: Then::KeepAlive,
    });
    let server = MindWeave::start(&upstream.url());
    let mut command = Command::new("curl");
    command.args(["--disable", "--silent", "--no-buffer", "--noproxy", "*", "--http2-prior-knowledge"]);
    command.args(["--data-binary", MESSAGE, &format!("{}/v1/messages", server.url())]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("curl starts");
    let mut first = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut first).expect("the first event");
    assert_eq!(first, "event: message_start\n");
    child.kill().expect("our own child");
    child.wait().expect("our own child");
    let event = server.ledger().await_events("", 1).remove(0);
    assert_eq!((&event["outcome"], &event["input_tokens"]), (&"client_gone".into(), &10.into()));
}
