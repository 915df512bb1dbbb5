//! The consumer group against a real Kafka, into a ledger in memory that counts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod cluster;
mod group;
mod ledger;
mod outages;
mod poison;
mod positions;
mod processes;

use std::time::Duration;

use mindweave_kafka::{Consumer, ConsumerConfig};
use tokio::time::{Instant, sleep};

use cluster::Topic;
use ledger::{Ledger, PATIENCE};

/// Waits for something, and says in the end what was there instead.
async fn eventually<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(instead) => assert!(Instant::now() < deadline, "not in time: {what}, but {instead}"),
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// A member of the topic's group whose sinks have this name.
fn member(topic: &Topic, config: ConsumerConfig, ledger: &Ledger, name: &'static str) -> Consumer {
    let ledger = ledger.clone();
    Consumer::start(&topic.kafka(), config, move || ledger.sink(name)).expect("settings that can be used")
}

/// Waits until a member has so many partitions.
async fn has(consumer: &Consumer, partitions: usize) {
    let probe = consumer.probe();
    eventually(&format!("{partitions} partitions"), || {
        let health = probe.health();
        if health.assigned == partitions { Ok(()) } else { Err(format!("{health:?}")) }
    })
    .await;
}
