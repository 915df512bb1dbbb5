//! The official SDKs notice nothing: both generations of the Python and the TypeScript SDK run through the real binary
//! against the simulator, and what each SDK saw is what stands in the ledger.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod harness;

use std::process::Command;

use harness::server::MindWeave;
use harness::simulator::Simulator;
use harness::{clients, eventually};
use serde_json::Value;

/// Calls that cost nothing by rule.
const CALLS_WITHOUT_USAGE: [&str; 6] =
    ["count-tokens", "models", "batch-create", "batch-get", "file-upload", "file-download"];

#[test]
fn the_new_python_sdk_notices_nothing() {
    python("python-new");
}

#[test]
fn the_old_python_sdk_notices_nothing() {
    python("python-old");
}

#[test]
fn the_new_typescript_sdk_notices_nothing() {
    typescript("node-new");
}

#[test]
fn the_old_typescript_sdk_notices_nothing() {
    typescript("node-old");
}

fn python(client: &str) {
    let python = clients::installed(client).join("bin/python");
    through_the_binary(|url, key| {
        let mut command = Command::new(&python);
        command.arg(clients::script("sdk.py")).args([url, key]);
        command
    });
}

fn typescript(client: &str) {
    let folder = clients::installed(client);
    through_the_binary(|url, key| {
        let mut command = Command::new("node");
        command.arg(clients::script("sdk.mjs")).arg(&folder).args([url, key]);
        command
    });
}

/// Runs a client with a virtual key and checks every call that it reports against the ledger.
fn through_the_binary(client: impl Fn(&str, &str) -> Command) {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let (project, key) = server.ledger().project_with_key("sdk");
    let output = clients::run(&mut client(&server.url(), &key));
    let text = String::from_utf8(output.stdout).expect("the client prints text");
    let calls: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect();

    let events = eventually("the last call is in the ledger", || {
        let events = server.ledger().events(&format!("project_id={project}"));
        calls.iter().all(|call| find(&events, call).is_some()).then_some(events)
    });
    for call in &calls {
        check(call, find(&events, call).expect("found above"), &events);
    }
    assert_eq!(calls.len(), 44, "every scenario reported: {text}");
    assert!(
        events.iter().all(|event| event["project_id"] == *project),
        "a virtual key's traffic is its project's"
    );
}

/// The event of a call: the last one, because a retried call has several.
fn find<'a>(events: &'a [Value], call: &Value) -> Option<&'a Value> {
    events.iter().rfind(|event| event["session_id"] == call["call"])
}

fn check(call: &Value, event: &Value, events: &[Value]) {
    let name = call["call"].as_str().expect("a call has a name");
    match name {
        "stream-error" => assert_eq!(event["outcome"], "upstream_error", "{event:#}"),
        "stream-cut" => {
            assert_eq!(event["outcome"], "upstream_cut", "{event:#}");
            assert_eq!(event["certainty"], "estimated", "{event:#}");
        }
        "cancelled" => {
            assert_eq!(event["outcome"], "client_gone", "{event:#}");
            assert_eq!(event["certainty"], "estimated", "{event:#}");
            assert!(event["output_tokens"].as_u64() > Some(0), "what was delivered is counted: {event:#}");
        }
        "batch-results" => check_batch(call, event),
        "batch-results-again" => {
            assert_eq!(event["cost_nano_usd"], 0, "a batch is booked once: {event:#}");
        }
        "file-download" => assert_eq!(call["same"], true, "the file came back as it went up"),
        _ if name.starts_with("error-") => {
            assert_eq!(call["right_type"], true, "{call}");
            assert_eq!(
                (&event["status"], &event["error_type"]),
                (&call["status"], &call["error_type"]),
                "{event:#}"
            );
            assert_eq!(event["cost_nano_usd"], 0, "errors are free: {event:#}");
        }
        _ if CALLS_WITHOUT_USAGE.contains(&name) => {
            assert_eq!(
                (&event["cost_nano_usd"], &event["certainty"]),
                (&0.into(), &"exact".into()),
                "{event:#}"
            );
        }
        _ => check_message(call, event),
    }
    if name == "retried" {
        let tries: Vec<&Value> = events.iter().filter(|event| event["session_id"] == name).collect();
        assert_eq!(tries.len(), 2, "both tries are in the ledger: {tries:#?}");
        assert_eq!((&tries[0]["status"], &tries[1]["retry_count"]), (&529.into(), &1.into()));
    }
    if name == "batch-get" && call["status"] == "ended" {
        let url = call["results_url"].as_str().expect("an ended batch has results");
        assert!(!url.contains("api.anthropic.com"), "{url} would bypass the proxy");
    }
}

fn check_message(call: &Value, event: &Value) {
    let usage = &call["usage"];
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    let pairs = [
        ("input_tokens", "input_tokens"),
        ("output_tokens", "output_tokens"),
        ("cache_read_input_tokens", "cache_read_tokens"),
    ];
    for (theirs, ours) in pairs {
        assert_eq!(count(&usage[theirs]), count(&event[ours]), "{ours} of {call}: {event:#}");
    }
    let written = count(&event["cache_write_5m_tokens"]) + count(&event["cache_write_1h_tokens"]);
    assert_eq!(count(&usage["cache_creation_input_tokens"]), written, "cache writes of {call}");
    assert_eq!((&event["message_id"], &event["model"]), (&call["id"], &call["model"]), "{event:#}");
    assert_eq!(event["stop_reason"], call["stop_reason"], "{event:#}");
    assert_eq!((&event["certainty"], &event["outcome"]), (&"exact".into(), &"complete".into()), "{event:#}");
    assert!(event["cost_nano_usd"].as_i64() > Some(0), "{event:#}");
    let names: Vec<&Value> =
        event["tool_calls"].as_array().into_iter().flatten().map(|tool| &tool["name"]).collect();
    let seen: Vec<&Value> = call["tools"].as_array().into_iter().flatten().collect();
    assert_eq!(names, seen, "tools of {call}");
}

fn check_batch(call: &Value, event: &Value) {
    let usages = call["usages"].as_array().expect("a list of usages");
    let sum = |field: &str| -> u64 { usages.iter().filter_map(|usage| usage[field].as_u64()).sum() };
    assert_eq!(event["input_tokens"], sum("input_tokens"), "{event:#}");
    assert_eq!(event["output_tokens"], sum("output_tokens"), "{event:#}");
    let nano = (sum("input_tokens") * 5_000 + sum("output_tokens") * 25_000) / 2; // Opus 5: 5 and 25 dollars a million, half in batches
    assert_eq!(event["cost_nano_usd"], nano, "{event:#}");
}
