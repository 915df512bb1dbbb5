//! How answers travel: repeatable, encoded, paced, cut off, over every protocol.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::io::{ErrorKind, Read};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mindweave_simulator::{Ending, Seed, Simulator, SimulatorConfig, TlsFiles};
use support::{DEADLINE, message, question, request, send, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Waits until the newest request has come to an end.
async fn ending(simulator: &Simulator) -> Ending {
    let end = Instant::now() + DEADLINE;
    loop {
        let newest = simulator.requests().pop().expect("a request");
        if newest.ending != Ending::InFlight {
            return newest.ending;
        }
        assert!(Instant::now() < end, "the exchange did not end");
        tokio::time::sleep(Duration::from_millis(5)).await; // the pause between two looks
    }
}

#[tokio::test]
async fn the_same_request_gets_the_same_bytes_and_another_seed_gets_others() {
    let (first, second) = (start("").await, start("").await);
    for stream in [false, true] {
        for shape in ["text", "thinking", "tools", "web_search", "compaction"] {
            let steering = format!("shape={shape}");
            let one = message(&first, &steering, &question(stream)).await;
            let same = message(&first, &steering, &question(stream)).await;
            let elsewhere = message(&second, &steering, &question(stream)).await;
            assert_eq!((&one.body, &one.headers), (&same.body, &same.headers), "{shape}");
            assert_eq!((&one.body, &one.headers), (&elsewhere.body, &elsewhere.headers), "{shape}");
            let other = message(&first, &format!("{steering}; seed=2"), &question(stream)).await;
            assert_ne!(one.body, other.body, "{shape}");
            assert_ne!(one.header("request-id"), other.header("request-id"), "{shape}");
        }
    }
}

#[tokio::test]
async fn with_a_seed_per_request_no_two_identifiers_are_the_same() {
    let config = SimulatorConfig { seed: Seed::PerRequest, ..SimulatorConfig::default() };
    let simulator = Simulator::start(config).await.unwrap();
    let one = message(&simulator, "", &question(false)).await;
    let two = message(&simulator, "", &question(false)).await;
    assert_ne!(one.json()["id"], two.json()["id"]);
    assert_ne!(one.header("request-id"), two.header("request-id"));
}

#[tokio::test]
async fn a_stream_says_the_same_in_every_encoding() {
    let simulator = start("").await;
    let plain = message(&simulator, "encoding=identity", &question(true)).await;
    for encoding in ["gzip", "deflate", "br", "zstd"] {
        for pace in ["", "; writes=event", "; chunk_bytes=5", "; writes=whole"] {
            let steering = format!("encoding={encoding}{pace}");
            let reply = message(&simulator, &steering, &question(true)).await;
            assert_eq!(reply.header("content-encoding"), Some(encoding));
            let mut text = String::new();
            decoder(encoding, &reply.body).read_to_string(&mut text).unwrap();
            assert_eq!(text, plain.text(), "{steering}");
            if pace == "; chunk_bytes=5" {
                assert!(reply.chunks.iter().all(|size| *size <= 5));
            }
        }
    }
}

fn decoder<'a>(encoding: &str, bytes: &'a [u8]) -> Box<dyn Read + 'a> {
    match encoding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(bytes)),
        "deflate" => Box::new(flate2::read::ZlibDecoder::new(bytes)),
        "br" => Box::new(brotli::Decompressor::new(bytes, 4096)),
        _ => Box::new(zstd::stream::read::Decoder::new(bytes).unwrap()),
    }
}

#[tokio::test]
async fn json_is_gzipped_when_the_client_allows_it_and_decodes_to_the_same_message() {
    let simulator = start("").await;
    let body = question(false).to_string();
    let ask = |accept: &'static str| {
        request("POST", "/v1/messages", &[("accept-encoding", accept)], body.as_bytes())
    };
    let plain = send(&simulator, &ask("identity")).await;
    let packed = send(&simulator, &ask("gzip, deflate")).await;
    assert_eq!(plain.header("content-encoding"), None);
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(packed.body.as_slice()).read_to_end(&mut text).unwrap();
    assert_eq!(text, plain.body);
}

#[tokio::test]
async fn a_reset_is_a_reset_in_the_middle_of_a_chunk() {
    let simulator = start("").await;
    let reply = message(&simulator, "cut=reset; cut_after_events=4", &question(true)).await;
    assert_eq!(reply.error, Some(ErrorKind::ConnectionReset));
    assert!(!reply.whole);
    assert_eq!(reply.chunks.len(), 5, "four whole events and the start of the fifth");
    assert_eq!(ending(&simulator).await, Ending::Cut);
}

#[tokio::test]
async fn a_close_is_an_orderly_close_in_the_middle_of_a_chunk() {
    let simulator = start("").await;
    let reply = message(&simulator, "cut=close; cut_after_events=4", &question(true)).await;
    assert_eq!(reply.error, None);
    assert!(!reply.whole);
    let (last, before) = reply.chunks.split_last().unwrap();
    assert_eq!(before.len(), 4);
    assert!(reply.body.len() < before.iter().sum::<usize>() + last, "the last chunk is short");
    assert_eq!(ending(&simulator).await, Ending::Cut);
}

#[tokio::test]
async fn a_clean_cut_looks_whole_but_has_no_message_stop() {
    let simulator = start("").await;
    let reply = message(&simulator, "cut=clean; cut_after_events=4", &question(true)).await;
    assert!(reply.whole);
    assert_eq!(reply.events().len(), 4);
    assert_eq!(ending(&simulator).await, Ending::Complete);
    let json = message(&simulator, "cut=clean", &question(false)).await;
    assert!(
        json.whole
            && !json.body.is_empty()
            && serde_json::from_slice::<serde_json::Value>(&json.body).is_err()
    );
}

#[tokio::test]
async fn a_json_answer_can_be_cut_too_and_the_head_arrives_whole() {
    let simulator = start("").await;
    for cut in ["reset", "close"] {
        let reply = message(&simulator, &format!("cut={cut}"), &question(false)).await;
        assert_eq!(reply.status, 200);
        assert!(!reply.whole && !reply.body.is_empty(), "{cut}");
    }
}

#[tokio::test]
async fn a_cut_beyond_the_end_breaks_where_the_body_would_have_ended() {
    let simulator = start("").await;
    let reply = message(&simulator, "cut=reset; cut_after_events=1000", &question(true)).await;
    assert_eq!(reply.error, Some(ErrorKind::ConnectionReset));
    assert!(reply.text().contains("event: message_stop") && !reply.whole);
}

#[tokio::test]
async fn an_error_event_ends_the_stream() {
    let simulator = start("").await;
    let steering = "error_after_events=5; error_type=api_error; message=It broke";
    let reply = message(&simulator, steering, &question(true)).await;
    let events = reply.events();
    assert_eq!((reply.status, events.len(), reply.whole), (200, 6, true));
    let (name, data) = events.last().unwrap();
    assert_eq!(name, "error");
    assert_eq!(data["error"]["type"], "api_error");
    assert_eq!(data["request_id"].as_str(), reply.header("request-id"));
}

#[tokio::test]
async fn pings_comments_and_delta_counts_are_as_asked() {
    let simulator = start("").await;
    let reply = message(&simulator, "events=60; ping_every=10; comment_every=20", &question(true)).await;
    let events = reply.events();
    let count = |wanted: &str| events.iter().filter(|(name, _)| name == wanted).count();
    assert_eq!(count("content_block_delta"), 60);
    assert!(count("ping") >= 6);
    assert!(reply.text().matches("\n: keep-alive\n").count() >= 3);
}

#[tokio::test]
async fn a_json_answer_has_exactly_the_size_asked_for() {
    let simulator = start("").await;
    for bytes in [1_024, 4_000, 100_000] {
        let steering = format!("shape=json; response_bytes={bytes}; framing=length");
        let reply = message(&simulator, &steering, &question(false)).await;
        assert_eq!(reply.body.len(), bytes);
        assert_eq!(reply.header("content-length"), Some(bytes.to_string().as_str()));
        assert_eq!(reply.json()["content"][0]["type"], "text");
    }
}

#[tokio::test]
async fn delays_hold_back_the_head_and_every_event() {
    let simulator = start("").await;
    let begun = Instant::now();
    let steering = "first_byte_delay_ms=60; chunk_delay_ms=10; events=10; stall_after_events=3; stall_ms=50";
    let reply = message(&simulator, steering, &question(true)).await;
    let pauses = u64::try_from(reply.chunks.len() - 1).unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(60 + 50 + 10 * pauses));
    assert!(reply.whole);
}

#[tokio::test]
async fn each_event_is_on_the_wire_before_the_next_is_made() {
    let simulator = start("").await;
    let body = question(true).to_string();
    let headers = [("x-simulate", "stall_after_events=3; stall_ms=3600000")];
    let mut socket = TcpStream::connect(simulator.local_addr()).await.unwrap();
    socket.write_all(&request("POST", "/v1/messages", &headers, body.as_bytes())).await.unwrap();
    let mut seen = Vec::new();
    let arrived = async {
        while !seen.windows(11).any(|window| window == b"event: ping") {
            socket.read_buf(&mut seen).await.unwrap();
        }
    };
    tokio::time::timeout(DEADLINE, arrived).await.expect("three events before the stall");
    assert_eq!(simulator.requests().pop().unwrap().ending, Ending::InFlight);
    drop(socket);
    assert_eq!(ending(&simulator).await, Ending::ClientGone);
    assert!(simulator.requests().pop().unwrap().aborted);
}

#[tokio::test]
async fn a_client_that_leaves_before_the_first_byte_is_noticed() {
    let simulator = start("first_byte_delay_ms=3600000").await;
    let body = question(false).to_string();
    let mut socket = TcpStream::connect(simulator.local_addr()).await.unwrap();
    socket.write_all(&request("POST", "/v1/messages", &[], body.as_bytes())).await.unwrap();
    let end = Instant::now() + DEADLINE;
    while simulator.requests().pop().and_then(|request| request.body_bytes).is_none() {
        assert!(Instant::now() < end, "the request did not arrive");
        tokio::time::sleep(Duration::from_millis(5)).await; // the pause between two looks
    }
    drop(socket);
    assert_eq!(ending(&simulator).await, Ending::ClientGone);
}

#[tokio::test]
async fn http2_with_prior_knowledge_works_and_a_cut_resets_only_its_stream() {
    let simulator = start("").await;
    let socket = TcpStream::connect(simulator.local_addr()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    let driver = tokio::spawn(connection);
    let ask = |steering: &str| {
        http::Request::post("http://simulator/v1/messages")
            .header("x-api-key", "sk-ant-api03-test")
            .header("anthropic-version", "2023-06-01")
            .header("x-simulate", steering)
            .body(Full::new(Bytes::from(question(true).to_string())))
            .unwrap()
    };
    let cut = sender.send_request(ask("cut=reset; cut_after_events=2")).await.unwrap();
    assert_eq!(cut.version(), http::Version::HTTP_2);
    assert!(cut.into_body().collect().await.is_err());
    let whole = sender.send_request(ask("")).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8(whole.to_vec()).unwrap().contains("event: message_stop"));
    driver.abort();
}

#[tokio::test]
async fn tls_serves_with_the_given_files_and_can_be_cut() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let files = TlsFiles { certificates: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    std::fs::write(&files.certificates, certified.cert.pem()).unwrap();
    std::fs::write(&files.key, certified.signing_key.serialize_pem()).unwrap();
    let config = SimulatorConfig { tls: Some(files), ..SimulatorConfig::default() };
    let simulator = Simulator::start(config).await.unwrap();

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(client));
    for (steering, whole) in [("", true), ("cut=close; cut_after_events=2", false)] {
        let socket = TcpStream::connect(simulator.local_addr()).await.unwrap();
        let mut socket = connector.connect("localhost".try_into().unwrap(), socket).await.unwrap();
        let body = question(true).to_string();
        let bytes = request("POST", "/v1/messages", &[("x-simulate", steering)], body.as_bytes());
        socket.write_all(&bytes).await.unwrap();
        let mut wire = Vec::new();
        let read = socket.read_to_end(&mut wire).await;
        let text = String::from_utf8_lossy(&wire);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"));
        assert_eq!(text.contains("event: message_stop"), whole);
        assert_eq!(read.is_ok(), whole, "a cut connection ends without a TLS close: {read:?}");
    }
}

#[tokio::test]
async fn shutting_down_lets_an_answer_under_way_finish() {
    let simulator = start("chunk_delay_ms=10; events=20").await;
    let addr = simulator.local_addr();
    let body = question(true).to_string();
    let mut socket = TcpStream::connect(addr).await.unwrap();
    socket.write_all(&request("POST", "/v1/messages", &[], body.as_bytes())).await.unwrap();
    let mut wire = vec![0; 1];
    socket.read_exact(&mut wire).await.unwrap();
    simulator.shutdown().await;
    socket.read_to_end(&mut wire).await.unwrap();
    assert!(String::from_utf8_lossy(&wire).contains("event: message_stop"));
    assert!(TcpStream::connect(addr).await.is_err(), "nobody listens any more");
}
