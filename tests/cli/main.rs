//! The command line as people and scripts use it: the real binary, what it prints and how it exits.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../harness/mod.rs"]
mod harness;
mod people;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use harness::http;
use harness::server::{ADMIN_TOKEN, MindWeave};
use harness::simulator::Simulator;
use serde_json::Value;

/// A command in a clean environment.
fn command(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mindweave"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MINDWEAVE_"))
    {
        command.env_remove(name);
    }
    command.args(arguments).envs(variables.iter().copied()).stdin(Stdio::null());
    command
}

/// A command on the machine of this server, as its user.
fn beside(server: &MindWeave, arguments: &[&str]) -> Command {
    let data_dir = server.data_dir().display().to_string();
    command(arguments, &[("MINDWEAVE_DATA_DIR", &data_dir), ("MINDWEAVE_ADMIN_TOKEN", ADMIN_TOKEN)])
}

fn run(mut command: Command) -> Output {
    command.output().expect("the binary runs")
}

/// What a command that must succeed prints.
fn said(command: Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// What a command that must fail complains about.
fn complaint(command: Command) -> String {
    let output = run(command);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "a complaint goes to stderr: {output:?}");
    String::from_utf8(output.stderr).expect("text")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in: {text}"))
}

fn call(server: &MindWeave, key: &str, model: &str) {
    let body =
        format!(r#"{{"model":"{model}","max_tokens":64,"messages":[{{"role":"user","content":"Hello"}}]}}"#);
    let request = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\nanthropic-version: 2023-06-01\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = http::exchange(server.proxy, request.as_bytes()).expect("the proxy answers");
    assert_eq!(answer.status(), 200, "{answer:?}");
}

/// Stores a Claude key through standard input.
fn set_upstream(server: &MindWeave, project: &str) -> String {
    let mut child = beside(server, &["projects", "set-upstream", project])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    child.stdin.take().expect("a pipe").write_all(b"sk-ant-api03-from-stdin\n").expect("the key is read");
    let output = child.wait_with_output().expect("the command ends");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn from_an_empty_folder_to_a_bill_by_commands_alone() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let created = json(&said(beside(&server, &["projects", "create", "checkout", "--json"])));
    assert!(created["id"].as_str().is_some_and(|id| id.starts_with("prj_")), "{created}");
    let stored = set_upstream(&server, "checkout");
    assert!(stored.contains("ends in tdin") && !stored.contains("sk-ant"), "{stored}");
    let key = json(&said(beside(
        &server,
        &["keys", "create", "checkout", "laptop", "--user", "ann", "--role", "developer", "--json"],
    )));
    let secret = key["secret"].as_str().expect("a new key shows its secret");
    call(&server, secret, "claude-haiku-4-5");
    call(&server, "sk-ant-api03-own", "claude-nobody-has-a-price-for");
    server.ledger().await_events("", 2);

    let usage = json(&said(beside(
        &server,
        &["usage", "--json", "--project", "checkout", "--group-by", "user,model"],
    )));
    assert_eq!(usage["data"][0]["user_id"], "ann", "{usage:#}");
    assert!(usage["total"]["cost_nano_usd"].as_i64() > Some(0), "{usage:#}");
    let table = said(beside(&server, &["usage"]));
    let total = table.lines().find(|line| line.starts_with("total")).expect("a total");
    assert!(total.ends_with(" + ?"), "an unknown cost is not zero: {table}");
    assert!(table.contains("The cost of 1 call is unknown"), "{table}");
    let events = said(beside(&server, &["usage", "--events", "--csv"]));
    assert_eq!(events.lines().count(), 3, "{events}");
    assert_eq!(
        json(&said(beside(&server, &["usage", "--events", "--json"]))).as_array().map(Vec::len),
        Some(2)
    );

    let listed = said(beside(&server, &["keys", "list", "checkout"]));
    assert!(listed.contains("active") && !listed.contains(secret), "{listed}");
    assert!(listed.contains("developer"), "{listed}");
    said(beside(&server, &["keys", "revoke", "checkout", key["id"].as_str().expect("an id")]));
    assert!(said(beside(&server, &["keys", "list", "checkout"])).contains("revoked"));
    let unknown = complaint(beside(&server, &["keys", "list", "chekout"]));
    assert!(unknown.contains("there is no project \"chekout\"; there are: default, checkout"), "{unknown}");
}

#[test]
fn usage_follow_prints_each_call_as_it_lands() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let mut follow =
        beside(&server, &["usage", "--follow"]).stdout(Stdio::piped()).spawn().expect("the binary runs");
    let mut lines =
        BufReader::new(follow.stdout.take().expect("a pipe")).lines().map(|line| line.expect("text"));
    assert!(lines.next().is_some_and(|titles| titles.starts_with("TIME") && titles.ends_with("TOTAL")));
    for _ in 0..2 {
        call(&server, "sk-ant-api03-own", "claude-haiku-4-5");
        let line = lines.next().expect("a line for the call");
        assert!(
            line.contains("default") && line.contains("claude-haiku-4-5") && line.contains('$'),
            "{line}"
        );
    }
    follow.kill().expect("it can be ended");
    follow.wait().expect("it ends");
}

#[test]
fn the_demo_needs_nothing_shows_costs_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let temporary = folder.path().display().to_string();
    let mut demo = command(&["demo", "--for", "4s"], &[("TMPDIR", &temporary)]);
    demo.current_dir(folder.path());
    let shown = said(demo);
    for app in ["support-chat", "code-review", "doc-search", "nightly-report"] {
        assert!(
            shown.lines().any(|line| line.contains(app) && line.contains('$')),
            "no cost of {app}:\n{shown}"
        );
    }
    let last = shown.lines().last().expect("a sum");
    assert!(last.contains(" calls, $") && !last.contains("$0.000000"), "{shown}");
    assert_eq!(
        std::fs::read_dir(folder.path()).expect("a folder").count(),
        0,
        "the demo left something behind"
    );
}

#[test]
fn doctor_examines_a_running_server_and_its_way_to_the_api() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let mut doctor = beside(&server, &["doctor", "--json"]);
    doctor.env("MINDWEAVE_PROXY__UPSTREAM", simulator.url());
    let report = json(&said(doctor));
    let status = |name: &str| {
        let checks = report["checks"].as_array().expect("checks");
        let check = checks.iter().find(|check| check["name"] == name);
        check.map(|check| check["status"].clone()).unwrap_or_else(|| panic!("no check {name}: {report:#}"))
    };
    for name in ["configuration", "data folder", "server", "journal", "upstream connection", "upstream API"] {
        assert_eq!(status(name), "ok", "{report:#}");
    }
}

#[test]
fn every_fault_of_a_configuration_is_named_at_once() {
    let variables = [("MINDWEAVE_PROXY__LISTEN", "8000"), ("MINDWEAVE_PROXY__UPSTRAEM", "http://x")];
    let complaint = complaint(command(&["serve"], &variables));
    for part in ["2 faults", "`proxy.listen` is \"8000\"", "did you mean `MINDWEAVE_PROXY__UPSTREAM`?"] {
        assert!(complaint.contains(part), "{part}: {complaint}");
    }
}

#[test]
fn an_address_in_use_is_told_with_the_setting_that_helps() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = holder.local_addr().expect("an address").to_string();
    for (variable, key) in [
        ("MINDWEAVE_PROXY__LISTEN", "proxy.listen"),
        ("MINDWEAVE_PROXY__ADMIN_LISTEN", "proxy.admin_listen"),
        ("MINDWEAVE_CONTROL_PLANE__LISTEN", "control_plane.listen"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let complaint = complaint(serve_in(folder.path(), &[(variable, &taken)]));
        assert!(
            complaint.contains(&format!("{taken} is in use: is another mindweave running?")),
            "{complaint}"
        );
        assert!(complaint.contains(&format!("set {key} to another address")), "{complaint}");
    }
}

#[test]
fn a_second_server_on_the_same_folder_is_refused() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let complaint = complaint(serve_in(server.data_dir(), &[]));
    assert!(
        complaint.contains(&format!("in use by another mindweave (process {})", server.pid())),
        "{complaint}"
    );
}

/// A server on free ports.
fn serve_in(data_dir: &Path, more: &[(&str, &str)]) -> Command {
    let data_dir = data_dir.display().to_string();
    let mut variables = vec![
        ("MINDWEAVE_DATA_DIR", data_dir.as_str()),
        ("MINDWEAVE_PROXY__LISTEN", "127.0.0.1:0"),
        ("MINDWEAVE_PROXY__ADMIN_LISTEN", "127.0.0.1:0"),
        ("MINDWEAVE_CONTROL_PLANE__LISTEN", "127.0.0.1:0"),
    ];
    variables.extend_from_slice(more);
    command(&["serve"], &variables)
}
