//! The two requests of Kafka's protocol that tests need before any client is there.
//!
//! Layouts: <https://kafka.apache.org/protocol> (CreateTopics version 2, DeleteTopics version 1: the oldest ones that
//! Kafka 4 takes, from before the compact encodings).

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::process::DEADLINE;

const CREATE_TOPICS: (i16, i16) = (19, 2);
const DELETE_TOPICS: (i16, i16) = (20, 1);

/// How long Kafka may take before it answers that it is not done yet.
const SERVER_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest answer that is read: these answers are short, and a wrong length must not become a wrong allocation.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

pub(super) fn create_topic(port: u16, name: &str, partitions: u32) {
    let mut body = Vec::new();
    body.extend(1_i32.to_be_bytes()); // one topic
    string(&mut body, name);
    body.extend(partitions.to_be_bytes());
    body.extend(1_i16.to_be_bytes()); // replicas
    body.extend(0_i32.to_be_bytes()); // no assignment by hand
    body.extend(0_i32.to_be_bytes()); // no settings
    body.extend(timeout_ms());
    body.push(0); // not only to validate
    let answer = ask(port, CREATE_TOPICS, &body);
    expect_no_error(&answer, name, "create");
}

pub(super) fn delete_topic(port: u16, name: &str) {
    let mut body = Vec::new();
    body.extend(1_i32.to_be_bytes());
    string(&mut body, name);
    body.extend(timeout_ms());
    let answer = ask(port, DELETE_TOPICS, &body);
    expect_no_error(&answer, name, "delete");
}

/// Both answers begin alike: throttle time, the count, then the name and its error code.
fn expect_no_error(answer: &[u8], name: &str, verb: &str) {
    let at = 4 + 4 + 2 + name.len();
    let code = answer.get(at..at + 2).map(|bytes| i16::from_be_bytes([bytes[0], bytes[1]]));
    let text = String::from_utf8_lossy(answer.get(at + 2..).unwrap_or_default());
    assert!(
        code == Some(0),
        "Kafka did not {verb} the topic {name}: error {code:?} {text:?} (https://kafka.apache.org/protocol names them)"
    );
}

fn ask(port: u16, (key, version): (i16, i16), body: &[u8]) -> Vec<u8> {
    let mut request = Vec::new();
    request.extend(key.to_be_bytes());
    request.extend(version.to_be_bytes());
    request.extend(1_i32.to_be_bytes()); // correlation id
    string(&mut request, "mindweave-test-servers");
    request.extend(body);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a Kafka that listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout above zero");
    let length = u32::try_from(request.len()).expect("a short request");
    stream.write_all(&length.to_be_bytes()).expect("a Kafka that reads");
    stream.write_all(&request).expect("a Kafka that reads");
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("a Kafka that answers");
    let length = usize::try_from(u32::from_be_bytes(length)).expect("a length");
    assert!((4..=MAX_ANSWER_BYTES).contains(&length), "an answer of {length} bytes");
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).expect("a Kafka that answers in full");
    answer.split_off(4) // the correlation id: one request, one answer
}

fn string(into: &mut Vec<u8>, text: &str) {
    into.extend(i16::try_from(text.len()).expect("a short text").to_be_bytes());
    into.extend(text.as_bytes());
}

fn timeout_ms() -> [u8; 4] {
    u32::try_from(SERVER_TIMEOUT.as_millis()).expect("a short time").to_be_bytes()
}
