//! What the simulator sends has the field sets and the event order that the real service was recorded with.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::{Value, json};
use support::{events, get, message, question, start};

/// Field sets by kind of object.
type FieldSets = BTreeMap<String, BTreeSet<BTreeSet<String>>>;

/// Kinds that no recording has: they are known from the SDKs only.
const UNRECORDED: [&str; 2] = ["fallback", "redacted_thinking"];

/// Fields whose content is up to the caller or to the tool.
const FREE: [&str; 4] = ["input", "capabilities", "caller", "citation"];

fn recordings(file: &str) -> Option<Vec<Value>> {
    let folder = std::env::var_os("MINDWEAVE_RECORDINGS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/recordings"),
        PathBuf::from,
    );
    if !folder.is_dir() {
        println!("SKIPPED: no recordings at {} (set MINDWEAVE_RECORDINGS to their folder)", folder.display());
        return None;
    }
    let text = std::fs::read_to_string(folder.join(file)).expect("a file of the recordings");
    Some(text.lines().map(|line| serde_json::from_str(line).expect("a recording is JSON")).collect())
}

/// Notes the field set of every object in `value`, under its `type` or else under the field that holds it.
fn note(value: &Value, holder: &str, sets: &mut FieldSets) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| note(item, holder, sets)),
        Value::Object(fields) => {
            let kind = fields.get("type").and_then(Value::as_str).unwrap_or(holder);
            // Usage at the start and at the end of a stream has different fields.
            let kind = if kind == "usage" { holder } else { kind };
            sets.entry(kind.to_owned()).or_default().insert(fields.keys().cloned().collect());
            for (name, inner) in fields.iter().filter(|(name, _)| !FREE.contains(&name.as_str())) {
                let holder = if name == "usage" { format!("{kind}.usage") } else { name.clone() };
                note(inner, &holder, sets);
            }
        }
        _ => {}
    }
}

fn body(recording: &Value) -> Option<&str> {
    recording["response"]["body"].as_str()
}

fn stream_sets(text: &str, sets: &mut FieldSets) {
    for (name, data) in events(text) {
        assert_eq!(data["type"].as_str(), Some(name.as_str()));
        note(&data, "event", sets);
    }
}

/// The grammar of a stream: start, whole blocks in order, deltas of the message, stop; pings anywhere.
fn assert_order(names: &[(String, Value)], what: &str) {
    let mut names = names.iter().filter(|(name, _)| name != "ping").peekable();
    assert_eq!(names.next().map(|(name, _)| name.as_str()), Some("message_start"), "{what}");
    let mut index = 0;
    while names.next_if(|(name, _)| name == "content_block_start").is_some() {
        while let Some((_, data)) = names.next_if(|(name, _)| name == "content_block_delta") {
            assert_eq!(data["index"], index, "{what}");
        }
        assert_eq!(names.next().map(|(name, _)| name.as_str()), Some("content_block_stop"), "{what}");
        index += 1;
    }
    assert!(names.next_if(|(name, _)| name == "message_delta").is_some(), "{what}");
    while names.next_if(|(name, _)| name == "message_delta").is_some() {}
    assert_eq!(names.next().map(|(name, _)| name.as_str()), Some("message_stop"), "{what}");
    assert!(names.next().is_none(), "{what}");
}

fn assert_recorded(made: &FieldSets, recorded: &FieldSets, what: &str) {
    for (kind, sets) in made.iter().filter(|(kind, _)| !UNRECORDED.contains(&kind.as_str())) {
        let known = recorded.get(kind);
        for set in sets {
            assert!(
                known.is_some_and(|known| known.contains(set)),
                "{what}: {kind} has the fields {set:?}, recorded are {known:?}"
            );
        }
    }
}

const STREAMED: [&str; 13] = [
    "text",
    "thinking",
    "tools",
    "mcp",
    "web_search",
    "web_fetch",
    "refusal_midstream",
    "pause_turn",
    "stop_sequence",
    "max_tokens",
    "json",
    "stream",
    "text; usage=old",
];

#[tokio::test]
async fn streams_have_recorded_fields_in_the_recorded_order() {
    let Some(lines) = recordings("messages_stream.jsonl") else { return };
    let mut recorded = FieldSets::new();
    for line in &lines {
        let Some(text) = body(line).filter(|_| line["expected_extra"]["complete"] != false) else { continue };
        assert_order(&events(text), &line["id"].to_string());
        stream_sets(text, &mut recorded);
    }
    // The details of a refusal were never recorded; they are null elsewhere.
    recorded
        .entry("refusal".to_owned())
        .or_default()
        .insert(["type", "category", "explanation"].map(str::to_owned).into());
    let simulator = start("").await;
    for shape in STREAMED {
        let reply = message(&simulator, &format!("shape={shape}"), &question(true)).await;
        assert_order(&reply.events(), shape);
        let mut made = FieldSets::new();
        stream_sets(reply.text(), &mut made);
        assert_recorded(&made, &recorded, shape);
    }
}

#[tokio::test]
async fn shapes_that_were_recorded_only_as_json_keep_the_order_of_events() {
    let simulator = start("").await;
    for shape in ["code_execution", "compaction", "advisor", "fallback", "refusal", "redacted_thinking"] {
        let reply = message(&simulator, &format!("shape={shape}"), &question(true)).await;
        assert_order(&reply.events(), shape);
    }
}

#[tokio::test]
async fn json_answers_have_recorded_fields() {
    let Some(lines) = recordings("messages.jsonl") else { return };
    let mut recorded = FieldSets::new();
    for line in &lines {
        let response = &line["response"]["body"];
        let parsed =
            response.as_str().map_or_else(|| response.clone(), |text| serde_json::from_str(text).unwrap());
        note(&parsed, "answer", &mut recorded);
    }
    let simulator = start("").await;
    let shapes = [
        "text",
        "thinking",
        "tools",
        "mcp",
        "web_search",
        "web_fetch",
        "code_execution",
        "compaction",
        "advisor",
        "json",
        "stop_sequence",
        "max_tokens",
    ];
    for shape in shapes {
        let reply = message(&simulator, &format!("shape={shape}"), &question(false)).await;
        assert_eq!(reply.status, 200, "{shape}");
        let mut made = FieldSets::new();
        note(&reply.json(), "answer", &mut made);
        assert_recorded(&made, &recorded, shape);
    }
}

#[tokio::test]
async fn other_endpoints_have_the_recorded_fields() {
    let (Some(others), Some(batches)) = (recordings("other_endpoints.jsonl"), recordings("batches.jsonl"))
    else {
        return;
    };
    let mut recorded = FieldSets::new();
    for line in others.iter().chain(&batches) {
        let response = &line["response"]["body"];
        let text = response.as_str().map_or_else(|| response.to_string(), str::to_owned);
        if text.starts_with("event: ") {
            stream_sets(&text.replace("\r\n", "\n"), &mut recorded);
        } else {
            text.lines().for_each(|line| note(&serde_json::from_str(line).unwrap(), "answer", &mut recorded));
        }
    }
    let simulator = start("").await;
    let mut params = question(false);
    params["model"] = json!("claude-haiku-4-5"); // the model of the recorded batches
    let batch = json!({"requests": [{"custom_id": "a", "params": params}]}).to_string();
    let create = support::request("POST", "/v1/messages/batches", &[], batch.as_bytes());
    let created = support::send(&simulator, &create).await.json();
    let id = created["id"].as_str().expect("an id");
    let legacy =
        json!({"model": "claude-2.1", "prompt": "\n\nHuman: hi\n\nAssistant:", "max_tokens_to_sample": 9});
    let complete = support::request("POST", "/v1/complete", &[], legacy.to_string().as_bytes());
    let count = support::request("POST", "/v1/messages/count_tokens", &[], params.to_string().as_bytes());
    let replies = [
        get(&simulator, &format!("/v1/messages/batches/{id}")).await,
        get(&simulator, &format!("/v1/messages/batches/{id}/results")).await,
        support::send(&simulator, &complete).await,
        support::send(&simulator, &count).await,
    ];
    let mut made = FieldSets::new();
    note(&created, "answer", &mut made);
    for reply in replies {
        note(&reply.json(), "answer", &mut made);
    }
    assert_recorded(&made, &recorded, "other endpoints");
}

#[tokio::test]
async fn error_envelopes_have_the_recorded_fields() {
    let Some(lines) = recordings("errors.jsonl") else { return };
    let mut recorded = FieldSets::new();
    for line in &lines {
        let response = &line["response"]["body"];
        let parsed =
            response.as_str().map_or_else(|| response.clone(), |text| serde_json::from_str(text).unwrap());
        note(&parsed, "answer", &mut recorded);
    }
    let simulator = start("").await;
    for status in [400, 401, 404] {
        let reply = message(&simulator, &format!("status={status}"), &question(false)).await;
        assert_eq!(reply.status, status);
        assert_eq!(reply.header("x-should-retry"), Some("false"));
        let mut made = FieldSets::new();
        note(&reply.json(), "answer", &mut made);
        assert_recorded(&made, &recorded, "errors");
    }
}

#[tokio::test]
async fn plain_text_streams_have_a_ping_third_and_padding_before_the_last_brace() {
    let simulator = start("").await;
    let reply = message(&simulator, "output_tokens=200", &question(true)).await;
    let names: Vec<String> = reply.events().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[2], "ping");
    assert!(reply.text().contains("data: {\"type\": \"ping\"}\n"));
    let padded = reply.text().lines().filter(|line| line.ends_with(" }")).count();
    assert!(padded > names.len() / 2, "{padded} of {} events are padded", names.len());
}
