//! What each failure looks like from the outside, one at a time.

use crate::harness::cluster::Cluster;
use crate::harness::eventually;
use crate::harness::governed::Call;
use crate::harness::simulator::Simulator;

/// One proxy and one control plane that has booked its first call.
fn one_of_each(simulator: &Simulator, settings: &[(&str, &str)]) -> (Cluster, String, String) {
    let mut cluster = Cluster::start_with(1, settings);
    let (project, key) = cluster.ledger(0).project_with_key("outage");
    cluster.add_proxy(&simulator.url());
    assert_eq!(Call::to(cluster.proxies[0].addr, &key).send().status(), 200);
    cluster.ledger(0).await_events(&format!("project_id={project}"), 1);
    (cluster, project, key)
}

#[test]
fn without_kafka_the_journal_grows_and_drains_in_order_when_it_is_back() {
    let simulator = Simulator::start();
    let (cluster, project, key) = one_of_each(&simulator, &[]);
    cluster.kafka.stop();
    for _ in 0..30 {
        assert_eq!(Call::to(cluster.proxies[0].addr, &key).send().status(), 200);
    }
    assert_eq!(cluster.proxies[0].health().0, 200, "a proxy serves without Kafka");
    assert_eq!(cluster.ledger(0).events(&format!("project_id={project}")).len(), 1);
    cluster.kafka.start_again();
    let events = cluster.ledger(0).await_events(&format!("project_id={project}"), 31);
    let sequences: Vec<u64> = events.iter().filter_map(|event| event["sequence"].as_u64()).collect();
    assert_eq!(sequences.len(), 31);
    assert!(sequences.is_sorted(), "in the order of the journal: {sequences:?}");
}

#[test]
fn a_proxy_that_starts_without_kafka_and_without_a_control_plane_serves_with_what_it_knew() {
    let simulator = Simulator::start();
    let (mut cluster, project, key) = one_of_each(&simulator, &[]);
    eventually("the snapshot is on disk", || {
        cluster.proxies[0].process.data_dir().join("snapshot.sealed").exists().then_some(())
    });
    cluster.kafka.kill();
    cluster.control_planes[0].process.kill();
    cluster.proxies[0].process.kill();
    cluster.proxies[0].start_again();
    for _ in 0..10 {
        assert_eq!(Call::to(cluster.proxies[0].addr, &key).send().status(), 200);
    }
    cluster.kafka.start_again();
    cluster.start_control_plane_again(0);
    cluster.ledger(0).await_events(&format!("project_id={project}"), 11);
}

#[test]
fn without_the_database_the_api_says_so_events_wait_and_nothing_is_booked_twice() {
    let simulator = Simulator::start();
    let (cluster, project, key) = one_of_each(&simulator, &[]);
    cluster.postgres.stop();
    for _ in 0..30 {
        assert_eq!(Call::to(cluster.proxies[0].addr, &key).send().status(), 200);
    }
    let (status, problem) = cluster.ledger(0).refused("/projects", &serde_json::json!({ "name": "later" }));
    assert_eq!(status, 503, "{problem:#}");
    assert_eq!(problem["code"], "busy", "{problem:#}");
    cluster.postgres.start_again();
    cluster.ledger(0).await_back();
    let events = cluster.ledger(0).await_events(&format!("project_id={project}"), 31);
    assert!(events.iter().all(|event| event["outcome"] == "complete"));
}

#[test]
fn a_record_that_is_no_event_goes_to_the_dead_letters_and_holds_nothing_up() {
    use std::io::Write;
    use std::process::Stdio;

    let simulator = Simulator::start();
    let (cluster, project, key) = one_of_each(&simulator, &[]);
    let mut producer = cluster.kafka.tool("org.apache.kafka.tools.ConsoleProducer");
    let mut producer = producer
        .args(["--bootstrap-server", &cluster.kafka.brokers(), "--topic", "usage.events"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("Kafka's own producer starts");
    let mut input = producer.stdin.take().expect("a pipe");
    for _ in 0..20 {
        writeln!(input, "this is no event").expect("the producer reads");
    }
    drop(input);
    assert!(producer.wait().expect("the producer ends").success());
    for _ in 0..10 {
        assert_eq!(Call::to(cluster.proxies[0].addr, &key).send().status(), 200);
    }
    cluster.ledger(0).await_events(&format!("project_id={project}"), 11);
    let dead = || {
        let mut offsets = cluster.kafka.tool("org.apache.kafka.tools.GetOffsetShell");
        let topic = "usage.events.dead-letter";
        let offsets =
            offsets.args(["--bootstrap-server", &cluster.kafka.brokers(), "--topic", topic]).output();
        let offsets = String::from_utf8(offsets.expect("Kafka's tool runs").stdout).expect("text");
        offsets.lines().filter_map(|line| line.rsplit(':').next()?.parse::<u64>().ok()).sum::<u64>()
    };
    eventually("the dead letters are written", || (dead() == 20).then_some(()));
}
