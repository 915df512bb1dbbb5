//! The same usage costs the same, to the nano-dollar, whoever counted it: the proxy on the way, or a producer afterwards.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::harness::http;
use crate::harness::recordings::{self, Recording};
use crate::harness::server::MindWeave;
use crate::harness::upstream::{Answer, Upstream};
use crate::{As, post};

/// Names the recording, for the upstream and in the event.
const REPLAY: &str = "x-claude-code-session-id";
/// Headers that frame a message on one hop.
const FRAMING: [&str; 4] = ["content-length", "transfer-encoding", "connection", "keep-alive"];
/// Events of one batch.
const BATCH: usize = 500;

#[test]
fn what_the_proxy_has_metered_costs_a_producer_the_same() {
    let Some(recordings) = recordings::all() else { return };
    let of_messages = recordings.into_iter().filter(|recording| recording.path.starts_with("/v1/messages"));
    let of_messages =
        of_messages.filter(|recording| recording.method == "POST" && !recording.path.contains("batches"));
    let recordings: Arc<HashMap<String, Recording>> =
        Arc::new(of_messages.map(|recording| (recording.id.clone(), recording)).collect());
    assert!(recordings.len() > 100, "only {} recordings of messages", recordings.len());
    let answers = Arc::clone(&recordings);
    let upstream = Upstream::start(move |request| {
        let id = request.header(REPLAY).expect("the proxy passes the session on");
        Answer::whole(response_bytes(&answers[&id]))
    });
    let server = MindWeave::start(&upstream.url());
    for recording in recordings.values() {
        let answer = http::exchange(server.proxy, &request_bytes(recording)).expect("the proxy answers");
        assert_eq!(answer.status(), recording.status, "{}", recording.id);
    }
    let metered = server.ledger().await_events("event_type=api_call", recordings.len());
    let truth: HashMap<&str, &Value> =
        metered.iter().map(|event| (event["session_id"].as_str().expect("an id"), event)).collect();

    let project = server.ledger().create("/projects", &json!({ "name": "producers" }));
    let counted = metered.iter().map(|event| unpriced(event, &recordings));
    let as_said = truth.iter().filter_map(|(id, event)| said(&recordings[*id], event));
    let all: Vec<Value> = counted.chain(as_said).map(|event| of_project(event, &project)).collect();
    for batch in all.chunks(BATCH) {
        let told = post(server.control_plane, "/v1/events", As::Admin, &json!(batch));
        let answers = told.body["events"].as_array().expect("an answer for each event");
        let refused: Vec<_> = answers.iter().filter(|answer| answer["status"] != "accepted").collect();
        assert!(told.status == 202 && refused.is_empty(), "{refused:#?}");
    }
    let booked = server.ledger().await_events(&format!("project_id={project}"), all.len());
    assert!(booked.len() > metered.len() + 50, "both ways of counting are tried");
    for event in &booked {
        let id = event["session_id"].as_str().expect("an id");
        let truth = truth[id];
        for field in [
            "cost_nano_usd",
            "cost_usd",
            "certainty",
            "certainty_reason",
            "buckets",
            "model",
            "input_tokens",
            "output_tokens",
            "cache_read_tokens",
            "cache_write_5m_tokens",
            "cache_write_1h_tokens",
            "thinking_tokens",
            "web_search_requests",
            "service_tier",
            "price_book",
        ] {
            assert_eq!(event[field], truth[field], "{field} of {id}: {event:#}\n{truth:#}");
        }
    }
}

/// The event as it would be sent by somebody who counts but has no prices.
fn unpriced(event: &Value, recordings: &HashMap<String, Recording>) -> Value {
    let mut sent = event.clone();
    let fields = sent.as_object_mut().expect("an event");
    let ours = ["event_id", "org_id", "project_id", "cost_nano_usd", "cost_usd", "price_book"];
    fields.retain(|field, _| !ours.contains(&&**field));
    if event["certainty_reason"] == "unknown_model" || event["certainty"] == "exact" {
        fields.retain(|field, _| !field.starts_with("certainty"));
    }
    for line in sent["buckets"].as_array_mut().expect("lines") {
        let line = line.as_object_mut().expect("a line");
        line.retain(|field, _| !field.ends_with("_pico_usd"));
    }
    if is_free_refusal(event) {
        sent["cost_nano_usd"] = 0.into();
        sent["certainty"] = "exact".into();
    }
    let answer =
        String::from_utf8_lossy(&recordings[event["session_id"].as_str().expect("an id")].response_body);
    for (field, value) in [("inference_geo", "us"), ("speed", "fast")] {
        if answer.contains(&format!("\"{field}\":\"{value}\"")) {
            sent[field] = value.into();
        }
    }
    sent
}

/// The usage of a whole answer, as the API gave it.
fn said(recording: &Recording, event: &Value) -> Option<Value> {
    let answer: Value = serde_json::from_slice(&recording.response_body).ok()?;
    if !answer["usage"]["output_tokens"].is_u64() || is_free_refusal(event) {
        return None;
    }
    Some(json!({
        "model": answer["model"], "usage": answer["usage"], "timestamp": event["timestamp"],
        "session_id": event["session_id"], "requested_model": event["requested_model"],
    }))
}

/// A refusal before any content shows usage and is not billed.
fn is_free_refusal(event: &Value) -> bool {
    event["stop_reason"] == "refusal" && event["cost_nano_usd"] == 0
}

fn of_project(mut event: Value, project: &str) -> Value {
    event["project_id"] = project.into();
    event
}

fn request_bytes(recording: &Recording) -> Vec<u8> {
    let mut head = format!(
        "{} {} HTTP/1.1\r\nhost: x\r\n{REPLAY}: {}\r\nconnection: close\r\ncontent-length: {}\r\n",
        recording.method,
        recording.path,
        recording.id,
        recording.request_body.len()
    );
    for (name, value) in &recording.request_headers {
        if !FRAMING.contains(&name.as_str()) && !["host", REPLAY].contains(&name.as_str()) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    [head.as_bytes(), b"\r\n", &recording.request_body].concat()
}

fn response_bytes(recording: &Recording) -> Vec<u8> {
    let length = recording.response_body.len();
    let mut head = format!("HTTP/1.1 {} Recorded\r\ncontent-length: {length}\r\n", recording.status);
    for (name, value) in &recording.response_headers {
        if !FRAMING.contains(&name.as_str()) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    [head.as_bytes(), b"\r\n", &recording.response_body].concat()
}
