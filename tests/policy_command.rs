//! `mindweave policy` tests and tries policies without a server, and says where they are wrong.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

const POLICY: &str = r#"package acme.short

import rego.v1

deny contains {"reason": "too_long", "message": "ask for less"} if input.request.max_tokens > data.most
"#;

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("the folder can be written");
    }
    folder
}

fn mindweave(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mindweave"));
    command.current_dir(folder).args(arguments).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is text")
}

#[test]
fn bundled_policies_pass_their_cases() {
    let folder = folder(&[]);
    let output = mindweave(folder.path(), &["policy", "test"]);
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{shown}{}", text(&output.stderr));
    for policy in mindweave_policy::bundled() {
        assert!(shown.contains(policy.name), "{} is missing: {shown}", policy.name);
    }
    assert!(!shown.lines().any(|line| line.ends_with("FAILED")), "{shown}");
}

#[test]
fn a_case_that_fails_is_shown_with_what_was_expected_and_what_came() {
    let cases = r#"
[data]
most = 100
[[case]]
name = "a short answer passes"
request.max_tokens = 100
[[case]]
name = "this expectation is wrong"
request.max_tokens = 101
warn = ["nearly_too_long"]
"#;
    let folder = folder(&[("short.rego", POLICY), ("short_cases.toml", cases)]);
    for path in [".", "short.rego", "short_cases.toml"] {
        let output = mindweave(folder.path(), &["policy", "test", path]);
        let shown = text(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{path}: {shown}");
        for part in [
            "short_cases.toml:8: this expectation is wrong",
            "expected  allow, warn nearly_too_long",
            "got       deny too_long",
            "\"ask for less\"",
        ] {
            assert!(shown.contains(part), "{part:?} is not in: {shown}");
        }
        assert!(!shown.contains("a short answer passes"), "{shown}");
    }
    let output = mindweave(folder.path(), &["policy", "test", "--verbose", "."]);
    assert!(text(&output.stdout).contains("a short answer passes"));
}

#[test]
fn a_mistyped_key_is_named() {
    let cases = "[[case]]\nname = \"x\"\nrequest.max_token = 1\n";
    let folder = folder(&[("short.rego", POLICY), ("short_cases.toml", cases)]);
    let output = mindweave(folder.path(), &["policy", "test", "."]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    for part in ["short_cases.toml", "line 2", "case `x`", "`max_token`", "`max_tokens`"] {
        assert!(told.contains(part), "{part:?} is not in: {told}");
    }
}

#[test]
fn a_policy_without_cases_is_checked_and_said_to_have_none() {
    let folder = folder(&[("short.rego", POLICY)]);
    let output = mindweave(folder.path(), &["policy", "test", "."]);
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("has no cases"), "{}", text(&output.stdout));
    assert_eq!(
        mindweave(&folder.path().join(".."), &["policy", "test", "no/such/place"]).status.code(),
        Some(1)
    );
}

#[test]
fn a_policy_that_does_not_compile_is_refused_with_its_place() {
    let folder = folder(&[("broken.rego", "package broken\n\nimport rego.v1\n\ndeny contains {\n")]);
    let tested = mindweave(folder.path(), &["policy", "test", "."]);
    assert_eq!(tested.status.code(), Some(1));
    let asked = mindweave(folder.path(), &["policy", "eval", "--policy", "broken.rego"]);
    assert_eq!(asked.status.code(), Some(1));
    for told in [text(&tested.stdout), text(&asked.stderr)] {
        assert!(told.contains("broken.rego:5:") || told.contains("broken.rego:6:"), "{told}");
    }
}

#[test]
fn a_policy_can_be_asked_about_one_request() {
    let folder = folder(&[
        ("short.rego", POLICY),
        ("data.json", r#"{"most": 100}"#),
        ("input.json", r#"{"request": {"max_tokens": 101}}"#),
        ("typo.json", r#"{"request": {"max_token": 101}}"#),
    ]);
    let eval = ["policy", "eval", "--policy", "short.rego", "--data", "data.json"];
    let ask = |more: &[&str]| mindweave(folder.path(), &[&eval, more].concat());
    let answer: Value =
        serde_json::from_slice(&ask(&["--input", "input.json", "--json"]).stdout).expect("JSON");
    assert_eq!(answer["allowed"], json!(false));
    assert_eq!(answer["deny"], json!([{ "reason": "too_long", "message": "ask for less" }]));
    assert_eq!(answer["reads"], json!(["request.max_tokens"]));
    assert_eq!(answer["input"]["request"]["max_tokens"], json!(101));
    fs::write(folder.path().join("shown.json"), answer["input"].to_string()).expect("a file");
    let again = ask(&["--input", "shown.json"]);
    assert!(text(&again.stdout).starts_with("denied\n"), "{}{}", text(&again.stdout), text(&again.stderr));
    let typo = ask(&["--input", "typo.json"]);
    assert_eq!(typo.status.code(), Some(1));
    assert!(text(&typo.stderr).contains("unknown field `max_token`"), "{}", text(&typo.stderr));
}

#[test]
fn bundled_policies_are_printed_as_they_are() {
    let folder = folder(&[]);
    for policy in mindweave_policy::bundled() {
        let printed = mindweave(folder.path(), &["policy", "bundled", policy.name]);
        assert_eq!(text(&printed.stdout), policy.rego);
        let data = mindweave(folder.path(), &["policy", "bundled", policy.name, "--data"]);
        assert_eq!(text(&data.stdout), policy.example_data);
    }
    let unknown = mindweave(folder.path(), &["policy", "bundled", "nothing"]);
    assert!(text(&unknown.stderr).contains("model_allow_list"), "{}", text(&unknown.stderr));
}
