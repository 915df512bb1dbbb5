//! Limits and budgets that several proxies share.

use std::time::Instant;

use serde_json::json;

use crate::harness::apart::Proxy;
use crate::harness::cluster::Cluster;
use crate::harness::eventually;
use crate::harness::governed::{Call, await_used, count, storm};
use crate::harness::http::Message;
use crate::harness::simulator::Simulator;

const PROXIES: usize = 3;

/// Three proxies, each of which has served one call. Those of the other control plane may hear of the key a moment later.
fn three_proxies(simulator: &Simulator) -> (Cluster, String, String) {
    let mut cluster = Cluster::start(2);
    let (project, key) = cluster.ledger(0).project_with_key("shared");
    for _ in 0..PROXIES {
        cluster.add_proxy(&simulator.url());
    }
    for addr in cluster.addresses() {
        eventually("the key is known", || (Call::to(addr, &key).send().status() == 200).then_some(()));
    }
    (cluster, project, key)
}

/// As many calls to every proxy at once.
fn storm_at_all(cluster: &Cluster, key: &str, clients: usize, calls: usize) -> Vec<Message> {
    std::thread::scope(|scope| {
        let storms: Vec<_> = cluster
            .addresses()
            .into_iter()
            .map(|addr| scope.spawn(move || storm(&Call::to(addr, key), clients, calls)))
            .collect();
        storms.into_iter().flat_map(|storm| storm.join().expect("a storm ends")).collect()
    })
}

/// Fails naming the first answer that is neither.
fn all_served_or_refused(answers: &[Message]) {
    let other = answers.iter().find(|answer| !matches!(answer.status(), 200 | 429));
    assert!(other.is_none(), "{other:?}");
}

#[test]
fn three_proxies_together_let_no_more_through_than_the_limit() {
    let simulator = Simulator::start();
    let (cluster, project, _) = three_proxies(&simulator);
    eventually("each proxy knows of the others", || {
        let three = |proxy: &Proxy| proxy.metric("mindweave_control_plane_live_proxies") == Some(3.0);
        cluster.proxies.iter().all(three).then_some(())
    });
    let sixty = json!({ "name": "sixty", "scope": { "project": project }, "metric": "requests_per_minute", "limit": 60 });
    cluster.ledger(0).post("/governance/limits", &sixty);
    let later = cluster.ledger(0).post(&format!("/projects/{project}/keys"), &json!({ "name": "later" }));
    let later = later["secret"].as_str().expect("a new key shows its secret").to_owned();
    eventually("every proxy knows what came after the limit", || {
        let served = |addr| Call::to(addr, &later).send().status() == 200;
        cluster.addresses().into_iter().all(served).then_some(())
    });
    let began = Instant::now();
    let answers = storm_at_all(&cluster, &later, 4, 30);
    let served = count(&answers, 200);
    all_served_or_refused(&answers);
    let refilled = usize::try_from(began.elapsed().as_secs()).expect("a short test") + 1; // one a second
    assert!(served <= 60 + refilled, "{served} of {} calls passed a limit of 60", answers.len());
    assert!(served >= 20, "{served} of {} calls passed a limit of 60: shares are too small", answers.len());
}

#[test]
fn a_budget_that_three_proxies_have_used_up_refuses_at_each_of_them_and_counts_every_call() {
    let simulator = Simulator::start();
    let (cluster, project, key) = three_proxies(&simulator);
    let hundred = json!({ "name": "hundred", "scope": { "project": project }, "unit": "requests", "window": "month", "limit": 100 });
    let quota = cluster.ledger(0).create("/governance/quotas", &hundred);
    let answers = storm_at_all(&cluster, &key, 4, 60);
    let served = count(&answers, 200) + PROXIES; // one each before
    all_served_or_refused(&answers);
    assert!(served >= 100, "{served} of {} calls passed a budget of 100", answers.len());
    // What one proxy does not hear of the others in time, each of them can use once more.
    assert!(served <= 100 * PROXIES, "{served} of {} calls passed a budget of 100", answers.len());
    await_used(&cluster.ledger(1), &quota, i64::try_from(served).expect("few"));
    eventually("every proxy knows that nothing is left", || {
        let refused = |addr| Call::to(addr, &key).send().status() == 429;
        cluster.addresses().into_iter().all(refused).then_some(())
    });
}
