//! Nothing waits in the proxy: each piece arrives before the next is sent.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

use crate::harness::server::MindWeave;
use crate::harness::{DEADLINE, http};

/// A server whose API serves one connection, given to the script when its first head has been read.
fn start(
    script: impl FnOnce(BufReader<TcpStream>, TcpStream) + Send + 'static,
) -> (MindWeave, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("a bound socket has an address");
    let api = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("the proxy connects");
        stream.set_nodelay(true).expect("an option of every socket");
        stream.set_read_timeout(Some(DEADLINE)).expect("an option of every socket");
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        skip_head(&mut reader);
        script(reader, stream);
    });
    (MindWeave::start(&format!("http://{addr}")), api)
}

fn skip_head(reader: &mut impl BufRead) {
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        assert!(reader.read_line(&mut line).expect("a head") > 0, "closed within a head");
    }
}

/// Reads up to the end of the next chunk's data and returns it.
fn next_chunk(reader: &mut impl BufRead) -> Vec<u8> {
    let mut size = String::new();
    reader.read_line(&mut size).expect("the size of a chunk");
    let mut data = vec![0; usize::from_str_radix(size.trim(), 16).expect("a size") + 2];
    reader.read_exact(&mut data).expect("a chunk");
    data.truncate(data.len() - 2);
    data
}

#[test]
fn every_piece_of_an_answer_arrives_before_the_next_is_sent() {
    let types = ["text/event-stream", "application/json", "application/octet-stream"];
    let codings = ["", "content-encoding: gzip\r\n", "content-encoding: br\r\n"];
    for (content_type, coding) in types.iter().flat_map(|kind| codings.map(|coding| (*kind, coding))) {
        let (say, hear) = mpsc::channel::<()>();
        let (server, api) = start(move |_, mut writer| {
            write!(
                writer,
                "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\n{coding}transfer-encoding: chunked\r\n\r\n"
            )
            .expect("the proxy listens");
            for number in 0..100_u8 {
                writer.write_all(&[b'1', b'\r', b'\n', number, b'\r', b'\n']).expect("the proxy listens");
                hear.recv_timeout(DEADLINE).expect("the client got this byte");
            }
            writer.write_all(b"0\r\n\r\n").expect("the proxy listens");
        });
        let mut client = http::connect(server.proxy).expect("a connection");
        client
            .write_all(b"POST /v1/messages HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n")
            .expect("a request");
        let mut reader = BufReader::new(client);
        skip_head(&mut reader);
        for number in 0..100_u8 {
            assert_eq!(next_chunk(&mut reader), [number], "{content_type} {coding}");
            say.send(()).expect("the API listens");
        }
        api.join().expect("every byte was waited for");
    }
}

#[test]
fn every_piece_of_a_request_arrives_before_the_next_is_sent() {
    let (say, hear) = mpsc::channel::<u8>();
    let (server, api) = start(move |mut reader, mut writer| {
        for _ in 0..100 {
            let data = next_chunk(&mut reader);
            say.send(data[0]).expect("the client listens");
        }
        writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").expect("the proxy listens");
    });
    let mut client = http::connect(server.proxy).expect("a connection");
    client
        .write_all(b"POST /v1/messages HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n")
        .expect("a head");
    for number in 0..100_u8 {
        client.write_all(&[b'1', b'\r', b'\n', number, b'\r', b'\n']).expect("the proxy listens");
        assert_eq!(hear.recv_timeout(DEADLINE), Ok(number));
    }
    client.write_all(b"0\r\n\r\n").expect("the proxy listens");
    assert_eq!(http::read_response(&mut BufReader::new(client), false).expect("an answer").body, b"ok");
    api.join().expect("every byte came alone");
}
