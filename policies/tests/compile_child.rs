//! Policies are checked in a child process that has limits. This file is its own child: it runs without the usual test
//! harness, which would write into the conversation.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests"
)]

use std::io;
use std::time::{Duration, Instant};

use mindweave_policy::{
    CheckError, MAX_DATA_BYTES, MAX_REGO_BYTES, PolicyCompiler, PolicySource, run_compile_worker,
};
use serde_json::json;

/// The argument that makes this program the child.
const CHILD: &str = "compile-worker";
/// The argument that makes this program a child that never answers, and takes all the memory that it gets.
const GREEDY: &str = "greedy";
/// The argument that makes this program a child that answers if it sees its parent's environment.
const CURIOUS: &str = "curious";

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some(CHILD) => run_compile_worker(io::stdin().lock(), io::stdout().lock()).expect("a conversation"),
        Some(GREEDY) => {
            drop(run_compile_worker(io::empty(), io::sink())); // sets the limits, and finds nothing to read
            let mut taken = Vec::new();
            loop {
                taken.push(vec![1_u8; 64 << 20]);
            }
        }
        Some(CURIOUS) => {
            if std::env::vars_os().next().is_none() {
                run_compile_worker(io::stdin().lock(), io::stdout().lock()).expect("a conversation");
            }
        }
        _ => test_all(),
    }
}

fn test_all() {
    let tests: [(&str, fn()); 7] = [
        ("a_sound_policy_is_reported_with_what_it_reads", a_sound_policy_is_reported_with_what_it_reads),
        ("faults_come_with_line_and_column", faults_come_with_line_and_column),
        (
            "text_that_makes_the_parser_exponential_is_refused",
            text_that_makes_the_parser_exponential_is_refused,
        ),
        ("what_is_too_large_is_not_even_read", what_is_too_large_is_not_even_read),
        ("a_child_that_takes_too_much_memory_is_ended", a_child_that_takes_too_much_memory_is_ended),
        ("a_child_that_never_answers_is_ended", a_child_that_never_answers_is_ended),
        ("a_child_inherits_nothing", a_child_inherits_nothing),
    ];
    for (name, test) in tests {
        test();
        println!("test {name} ... ok");
    }
}

fn child(arg: &str) -> PolicyCompiler {
    PolicyCompiler::child(std::env::current_exe().expect("a program"), vec![arg.into()])
}

fn source(rego: &str) -> PolicySource {
    PolicySource { rego: rego.into(), data: json!({"allowed": {"claude-haiku-4-5": true}}) }
}

const SOUND: &str = r#"package models
deny contains {"reason": "model_not_allowed", "message": sprintf("%s is not allowed", [input.request.model])} if {
    not data.allowed[input.request.model]
}
"#;

fn a_sound_policy_is_reported_with_what_it_reads() {
    let report = child(CHILD).check(&source(SOUND)).expect("sound");
    assert_eq!((report.package.as_str(), &report.reads[..]), ("models", &["request.model".to_owned()][..]));
    assert_eq!(report, PolicyCompiler::in_process().check(&source(SOUND)).expect("sound"));
}

fn faults_come_with_line_and_column() {
    let Err(CheckError::Faults(faults)) = child(CHILD).check(&source("package p\ndeny contains {\n")) else {
        panic!("no faults")
    };
    assert!(faults[0].line.is_some() && faults[0].column.is_some(), "{faults:?}");
}

fn text_that_makes_the_parser_exponential_is_refused() {
    let start = Instant::now();
    for text in [
        format!("x := {}1{}", "[".repeat(24), "]".repeat(24)),
        format!("x := {}1{}", "[{".repeat(15), "}]".repeat(15)),
        format!("x := {}1{}", "(".repeat(5_000), ")".repeat(5_000)),
        format!("x if {{ {}true }}", "not ".repeat(2_000)),
        format!("x := {}1", "-".repeat(1_000)),
        format!("x := a{}", "[0]".repeat(300)),
        format!("x := 1{}", " + 1".repeat(200)),
        "x := 1e999999999".to_owned(),
    ] {
        let text =
            format!("package p\n{text}\ndeny contains {{\"reason\": \"a\", \"message\": \"b\"}} if x\n");
        // Refused, or found harmless after all: in any case soon.
        let result = child(CHILD).check(&source(&text));
        assert!(!matches!(result, Err(CheckError::Failed(_))), "{result:?}");
    }
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

fn what_is_too_large_is_not_even_read() {
    let compiler = PolicyCompiler::child("/nonexistent".into(), Vec::new());
    let rego = "# ".repeat(MAX_REGO_BYTES);
    assert!(matches!(compiler.check(&source(&rego)), Err(CheckError::TooLarge)));
    let data = json!({"text": "x".repeat(MAX_DATA_BYTES)});
    assert!(matches!(compiler.check(&PolicySource { data, ..source(SOUND) }), Err(CheckError::TooLarge)));
    assert!(matches!(compiler.check(&source(SOUND)), Err(CheckError::Failed(_))));
}

fn a_child_that_takes_too_much_memory_is_ended() {
    assert!(matches!(child(GREEDY).check(&source(SOUND)), Err(CheckError::TimedOut)));
}

fn a_child_that_never_answers_is_ended() {
    let start = Instant::now();
    let compiler = PolicyCompiler::child("/bin/sleep".into(), vec!["600".into()]);
    assert!(matches!(compiler.check(&source(SOUND)), Err(CheckError::TimedOut)));
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

fn a_child_inherits_nothing() {
    child(CURIOUS).check(&source(SOUND)).expect("an empty environment");
}
