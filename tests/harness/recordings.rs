//! The recorded exchanges, read where they lie.

use std::path::PathBuf;

use base64::Engine as _;
use serde_json::Value;

/// One recorded exchange.
pub struct Recording {
    pub id: String,
    pub kind: String,
    pub method: String,
    pub path: String,
    pub request_headers: Vec<(String, String)>,
    pub request_body: Vec<u8>,
    pub status: u16,
    pub response_headers: Vec<(String, String)>,
    pub response_body: Vec<u8>,
    pub expected: Value,
    pub extra: Value,
}

/// Every recording, or `None` with a printed notice when the folder is not on this machine.
pub fn all() -> Option<Vec<Recording>> {
    let folder = std::env::var_os("MINDWEAVE_RECORDINGS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/recordings"),
        PathBuf::from,
    );
    if !folder.is_dir() {
        println!("SKIPPED: no recordings at {} (set MINDWEAVE_RECORDINGS to their folder)", folder.display());
        return None;
    }
    let files = ["messages", "messages_stream", "batches", "errors", "other_endpoints"];
    let texts = files.map(|name| {
        std::fs::read_to_string(folder.join(format!("{name}.jsonl"))).expect("a file of the recordings")
    });
    let lines = texts.iter().flat_map(|text| text.lines());
    Some(lines.map(|line| parse(&serde_json::from_str(line).expect("a recording is JSON"))).collect())
}

fn parse(line: &Value) -> Recording {
    let (request, response) = (&line["request"], &line["response"]);
    Recording {
        id: text(&line["id"]),
        kind: text(&line["kind"]),
        method: text(&request["method"]),
        path: text(&request["path"]),
        request_headers: headers(&request["headers"]),
        request_body: body(request),
        status: u16::try_from(response["status"].as_u64().expect("a status")).expect("a status"),
        response_headers: headers(&response["headers"]),
        response_body: body(response),
        expected: line["expected"].clone(),
        extra: line["expected_extra"].clone(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn headers(value: &Value) -> Vec<(String, String)> {
    let each = |(name, value): (&String, &Value)| match value {
        Value::Array(values) => values.iter().map(|value| (name.clone(), text(value))).collect(),
        single => vec![(name.clone(), text(single))],
    };
    value.as_object().map(|map| map.iter().flat_map(each).collect()).unwrap_or_default()
}

/// The exact bytes where they survived; else the parsed JSON, written compactly.
fn body(message: &Value) -> Vec<u8> {
    if let Some(encoded) = message["body_base64"].as_str() {
        return base64::engine::general_purpose::STANDARD.decode(encoded).expect("base64");
    }
    match &message["body"] {
        Value::Null => Vec::new(),
        Value::String(exact) => exact.clone().into_bytes(),
        parsed => serde_json::to_vec(parsed).expect("JSON can be written"),
    }
}
