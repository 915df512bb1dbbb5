//! The decision log: who was refused what, why, and by which version.

use serde_json::json;

use crate::harness::governed::{Call, await_settled};
use crate::harness::server::MindWeave;
use crate::harness::simulator::Simulator;

#[test]
fn every_refusal_and_every_shadow_verdict_is_in_the_log_with_its_version() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("logged");
    let rego = |reason: &str| {
        format!(
            "package p\ndeny contains {{\"reason\": \"{reason}\", \"message\": \"no\"}} if {{ input.request.stream }}\n"
        )
    };
    let scope = json!({ "project": project });
    let enforced = ledger.create(
        "/governance/policies",
        &json!({ "name": "enforced", "rego": rego("no_streams"), "scope": scope }),
    );
    ledger.post(
        "/governance/policies",
        &json!({ "name": "shadow", "rego": rego("maybe"), "scope": scope, "mode": "shadow" }),
    );
    let quota = ledger.create(
        "/governance/quotas",
        &json!({ "name": "one", "scope": scope, "unit": "requests", "window": "month", "limit": 1 }),
    );
    let call = Call::new(&server, &key);
    call.clone().field("stream", true).send(); // refused by policy, and shadowed
    call.send(); // passes
    call.send(); // refused by the budget
    await_settled(&ledger, &project, 3);
    let log = ledger.get(&format!("/governance/audit?project_id={project}"));
    let rows = log["data"].as_array().expect("a page");
    assert_eq!(rows.len(), 2, "the one that passed said nothing: {log:#}");
    let by_policy =
        rows.iter().find(|row| row.to_string().contains(&enforced)).expect("the policy's refusal");
    assert!(by_policy.to_string().contains("\"version\":1"), "{by_policy:#}");
    assert!(by_policy.to_string().contains("maybe"), "{by_policy:#}");
    assert!(rows.iter().any(|row| row.to_string().contains(&quota)), "{log:#}");
}
