//! A ledger, a broker or a topic that is away, slow or frozen.

use std::time::Duration;

use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

use crate::cluster::{Load, SESSION, Topic, shared, start};
use crate::ledger::Ledger;
use crate::{eventually, has, member};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_ledger_is_down_messages_wait_in_kafka_and_then_all_arrive_in_order() {
    let topic = Topic::new(shared()).await;
    let ledger = Ledger::new();
    let load = Load::start(&topic, "a");
    let one = member(&topic, topic.config(), &ledger, "one");
    ledger.holds(200).await;
    ledger.set(|mode| mode.down = true);
    let probe = one.probe();
    eventually("it is stalled and behind", || {
        let health = probe.health();
        if health.stalled == 4 && health.lag > Some(1_000) { Ok(()) } else { Err(format!("{health:?}")) }
    })
    .await;
    ledger.set(|mode| mode.down = false);
    let truth = load.end().await;
    ledger.equals(&truth).await;
    assert_eq!(ledger.read(|state| state.again), 0, "nothing was read twice");
    one.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_takes_longer_than_every_timeout_of_the_group_costs_no_membership() {
    let topic = Topic::new(shared()).await;
    let ledger = Ledger::new();
    ledger.set(|mode| {
        mode.held.insert("one");
    });
    let truth = topic.fill("a", 0..3_000).await;
    let one = member(&topic, topic.config(), &ledger, "one");
    has(&one, 4).await;
    let begun = Instant::now();
    while begun.elapsed() < 3 * SESSION {
        assert_eq!(one.probe().health().assigned, 4, "after {:?}", begun.elapsed());
        sleep(Duration::from_millis(50)).await;
    }
    ledger.set(|mode| mode.held.clear());
    ledger.equals(&truth).await;
    assert_eq!(ledger.read(|state| (state.again, state.fenced)), (0, 0), "it was its partition all the time");
    one.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_moves_away_from_a_frozen_sink_is_taken_over_and_the_late_transaction_is_refused() {
    let topic = Topic::new(shared()).await;
    let ledger = Ledger::new();
    ledger.set(|mode| {
        mode.held.insert("one");
    });
    let mut truth = topic.fill("a", 0..2_000).await;
    let one = member(&topic, topic.config(), &ledger, "one");
    eventually("each of its partitions has a batch in the ledger", || {
        let deliveries = ledger.read(|state| state.deliveries);
        if deliveries == 4 { Ok(()) } else { Err(format!("{deliveries}")) }
    })
    .await;
    let two = member(&topic, topic.config(), &ledger, "two");
    has(&two, 2).await;
    ledger.holds(1_000).await;
    let shut_down = tokio::spawn(one.shutdown());
    has(&two, 4).await;
    shut_down.await.expect("it ends though its sink is frozen");
    truth.extend(topic.fill("b", 0..500).await);
    ledger.equals(&truth).await;
    ledger.set(|mode| mode.held.clear());
    eventually("the four late transactions are refused", || {
        let fenced = ledger.read(|state| state.fenced);
        if fenced == 4 { Ok(()) } else { Err(format!("{fenced} are")) }
    })
    .await;
    ledger.equals(&truth).await;
    assert_eq!(ledger.read(|state| state.booked_by.get("one").copied()), None);
    two.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_never_answers_is_asked_again() {
    let topic = Topic::new(shared()).await;
    let ledger = Ledger::new();
    ledger.set(|mode| {
        mode.held.insert("one");
    });
    let truth = topic.fill("a", 0..100).await;
    let mut config = topic.config();
    config.sink_timeout = Duration::from_millis(300);
    let one = member(&topic, config, &ledger, "one");
    let probe = one.probe();
    eventually("it says what is wrong", || {
        let health = probe.health();
        if health.last_error.as_deref() == Some("the ledger does not answer") {
            Ok(())
        } else {
            Err(format!("{health:?}"))
        }
    })
    .await;
    eventually("it is asked again", || {
        let deliveries = ledger.read(|state| state.deliveries);
        if deliveries >= 8 { Ok(()) } else { Err(format!("{deliveries}")) }
    })
    .await;
    ledger.set(|mode| mode.held.clear());
    ledger.equals(&truth).await;
    eventually("what it gave up comes late, and is refused", || {
        let fenced = ledger.read(|state| state.fenced);
        if fenced > 0 { Ok(()) } else { Err("it is not".to_owned()) }
    })
    .await;
    ledger.equals(&truth).await;
    one.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_or_hangs_amid_load_and_comes_back_loses_and_doubles_nothing() {
    let kafka = start();
    let topic = Topic::new(&kafka).await;
    let ledger = Ledger::new();
    let load = Load::start(&topic, "a");
    let (one, two) =
        (member(&topic, topic.config(), &ledger, "one"), member(&topic, topic.config(), &ledger, "two"));
    has(&one, 2).await;
    for outage in ["killed", "hangs", "killed"] {
        let held = ledger.read(|state| state.booked.len());
        ledger.holds(held + 300).await;
        block_in_place(|| if outage == "killed" { kafka.kill() } else { kafka.freeze() });
        let probe = one.probe();
        eventually("it says that Kafka is away", || {
            let health = probe.health();
            health.last_error.clone().ok_or_else(|| format!("{health:?}"))
        })
        .await;
        block_in_place(|| if outage == "killed" { kafka.start_again() } else { kafka.thaw() });
    }
    let held = ledger.read(|state| state.booked.len());
    ledger.holds(held + 300).await;
    let truth = load.end().await;
    ledger.equals(&truth).await;
    let probe = one.probe();
    eventually("all is well again", || {
        let health = probe.health();
        if health.last_error.is_none() { Ok(()) } else { Err(format!("{health:?}")) }
    })
    .await;
    one.shutdown().await;
    two.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_starts_and_stops_without_a_broker_and_reads_once_there_is_one() {
    let kafka = start();
    let topic = Topic::new(&kafka).await;
    let truth = topic.fill("a", 0..100).await;
    block_in_place(|| kafka.stop());
    let ledger = Ledger::new();
    let one = member(&topic, topic.config(), &ledger, "one");
    let probe = one.probe();
    eventually("it says that Kafka is away", || {
        let health = probe.health();
        health
            .last_error
            .clone()
            .filter(|error| error.contains(&topic.brokers))
            .ok_or_else(|| format!("{health:?}"))
    })
    .await;
    let begun = Instant::now();
    one.shutdown().await;
    assert!(begun.elapsed() < Duration::from_secs(10), "a stop took {:?}", begun.elapsed());
    let two = member(&topic, topic.config(), &ledger, "two");
    block_in_place(|| kafka.start_again());
    ledger.equals(&truth).await;
    two.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_made_after_the_start_is_read() {
    let topic = Topic::unmade(shared());
    let ledger = Ledger::new();
    let one = member(&topic, topic.config(), &ledger, "one");
    let probe = one.probe();
    eventually("it says that the topic is missing", || {
        let health = probe.health();
        health.last_error.clone().ok_or_else(|| format!("{health:?}"))
    })
    .await;
    topic.make(&topic.name, &[]).await;
    let truth = topic.fill("a", 0..100).await;
    ledger.equals(&truth).await;
    one.shutdown().await;
}
