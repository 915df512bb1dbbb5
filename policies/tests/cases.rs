//! The bundled policies say what their cases expect, on the engine that production runs.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mindweave_policy::{
    CaseFile, PolicyCompiler, PolicySource, PolicyTrial, SampleInput, bundled, run_cases,
};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The names of the files in a folder that end like this, without the ending.
fn stems(name: &str, ending: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(folder(name)).expect("the folder is there");
    let names =
        entries.map(|entry| entry.expect("it can be read").file_name().into_string().expect("a text"));
    names.filter_map(|name| name.strip_suffix(ending).map(str::to_owned)).collect()
}

#[test]
fn every_bundled_policy_says_what_its_cases_expect() {
    let mut failed = String::new();
    for policy in bundled() {
        let cases = CaseFile::parse(policy.cases).unwrap_or_else(|error| panic!("{}: {error}", policy.name));
        let report = match run_cases(&policy.rego.into(), &cases) {
            Ok(report) => report,
            Err(error) => {
                failed += &format!("{}: {error}\n", policy.name);
                continue;
            }
        };
        for outcome in report.outcomes.iter().filter(|outcome| !outcome.passed()) {
            failed += &format!("{}_cases.toml:{}: {outcome:#?}\n", policy.name, outcome.line);
        }
    }
    assert!(failed.is_empty(), "{failed}");
}

#[test]
fn every_policy_in_the_folder_is_bundled_with_data_and_cases() {
    let names: Vec<&str> = bundled().iter().map(|policy| policy.name).collect();
    assert!(names.is_sorted());
    let names: BTreeSet<String> = names.into_iter().map(str::to_owned).collect();
    assert_eq!(stems("rego", ".rego"), names);
    assert_eq!(stems("rego", ".json"), names);
    assert_eq!(stems("cases", "_cases.toml"), names);
}

/// Lists in data that are short, and cannot be looked up by key.
const ITERATES: &str = "goes through all of a list in `data`";
/// Warnings that are known, and why they stay.
const KNOWN_WARNINGS: [(&str, &str); 4] = [
    ("ip_allow_list", ITERATES),       // networks are compared, not looked up
    ("required_metadata", ITERATES),   // all required labels, of which there are few
    ("endpoint_allow_list", ITERATES), // goes through the roles of the key only
    ("mcp_access", "instructions that a policy may take for a request with many tools"), // each is judged
];

#[test]
fn every_bundled_policy_passes_the_check_of_the_api_without_an_unknown_warning() {
    let mut faults = Vec::new();
    for policy in bundled() {
        let data = serde_json::from_str(policy.example_data).expect("example data is JSON");
        let source = PolicySource { rego: policy.rego.into(), data };
        match PolicyCompiler::in_process().check(&source) {
            Ok(report) => {
                assert_eq!(report.package, format!("mindweave.{}", policy.name));
                assert!(!report.reads.contains(&"*".to_owned()), "{} reads everything", policy.name);
                assert!(!report.reads.contains(&"time.now_ns".to_owned()), "{} is never cached", policy.name);
                let unknown = report.warnings.into_iter().filter(|warning| {
                    !KNOWN_WARNINGS
                        .iter()
                        .any(|(name, text)| *name == policy.name && warning.message.contains(text))
                });
                faults.extend(unknown.map(|warning| format!("{}: {warning:?}\n", policy.name)));
            }
            Err(error) => faults.push(format!("{}: {error:?}\n", policy.name)),
        }
    }
    assert!(faults.is_empty(), "{}", faults.concat());
}

#[test]
fn example_data_is_what_each_policy_takes() {
    for policy in bundled() {
        let data = serde_json::from_str(policy.example_data).expect("example data is JSON");
        let trial = PolicyTrial::new(policy.rego, data);
        let result =
            trial.ask(&SampleInput::default()).unwrap_or_else(|error| panic!("{}: {error}", policy.name));
        let reasons: Vec<&str> =
            result.evaluated.decision.denials.iter().map(|denial| &*denial.reason).collect();
        assert!(!reasons.contains(&"policy_misconfigured"), "{}: {reasons:?}", policy.name);
        assert_eq!(result.evaluated.errors, [], "{}", policy.name);
    }
}

/// A deny set fails open when its data is not there: each policy must notice.
#[test]
fn without_data_every_policy_refuses_and_says_that_it_is_misconfigured() {
    for policy in bundled() {
        let trial = PolicyTrial::new(policy.rego, serde_json::json!({}));
        let result =
            trial.ask(&SampleInput::default()).unwrap_or_else(|error| panic!("{}: {error}", policy.name));
        let denials = &result.evaluated.decision.denials;
        assert!(denials.iter().any(|denial| &*denial.reason == "policy_misconfigured"), "{}", policy.name);
    }
}

/// Somebody who lists models must not be refused because a list of models has no model.
#[test]
fn what_a_policy_is_not_about_is_never_refused() {
    const ABOUT_ANY_REQUEST: [&str; 3] = ["ip_allow_list", "endpoint_allow_list", "client_version_minimum"];
    let requests = [
        ("GET", "/v1/models"),
        ("GET", "/v1/models/claude-sonnet-4-5"),
        ("HEAD", "/"),
        ("GET", "/v1/messages/batches"),
        ("GET", "/v1/messages/batches/msgbatch_01/results"),
        ("POST", "/v1/messages/count_tokens"),
    ];
    for policy in bundled().iter().filter(|policy| !ABOUT_ANY_REQUEST.contains(&policy.name)) {
        let cases = CaseFile::parse(policy.cases).expect("cases are sound");
        let mut data = cases.data().clone();
        if policy.name == "required_metadata" {
            data["labels"] = serde_json::json!({}); // keys carry labels whatever they ask for
        }
        let trial = PolicyTrial::new(policy.rego, data);
        for (method, path) in requests {
            let request =
                serde_json::json!({ "method": method, "path": path, "pii": null, "user_agent": null });
            let sample =
                SampleInput::from_json(&serde_json::json!({ "request": request })).expect("an input");
            let closed = policy.name == "working_hours" && method == "POST";
            let result = trial.ask(&sample).expect("it compiles");
            let denials = &result.evaluated.decision.denials;
            assert!(closed || denials.is_empty(), "{} on {method} {path}: {denials:?}", policy.name);
        }
    }
}

#[test]
fn cases_fail_when_the_policy_says_something_else() {
    let policy: Arc<str> = r#"package nothing
        import rego.v1
        deny contains {"reason": "never", "message": "never"} if input.request.model == "none""#
        .into();
    for model_cases in bundled() {
        let cases = CaseFile::parse(model_cases.cases).expect("cases are sound");
        let report = run_cases(&policy, &cases).expect("it compiles");
        assert!(!report.passed(), "{}: no case expects anything", model_cases.name);
    }
}
