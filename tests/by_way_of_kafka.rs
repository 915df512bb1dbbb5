//! One process whose events go by way of a real Kafka, and what `doctor` says of that way.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod harness;

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use harness::eventually;
use harness::numbered::{Traffic, number_in};
use harness::server::MindWeave;
use mindweave_test_servers::{Kafka, KafkaOptions, SASL_PASSWORD, SASL_USER, Security};
use serde_json::Value;

const BROKERS: &str = "MINDWEAVE_EVENTS__KAFKA__BROKERS";
/// Clients that keep requests open all the time.
const CLIENTS: usize = 4;
/// Answers that a round waits for before something is killed.
const ANSWERS_IN_A_ROUND: usize = 40;

#[test]
fn kills_of_server_and_broker_under_load_lose_nothing_and_double_nothing() {
    let (traffic, kafka) = (Traffic::new(), Kafka::start());
    let mut server = MindWeave::start_with(&traffic.url(), &[(BROKERS, &kafka.brokers())]);
    for round in 0..4 {
        traffic.go();
        let proxy = server.proxy;
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| traffic.keep_asking(|| proxy, None));
            }
            await_answers(&traffic);
            if round % 2 == 1 {
                kafka.kill();
                await_answers(&traffic); // a proxy serves without Kafka
            }
            server.kill();
            traffic.stop();
        });
        if round % 2 == 1 {
            kafka.start_again();
        }
        server.restart();
    }
    let forwarded = traffic.forwarded();
    let events = eventually("every forwarded request is in the ledger", || {
        let events = server.ledger().events("");
        let known: BTreeSet<u64> = events.iter().map(number_in).collect();
        known.is_superset(&forwarded).then_some(events)
    });
    traffic.check(&events);
    assert!(server.data_dir().join("journal/kafka.json").is_file(), "they went by way of Kafka");
}

fn await_answers(traffic: &Traffic) {
    let before = traffic.answered();
    eventually("enough answers in this round", || {
        (traffic.answered() >= before + ANSWERS_IN_A_ROUND).then_some(())
    });
}

#[test]
fn a_server_ends_in_order_while_kafka_is_away() {
    let (traffic, kafka) = (Traffic::new(), Kafka::start());
    let mut server = MindWeave::start_with(&traffic.url(), &[(BROKERS, &kafka.brokers())]);
    kafka.kill();
    let proxy = server.proxy;
    std::thread::scope(|scope| {
        scope.spawn(|| traffic.keep_asking(|| proxy, None));
        await_answers(&traffic);
        traffic.stop();
    });
    assert!(server.stop(), "an outage is no reason to fail:\n{}", server.log());
    let log = server.log();
    assert!(log.contains("Kafka does not answer at"), "{log}");
    let warnings = log.lines().filter(|line| line.contains(" WARN ")).count();
    assert!(warnings < 10, "an outage of seconds fills the log:\n{log}");
}

/// The checks of Kafka in the doctor's report.
fn doctor(settings: &[(&str, &str)]) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = Command::new(env!("CARGO_BIN_EXE_mindweave"))
        .args(["doctor", "--json"])
        .env("MINDWEAVE_DATA_DIR", folder.path())
        .env("MINDWEAVE_PROXY__UPSTREAM", "http://127.0.0.1:9")
        .envs(settings.iter().copied())
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    let checks = report["checks"].as_array().expect("checks").iter();
    checks
        .filter(|check| check["name"].as_str().is_some_and(|name| name.starts_with("kafka")))
        .cloned()
        .collect()
}

fn says(checks: &[Value], status: &str, part: &str) -> bool {
    checks.iter().any(|check| {
        check["status"] == status && check["detail"].as_str().is_some_and(|detail| detail.contains(part))
    })
}

#[test]
fn doctor_says_of_kafka_what_helps() {
    assert_eq!(doctor(&[]), Vec::<Value>::new(), "nothing where Kafka is not configured");

    let kafka = Kafka::with_options(&KafkaOptions { security: Security::SaslTls, ..KafkaOptions::default() });
    let (brokers, ca_file) = (kafka.brokers(), kafka.ca_file());
    let ca_file = ca_file.to_str().expect("a name");
    let sound = [
        (BROKERS, brokers.as_str()),
        ("MINDWEAVE_EVENTS__KAFKA__SECURITY", "sasl_tls"),
        ("MINDWEAVE_EVENTS__KAFKA__CA_FILE", ca_file),
        ("MINDWEAVE_EVENTS__KAFKA__SASL_USERNAME", SASL_USER),
        ("MINDWEAVE_EVENTS__KAFKA__SASL_PASSWORD", SASL_PASSWORD),
    ];
    let with = |more: &[(&'static str, &'static str)]| doctor(&[&sound[..], more].concat());

    let empty = with(&[]);
    assert!(says(&empty, "ok", "the first start creates them"), "{empty:#?}");
    let missing = with(&[("MINDWEAVE_EVENTS__KAFKA__TOPICS", "check")]);
    assert!(says(&missing, "fail", "usage.events, usage.events.dead-letter"), "{missing:#?}");

    kafka.create_topic("usage.events", 3);
    kafka.create_topic("usage.events.dead-letter", 1);
    let poor = eventually("the brokers know the topics", || {
        let checks = with(&[("MINDWEAVE_EVENTS__KAFKA__TOPICS", "check")]);
        says(&checks, "ok", "topic `usage.events` has 3 partitions").then_some(checks)
    });
    assert!(says(&poor, "warn", "fewer than the 12 of the settings"), "{poor:#?}");
    assert!(says(&poor, "warn", "max.message.bytes"), "{poor:#?}");

    let wrong = with(&[("MINDWEAVE_EVENTS__KAFKA__SASL_PASSWORD", "hunter2")]);
    assert!(says(&wrong, "fail", "Kafka refuses the login"), "{wrong:#?}");
    assert!(!format!("{wrong:?}").contains("hunter2"), "{wrong:#?}");
    let untrusted = doctor(&[sound[0], ("MINDWEAVE_EVENTS__KAFKA__SECURITY", "tls")]);
    assert!(says(&untrusted, "fail", "certificate verify failed"), "{untrusted:#?}");

    kafka.kill();
    let away = with(&[]);
    assert!(says(&away, "fail", "Connection refused"), "{away:#?}");
}
