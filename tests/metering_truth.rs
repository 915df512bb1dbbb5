//! Metering truth: every recorded exchange, replayed through the real binary, stands in the ledger once, to the token
//! and to the billable bucket, and its bytes arrive as the API sent them.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

mod harness;

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;

use harness::recordings::{self, Recording};
use harness::server::MindWeave;
use harness::upstream::{Answer, Upstream};
use harness::{http, ledger::Ledger};
use serde_json::{Value, json};

/// Names the recording that the upstream has to answer with. Unknown to the proxy, so it passes through.
const REPLAY: &str = "x-replay";
/// Headers that frame a message on one hop; a replay makes its own.
const FRAMING: [&str; 4] = ["content-length", "transfer-encoding", "connection", "keep-alive"];

#[test]
fn every_recorded_exchange_is_metered_exactly_and_relayed_byte_for_byte() {
    let Some(recordings) = recordings::all() else { return };
    let recordings: Arc<HashMap<String, Recording>> =
        Arc::new(recordings.into_iter().map(|recording| (recording.id.clone(), recording)).collect());
    let answers = Arc::clone(&recordings);
    let upstream = Upstream::start(move |request| {
        let id = request.header(REPLAY).expect("the proxy passes unknown headers on");
        Answer::whole(response_bytes(&answers[&id]))
    });
    let server = MindWeave::start_with(&upstream.url(), &[("MINDWEAVE_PROXY__BATCH_RESULTS", "leave")]);

    for recording in recordings.values() {
        let answer = http::exchange(server.proxy, &request_bytes(recording)).expect("the proxy answers");
        assert_eq!(answer.status(), recording.status, "{}", recording.id);
        assert!(answer.complete && answer.body == recording.response_body, "{}: body differs", recording.id);
    }

    let events = server.ledger().await_events("event_type=api_call", recordings.len());
    for event in &events {
        let id = event["session_id"].as_str().expect("the session header is in the event");
        check(&recordings[id], event);
    }
    let on_servers = |event: &Value| {
        let calls = event["tool_calls"].as_array().into_iter().flatten();
        calls.filter(|call| call["server"].is_string()).count()
    };
    server.ledger().await_events("event_type=mcp_tool", events.iter().map(on_servers).sum());
    rollups_agree_with(&server.ledger(), &events);
}

/// The recorded request, with its identity in two headers: one for the upstream, one that ends up in the event.
fn request_bytes(recording: &Recording) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut line = |text: String| bytes.extend_from_slice(text.as_bytes());
    line(format!("{} {} HTTP/1.1\r\nhost: api.anthropic.com\r\n", recording.method, recording.path));
    line(format!("{REPLAY}: {0}\r\nx-claude-code-session-id: {0}\r\nconnection: close\r\n", recording.id));
    let own = ["host", "x-claude-code-session-id"];
    for (name, value) in &recording.request_headers {
        if !FRAMING.contains(&name.as_str()) && !own.contains(&name.as_str()) {
            line(format!("{name}: {value}\r\n"));
        }
    }
    line(format!("content-length: {}\r\n\r\n", recording.request_body.len()));
    bytes.extend_from_slice(&recording.request_body);
    bytes
}

/// The recorded response, chunked in uneven pieces as the real service's are.
fn response_bytes(recording: &Recording) -> Vec<u8> {
    let mut bytes =
        format!("HTTP/1.1 {} Recorded\r\ntransfer-encoding: chunked\r\n", recording.status).into_bytes();
    for (name, value) in &recording.response_headers {
        if !FRAMING.contains(&name.as_str()) {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
    }
    bytes.extend_from_slice(b"\r\n");
    for chunk in recording.response_body.chunks(137) {
        write!(bytes, "{:x}\r\n", chunk.len()).expect("a vector takes writes");
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

/// Compares one ledger row with what the recording says a meter must report.
fn check(recording: &Recording, event: &Value) {
    let (expected, id) = (&recording.expected, &recording.id);
    let fields = [
        ("input_tokens", "input_tokens"),
        ("output_tokens", "output_tokens"),
        ("cache_creation_5m", "cache_write_5m_tokens"),
        ("cache_creation_1h", "cache_write_1h_tokens"),
        ("cache_read", "cache_read_tokens"),
        ("web_search_requests", "web_search_requests"),
    ];
    for (wanted, field) in fields {
        assert_eq!(expected[wanted].as_u64().unwrap_or(0), event[field], "{id}: {field}");
    }
    assert_eq!(expected["model"], event["model"], "{id}: model");
    assert_eq!(expected["stop_reason"], event["stop_reason"], "{id}: stop reason");
    assert_eq!(expected["streamed"], event["streamed"], "{id}: streamed");
    let calls = event["tool_calls"].as_array().expect("tool calls are a list");
    let names: Vec<&Value> = calls.iter().map(|call| &call["name"]).collect();
    assert_eq!(json!(names), expected["tool_names"], "{id}: tool names");
    let mcp: Vec<Value> = calls
        .iter()
        .filter(|call| call["kind"] == "mcp")
        .map(|call| json!([call["server"], call["name"]]))
        .collect();
    assert_eq!(json!(mcp), recording.extra.get("mcp_tools").cloned().unwrap_or(json!([])), "{id}: MCP tools");
    assert_eq!(event["status"], recording.status, "{id}: status");
    let carries_usage = !expected["input_tokens"].is_null();
    if carries_usage && event["certainty_reason"] == "unknown_model" {
        assert!(
            event["cost_nano_usd"].is_null(),
            "{id}: a price that nobody knows is not made up: {event:#}"
        );
    } else if carries_usage {
        assert_eq!(event["certainty"], "exact", "{id}: {event:#}");
    }
    let amounts = event["buckets"].as_array().expect("buckets are a list").iter();
    let pico: i64 = amounts.map(|bucket| bucket["amount_pico_usd"].as_i64().unwrap_or(0)).sum();
    if let Some(nano) = event["cost_nano_usd"].as_i64() {
        assert_eq!(nano, (pico + 500) / 1_000, "{id}: buckets add up to the cost"); // no list price ends on half a nano
    }
    check_billable(recording, event);
}

/// Where passes are billed beside the top level, every one of them has its own buckets at its own model.
fn check_billable(recording: &Recording, event: &Value) {
    let Some(billable) = recording.extra["billable"].as_array() else { return };
    for pass in billable {
        let source = match pass["type"].as_str() {
            Some("compaction") => "compaction",
            Some("advisor_message") => "advisor",
            _ => "message",
        };
        for (wanted, kind) in
            [("input_tokens", "input"), ("output_tokens", "output"), ("cache_creation_5m", "cache_write_5m")]
        {
            let quantity: u64 = event["buckets"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|b| b["source"] == source && b["model"] == pass["model"] && b["kind"] == kind)
                .filter_map(|bucket| bucket["quantity"].as_u64())
                .sum();
            assert_eq!(pass[wanted].as_u64(), Some(quantity), "{}: {source} {kind}", recording.id);
        }
    }
}

/// The sums that dashboards read are the sums of the rows.
fn rollups_agree_with(ledger: &Ledger, events: &[Value]) {
    for interval in ["minute", "hour", "day"] {
        let rows = ledger.get(&format!("/analytics/usage?interval={interval}&group_by=model"));
        let rows = rows["data"].as_array().expect("rollups are a list").clone();
        for (field, of) in [
            ("cost_nano_usd", "cost_nano_usd"),
            ("input_tokens", "input_tokens"),
            ("output_tokens", "output_tokens"),
        ] {
            let rolled: i64 = rows.iter().filter_map(|row| row[field].as_i64()).sum();
            let raw: i64 = events.iter().filter_map(|event| event[of].as_i64()).sum();
            assert_eq!(rolled, raw, "{interval}: {field}");
        }
        let requests: i64 = rows.iter().filter_map(|row| row["requests"].as_i64()).sum();
        assert_eq!(Ok(requests), i64::try_from(events.len()), "{interval}: requests");
    }
}
