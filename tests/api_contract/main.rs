//! The API does what its description says: a property-based tester makes requests from the description, valid ones and others, and
//! holds every answer to it.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../harness/mod.rs"]
mod harness;
mod things;

use std::path::PathBuf;
use std::process::Command;

use harness::clients;
use harness::server::MindWeave;
use things::Things;

/// Nobody is called: no operation of the API makes a request of its own to it.
const NOWHERE: &str = "http://127.0.0.1:9";
/// Seconds for the whole run, should the machine be slow; what is not done by then is left out.
const TIME_LIMIT: &str = "100";
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
    let things = Things::make(&server);
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/api_contract");
    let settings = std::fs::read_to_string(folder.join("schemathesis.toml")).expect("the settings");
    // The tester keeps what it found in the folder in which it runs.
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let settings_file = scratch.path().join("schemathesis.toml");
    std::fs::write(&settings_file, settings + things.dictionaries()).expect("a file can be written");
    let mut tester = Command::new(clients::installed("schemathesis").join("bin/schemathesis"));
    tester.current_dir(scratch.path()).arg("--config-file").arg(settings_file).arg("run");
    tester.arg(format!("{url}/openapi.json")).args(["--url", &url, "--checks", "all"]);
    tester.args(["--max-time", TIME_LIMIT, "--request-timeout", "20", "--no-color"]);
    for path in ENDLESS {
        tester.args(["--exclude-path", path]);
    }
    let environment = [
        ("API_CONTRACT_EMAIL", things::EMAIL),
        ("API_CONTRACT_PASSWORD", things::PASSWORD),
        ("SCHEMATHESIS_HOOKS", "hooks"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("PYTHONPATH", folder.to_str().expect("a path in UTF-8")),
        ("HYPOTHESIS_STORAGE_DIRECTORY", scratch.path().to_str().expect("a path in UTF-8")),
    ];
    // Its exit code says whether it found anything, errors of its own included.
    let output = clients::run_with(&mut tester, &environment);
    let report = String::from_utf8_lossy(&output.stdout);
    println!("{report}");
    let number = |label: &str| {
        let line = report.lines().find_map(|line| line.trim().strip_prefix(label)).expect("a summary");
        line.trim().split('/').next().and_then(|number| number.parse::<usize>().ok()).expect("a number")
    };
    assert!(number("Selected:") > 100, "{report}");
    assert_eq!(number("Tested:"), number("Selected:"), "{report}");
}
