//! A change is in force everywhere, whichever control plane took it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::cluster::Cluster;
use crate::harness::governed::{Call, await_used};
use crate::harness::simulator::Simulator;
use crate::harness::{DEADLINE, eventually};

/// The promise: a change is in force at every connected proxy within this time.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(1);

/// A proxy behind this control plane alone.
fn behind(cluster: &mut Cluster, simulator: &Simulator, control_plane: usize) -> usize {
    let addr = cluster.control_planes[control_plane].api;
    cluster.balancer.share_among(vec![addr]);
    cluster.add_proxy(&simulator.url());
    cluster.proxies.len() - 1
}

fn status(cluster: &Cluster, proxy: usize, key: &str) -> u16 {
    Call::to(cluster.proxies[proxy].addr, key).send().status()
}

#[test]
fn a_change_at_one_control_plane_is_in_force_at_the_proxies_of_the_other_within_a_second() {
    let simulator = Simulator::start();
    let mut cluster = Cluster::start(2);
    let first = behind(&mut cluster, &simulator, 0);
    let (project, key) = cluster.ledger(1).project_with_key("elsewhere");
    let made = Instant::now();
    eventually("the key of the other control plane works", || {
        (status(&cluster, first, &key) == 200).then_some(())
    });
    assert!(made.elapsed() <= IN_FORCE_WITHIN, "{:?}", made.elapsed());
    for _ in 0..3 {
        let block = json!({ "name": "none", "scope": { "project": project }, "unit": "requests", "window": "month", "limit": 1 });
        let quota = cluster.ledger(1).create("/governance/quotas", &block);
        let made = Instant::now();
        eventually("the budget is in force", || (status(&cluster, first, &key) == 429).then_some(()));
        assert!(made.elapsed() <= IN_FORCE_WITHIN, "{:?}", made.elapsed());
        cluster.ledger(0).delete(&format!("/governance/quotas/{quota}"));
        eventually("the budget is gone", || (status(&cluster, first, &key) == 200).then_some(()));
    }
}

#[test]
fn either_control_plane_shows_what_the_other_one_booked_and_streams_it_live() {
    use std::io::{BufRead, BufReader, Write};

    let simulator = Simulator::start();
    let mut cluster = Cluster::start(2);
    let (project, key) = cluster.ledger(0).project_with_key("seen");
    let proxy = behind(&mut cluster, &simulator, 0);
    let streams: Vec<_> = (0..2)
        .map(|place| {
            let mut stream =
                crate::harness::http::connect(cluster.control_planes[place].api).expect("it listens");
            let token = crate::harness::server::ADMIN_TOKEN;
            let request = format!(
                "GET /v1/usage/live?project_id={project} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).expect("it reads");
            let mut reader = BufReader::new(stream);
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                reader.read_line(&mut line).expect("a head");
            }
            reader
        })
        .collect();
    for _ in 0..5 {
        assert_eq!(status(&cluster, proxy, &key), 200);
    }
    let booked = cluster.ledger(1).await_events(&format!("project_id={project}"), 5);
    let mut booked: Vec<String> = booked.iter().map(id).collect();
    booked.sort();
    for mut reader in streams {
        let mut seen = Vec::new();
        let deadline = Instant::now() + DEADLINE; // a comment comes every 15 seconds, so a read does not wait for ever
        while seen.len() < 5 && Instant::now() < deadline {
            let mut line = String::new();
            reader.read_line(&mut line).expect("the stream stays open");
            seen.extend(line.strip_prefix("id: ").map(|id| id.trim_end().to_owned()));
        }
        seen.sort();
        assert_eq!(seen, booked);
    }
}

fn id(event: &Value) -> String {
    event["event_id"].as_str().expect("an event has an id").to_owned()
}

#[test]
fn a_proxy_goes_over_to_the_other_control_plane_when_its_own_dies_and_keeps_to_its_budget() {
    let simulator = Simulator::start();
    let mut cluster = Cluster::start(2);
    let (project, key) = cluster.ledger(0).project_with_key("moves");
    let ten = json!({ "name": "ten", "scope": { "project": project }, "unit": "requests", "window": "month", "limit": 10 });
    let quota = cluster.ledger(0).create("/governance/quotas", &ten);
    let proxy = behind(&mut cluster, &simulator, 0);
    cluster.balance();
    for _ in 0..6 {
        eventually("the budget is known", || (status(&cluster, proxy, &key) == 200).then_some(()));
    }
    cluster.control_planes[0].process.kill();
    let answers: Vec<u16> = (0..10).map(|_| status(&cluster, proxy, &key)).collect();
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 4, "6 of 10 were used: {answers:?}");
    await_used(&cluster.ledger(1), &quota, 10);
    eventually("the proxy hears the other control plane", || {
        (cluster.proxies[proxy].metric("mindweave_control_plane_connected") == Some(1.0)).then_some(())
    });
    assert_eq!(status(&cluster, proxy, &key), 429);
}

#[test]
fn control_planes_that_start_at_once_on_an_empty_database_make_one_installation() {
    let cluster = Cluster::of_simultaneous_starts(3);
    let projects: Vec<Value> =
        (0..3).map(|place| cluster.ledger(place).get("/projects")["data"].clone()).collect();
    assert_eq!(projects[0].as_array().map(Vec::len), Some(1), "{projects:?}");
    assert!(projects.iter().all(|listed| *listed == projects[0]), "{projects:?}");
}
