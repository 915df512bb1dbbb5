//! Bodies of any size pass through a proxy that does not grow.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "the figures are worth reading")]

mod harness;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use harness::http;
use harness::memory::{forget_peak, resident};
use harness::server::MindWeave;

const MIB: u64 = 1024 * 1024;
const LARGE: u64 = 300 * MIB;
const BLOCK: usize = 64 * 1024;
/// What the proxy may grow by while a body passes: the buffers of two connections, not a part of the body.
const GROWTH: u64 = 16 * MIB;

/// The block of a large body that begins at this offset: no two are alike.
fn block(offset: u64, pattern: &mut [u8]) {
    pattern[..8].copy_from_slice(&offset.to_be_bytes());
}

fn pattern() -> Vec<u8> {
    (0..BLOCK).map(|index| u8::try_from(index % 251).expect("small")).collect()
}

/// Writes a body of this length; returns how much the other side took before it went away.
fn write_body(to: &mut impl Write, length: u64) -> u64 {
    let mut pattern = pattern();
    let mut offset = 0;
    while offset < length {
        block(offset, &mut pattern);
        if to.write_all(&pattern).is_err() {
            return offset;
        }
        offset += u64::try_from(BLOCK).expect("small");
    }
    offset
}

/// Reads a body of this length and checks every block of it.
fn read_body(from: &mut impl Read, length: u64) {
    let mut expected = pattern();
    let mut read = vec![0; BLOCK];
    let mut offset = 0;
    while offset < length {
        from.read_exact(&mut read).expect("the body goes on");
        block(offset, &mut expected);
        assert!(read == expected, "the block at {offset} is another");
        offset += u64::try_from(BLOCK).expect("small");
    }
}

fn read_head(reader: &mut impl BufRead) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).expect("a head") > 0, "closed after {head:?}");
    }
    head
}

/// An upstream for one connection.
fn upstream(script: impl FnOnce(TcpStream) + Send + 'static) -> (SocketAddr, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("a bound socket has an address");
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("the proxy connects");
        script(stream);
    });
    (addr, thread)
}

/// A server that has served one request, so that what it needs once is there.
fn warm_server(upstream: SocketAddr) -> MindWeave {
    // Only a process that may be dumped lets another one reset its figures.
    let dumpable = [("MINDWEAVE_PROCESS__CORE_DUMPS", "on")];
    let server = MindWeave::start_with(&format!("http://{upstream}"), &dumpable);
    // A coding that is refused by the proxy itself: the upstream serves only the one connection of the test.
    let refused = b"POST /x HTTP/1.1\r\nhost: h\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(http::exchange(server.proxy, refused).expect("an answer").status(), 501);
    forget_peak(&server);
    server
}

fn assert_flat(server: &MindWeave, before: u64) {
    let after = resident(server);
    let growth = after.peak.saturating_sub(before);
    println!(
        "resident {} MiB, at most {} MiB, before {} MiB",
        after.now / MIB,
        after.peak / MIB,
        before / MIB
    );
    assert!(growth < GROWTH, "the proxy grew by {} MiB", growth / MIB);
}

#[test]
fn an_upload_of_300_mb_streams_through_in_constant_memory() {
    let (addr, api) = upstream(|mut stream| {
        let mut reader = BufReader::with_capacity(BLOCK, stream.try_clone().expect("a second handle"));
        assert!(read_head(&mut reader).contains(&format!("content-length: {LARGE}\r\n")));
        read_body(&mut reader, LARGE);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").expect("the proxy listens");
    });
    let server = warm_server(addr);
    let before = resident(&server).now;
    let mut client = http::connect(server.proxy).expect("a connection");
    let head = format!(
        "POST /v1/files HTTP/1.1\r\nhost: h\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: {LARGE}\r\n\r\n"
    );
    client.write_all(head.as_bytes()).expect("a head");
    assert_eq!(write_body(&mut client, LARGE), LARGE);
    let answer = http::read_response(&mut BufReader::new(client), false).expect("an answer");
    assert_eq!((answer.status(), answer.body.as_slice()), (200, &b"{}"[..]));
    api.join().expect("every block arrived in its place");
    assert_flat(&server, before);
    server.ledger().await_events("", 1);
}

#[test]
fn a_download_of_300_mb_streams_through_in_constant_memory() {
    let (addr, api) = upstream(|mut stream| {
        read_head(&mut BufReader::new(stream.try_clone().expect("a second handle")));
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {LARGE}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("the proxy listens");
        assert_eq!(write_body(&mut stream, LARGE), LARGE);
    });
    let server = warm_server(addr);
    let before = resident(&server).now;
    let mut client = http::connect(server.proxy).expect("a connection");
    client.write_all(b"GET /v1/files/file_1/content HTTP/1.1\r\nhost: h\r\n\r\n").expect("a request");
    let mut reader = BufReader::with_capacity(BLOCK, client);
    assert!(read_head(&mut reader).contains(&format!("content-length: {LARGE}\r\n")));
    read_body(&mut reader, LARGE);
    api.join().expect("the proxy took everything");
    assert_flat(&server, before);
    let event = server.ledger().await_events("", 1).remove(0);
    assert_eq!((&event["outcome"], &event["status"]), (&"complete".into(), &200.into()));
}

#[test]
fn a_message_of_20_mb_is_read_in_passing_without_being_held() {
    let text = 20 * MIB;
    let start = br#"{"messages":[{"role":"user","content":""#;
    let end = br#""}],"max_tokens":9,"model":"claude-opus-4-1","stream":false}"#;
    let length = start.len() + usize::try_from(text).expect("small") + end.len();
    let (addr, api) = upstream(move |mut stream| {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        read_head(&mut reader);
        let body = reader.take(u64::try_from(length).expect("small"));
        let read = std::io::copy(&mut { body }, &mut std::io::sink()).expect("a whole body");
        assert_eq!(usize::try_from(read), Ok(length));
        stream.write_all(b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\n{}").expect("the proxy listens");
    });
    let server = warm_server(addr);
    let before = resident(&server).now;
    let mut client = http::connect(server.proxy).expect("a connection");
    write!(client, "POST /v1/messages HTTP/1.1\r\nhost: h\r\ncontent-length: {length}\r\n\r\n")
        .expect("a head");
    client.write_all(start).expect("a body");
    for _ in 0..text / MIB {
        client.write_all(&vec![b'a'; usize::try_from(MIB).expect("small")]).expect("a body");
    }
    client.write_all(end).expect("a body");
    assert_eq!(http::read_response(&mut BufReader::new(client), false).expect("an answer").status(), 500);
    api.join().expect("the whole body arrived");
    assert_flat(&server, before);
    assert_eq!(server.ledger().await_events("", 1)[0]["requested_model"], "claude-opus-4-1");
}

#[test]
fn a_client_that_stops_reading_stops_the_api_and_not_the_proxys_memory() {
    let (say, hear) = mpsc::channel();
    let (addr, api) = upstream(move |mut stream| {
        read_head(&mut BufReader::new(stream.try_clone().expect("a second handle")));
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n")
            .expect("the proxy listens");
        // A write that cannot go on for a second is one that waits for the client.
        stream.set_write_timeout(Some(Duration::from_secs(1))).expect("an option of every socket");
        say.send(write_body(&mut stream, 1024 * MIB)).expect("the test listens");
        stream.set_read_timeout(Some(harness::DEADLINE)).expect("an option of every socket");
        // The end of the connection, polite or not, comes when the client has gone.
        let end = stream.read(&mut [0]);
        assert!(!matches!(&end, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock), "{end:?}");
    });
    let server = warm_server(addr);
    let before = resident(&server).now;
    let mut client = http::connect(server.proxy).expect("a connection");
    client.write_all(b"GET /v1/files/f/content HTTP/1.1\r\nhost: h\r\n\r\n").expect("a request");
    client.read_exact(&mut [0; 1024]).expect("the beginning");
    let taken = hear.recv_timeout(harness::DEADLINE).expect("the API is stopped");
    assert!(taken < 64 * MIB, "sockets and buffers took {} MiB", taken / MIB);
    assert_flat(&server, before);
    drop(client);
    api.join().expect("the API's connection ended");
    let event = server.ledger().await_events("", 1).remove(0);
    assert_eq!(event["outcome"], "client_gone");
}
