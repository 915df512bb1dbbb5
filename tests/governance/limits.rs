//! Rate limits: requests, tokens and concurrency.

use serde_json::json;

use crate::harness::eventually;
use crate::harness::governed::{Call, await_settled, count, json_of, storm};
use crate::harness::server::MindWeave;
use crate::harness::simulator::Simulator;

#[test]
fn requests_a_minute_are_counted_per_key_and_the_wait_is_told() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (_, first) = ledger.project_with_key("first");
    let (_, second) = ledger.project_with_key("second");
    ledger.post(
        "/governance/limits",
        &json!({ "name": "rpm", "scope": { "key": "*" }, "metric": "requests_per_minute", "limit": 6 }),
    );
    for key in [&first, &second] {
        let answers = storm(&Call::new(&server, key), 8, 2);
        let passed = count(&answers, 200);
        // Six at once; each ten seconds that the storm takes let one more through.
        assert!((6..=8).contains(&passed), "{passed} passed");
        let refused = answers.iter().find(|answer| answer.status() == 429).expect("most are refused");
        let wait: u64 =
            refused.header("retry-after").and_then(|wait| wait.parse().ok()).expect("whole seconds");
        assert!((1..=10).contains(&wait), "{wait}");
        assert_eq!(refused.header("mindweave-reason").as_deref(), Some("rate_limited_requests"));
        assert_eq!(json_of(refused)["error"]["type"], "rate_limit_error");
        assert_eq!(refused.header("anthropic-ratelimit-requests-limit").as_deref(), Some("6"));
        assert_eq!(refused.header("anthropic-ratelimit-requests-remaining").as_deref(), Some("0"));
        let reset = refused.header("anthropic-ratelimit-requests-reset").expect("when it is free again");
        assert!(reset.parse::<jiff::Timestamp>().is_ok(), "{reset}");
    }
}

#[test]
fn traffic_on_the_clients_own_claude_key_gets_no_headers_of_the_apis_own_limits() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("own");
    ledger.post(
        "/governance/limits",
        &json!({ "name": "rpm", "scope": { "project": project }, "metric": "requests_per_minute", "limit": 1 }),
    );
    let call = Call::new(&server, &key).with_own_key();
    let (passed, refused) = (call.send(), call.send());
    assert_eq!((passed.status(), refused.status()), (200, 429));
    assert!(refused.header("retry-after").is_some());
    let names = refused.headers.iter().map(|(name, _)| name.to_ascii_lowercase());
    assert_eq!(names.filter(|name| name.starts_with("anthropic-ratelimit")).count(), 0, "{refused:?}");
}

#[test]
fn open_requests_are_limited_and_a_place_is_free_again_when_a_client_goes() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("parallel");
    ledger.post(
        "/governance/limits",
        &json!({ "name": "three", "scope": { "project": project }, "metric": "concurrent_requests", "limit": 3 }),
    );
    let slow = Call::new(&server, &key).field("stream", true).simulate("chunk_delay_ms=100; events=500");
    let mut open: Vec<_> = (0..3).map(|_| slow.open().answered()).collect();
    let refused = Call::new(&server, &key).send();
    assert_eq!(
        (refused.status(), refused.header("mindweave-reason").as_deref()),
        (429, Some("concurrency_limited"))
    );
    drop(open.pop());
    eventually("the gone client's place is free", || {
        (Call::new(&server, &key).send().status() == 200).then_some(())
    });
}

#[test]
fn tokens_a_minute_are_charged_by_estimate_and_put_right_at_the_end() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("tokens");
    ledger.post(
        "/governance/limits",
        &json!({ "name": "otpm", "scope": { "project": project }, "metric": "output_tokens_per_minute", "limit": 10_000 }),
    );
    // Each may take all of it but takes little: what was not used is given back, so that many fit one after the other.
    let modest = Call::new(&server, &key).field("max_tokens", 9_000).simulate("output_tokens=50");
    for turn in 0..10 {
        assert_eq!(modest.send().status(), 200, "turn {turn}");
    }
    // One that takes more than there is goes into debt, and the next one waits.
    let greedy = Call::new(&server, &key).field("max_tokens", 30_000).simulate("output_tokens=25000");
    assert_eq!(greedy.send().status(), 200, "a full bucket admits what is larger than itself");
    let refused = modest.send();
    assert_eq!(
        refused.header("mindweave-reason").as_deref(),
        Some("rate_limited_output_tokens"),
        "{refused:?}"
    );
    let wait: u64 = refused.header("retry-after").and_then(|wait| wait.parse().ok()).expect("whole seconds");
    assert!((60..=180).contains(&wait), "25 000 tokens at 10 000 a minute: {wait}");
}

#[test]
fn input_that_the_cache_served_is_free_as_in_the_apis_own_limits() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("cached");
    ledger.post(
        "/governance/limits",
        &json!({ "name": "itpm", "scope": { "project": project }, "metric": "input_tokens_per_minute", "limit": 2_000 }),
    );
    let cached = Call::new(&server, &key).simulate("input_tokens=10; cache_read=100000");
    for turn in 0..5 {
        assert_eq!(cached.send().status(), 200, "turn {turn}");
    }
    assert_eq!(Call::new(&server, &key).simulate("input_tokens=9000").send().status(), 200);
    assert_eq!(cached.send().status(), 429);
}

#[test]
fn a_raised_limit_lets_a_key_in_debt_work_again_at_once() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("indebted");
    let limit = ledger.create(
        "/governance/limits",
        &json!({ "name": "otpm", "scope": { "project": project }, "metric": "output_tokens_per_minute", "limit": 100 }),
    );
    let call = Call::new(&server, &key);
    let long = call.clone().field("max_tokens", 9_000).simulate("output_tokens=8000").send();
    assert_eq!(long.status(), 200);
    await_settled(&ledger, &project, 1);
    let refused = call.send();
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.header("retry-after").and_then(|wait| wait.parse().ok()).expect("whole seconds");
    assert!(wait > 3_600, "{wait}");
    ledger.patch(&format!("/governance/limits/{limit}"), &json!({ "limit": 1_000_000 }));
    assert_eq!(call.send().status(), 200);
}
