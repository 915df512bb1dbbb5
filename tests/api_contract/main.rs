//! The API does what its description says: a property-based tester makes requests from the description, valid ones and others, and
//! holds every answer to it.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

#[path = "../harness/mod.rs"]
mod harness;

use std::path::PathBuf;
use std::process::Command;

use harness::clients;
use harness::server::{ADMIN_TOKEN, MindWeave};

/// Nobody is called: no operation of the API makes a request of its own to it.
const NOWHERE: &str = "http://127.0.0.1:9";
/// Seconds for the whole run, phases that repeat included.
const TIME_LIMIT: &str = "150";
/// Requests for each operation and phase. More find little: what is wrong is wrong for many.
const EXAMPLES: &str = "12";
/// Answers without end, which a tester that waits for an end cannot read. They have tests of their own.
const ENDLESS: &[&str] = &["/v1/usage/live"];

#[test]
fn a_tester_that_knows_only_the_description_finds_nothing() {
    // One machine makes thousands of requests a second here, many without a token.
    let settings = [
        ("MINDWEAVE_CONTROL_PLANE__RATE_LIMITS__CALLER", "100000"),
        ("MINDWEAVE_CONTROL_PLANE__RATE_LIMITS__ADDRESS", "100000"),
    ];
    let server = MindWeave::start_with(NOWHERE, &settings);
    let url = format!("http://{}", server.control_plane);
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/api_contract");
    let mut tester = Command::new(clients::installed("schemathesis").join("bin/schemathesis"));
    tester.current_dir(&folder).args(["--config-file", "schemathesis.toml", "run"]);
    tester.arg(format!("{url}/openapi.json")).args(["--url", &url]);
    tester.args(["--checks", "all", "--max-examples", EXAMPLES, "--max-time", TIME_LIMIT, "--no-shrink"]);
    tester.args(["--request-timeout", "20", "--no-color"]);
    for path in ENDLESS {
        tester.args(["--exclude-path", path]);
    }
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let environment = [
        ("API_CONTRACT_TOKEN", ADMIN_TOKEN),
        ("SCHEMATHESIS_HOOKS", "hooks"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("PYTHONPATH", folder.to_str().expect("a path in UTF-8")),
        ("HYPOTHESIS_STORAGE_DIRECTORY", scratch.path().to_str().expect("a path in UTF-8")),
    ];
    let output = clients::run_with(&mut tester, &environment);
    let report = String::from_utf8_lossy(&output.stdout);
    println!("{report}");
    assert!(report.contains("No issues found"), "{report}");
}
