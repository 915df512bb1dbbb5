//! Claude Code notices nothing: the real client runs headless through the real binary with its own key, with its own
//! login, and with a MindWeave key beside its login, and its calls stand in the ledger.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod harness;

use std::process::Command;

use harness::server::MindWeave;
use harness::simulator::Simulator;
use harness::{clients, eventually};
use serde_json::{Value, json};

/// A key as the API hands them out: Claude Code looks at its form.
const OWN_KEY: &str = "sk-ant-api03-the-developers-own-key-0123456789";
/// A login's token.
const OWN_LOGIN: &str = "sk-ant-oat01-the-developers-own-login-0123456789";

/// Runs one headless prompt in an empty folder with an empty home and returns the client's report.
fn claude(server: &MindWeave, arguments: &[&str], environment: &[(&str, &str)]) -> Value {
    let program = clients::installed("claude-code").join("node_modules/.bin/claude");
    let home = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(program);
    command
        .args(["--print", "--output-format", "json", "--model", "claude-opus-5"])
        .args(arguments)
        .current_dir(home.path())
        .env("HOME", home.path())
        .env("CLAUDE_CONFIG_DIR", home.path().join("claude"));
    let output = clients::run_with(
        &mut command,
        &[
            &[
                ("ANTHROPIC_BASE_URL", server.url().as_str()),
                ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
                ("DISABLE_AUTOUPDATER", "1"),
                ("CLAUDE_CODE_GATEWAY_HINT_HEADERS", "1"),
            ],
            environment,
        ]
        .concat(),
    );
    serde_json::from_slice(&output.stdout).expect("the client reports JSON")
}

/// The main call's event, once the ledger has it.
fn main_call(server: &MindWeave, query: &str) -> Value {
    eventually("the main call is in the ledger", || {
        let events = server.ledger().events(query);
        events.into_iter().find(|event| {
            event["endpoint"] == "/v1/messages"
                && event["outcome"] == "complete"
                && event["model"] == "claude-opus-5"
        })
    })
}

#[test]
fn with_its_own_key_it_works_and_is_metered_in_the_default_project() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let report = claude(&server, &["Say hello."], &[("ANTHROPIC_API_KEY", OWN_KEY)]);
    assert_eq!(report["is_error"], false, "{report:#}");
    let event = main_call(&server, "");
    assert_eq!(event["certainty"], "exact", "{event:#}");
    assert_eq!(
        event["session_id"], report["session_id"],
        "the session ties cost to a conversation: {event:#}"
    );
    assert!(event["cost_nano_usd"].as_i64() > Some(0), "{event:#}");
    assert!(event["key_id"].is_null(), "no MindWeave key was involved: {event:#}");
}

#[test]
fn with_its_own_login_it_works_and_the_token_goes_on_untouched() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let project = server.ledger().post("/projects", &json!({ "name": "logins" }));
    let id = project["id"].as_str().expect("a project has an id");
    server.ledger().post(&format!("/projects/{id}/credentials"), &json!({ "api_key": OWN_LOGIN }));
    let report = claude(&server, &["Say hello."], &[("CLAUDE_CODE_OAUTH_TOKEN", OWN_LOGIN)]);
    assert_eq!(report["is_error"], false, "{report:#}");
    let event = main_call(&server, &format!("project_id={id}"));
    assert_eq!(event["certainty"], "exact", "{event:#}");
}

#[test]
fn with_a_mindweave_key_beside_its_own_it_is_metered_in_the_keys_project() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let (project, key) = server.ledger().project_with_key("claude-code");
    let ours = format!("x-mindweave-key: {key}");
    let report = claude(
        &server,
        &["Say hello."],
        &[("ANTHROPIC_API_KEY", OWN_KEY), ("ANTHROPIC_CUSTOM_HEADERS", &ours)],
    );
    assert_eq!(report["is_error"], false, "{report:#}");
    let event = main_call(&server, &format!("project_id={project}"));
    assert!(event["key_id"].is_string(), "{event:#}");
}

#[test]
fn its_tool_loop_runs_to_the_end_and_every_call_is_metered() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let report = claude(
        &server,
        &["Run a command.", "--allowedTools", "Bash"],
        &[("ANTHROPIC_API_KEY", OWN_KEY), ("ANTHROPIC_CUSTOM_HEADERS", "x-simulate: shape=tools")],
    );
    assert_eq!(report["is_error"], false, "{report:#}");
    assert_eq!(report["num_turns"], 2, "a tool call and the answer after it: {report:#}");
    let usage = &report["usage"];
    let events = eventually("both turns are in the ledger", || {
        let events = server.ledger().events("model=claude-opus-5");
        (events.iter().filter(|event| event["outcome"] == "complete").count() >= 2).then_some(events)
    });
    let output: u64 = events.iter().filter_map(|event| event["output_tokens"].as_u64()).sum();
    assert!(Some(output) >= usage["output_tokens"].as_u64(), "{events:#?} against {usage:#}");
    let tools: Vec<&Value> =
        events.iter().flat_map(|event| event["tool_calls"].as_array().into_iter().flatten()).collect();
    assert!(tools.iter().any(|tool| tool["name"] == "Bash"), "{tools:?}");
}
