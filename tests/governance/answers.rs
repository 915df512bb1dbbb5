//! What clients see of a refusal, and what they make of it.

use std::io::{BufReader, Read, Write};
use std::net::TcpListener;

use serde_json::json;

use crate::harness::DEADLINE;
use crate::harness::governed::{Call, json_of};
use crate::harness::http;
use crate::harness::server::MindWeave;
use crate::harness::simulator::Simulator;

#[test]
fn a_request_that_nothing_governs_is_not_held_back() {
    let api = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let server = MindWeave::start(&format!("http://{}", api.local_addr().expect("an address")));
    let (_, key) = server.ledger().project_with_key("free");
    let mut client = http::connect(server.proxy).expect("a connection");
    let head =
        format!("POST /v1/messages HTTP/1.1\r\nhost: h\r\nx-api-key: {key}\r\ncontent-length: 2\r\n\r\n{{");
    client.write_all(head.as_bytes()).expect("the proxy reads");
    // The API has the head and half of the body while the client still owes the other half.
    let (mut connection, _) = api.accept().expect("the proxy connects");
    connection.set_read_timeout(Some(DEADLINE)).expect("a socket takes a timeout");
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n{") {
        let mut byte = [0];
        connection.read_exact(&mut byte).expect("what there is of the request comes");
        seen.extend(byte);
    }
    client.write_all(b"}").expect("the proxy reads");
    connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").expect("the proxy listens");
    let answer = http::read_response(&mut BufReader::new(client), false).expect("an answer");
    assert_eq!((answer.status(), answer.header("mindweave-reason")), (200, None));
}

#[test]
fn a_refusal_is_one_json_object_with_its_length_and_a_request_that_follows_on_the_connection_is_served() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("framed");
    let rego = "package p\ndeny contains {\"reason\": \"no_streams\", \"message\": \"streams are off\"} if { input.request.stream }\n";
    ledger.post(
        "/governance/policies",
        &json!({ "name": "streams", "rego": rego, "scope": { "project": project } }),
    );
    let mut stream = http::connect(server.proxy).expect("a connection");
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut ask = |call: &Call| {
        stream.write_all(&call.bytes()).expect("the connection is open");
        http::read_response(&mut reader, false).expect("an answer")
    };
    let refused = ask(&Call::new(&server, &key).field("stream", true));
    assert_eq!(ask(&Call::new(&server, &key)).status(), 200, "on the same connection");
    assert_eq!(refused.header("content-type").as_deref(), Some("application/json"));
    assert_eq!(refused.header("content-length"), Some(refused.body.len().to_string()));
    let body = json_of(&refused);
    assert_eq!(
        body,
        json!({ "type": "error", "error": { "type": "permission_error", "message": body["error"]["message"] } })
    );
    assert!(
        body["error"]["message"].as_str().is_some_and(|message| message.contains("streams are off")),
        "{body:#}"
    );
}
