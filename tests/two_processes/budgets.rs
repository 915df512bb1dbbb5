//! Budgets while the ledger is out of reach.

use serde_json::json;

use crate::harness::apart::{ControlPlane, Proxy};
use crate::harness::eventually;
use crate::harness::governed::{Call, await_used, count, storm};
use crate::harness::simulator::Simulator;

#[test]
fn a_budget_stays_spent_when_both_processes_are_killed_and_only_the_proxy_comes_back() {
    let simulator = Simulator::start();
    let mut control_plane = ControlPlane::start();
    let ledger = control_plane.ledger();
    let (project, key) = ledger.project_with_key("both-killed");
    let quota = ledger.create(
        "/governance/quotas",
        &json!({ "name": "ten", "scope": { "project": project }, "unit": "requests", "window": "month", "limit": 10 }),
    );
    let mut proxy = Proxy::start(&simulator.url(), &control_plane);
    for _ in 0..4 {
        assert_eq!(Call::to(proxy.addr, &key).send().status(), 200);
    }
    await_used(&ledger, &quota, 4);
    eventually("the snapshot is on disk", || {
        proxy.process.data_dir().join("snapshot.sealed").exists().then_some(())
    });
    control_plane.process.kill();
    for _ in 0..3 {
        assert_eq!(Call::to(proxy.addr, &key).send().status(), 200);
    }
    proxy.process.kill();
    proxy.start_again();
    let answers = storm(&Call::to(proxy.addr, &key), 4, 2);
    assert_eq!(count(&answers, 200), 3, "4 in the ledger and 3 in the journal leave 3 of 10");
    assert_eq!(count(&answers, 429), 5);
    control_plane.start_again();
    await_used(&control_plane.ledger(), &quota, 10);
    assert_eq!(Call::to(proxy.addr, &key).send().status(), 429);
}

#[test]
fn a_proxy_that_first_hears_of_a_budget_counts_what_lies_in_its_journal() {
    let simulator = Simulator::start();
    let control_plane = ControlPlane::start();
    let ledger = control_plane.ledger();
    let (project, key) = ledger.project_with_key("journal");
    ledger.post(
        "/governance/quotas",
        &json!({ "name": "five", "scope": { "project": project }, "unit": "requests", "window": "month", "limit": 5 }),
    );
    let mut proxy = Proxy::start(&simulator.url(), &control_plane);
    control_plane.gate.lead_to(None);
    for _ in 0..4 {
        assert_eq!(Call::to(proxy.addr, &key).send().status(), 200);
    }
    proxy.process.kill();
    for file in ["snapshot.sealed", "counters.sealed"] {
        drop(std::fs::remove_file(proxy.process.data_dir().join(file))); // it may not have been written yet
    }
    control_plane.gate.lead_to(Some(control_plane.api));
    proxy.start_again();
    let answers: Vec<u16> = (0..3).map(|_| Call::to(proxy.addr, &key).send().status()).collect();
    assert_eq!(answers, [200, 429, 429]);
}

#[test]
fn each_budget_says_itself_what_old_figures_mean() {
    let simulator = Simulator::start();
    let control_plane = ControlPlane::start();
    let ledger = control_plane.ledger();
    let keys = ["open", "closed"].map(|on_stale| {
        let (project, key) = ledger.project_with_key(on_stale);
        ledger.post(
            "/governance/quotas",
            &json!({ "name": on_stale, "scope": { "project": project }, "unit": "requests", "window": "month", "limit": 1000, "on_stale": on_stale }),
        );
        key
    });
    let stale_after = [("MINDWEAVE_GOVERNANCE__STALE_AFTER", "1s")];
    let proxy = Proxy::start_with(&simulator.url(), &control_plane, &stale_after);
    let [open, closed] = keys.each_ref().map(|key| Call::to(proxy.addr, key));
    assert_eq!((open.send().status(), closed.send().status()), (200, 200));
    control_plane.gate.lead_to(None);
    let refused = eventually("the closed budget refuses", || {
        let answer = closed.send();
        (answer.status() != 200).then_some(answer)
    });
    assert!(refused.status() == 529, "{refused:?}");
    assert!(refused.header("mindweave-reason").is_some(), "{refused:?}");
    assert_eq!(open.send().status(), 200);
    control_plane.gate.lead_to(Some(control_plane.api));
    eventually("the closed budget opens", || (closed.send().status() == 200).then_some(()));
}
