//! `Expect: 100-continue`, early answers, and what comes before the final answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use crate::harness::http::{self, Message};
use crate::harness::server::MindWeave;

const ASKING: &[u8] =
    b"POST /v1/messages HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// An upstream for one connection that does exactly what the closure says.
fn upstream(
    script: impl FnOnce(BufReader<TcpStream>, TcpStream) + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("a bound socket has an address");
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("the proxy connects");
        stream.set_nodelay(true).expect("an option of every socket");
        stream.set_read_timeout(Some(super::harness::DEADLINE)).expect("an option of every socket");
        let reader = BufReader::new(stream.try_clone().expect("a second handle"));
        script(reader, stream);
    });
    (addr, thread)
}

/// Reads up to the empty line behind a head.
fn read_head(reader: &mut impl BufRead) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).expect("a head") > 0, "closed after {head:?}");
    }
    head
}

fn start(upstream: SocketAddr) -> MindWeave {
    MindWeave::start(&format!("http://{upstream}"))
}

#[test]
fn permission_to_send_a_body_comes_from_the_api() {
    let (addr, api) = upstream(|mut reader, mut writer| {
        assert!(read_head(&mut reader).contains("expect: 100-continue\r\n"));
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").expect("the proxy listens");
        let mut body = [0; 2];
        reader.read_exact(&mut body).expect("the body follows");
        writer.write_all(OK).expect("the proxy listens");
    });
    let server = start(addr);
    let mut client = http::connect(server.proxy).expect("a connection");
    client.write_all(ASKING).expect("a head");
    let mut reader = BufReader::new(client.try_clone().expect("a second handle"));
    assert_eq!(read_head(&mut reader), "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"{}").expect("a body");
    assert_eq!(http::read_response(&mut reader, false).expect("an answer").body, b"ok");
    api.join().expect("the API saw all it wanted");
    server.ledger().await_events("", 1);
}

#[test]
fn a_refusal_by_the_api_comes_instead_of_permission() {
    for status in ["417 Expectation Failed", "413 Content Too Large", "401 Unauthorized"] {
        let (addr, api) = upstream(move |mut reader, mut writer| {
            read_head(&mut reader);
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
            writer.write_all(answer.as_bytes()).expect("the proxy listens");
            let mut rest = Vec::new();
            reader.read_to_end(&mut rest).expect("the proxy closes the connection");
            assert!(rest.is_empty(), "no body was asked for, yet {} bytes came", rest.len());
        });
        let server = start(addr);
        let mut client = http::connect(server.proxy).expect("a connection");
        client.write_all(ASKING).expect("a head");
        let head = read_head(&mut BufReader::new(client.try_clone().expect("a second handle")));
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}");
        api.join().expect("the API saw no body");
        server.ledger().await_events("", 1);
    }
}

#[test]
fn an_api_that_never_gives_permission_gets_the_body_after_a_while() {
    let (addr, api) = upstream(|mut reader, mut writer| {
        read_head(&mut reader);
        let mut body = [0; 2];
        reader.read_exact(&mut body).expect("the body follows");
        writer.write_all(OK).expect("the proxy listens");
    });
    let server = start(addr);
    let mut client = http::connect(server.proxy).expect("a connection");
    client.write_all(ASKING).expect("a head");
    let mut reader = BufReader::new(client.try_clone().expect("a second handle"));
    assert_eq!(read_head(&mut reader), "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"{}").expect("a body");
    assert_eq!(http::read_response(&mut reader, false).expect("an answer").body, b"ok");
    api.join().expect("the API saw the body");
}

#[test]
fn an_answer_that_does_not_wait_for_the_body_is_delivered_at_once() {
    for close in [false, true] {
        let (addr, api) = upstream(move |mut reader, mut writer| {
            read_head(&mut reader);
            let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 4\r\nx-early: 1\r\n\r\nnope";
            writer.write_all(answer).expect("the proxy listens");
            if !close {
                let mut rest = Vec::new();
                drop(reader.read_to_end(&mut rest)); // a reset is an end, too
            }
        });
        let server = start(addr);
        let mut client = http::connect(server.proxy).expect("a connection");
        let half = b"POST /v1/messages HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000\r\n\r\n{\"model\"";
        client.write_all(half).expect("a head and the beginning of a body");
        let answer: Message =
            http::read_response(&mut BufReader::new(&client), false).expect("the answer comes early");
        assert_eq!((answer.status(), answer.body.as_slice()), (400, &b"nope"[..]));
        drop(client);
        api.join().expect("the API's connection ended");
        assert_eq!(server.ledger().await_events("", 1)[0]["status"], 400);
    }
}

#[test]
fn interim_answers_of_the_api_are_not_passed_on() {
    // Documented in docs/transparency.md.
    let (addr, api) = upstream(|mut reader, mut writer| {
        read_head(&mut reader);
        let answer = b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        writer.write_all(answer).expect("the proxy listens");
    });
    let server = start(addr);
    let mut client = http::connect(server.proxy).expect("a connection");
    client.write_all(b"GET /x HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").expect("a request");
    let mut all = String::new();
    client.read_to_string(&mut all).expect("an answer");
    assert_eq!(all, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    api.join().expect("the API was asked");
}

#[test]
fn a_switch_of_protocols_is_neither_offered_nor_accepted() {
    let (addr, api) = upstream(|mut reader, mut writer| {
        let head = read_head(&mut reader).to_ascii_lowercase();
        assert!(!head.contains("upgrade") && !head.contains("connection:"), "{head}");
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
        writer.write_all(answer).expect("the proxy listens");
    });
    let server = start(addr);
    let request = b"GET /x HTTP/1.1\r\nhost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
    let answer = http::exchange(server.proxy, request).expect("an answer");
    assert_eq!(answer.status(), 502);
    api.join().expect("the API was asked");
    server.ledger().await_events("", 1);
}

#[test]
fn permission_is_asked_for_chunked_bodies_too_and_may_come_after_other_interim_answers() {
    let (addr, api) = upstream(|mut reader, mut writer| {
        read_head(&mut reader);
        writer
            .write_all(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
            .expect("the proxy listens");
        let mut body = [0; 12];
        reader.read_exact(&mut body).expect("the body follows");
        assert_eq!(&body, b"2\r\n{}\r\n0\r\n\r\n");
        writer.write_all(OK).expect("the proxy listens");
    });
    let server = start(addr);
    let mut client = http::connect(server.proxy).expect("a connection");
    let head = b"POST /v1/messages HTTP/1.1\r\nhost: h\r\nExpect: 100-Continue\r\ntransfer-encoding: chunked\r\n\r\n";
    client.write_all(head).expect("a head");
    let mut reader = BufReader::new(client.try_clone().expect("a second handle"));
    assert_eq!(read_head(&mut reader), "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"2\r\n{}\r\n0\r\n\r\n").expect("a body");
    assert_eq!(http::read_response(&mut reader, false).expect("an answer").body, b"ok");
    api.join().expect("the API saw all it wanted");
}

#[test]
fn a_client_that_gets_no_permission_may_leave_and_is_booked_once() {
    let (say, hear) = std::sync::mpsc::channel();
    let (addr, api) = upstream(move |mut reader, _writer| {
        read_head(&mut reader);
        say.send(()).expect("the test listens");
        let mut rest = Vec::new();
        drop(reader.read_to_end(&mut rest)); // a reset is an end, too
        assert!(rest.is_empty(), "nobody sent a body");
    });
    let server = start(addr);
    let mut client = http::connect(server.proxy).expect("a connection");
    client.write_all(ASKING).expect("a head");
    hear.recv_timeout(crate::harness::DEADLINE).expect("the API is asked");
    drop(client);
    api.join().expect("the API's connection ended");
    assert_eq!(server.ledger().await_events("", 1)[0]["outcome"], "client_gone");
}
