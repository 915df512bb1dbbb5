//! First metered call in two steps: start one binary, export one variable. Nothing is configured, created or registered.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod harness;

use std::io::{BufRead as _, BufReader, Write as _};

use harness::server::{ADMIN_TOKEN, MindWeave};
use harness::simulator::Simulator;
use harness::{eventually, http};
use serde_json::Value;

/// A message as an app sends it, with its own Claude key.
fn message(stream: bool) -> String {
    let body = format!(
        r#"{{"model":"claude-haiku-4-5","max_tokens":64,"stream":{stream},"messages":[{{"role":"user","content":"Hello"}}]}}"#
    );
    format!(
        "POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: sk-ant-api03-own\r\nanthropic-version: 2023-06-01\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn a_call_with_the_apps_own_key_is_on_the_books_without_any_set_up() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let answer = http::exchange(server.proxy, message(false).as_bytes()).expect("the proxy answers");
    assert_eq!(answer.status(), 200, "{answer:?}");
    let told: Value = serde_json::from_slice(&answer.body).expect("a message");
    let event = server.ledger().await_events("", 1).remove(0);
    assert_eq!(event["output_tokens"], told["usage"]["output_tokens"], "{event:#}");
    assert!(event["cost_nano_usd"].as_i64() > Some(0), "{event:#}");
    assert!(event["cost_usd"].as_str().is_some_and(|cost| cost.starts_with("0.0")), "{event:#}");
}

#[test]
fn a_watcher_sees_each_call_as_it_lands() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let mut live = http::connect(server.control_plane).expect("the control plane listens");
    let request =
        format!("GET /v1/usage/live HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN_TOKEN}\r\n\r\n");
    live.write_all(request.as_bytes()).expect("the request is sent");
    let mut lines = BufReader::new(live).lines().map(|line| line.expect("the stream stays open"));
    assert!(lines.next().is_some_and(|line| line.contains(" 200 ")), "the stream opens");

    for stream in [false, true] {
        http::exchange(server.proxy, message(stream).as_bytes()).expect("the proxy answers");
        let data = lines.find_map(|line| line.strip_prefix("data:").map(str::to_owned)).expect("an event");
        let event: Value = serde_json::from_str(&data).expect("an event is JSON");
        assert_eq!(event["streamed"], stream, "{event:#}");
    }
}

#[test]
fn a_key_is_in_force_once_made_and_refused_once_revoked() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let (project, key) = server.ledger().project_with_key("checkout-bot");
    let call = message(false).replace("sk-ant-api03-own", &key);
    let answer = http::exchange(server.proxy, call.as_bytes()).expect("the proxy answers");
    assert_eq!(answer.status(), 200, "{answer:?}");
    let keys = server.ledger().get(&format!("/projects/{project}/keys"));
    let id = keys["data"][0]["id"].as_str().expect("the key is listed");
    assert!(!keys.to_string().contains(&key), "a secret is shown once");

    server.ledger().delete(&format!("/projects/{project}/keys/{id}"));
    let refused = eventually("the revoked key is refused", || {
        let answer = http::exchange(server.proxy, call.as_bytes()).expect("the proxy answers");
        (answer.status() == 401).then_some(answer)
    });
    let error: Value = serde_json::from_slice(&refused.body).expect("errors have Claude's shape");
    assert_eq!(error["error"]["type"], "authentication_error", "{error}");
    assert!(refused.header("mindweave-reason").is_some(), "an answer of our own says so");
}

#[test]
fn no_secret_reaches_the_log_or_the_disk_in_the_clear() {
    let simulator = Simulator::start();
    let small = ("MINDWEAVE_JOURNAL__SEGMENT_BYTES", "4MiB"); // less to search
    let mut server = MindWeave::start_with(&simulator.url(), &[("MINDWEAVE_LOG__LEVEL", "trace"), small]);
    let (_, key) = server.ledger().project_with_key("secretive");
    let call =
        message(true).replace("sk-ant-api03-own", &key).replace("Hello", "a-prompt-that-nobody-may-see");
    http::exchange(server.proxy, call.as_bytes()).expect("the proxy answers");
    http::exchange(server.proxy, message(false).as_bytes()).expect("the proxy answers");
    server.ledger().await_events("", 2);
    assert!(server.stop(), "the server stops cleanly:\n{}", server.log());

    let mut everything = server.log().into_bytes();
    for entry in walk(server.data_dir()) {
        everything.extend(std::fs::read(entry).expect("a file of the data folder"));
    }
    for secret in [
        key.as_str(),
        "sk-ant-api03-own",
        "sk-ant-api03-upstream-of-the-project",
        "a-prompt-that-nobody-may-see",
        ADMIN_TOKEN,
    ] {
        let found = everything.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{secret:?} stands in a log or on disk");
    }
    let found = everything.windows(9).any(|window| window == b"secretive");
    assert!(found, "the project's name is no secret: a search that misses it would miss the others too");
}

#[test]
fn the_operators_page_names_everything_in_the_data_folder() {
    let simulator = Simulator::start();
    let mut server = MindWeave::start(&simulator.url());
    assert!(server.stop(), "the server stops cleanly:\n{}", server.log());
    let page = include_str!("../docs/operations.md");
    let entries = std::fs::read_dir(server.data_dir()).expect("the data folder");
    let names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    assert!(names.len() >= 3, "{names:?}");
    let is_named =
        |name: &String| page.contains(&format!("| `{name}` |")) || page.contains(&format!("| `{name}/` |"));
    let unnamed: Vec<&String> = names.iter().filter(|name| !is_named(name)).collect();
    assert!(unnamed.is_empty(), "docs/operations.md does not say what {unnamed:?} is");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
