//! An orderly stop: open answers finish, everything is delivered, and nothing is left behind.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod harness;

use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;

use harness::server::MindWeave;
use harness::simulator::Simulator;
use harness::{eventually, http};

/// Opens a stream that lasts a second or two, and waits for its first bytes.
fn open_stream(server: &MindWeave) -> (TcpStream, u8) {
    let body = r#"{"model":"claude-haiku-4-5","max_tokens":900,"stream":true,"messages":[{"role":"user","content":"Hello"}]}"#;
    let mut stream = http::connect(server.proxy).expect("the proxy accepts");
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: sk-ant-api03-own\r\nanthropic-version: 2023-06-01\r\ncontent-type: application/json\r\nx-simulate: output_tokens=300; events=150; chunk_delay_ms=10\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("the request is sent");
    let mut first = [0];
    stream.read_exact(&mut first).expect("the answer begins");
    (stream, first[0])
}

#[test]
fn sigterm_lets_an_open_answer_finish_and_books_it() {
    let simulator = Simulator::start();
    let mut server = MindWeave::start(&simulator.url());
    let (stream, first) = open_stream(&server);
    let reader = std::thread::spawn(move || {
        let mut rest = BufReader::new(std::io::Cursor::new([first]).chain(stream));
        http::read_response(&mut rest, false).expect("an answer")
    });
    assert!(server.stop(), "the server ends well:\n{}", server.log());
    let answer = reader.join().expect("the answer was read");
    assert!(answer.complete, "the answer was cut");
    assert!(String::from_utf8_lossy(&answer.body).contains("event: message_stop"), "the answer has its end");
    assert!(!server.data_dir().join("endpoints.json").exists(), "the server still announces itself");

    server.restart();
    let event = server.ledger().await_events("", 1).remove(0);
    assert_eq!(event["outcome"], "complete", "{event:#}");
    assert_eq!(event["output_tokens"], 300, "{event:#}");
}

#[test]
fn a_second_signal_ends_at_once_and_the_open_request_is_still_on_the_books() {
    let simulator = Simulator::start();
    let mut server = MindWeave::start(&simulator.url());
    let (_stream, _) = open_stream(&server);
    terminate(&server);
    eventually("the server stops accepting", || http::connect(server.proxy).is_err().then_some(()));
    assert!(!server.stop(), "the second signal is not an orderly end");

    server.restart();
    let event = server.ledger().await_events("", 1).remove(0);
    assert_eq!(event["outcome"], "interrupted", "{event:#}");
    assert_ne!(event["certainty"], "exact", "{event:#}");
}

fn terminate(server: &MindWeave) {
    let pid = i32::try_from(server.pid()).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the server can be signalled");
}
