//! Budgets count what other producers send, once it is in the ledger.

use serde_json::json;

use crate::harness::eventually;
use crate::harness::server::MindWeave;
use crate::{As, NOWHERE, cost, event, post};

#[test]
fn a_budget_counts_events_of_other_producers_and_goes_into_debt_for_them() {
    let server = MindWeave::start(NOWHERE);
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("jobs");
    let budget = ledger.create(
        "/governance/quotas",
        &json!({
            "name": "jobs", "scope": { "project": project }, "unit": "cost", "window": "month", "limit": cost(1) + 1,
        }),
    );
    for number in [1, 2, 2] {
        assert_eq!(post(server.control_plane, "/v1/track", As::Key(&key), &event(number)).status, 202);
    }
    let spent = cost(1) + cost(2);
    eventually("the budget has counted", || {
        let state = &ledger.get(&format!("/governance/quotas/{budget}"))["state"];
        (state["used"].as_u64() == Some(spent) && state["remaining"].as_i64()? < 0).then_some(())
    });
}
