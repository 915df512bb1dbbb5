//! The official SDKs and Claude Code understand a refusal: the right exception with words to act on, no pointless retries,
//! and a wait where waiting helps.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod harness;

use std::process::Command;

use harness::server::MindWeave;
use harness::simulator::Simulator;
use harness::{clients, eventually};
use serde_json::{Value, json};

/// Refuses streams.
const NO_STREAMS: &str = "package streams\n\ndeny contains {\"reason\": \"no_streams\", \"message\": \"streams are off for this project\"} if {\n    input.request.stream\n}\n";

/// What SDKs raise for a spend limit: the newer generation has a name for it.
const SPENT: [&str; 2] = ["RateLimitError", "EnforcedSpendLimitReachedError"];

#[test]
fn the_new_python_sdk_understands_refusals() {
    sdk(&python("python-new"));
}

#[test]
fn the_old_python_sdk_understands_refusals() {
    sdk(&python("python-old"));
}

#[test]
fn the_new_typescript_sdk_understands_refusals() {
    sdk(&typescript("node-new"));
}

#[test]
fn the_old_typescript_sdk_understands_refusals() {
    sdk(&typescript("node-old"));
}

fn python(client: &str) -> Vec<String> {
    let python = clients::installed(client).join("bin/python");
    vec![python.display().to_string(), clients::script("governed.py").display().to_string()]
}

fn typescript(client: &str) -> Vec<String> {
    let folder = clients::installed(client).display().to_string();
    vec!["node".to_owned(), clients::script("governed.mjs").display().to_string(), folder]
}

/// Runs a client with these calls and returns what it saw of each.
fn calls(client: &[String], server: &MindWeave, key: &str, calls: &[&str]) -> Vec<Value> {
    let mut command = Command::new(&client[0]);
    command.args(&client[1..]).args([&server.url(), key]).args(calls);
    let output = clients::run(&mut command);
    let text = String::from_utf8(output.stdout).expect("the client prints text");
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

/// How often the proxy saw a call: every try is an event.
fn tries(server: &MindWeave, project: &str, call: &str, least: usize) -> usize {
    eventually("the tries are in the ledger", || {
        let events = server.ledger().events(&format!("project_id={project}"));
        let tries = events.iter().filter(|event| event["session_id"] == call).count();
        (tries >= least).then_some(tries)
    })
}

fn sdk(client: &[String]) {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();

    let (project, key) = ledger.project_with_key("policy");
    ledger.post(
        "/governance/policies",
        &json!({ "name": "streams", "rego": NO_STREAMS, "scope": { "project": project } }),
    );
    let seen = calls(client, &server, &key, &["plain", "denied:stream"]);
    assert_eq!(seen[0]["error"], Value::Null, "{seen:#?}");
    assert_eq!(
        (&seen[1]["error"], &seen[1]["type"]),
        (&json!("PermissionDeniedError"), &json!("permission_error")),
        "{seen:#?}"
    );
    assert_eq!(seen[1]["reason"], "no_streams");
    assert!(seen[1]["message"].to_string().contains("streams are off for this project"), "{seen:#?}");
    assert_eq!(tries(&server, &project, "denied", 1), 1, "a denial is not tried again");

    let (project, key) = ledger.project_with_key("limit");
    ledger.post(
        "/governance/limits",
        &json!({ "name": "one a second", "scope": { "project": project }, "metric": "requests_per_minute", "limit": 60, "burst": 1 }),
    );
    let seen = calls(client, &server, &key, &["first", "waited"]);
    assert!(seen.iter().all(|call| call["error"].is_null()), "the SDK waits and succeeds: {seen:#?}");

    let (project, key) = ledger.project_with_key("slow-limit");
    ledger.post(
        "/governance/limits",
        &json!({ "name": "one at a time", "scope": { "project": project }, "metric": "concurrent_requests", "limit": 1 }),
    );
    let slow = harness::governed::Call::new(&server, &key)
        .field("stream", true)
        .simulate("chunk_delay_ms=100; events=400");
    let open = slow.open().answered();
    let seen = calls(client, &server, &key, &["busy"]);
    assert_eq!(
        (&seen[0]["error"], &seen[0]["reason"]),
        (&json!("RateLimitError"), &json!("concurrency_limited")),
        "{seen:#?}"
    );
    assert_eq!(tries(&server, &project, "busy", 3), 3, "waiting may help: the SDK's own two retries");
    drop(open);

    let (project, key) = ledger.project_with_key("budget");
    ledger.post(
        "/governance/quotas",
        &json!({ "name": "one", "scope": { "project": project }, "unit": "requests", "window": "month", "limit": 1 }),
    );
    let seen = calls(client, &server, &key, &["passes", "spent", "spent-stream:stream"]);
    assert_eq!(seen[0]["error"], Value::Null, "{seen:#?}");
    for (seen, call) in seen[1..].iter().zip(["spent", "spent-stream"]) {
        assert_eq!(seen["status"], 429, "{seen:#}");
        let error = seen["error"].as_str().expect("an error has a name");
        assert!(SPENT.contains(&error), "{seen:#}");
        assert_eq!(seen["reason"], "budget_exhausted", "{seen:#}");
        assert_eq!(tries(&server, &project, call, 1), 1, "no retry of {call}: it would end the same way");
    }
}

#[test]
fn claude_code_shows_a_denial_and_a_spent_budget_and_does_not_hammer() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    for (name, set_up, words) in
        [("denied", "policy", "streams are off for this project"), ("spent", "quota", "budget")]
    {
        let (project, key) = ledger.project_with_key(name);
        let scope = json!({ "project": project });
        match set_up {
            "policy" => ledger.post("/governance/policies", &json!({ "name": name, "rego": NO_STREAMS, "scope": scope })),
            _ => ledger.post(
                "/governance/quotas",
                &json!({ "name": name, "scope": scope, "unit": "cost", "window": "month", "limit": 1, "reserve": "max" }),
            ),
        };
        let report = claude_code(&server, &key);
        assert_eq!(report["is_error"], true, "{report:#}");
        let result = report["result"].as_str().unwrap_or_default();
        assert!(result.contains(words), "{report:#}");
        let events = ledger.events(&format!("project_id={project}"));
        let tries = events
            .iter()
            .filter(|event| event["endpoint"] == "/v1/messages" && event["outcome"] == "denied")
            .count();
        assert!(
            (1..=3).contains(&tries),
            "{tries} tries, of which a title and a topic may be two: {events:#?}"
        );
    }
}

/// Runs one headless prompt of Claude Code and returns its report, whether it succeeded or not.
fn claude_code(server: &MindWeave, key: &str) -> Value {
    let program = clients::installed("claude-code").join("node_modules/.bin/claude");
    let home = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(program);
    command
        .args(["--print", "--output-format", "json", "--model", "claude-opus-5", "Say hello."])
        .current_dir(home.path())
        .env("HOME", home.path())
        .env("CLAUDE_CONFIG_DIR", home.path().join("claude"));
    let url = server.url();
    let output = clients::output_with(
        &mut command,
        &[
            ("ANTHROPIC_BASE_URL", url.as_str()),
            ("ANTHROPIC_API_KEY", key),
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
            ("DISABLE_AUTOUPDATER", "1"),
        ],
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
