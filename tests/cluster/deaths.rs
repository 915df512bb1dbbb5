//! Every part dies under load, one after the other, and comes back.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::harness::cluster::Cluster;
use crate::harness::ledger::Ledger;
use crate::harness::numbered::{Traffic, number_in};
use crate::harness::{eventually, governed};

/// Clients of each proxy that keep requests open all the time.
const CLIENTS: usize = 3;
/// Answers that a round waits for before and during a fault.
const ANSWERS: usize = 40;

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
enum Fault {
    KillProxy(usize),
    KillControlPlane(usize),
    KillKafka,
    FreezeKafka,
    KillPostgres,
    StopPostgres,
    FreezePostgres,
    CutBalancer,
    KillBothControlPlanesAndKafka,
}

/// The figures of a proxy that was killed are only complete after its return, so the last fault is of another part.
const FAULTS: [Fault; 11] = [
    Fault::KillControlPlane(0),
    Fault::KillProxy(0),
    Fault::KillKafka,
    Fault::KillControlPlane(1),
    Fault::KillPostgres,
    Fault::KillProxy(1),
    Fault::FreezeKafka,
    Fault::KillBothControlPlanesAndKafka,
    Fault::StopPostgres,
    Fault::CutBalancer,
    Fault::FreezePostgres,
];

#[test]
fn whatever_dies_under_load_the_ledger_is_right_when_all_are_back() {
    let traffic = Traffic::new();
    let mut cluster = Cluster::start(2);
    let (project, key) = cluster.ledger(0).project_with_key("everything");
    let quota = json!({ "name": "spent", "scope": { "project": project }, "unit": "cost", "window": "month",
        "limit_usd": "1000000", "action": "warn" });
    let quota = cluster.ledger(1).create("/governance/quotas", &quota);
    for _ in 0..3 {
        cluster.add_proxy(&traffic.url());
    }
    for fault in FAULTS {
        round(&mut cluster, &traffic, &key, fault);
    }
    let events = settled(&cluster.ledger(0), &traffic);
    traffic.check(&events);
    check_sums(&cluster, &quota, &events);
}

/// Load before, during and after a fault. Proxies that live answer all the time.
fn round(cluster: &mut Cluster, traffic: &Traffic, key: &str, fault: Fault) {
    traffic.go();
    let addresses: Vec<_> = cluster.addresses().into_iter().map(Mutex::new).collect();
    let more_answers = |what: &str| {
        let before = traffic.answered();
        eventually(&format!("answers {what} {fault:?}"), || {
            (traffic.answered() >= before + ANSWERS).then_some(())
        });
    };
    std::thread::scope(|scope| {
        for place in 0..addresses.len() * CLIENTS {
            let addr = &addresses[place % addresses.len()];
            let addr = || -> SocketAddr { *addr.lock().expect("no client panics") };
            scope.spawn(move || traffic.keep_asking(addr, Some(key)));
        }
        more_answers("before");
        begin(cluster, fault);
        more_answers("during");
        end(cluster, fault);
        (0..2).for_each(|place| cluster.ledger(place).await_back());
        for (addr, now) in addresses.iter().zip(cluster.addresses()) {
            *addr.lock().expect("no client panics") = now;
        }
        more_answers("after");
        traffic.stop();
    });
}

fn begin(cluster: &mut Cluster, fault: Fault) {
    match fault {
        Fault::KillProxy(place) => cluster.proxies[place].process.kill(),
        Fault::KillControlPlane(place) => cluster.control_planes[place].process.kill(),
        Fault::KillKafka => cluster.kafka.kill(),
        Fault::FreezeKafka => cluster.kafka.freeze(),
        Fault::KillPostgres => cluster.postgres.kill(),
        Fault::StopPostgres => cluster.postgres.stop(),
        Fault::FreezePostgres => cluster.postgres.freeze(),
        Fault::CutBalancer => cluster.balancer.lead_to(None),
        Fault::KillBothControlPlanesAndKafka => {
            cluster.control_planes.iter_mut().for_each(|one| one.process.kill());
            cluster.kafka.kill();
        }
    }
}

fn end(cluster: &mut Cluster, fault: Fault) {
    match fault {
        Fault::KillProxy(place) => cluster.proxies[place].start_again(),
        Fault::KillControlPlane(place) => cluster.start_control_plane_again(place),
        Fault::KillKafka => cluster.kafka.start_again(),
        Fault::FreezeKafka => cluster.kafka.thaw(),
        Fault::KillPostgres | Fault::StopPostgres => cluster.postgres.start_again(),
        Fault::FreezePostgres => cluster.postgres.thaw(),
        Fault::CutBalancer => cluster.balance(),
        Fault::KillBothControlPlanesAndKafka => {
            cluster.kafka.start_again();
            (0..2).for_each(|place| cluster.start_control_plane_again(place));
        }
    }
}

/// The events, once every request that reached the upstream has one.
fn settled(ledger: &Ledger, traffic: &Traffic) -> Vec<Value> {
    let forwarded = traffic.forwarded();
    eventually("every forwarded request is in the ledger", || {
        let events = ledger.events("");
        let known: BTreeSet<u64> = events.iter().map(number_in).collect();
        known.is_superset(&forwarded).then_some(events)
    })
}

/// Sums, budget and raw events agree to the nano-dollar, at either control plane.
fn check_sums(cluster: &Cluster, quota: &str, events: &[Value]) {
    let cost: i64 = events.iter().filter_map(|event| event["cost_nano_usd"].as_i64()).sum();
    let output: i64 = events.iter().filter_map(|event| event["output_tokens"].as_i64()).sum();
    assert!(cost > 0 && output > 0);
    for place in 0..2 {
        let ledger = cluster.ledger(place);
        let summary = ledger.get("/v1/usage/summary?from=2020-01-01T00:00:00Z&to=2040-01-01T00:00:00Z");
        assert_eq!(summary["requests"], events.len(), "{summary:#}");
        assert_eq!(summary["output_tokens"], output, "{summary:#}");
        assert_eq!(summary["cost_nano_usd"], cost, "{summary:#}");
        governed::await_used(&ledger, quota, cost);
    }
    let raw = "SELECT count(*) - count(DISTINCT event_id) FROM usage_events";
    assert_eq!(cluster.postgres.query(&cluster.database, raw).trim(), "0");
}
