//! Counters across kill -9: what is in force and what is used is the same before and after.

use serde_json::json;

use crate::harness::eventually;
use crate::harness::governed::{Call, await_used, cost_of, count, storm};
use crate::harness::server::MindWeave;
use crate::harness::simulator::Simulator;

#[test]
fn a_killed_server_knows_its_budgets_again_to_the_nano_dollar() {
    let simulator = Simulator::start();
    let mut server = MindWeave::start(&simulator.url());
    let (project, key) = server.ledger().project_with_key("killed");
    let quota = server.ledger().create(
        "/governance/quotas",
        &json!({ "name": "cost", "scope": { "project": project }, "unit": "cost", "window": "month", "limit_usd": "1000", "reserve": "max" }),
    );
    for round in 0..4 {
        let call = Call::new(&server, &key);
        assert_eq!(
            count(&storm(&call.clone().simulate("input_tokens=777; output_tokens=33"), 8, 3), 200),
            24
        );
        // Open streams hold reservations when the process dies.
        let slow = call.clone().field("stream", true).simulate("chunk_delay_ms=50; events=400");
        let streams: Vec<_> = (0..6).map(|_| slow.open().answered()).collect();
        server.restart();
        drop(streams);
        let ledger = server.ledger();
        let events = (round + 1) * 30;
        eventually("every call is in the ledger, the interrupted ones too", || {
            (ledger.events(&format!("project_id={project}")).len() == events).then_some(())
        });
        let state = await_used(&ledger, &quota, cost_of(&ledger, &project));
        assert_eq!(state["reserved"], 0, "what died holds nothing: {state:#}");
    }
}

#[test]
fn a_spent_budget_stays_spent_across_a_kill() {
    let simulator = Simulator::start();
    let mut server = MindWeave::start(&simulator.url());
    let (project, key) = server.ledger().project_with_key("spent");
    server.ledger().post(
        "/governance/quotas",
        &json!({ "name": "five", "scope": { "project": project }, "unit": "requests", "window": "month", "limit": 5 }),
    );
    assert_eq!(count(&storm(&Call::new(&server, &key), 4, 3), 200), 5);
    for _ in 0..3 {
        server.restart();
        let first = Call::new(&server, &key).send();
        assert_eq!(first.status(), 429, "the very first call after a start is refused: {first:?}");
    }
}
