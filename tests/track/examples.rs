//! What the documentation shows, run as it stands there.

use std::path::Path;
use std::process::Command;

use crate::NOWHERE;
use crate::harness::clients;
use crate::harness::server::{ADMIN_TOKEN, MindWeave};

/// The examples in this language.
fn documented(language: &str) -> Vec<String> {
    let text = include_str!("../../docs/api.md");
    let section = text.split("\n## ").find(|section| section.starts_with("Events from other producers"));
    let blocks = section.expect("the section is there").split("```").skip(1).step_by(2);
    let of_language = blocks.filter_map(|block| block.strip_prefix(&format!("{language}\n")));
    of_language.map(str::to_owned).collect()
}

fn write(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a script can be written");
    path
}

#[test]
fn the_documented_calls_do_what_is_said_of_them() {
    let server = MindWeave::start(NOWHERE);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [example] = documented("sh").try_into().expect("one example for the shell");
    let example = example
        .replace("http://127.0.0.1:3000", &format!("http://{}", server.control_plane))
        .replace("$(cat mindweave-data/admin-token)", ADMIN_TOKEN);
    let script = write(folder.path(), "example.sh", &format!("set -e\n{example}"));
    clients::run(Command::new("bash").arg(script));
    let events = server.ledger().await_events("", 4);
    let tokens: u64 = events.iter().filter_map(|event| event["input_tokens"].as_u64()).sum();
    assert_eq!(tokens, 1_200 + 12 + 10 + 20);
    assert!(events.iter().all(|event| event["certainty"] == "exact"), "{events:#?}");
    assert!(events.iter().any(|event| event["cache_read_tokens"] == 5_000), "{events:#?}");
    assert!(events.iter().any(|event| event["metadata"]["job"] == "nightly"), "{events:#?}");
}

#[test]
fn python_and_javascript_send_events_without_any_library() {
    let server = MindWeave::start(NOWHERE);
    let (_, key) = server.ledger().project_with_key("scripts");
    let api = format!("http://{}", server.control_plane);
    let settings = [("MINDWEAVE_API", api.as_str()), ("MINDWEAVE_KEY", key.as_str())];
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [python] = documented("python").try_into().expect("one example in Python");
    let [script] = documented("js").try_into().expect("one example in JavaScript");
    let python = write(folder.path(), "example.py", &python);
    let script = write(folder.path(), "example.mjs", &script);
    // Twice: the idempotency keys make the second run a repetition of the first.
    for _ in 0..2 {
        clients::run_with(Command::new("python3").arg(&python), &settings);
        let told = clients::run_with(Command::new("node").arg(&script), &settings);
        assert_eq!(String::from_utf8_lossy(&told.stdout).trim(), "2 0");
    }
    let events = server.ledger().await_events("", 3);
    let mut users: Vec<_> = events.iter().filter_map(|event| event["user_id"].as_str()).collect();
    users.sort_unstable();
    assert_eq!(users, ["usr_ada", "usr_bob"]);
    assert!(events.iter().any(|event| event["session_id"] == "import-7" && event["output_tokens"] == 120));
    assert!(server.ledger().await_events("", 3).len() == 3);
}
