//! One journal, two processes: what is delivered late or twice changes nothing.

use std::collections::BTreeSet;

use crate::harness::apart::{ControlPlane, Proxy};
use crate::harness::governed::Call;
use crate::harness::simulator::Simulator;

#[test]
fn a_replaced_proxy_delivers_what_the_lost_one_could_not_and_nothing_twice() {
    let simulator = Simulator::start();
    let control_plane = ControlPlane::start();
    let (project, key) = control_plane.ledger().project_with_key("moved");
    let mut lost = Proxy::start(&simulator.url(), &control_plane);
    for _ in 0..3 {
        assert_eq!(Call::to(lost.addr, &key).send().status(), 200);
    }
    control_plane.ledger().await_events(&format!("project_id={project}"), 3);
    control_plane.gate.lead_to(None);
    for _ in 0..4 {
        assert_eq!(Call::to(lost.addr, &key).send().status(), 200);
    }
    lost.process.kill();
    control_plane.gate.lead_to(Some(control_plane.api));
    let replacement = lost.replacement();
    replacement.await_ready();
    assert_eq!(Call::to(replacement.addr, &key).send().status(), 200);
    control_plane.ledger().await_events(&format!("project_id={project}"), 8);
}

#[test]
fn two_processes_with_one_journal_are_noticed_and_book_every_event_once() {
    let simulator = Simulator::start();
    let control_plane = ControlPlane::start();
    let (project, key) = control_plane.ledger().project_with_key("twins");
    let first = Proxy::start(&simulator.url(), &control_plane);
    assert_eq!(Call::to(first.addr, &key).send().status(), 200);
    control_plane.ledger().await_events(&format!("project_id={project}"), 1);
    // A copy of a running machine.
    let second = first.replacement();
    second.await_ready();
    for _ in 0..3 {
        for proxy in [&first, &second] {
            assert_eq!(Call::to(proxy.addr, &key).send().status(), 200);
        }
    }
    let events = control_plane.ledger().await_events(&format!("project_id={project}"), 7);
    let ids: BTreeSet<_> = events.iter().map(|event| event["event_id"].to_string()).collect();
    assert_eq!(ids.len(), 7);
    let logs = [first.process.log(), second.process.log()].concat();
    assert!(logs.contains("has taken over this proxy's journal"), "nobody says so:\n{logs}");
}
