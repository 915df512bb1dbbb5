//! The bound by which a budget can be exceeded, as `docs/limits-and-budgets.md` states it, under concurrency and long streams.

use serde_json::json;

use crate::harness::governed::{
    Call, INPUT_NANO, OUTPUT_NANO, await_settled, await_used, cost_of, count, storm,
};
use crate::harness::server::MindWeave;
use crate::harness::simulator::Simulator;

/// More tokens than the short prompts of these tests have, and fewer than the bound of their estimate allows for.
const PROMPT_TOKENS: i64 = 60;

#[test]
fn reserving_the_maximum_never_exceeds_the_budget_while_prompts_are_within_the_bound_of_their_estimates() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("hard");
    let limit = 100 * OUTPUT_NANO * 64; // a hundred full answers
    let quota = ledger.create(
        "/governance/quotas",
        &json!({ "name": "hard", "scope": { "project": project }, "unit": "cost", "window": "month", "limit": limit, "reserve": "max" }),
    );
    // Every answer takes all it may: the worst case. Streams and plain answers at once.
    let steering = format!("input_tokens={PROMPT_TOKENS}; output_tokens=64; chunk_delay_ms=1");
    let plain = Call::new(&server, &key).simulate(&steering);
    let streamed = plain.clone().field("stream", true);
    let (plain, streamed) = std::thread::scope(|scope| {
        let plain = scope.spawn(|| storm(&plain, 16, 6));
        let streamed = scope.spawn(|| storm(&streamed, 16, 6));
        (plain.join().expect("no panic"), streamed.join().expect("no panic"))
    });
    let answers = [plain, streamed].concat();
    let passed = count(&answers, 200);
    assert_eq!(passed + count(&answers, 429), answers.len());
    await_settled(&ledger, &project, answers.len());
    let cost = cost_of(&ledger, &project);
    assert!(
        cost <= limit,
        "{cost} of {limit} with {passed} calls: the prompts were within their estimates' bound"
    );
    assert!(cost >= limit * 8 / 10, "the budget can be used: {cost} of {limit}");
    await_used(&ledger, &quota, cost);
}

#[test]
fn reserving_what_is_expected_exceeds_the_budget_by_the_open_requests_at_most() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("expected");
    let (threads, answer) = (12, 2_000);
    let limit = 40 * OUTPUT_NANO * answer;
    let quota = ledger.create(
        "/governance/quotas",
        &json!({ "name": "soft", "scope": { "project": project }, "unit": "cost", "window": "month", "limit": limit }),
    );
    let call = Call::new(&server, &key).field("stream", true).field("max_tokens", answer).simulate(&format!(
        "input_tokens={PROMPT_TOKENS}; output_tokens={answer}; events=20; chunk_delay_ms=5"
    ));
    let answers = storm(&call, threads, 8);
    await_settled(&ledger, &project, answers.len());
    let cost = cost_of(&ledger, &project);
    let one = OUTPUT_NANO * answer + PROMPT_TOKENS * INPUT_NANO;
    let open = i64::try_from(threads).expect("few");
    assert!(cost <= limit + open * one, "{cost} of {limit}: more than {threads} open calls over");
    assert!(count(&answers, 429) > 0, "some were refused");
    await_used(&ledger, &quota, cost);
}
