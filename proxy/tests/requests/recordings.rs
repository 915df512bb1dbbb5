//! Recorded exchanges with the real API, replayed through the proxy: the bytes arrive, and the event has the recorded figures.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use mindweave_proxy::BatchResults;
use serde_json::Value;

use crate::proxy::TestProxy;
use crate::wire::{Message, Step, Upstream, call, send};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/recordings");
/// Carries a recording's id to the upstream and back.
const ID: &str = "x-recording";

struct Recording {
    id: String,
    request: Vec<u8>,
    request_body: Vec<u8>,
    answer: Vec<u8>,
    answer_body: Vec<u8>,
    expected: Value,
}

#[expect(clippy::disallowed_methods, reason = "tests may be told where the recordings are")]
fn folder() -> Option<String> {
    let folder = std::env::var("MINDWEAVE_RECORDINGS").unwrap_or_else(|_| FOLDER.to_owned());
    Path::new(&folder).is_dir().then_some(folder)
}

fn load(folder: &str) -> Vec<Recording> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
    let text = |file| std::fs::read_to_string(file).unwrap();
    let recordings = files.iter().flat_map(|file| {
        text(file).lines().map(|line| recording(&serde_json::from_str(line).unwrap())).collect::<Vec<_>>()
    });
    recordings.collect()
}

fn body_of(message: &Value) -> Vec<u8> {
    if let Some(base64) = message.get("body_base64").and_then(Value::as_str) {
        return decode_base64(base64);
    }
    match &message["body"] {
        Value::Null => Vec::new(),
        Value::String(text) => text.clone().into_bytes(),
        parsed => serde_json::to_vec(parsed).unwrap(),
    }
}

/// The standard alphabet, padded: all that the recordings use.
fn decode_base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => u32::from(byte - b'A'),
        b'a'..=b'z' => u32::from(byte - b'a') + 26,
        b'0'..=b'9' => u32::from(byte - b'0') + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("{other} in base64"),
    };
    let digits: Vec<u32> = text.bytes().filter(|byte| *byte != b'=').map(value).collect();
    let mut bytes = Vec::new();
    for group in digits.chunks(4) {
        let bits = group.iter().fold(0, |bits, digit| bits << 6 | digit) << (6 * (4 - group.len()));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    bytes
}

fn headers(message: &Value) -> String {
    let lines = message["headers"].as_object().unwrap().iter();
    lines.map(|(name, value)| format!("{name}: {}\r\n", value.as_str().unwrap())).collect()
}

fn recording(line: &Value) -> Recording {
    let id = line["id"].as_str().unwrap().to_owned();
    let (request, response) = (&line["request"], &line["response"]);
    let (method, path) = (request["method"].as_str().unwrap(), request["path"].as_str().unwrap());
    let request_body = body_of(request);
    let mut sent =
        format!("{method} {path} HTTP/1.1\r\nHost: api.anthropic.com\r\n{}{ID}: {id}\r\n", headers(request))
            .into_bytes();
    if request_body.is_empty() {
        sent.extend_from_slice(b"\r\n");
    } else {
        sent.extend_from_slice(format!("content-length: {}\r\n\r\n", request_body.len()).as_bytes());
    }
    sent.extend_from_slice(&request_body);

    let answer_body = body_of(response);
    let status = response["status"].as_u64().unwrap();
    let mut answer = format!("HTTP/1.1 {status} Recorded\r\n{}", headers(response)).into_bytes();
    if response["framing"].get("content-length").is_some() {
        answer.extend_from_slice(format!("content-length: {}\r\n\r\n", answer_body.len()).as_bytes());
        answer.extend_from_slice(&answer_body);
    } else {
        answer.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
        // Odd sizes cut events, UTF-8 and compressed blocks anywhere.
        for piece in answer_body.chunks(997) {
            answer.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            answer.extend_from_slice(piece);
            answer.extend_from_slice(b"\r\n");
        }
        answer.extend_from_slice(b"0\r\n\r\n");
    }
    Recording { id, request: sent, request_body, answer, answer_body, expected: line["expected"].clone() }
}

#[tokio::test]
async fn recorded_exchanges_pass_byte_for_byte_and_are_metered_to_the_token() {
    let Some(folder) = folder() else {
        println!("skipped: no recordings in {FOLDER}; set MINDWEAVE_RECORDINGS");
        return;
    };
    let recordings = load(&folder);
    assert!(recordings.len() > 500, "{}", recordings.len());
    let answers: Arc<HashMap<String, Vec<u8>>> = Arc::new(
        recordings.iter().map(|recording| (recording.id.clone(), recording.answer.clone())).collect(),
    );
    let mut upstream = Upstream::scripted(move |request: &Message| {
        vec![send(&answers[&request.header(ID).unwrap()]), Step::Close]
    })
    .await;
    let proxy =
        TestProxy::with(upstream.address, "", |config| config.batch_results = BatchResults::Leave).await;
    let mut events = proxy.event_stream();
    let mut mcp_calls: u64 = 0; // each of which is booked behind its request
    for recording in &recordings {
        let answer = call(proxy.address, &recording.request).await;
        let id = &recording.id;
        assert!(answer.whole && answer.body == recording.answer_body, "{id}");
        let seen = upstream.request().await;
        assert!(seen.whole && seen.body == recording.request_body, "{id}");
        let event = events.next().await;
        let on_servers = event.tool_calls.iter().filter(|call| call.server.is_some());
        mcp_calls += u64::try_from(on_servers.count()).unwrap();
        let figure = |name: &str| recording.expected[name].as_u64().unwrap_or(0);
        assert_eq!(event.input_tokens, figure("input_tokens"), "{id}");
        assert_eq!(event.output_tokens, figure("output_tokens"), "{id}");
        assert_eq!(event.cache_read_tokens, figure("cache_read"), "{id}");
        assert_eq!(event.cache_write_5m_tokens, figure("cache_creation_5m"), "{id}");
        assert_eq!(event.cache_write_1h_tokens, figure("cache_creation_1h"), "{id}");
        assert_eq!(event.web_search_requests, figure("web_search_requests"), "{id}");
        assert_eq!(event.stop_reason.as_deref(), recording.expected["stop_reason"].as_str(), "{id}");
        assert_eq!(event.streamed, recording.expected["streamed"].as_bool().unwrap(), "{id}");
    }
    assert!(mcp_calls > 0, "some of the recordings call MCP tools");
    assert_eq!(proxy.record_count(), 2 * u64::try_from(recordings.len()).unwrap() + mcp_calls);
}
