//! Clients that lie, dawdle, leave, or come in crowds.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod harness;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Instant;

use harness::http;
use harness::memory::resident;
use harness::server::MindWeave;
use harness::upstream::{Answer, Upstream};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/// Streams that are open at once.
const CROWD: usize = 1_000;
/// What one open stream may cost: the buffers of two connections and their tasks. Measured: 56 KB in a debug build.
const BYTES_A_STREAM: u64 = 96 * 1024;

/// Sends the bytes and returns the answer and all that follows until the proxy closes the connection.
fn until_closed(server: &MindWeave, bytes: &[u8]) -> String {
    let mut stream = http::connect(server.proxy).expect("a connection");
    drop(stream.write_all(bytes)); // the proxy may have had enough before the end
    let mut all = Vec::new();
    drop(stream.read_to_end(&mut all)); // a reset behind the answer is an end, too
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn requests_that_could_be_read_in_two_ways_are_refused_and_nothing_behind_them_is_read() {
    let upstream = Upstream::start(|_| Answer::whole(OK));
    let server = MindWeave::start(&upstream.url());
    let heads = [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "Transfer-Encoding: chunked\r\nContent-Length: 0",
        "content-length: 5\r\ncontent-length: 6",
        "content-length: 5, 6",
        "content-length: +5",
        "content-length: -5",
        "content-length: 0x5",
        "content-length: 5 5",
        "content-length:",
        "content-length: 18446744073709551616",
        "transfer-encoding: identity",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: gzip",
        "transfer-encoding: xchunked",
        "transfer-encoding: \"chunked\"",
        "transfer-encoding: chunked;x=y",
        "transfer-encoding:\u{b}chunked",
        "transfer-encoding : chunked",
        "content-length : 5",
        "x-a: b\r\n folded",
        "x-a: b\r\n\ttransfer-encoding: chunked",
        " x-first: folded",
        "x-a: b\0c",
        "x-a: b\rtransfer-encoding: chunked",
        "x-a: b\u{1}c",
        "x\0a: b",
        "x a: b",
        "x(a): b",
        ": no name",
        "no colon",
        "host: other.example",
    ];
    for head in heads {
        let request = format!(
            "POST /attack HTTP/1.1\r\nhost: h\r\n{head}\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n"
        );
        let answer = until_closed(&server, request.as_bytes());
        let refused = answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.1 501 ");
        // Two hosts frame nothing: what follows is a request of its own.
        let answers = if head.starts_with("host") { 2 } else { 1 };
        assert!(refused && answer.matches("HTTP/1.1 ").count() <= answers, "{head:?}: {answer}");
    }
    let seen: Vec<String> = upstream.seen().into_iter().map(|request| request.start_line).collect();
    assert!(seen.iter().all(|line| line.starts_with("GET /smuggled")) && seen.len() <= 1, "{seen:?}");
}

#[test]
fn what_is_no_request_is_answered_or_dropped_and_never_forwarded() {
    let upstream = Upstream::start(|_| Answer::whole(OK));
    let server = MindWeave::start(&upstream.url());
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n"[..],
        b"GET /\r\n\r\n",
        b"GET / HTTP/0.9\r\n\r\n",
        b"GET / HTTP/3.0\r\nhost: h\r\n\r\n",
        b"GET  / HTTP/1.1\r\nhost: h\r\n\r\n",
        b"GET / x HTTP/1.1\r\nhost: h\r\n\r\n",
        b"G\xc3\xa9T / HTTP/1.1\r\nhost: h\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nhost: h\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"POST /x HTTP/1.0\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"CONNECT elsewhere.example:443 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
    ] {
        let answer = until_closed(&server, bytes);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{bytes:?}: {answer}");
    }
    assert_eq!(upstream.seen(), []);
}

#[test]
fn chunks_that_lie_never_make_a_whole_request() {
    let upstream = Upstream::start(|_| Answer::whole(OK));
    let server = MindWeave::start(&upstream.url());
    let lies = [
        "xyz\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "-1\r\nabc\r\n0\r\n\r\n",
        "3 3\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "\r\nabc\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        "3;\n\r\nabc\r\n0\r\n\r\n",
        "3\nabc\n0\n\n",
    ];
    for body in lies {
        let head = "POST /v1/messages HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
        let answer = until_closed(
            &server,
            format!("{head}{body}GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes(),
        );
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{body:?}: {answer}");
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{body:?}: {answer}");
    }
    let whole: Vec<_> = upstream.seen().into_iter().filter(|request| request.complete).collect();
    assert_eq!(whole, []);
    // Each was admitted before its body could be seen to lie.
    let events = server.ledger().await_events("", lies.len());
    assert!(events.iter().all(|event| event["outcome"] == "client_gone"), "{events:#?}");
}

#[test]
fn line_feeds_alone_end_lines_and_are_not_passed_on() {
    let upstream = Upstream::start(|_| Answer::whole(OK));
    let server = MindWeave::start(&upstream.url());
    let answer = http::exchange(server.proxy, b"GET /x HTTP/1.1\nhost: h\nx-a: 1\n\n").expect("an answer");
    assert_eq!(answer.status(), 200);
    let seen = upstream.seen().remove(0);
    assert_eq!(seen.headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["host", "x-a"]);
}

#[test]
fn clients_that_never_finish_a_head_are_dropped_while_others_are_served() {
    let upstream = Upstream::start(|_| Answer::whole(OK));
    let limit = [("MINDWEAVE_PROXY__LIMITS__HEADER_READ_TIMEOUT", "700ms")];
    let server = MindWeave::start_with(&upstream.url(), &limit);
    let starts = [&b""[..], b"G", b"PRI * HTTP/2.0\r\n", b"GET / HTTP/1.1\r\nhost: h\r\nx-slow: "];
    let mut slow: Vec<TcpStream> = starts
        .iter()
        .cycle()
        .take(40)
        .map(|start| {
            let mut stream = http::connect(server.proxy).expect("a connection");
            stream.write_all(start).expect("a beginning");
            stream
        })
        .collect();
    let began = Instant::now();
    let answer = http::exchange(server.proxy, b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n").expect("an answer");
    assert_eq!(answer.status(), 200);
    for stream in &mut slow {
        let mut all = Vec::new();
        drop(stream.read_to_end(&mut all)); // a timeout of ours would leave the connection open: see below
        assert!(began.elapsed() < harness::DEADLINE, "a slow client is still connected");
    }
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_key_of_ours_never_leaves_in_any_header() {
    let upstream = Upstream::start(|_| Answer::whole(OK));
    let server = MindWeave::start(&upstream.url());
    let (_, key) = server.ledger().project_with_key("app");
    let good = [
        format!("x-api-key: {key}"),
        format!("X-API-KEY: {key}"),
        format!("authorization: Bearer {key}"),
        format!("Authorization: bearer {key}"),
        format!("x-api-key: {key}\r\nauthorization: Bearer {key}"),
        format!("authorization: Bearer {key}\r\nx-api-key: sk-ant-api03-own"),
        format!("x-mindweave-key: {key}\r\nx-api-key: sk-ant-api03-own"),
        format!("x-mindweave-key: {key}\r\nauthorization: Bearer sk-ant-oat01-own"),
        format!("X-MindWeave-Key: {key}\r\nx-api-key: {key}"),
        format!("x-api-key: {key}\r\nx-api-key: {key}"),
        format!("authorization: Bearer {key}\r\nauthorization: Bearer sk-ant-oat01-own"),
    ];
    let bad = [
        "x-api-key: mw_unknownunknownunknownunknownunknown".to_owned(),
        "authorization: Bearer mw_unknownunknownunknownunknownunknown".to_owned(),
        "x-mindweave-key: mw_unknownunknownunknownunknownunknown".to_owned(),
    ];
    for (ways, status) in [(&good[..], 200), (&bad[..], 401)] {
        for way in ways {
            let request = format!("GET /v1/models HTTP/1.1\r\nhost: h\r\n{way}\r\n\r\n");
            let answer = http::exchange(server.proxy, request.as_bytes()).expect("an answer");
            assert_eq!(answer.status(), status, "{}", way.replace(&key, "KEY"));
        }
    }
    assert_eq!(upstream.seen().len(), good.len());
    let leaks: Vec<_> = upstream
        .seen()
        .into_iter()
        .flat_map(|request| request.headers)
        .filter(|(name, value)| name.contains("mindweave") || String::from_utf8_lossy(value).contains("mw_"))
        .collect();
    assert!(leaks.is_empty(), "{leaks:?}");
}

/// An upstream for one connection; the script tells what it has to say about the end.
fn once(
    script: impl FnOnce(BufReader<TcpStream>, TcpStream) + Send + 'static,
) -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("a bound socket has an address");
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("the proxy connects");
        stream.set_read_timeout(Some(harness::DEADLINE)).expect("an option of every socket");
        script(BufReader::new(stream.try_clone().expect("a second handle")), stream);
    });
    (format!("http://{addr}"), thread)
}

fn read_head(reader: &mut impl BufRead) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).expect("a head") > 0, "closed after {head:?}");
    }
    head
}

/// Reads until the connection ends; only silence is a failure.
fn until_end(reader: &mut impl Read) {
    if let Err(error) = reader.read_to_end(&mut Vec::new()) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "the connection is still open");
    }
}

#[test]
fn a_client_that_leaves_in_an_upload_takes_the_apis_connection_with_it() {
    let (say, hear) = mpsc::channel();
    let (url, api) = once(move |mut reader, _writer| {
        read_head(&mut reader);
        reader.read_exact(&mut [0; 1000]).expect("a part of the body");
        say.send(()).expect("the test listens");
        until_end(&mut reader);
    });
    let server = MindWeave::start(&url);
    let mut client = http::connect(server.proxy).expect("a connection");
    client
        .write_all(b"POST /v1/messages HTTP/1.1\r\nhost: h\r\ncontent-length: 100000\r\n\r\n")
        .expect("a head");
    client.write_all(&[b'x'; 1000]).expect("a part of the body");
    hear.recv_timeout(harness::DEADLINE).expect("the API has the part");
    drop(client);
    api.join().expect("the API's connection ended");
    let event = server.ledger().await_events("", 1).remove(0);
    assert_eq!(event["outcome"], "client_gone");
}

#[test]
fn a_client_that_leaves_in_a_stream_takes_the_apis_connection_with_it() {
    let (url, api) = once(|mut reader, mut writer| {
        read_head(&mut reader);
        let mut body = [0; 15];
        reader.read_exact(&mut body).expect("a body");
        writer
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n7\r\n: ping\n\r\n")
            .expect("the proxy listens");
        until_end(&mut reader); // nothing more is said: the proxy must notice by itself
    });
    let server = MindWeave::start(&url);
    let mut client = http::connect(server.proxy).expect("a connection");
    client
        .write_all(b"POST /v1/messages HTTP/1.1\r\nhost: h\r\ncontent-length: 15\r\n\r\n{\"stream\":true}")
        .expect("a request");
    let mut reader = BufReader::new(client);
    read_head(&mut reader);
    drop(reader);
    api.join().expect("the API's connection ended");
    let event = server.ledger().await_events("", 1).remove(0);
    assert_eq!(event["outcome"], "client_gone");
}

#[test]
fn a_thousand_slow_streams_stay_small_and_all_end_well() {
    raise_file_limit();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound socket has an address"));
    let (end, ended) = mpsc::channel::<()>();
    let api = std::thread::spawn(move || {
        let mut streams = Vec::new();
        for stream in listener.incoming().take(CROWD) {
            let mut stream = stream.expect("a connection");
            read_head(&mut BufReader::new(&stream));
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n7\r\n: ping\n\r\n";
            stream.write_all(head.as_bytes()).expect("the proxy listens");
            streams.push(stream);
        }
        ended.recv().expect("the test says when");
        for mut stream in streams {
            stream.write_all(b"6\r\n: end\n\r\n0\r\n\r\n").expect("the proxy listens");
        }
    });
    let server = MindWeave::start(&url);
    let before = resident(&server).now;
    let mut clients: Vec<BufReader<TcpStream>> = (0..CROWD)
        .map(|_| {
            let mut stream = http::connect(server.proxy).expect("a connection");
            stream.write_all(b"GET /v1/sessions/s/stream HTTP/1.1\r\nhost: h\r\n\r\n").expect("a request");
            BufReader::with_capacity(256, stream)
        })
        .collect();
    for client in &mut clients {
        read_head(client);
        let mut line = String::new();
        client.read_line(&mut line).expect("the size of the first chunk");
        client.read_line(&mut line).expect("the first chunk");
        assert_eq!(line, "7\r\n: ping\n");
    }
    let grown = resident(&server).now.saturating_sub(before);
    let each = grown / u64::try_from(CROWD).expect("small");
    println!("{CROWD} open streams: {} MiB, {each} bytes each", grown / (1024 * 1024));
    assert!(each < BYTES_A_STREAM, "{each} bytes a stream");
    end.send(()).expect("the API listens");
    for mut client in clients {
        let mut rest = Vec::new();
        while !rest.ends_with(b"0\r\n\r\n") {
            assert!(client.read_until(b'\n', &mut rest).expect("the rest") > 0, "cut after {rest:?}");
        }
    }
    api.join().expect("the API said everything");
    server.ledger().await_events("", CROWD);
}

/// Both ends of every stream are in this process: as many files as the system allows.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("a soft limit may be raised to the hard one");
}
