//! Secrets from outside: that none of them can be read where it must not be, and that one master key takes another's place while
//! servers run.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod harness;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use harness::apart::ControlPlane;
use harness::http;
use harness::server::{ADMIN_TOKEN, MindWeave};
use harness::simulator::Simulator;
use mindweave_test_servers::Postgres;
use serde_json::{Value, json};

const MASTER_KEY: &str = "5ec3e75ec3e75ec3e75ec3e75ec3e75ec3e75ec3e75ec3e75ec3e75ec3e75ec3";
const UPSTREAM_KEY: &str = "sk-ant-api03-marked-upstream-key-of-the-test";
const PASSWORD: &str = "marked-password-of-the-owner-4711";
const WRONG_PASSWORD: &str = "marked-wrong-password-0815";

/// Everything below a folder, with its content.
fn files(folder: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).expect("a folder can be read") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if let Ok(content) = std::fs::read(&path) {
            found.push((path, content));
        }
    }
}

fn has(content: &[u8], secret: &str) -> bool {
    content.windows(secret.len()).any(|window| window == secret.as_bytes())
}

/// The status and the text of an answer.
fn post(server: &MindWeave, path: &str, token: &str, body: &Value) -> (u16, String) {
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = http::exchange(server.control_plane, request.as_bytes()).expect("an answer");
    (answer.status(), String::from_utf8_lossy(&answer.body).into_owned())
}

#[test]
fn no_secret_can_be_read_in_logs_files_metrics_or_errors() {
    let outside = tempfile::tempdir().expect("a temporary folder");
    let key_file = outside.path().join("key");
    std::fs::write(&key_file, MASTER_KEY).expect("a file can be written");
    // A program that says too much.
    let hook = format!("sh -c 'cat {0}; cat {0} >&2'", key_file.display());
    let simulator = Simulator::start();
    let settings = [
        ("MINDWEAVE_LOG__LEVEL", "trace"),
        ("MINDWEAVE_CONTROL_PLANE__MASTER_KEY_COMMAND", &hook),
        ("MINDWEAVE_JOURNAL__SEGMENT_BYTES", "1MiB"), // all of it is searched
    ];
    let mut server = MindWeave::start_with(&simulator.url(), &settings);
    let mut secrets = vec![MASTER_KEY.to_owned(), ADMIN_TOKEN.to_owned(), UPSTREAM_KEY.to_owned()];
    secrets.extend([PASSWORD.to_owned(), WRONG_PASSWORD.to_owned()]);
    let mut answers = Vec::new();

    let project = server.ledger().create("/projects", &json!({ "name": "marked" }));
    server.ledger().put(&format!("/projects/{project}/upstream"), &json!({ "api_key": UPSTREAM_KEY }));
    let key = server.ledger().post(&format!("/projects/{project}/keys"), &json!({ "name": "k" }));
    let key = key["secret"].as_str().expect("a new key shows its secret").to_owned();
    let body = r#"{"model":"claude-sonnet-4-5","max_tokens":16,"messages":[{"role":"user","content":"hi"}]}"#;
    let call = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\nanthropic-version: 2023-06-01\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(http::exchange(server.proxy, call.as_bytes()).expect("an answer").status(), 200);
    secrets.push(key);

    let log = server.log();
    let link = log.split("setup?token=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let link = link.expect("the first start prints a link").to_owned();
    let owner = json!({ "token": link, "email": "ada@example.com", "name": "Ada", "password": PASSWORD });
    let (status, session) = post(&server, "/auth/setup", "", &owner);
    assert_eq!(status, 201, "{session}");
    let session: Value = serde_json::from_str(&session).expect("JSON");
    for token in ["access_token", "refresh_token"] {
        secrets.push(session[token].as_str().expect("a token").to_owned());
    }
    for (path, body) in [
        ("/auth/login", json!({ "email": "ada@example.com", "password": WRONG_PASSWORD })),
        ("/auth/login", json!({ "email": WRONG_PASSWORD, "password": WRONG_PASSWORD })),
        ("/auth/login", json!({ "email": "ada@example.com", "pasword": PASSWORD })),
        ("/auth/refresh", json!({ "refresh_token": format!("{PASSWORD} with blanks") })),
    ] {
        let (status, answer) = post(&server, path, "", &body);
        assert!((400..500).contains(&status), "{path}: {status} {answer}");
        answers.push(answer);
    }
    let (status, answer) = post(&server, "/projects", PASSWORD, &json!({ "name": "x" }));
    assert_eq!(status, 401, "{answer}");
    answers.push(answer);
    let renewed = post(&server, "/auth/refresh", "", &json!({ "refresh_token": session["refresh_token"] }));
    assert_eq!(renewed.0, 200, "{}", renewed.1);
    let renewed: Value = serde_json::from_str(&renewed.1).expect("JSON");
    secrets.push(renewed["access_token"].as_str().expect("a token").to_owned());

    let metrics =
        http::exchange(server.admin, b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    answers.push(String::from_utf8_lossy(&metrics.expect("metrics").body).into_owned());
    let pid = server.pid();
    let command_line = std::fs::read(format!("/proc/{pid}/cmdline")).expect("our own child");
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("our own child");
    let cores = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert_eq!(cores.split_whitespace().filter(|word| *word == "0").count(), 2, "{cores}");
    assert!(server.stop(), "{}", server.log());

    let mut found = vec![(PathBuf::from("the command line"), command_line)];
    found.extend(answers.into_iter().map(|answer| (PathBuf::from("an answer"), answer.into_bytes())));
    assert_nowhere(&server, found, &secrets);
}

/// None of these is in any of this, in the log or in a file of the data folder.
fn assert_nowhere(server: &MindWeave, mut found: Vec<(PathBuf, Vec<u8>)>, secrets: &[String]) {
    found.push((PathBuf::from("the log"), server.log().into_bytes()));
    files(server.data_dir(), &mut found);
    assert!(found.len() > 10, "only {} things to look into", found.len());
    assert!(server.log().contains("(hidden)"), "what the program said is told: {}", server.log());
    for (place, content) in &found {
        for secret in secrets {
            let shown = secret.get(..12).expect("long enough");
            assert!(!has(content, secret), "{shown}.. stands in {}", place.display());
        }
    }
}

/// A command beside the servers of this database.
fn secrets(database: &str, keys: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mindweave"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MINDWEAVE_"))
    {
        command.env_remove(name);
    }
    command.arg("secrets").args(arguments).envs(keys.iter().copied()).stdin(Stdio::null());
    command.env("MINDWEAVE_CONTROL_PLANE__DATABASE", database).output().expect("the binary runs")
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_master_key_is_replaced_while_two_servers_run_and_write() {
    let postgres = Postgres::start();
    let database = postgres.create_database();
    let new = secrets(&database, &[], &["new-key"]);
    let new = String::from_utf8_lossy(&new.stdout).trim().to_owned();
    assert_eq!(new.len(), 64);
    let with = |current: &str, previous: &str| {
        ControlPlane::start_with(&[
            ("MINDWEAVE_CONTROL_PLANE__DATABASE", &database),
            ("MINDWEAVE_MASTER_KEY", current),
            ("MINDWEAVE_MASTER_KEY_PREVIOUS", previous),
        ])
    };
    let store = |server: &ControlPlane, name: &str| {
        let ledger = server.ledger();
        let project = ledger.create("/projects", &json!({ "name": name }));
        ledger.put(&format!("/projects/{project}/upstream"), &json!({ "api_key": UPSTREAM_KEY }));
    };
    // Both open both; then, one after the other, they seal under the new one.
    let old = [with(MASTER_KEY, &new), with(MASTER_KEY, &new)];
    for number in 0..30 {
        store(&old[number % 2], &format!("old {number}"));
    }
    let keys = [("MINDWEAVE_MASTER_KEY", new.as_str()), ("MINDWEAVE_MASTER_KEY_PREVIOUS", MASTER_KEY)];
    let before = secrets(&database, &keys, &["rotate", "--check"]);
    assert_eq!(before.status.code(), Some(1), "{}", words(&before));
    let first = with(&new, MASTER_KEY);
    drop(old);
    let servers = [first, with(&new, MASTER_KEY)];
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (place, server) in servers.iter().enumerate() {
            let (stop, store) = (&stop, &store);
            scope.spawn(move || {
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    store(server, &format!("server {place} number {number}"));
                    number += 1;
                }
            });
        }
        let rotated = secrets(&database, &keys, &["rotate", "--json"]);
        stop.store(true, Ordering::Relaxed);
        assert!(rotated.status.success(), "{}", words(&rotated));
        let report: Value = serde_json::from_slice(&rotated.stdout).expect("JSON");
        assert!(report["tables"][0]["resealed"].as_u64() >= Some(30), "{report}");
    });
    let alone = [("MINDWEAVE_MASTER_KEY", new.as_str())];
    let after = secrets(&database, &alone, &["rotate", "--check"]);
    assert!(after.status.success(), "{}", words(&after));
    for text in [words(&before), words(&after)] {
        assert!(!text.contains(&new) && !text.contains(MASTER_KEY), "{text}");
    }
    let settings = [("MINDWEAVE_CONTROL_PLANE__DATABASE", database.as_str()), ("MINDWEAVE_MASTER_KEY", &new)];
    let last = ControlPlane::start_with(&settings);
    assert!(last.ledger().get("/projects?limit=1")["data"].is_array());
    let lost = secrets(&database, &[("MINDWEAVE_MASTER_KEY", MASTER_KEY)], &["rotate", "--check"]);
    assert_eq!(lost.status.code(), Some(1));
    assert!(words(&lost).contains("that no key opens"), "{}", words(&lost));
}
