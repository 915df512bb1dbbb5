use std::time::{Duration, Instant};

use mindweave_eventlog::{EventSink, ShipConfig, ShipEnd, ship_with};
use mindweave_kafka::{KafkaConfig, KafkaSink};
use mindweave_test_servers::Kafka;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::journals::{Events, acknowledged, eventually};
use crate::reading::{of_journal, topics};

/// Outages that are shorter cost no copies: the producer waits longer than that for its broker.
const SHORT: Duration = Duration::from_secs(10);

/// Appends while `disturb` runs, and a little longer. Returns how long that was.
async fn under_load(events: &mut Events, disturb: impl FnOnce() + Send + 'static) -> Duration {
    let begun = Instant::now();
    let disturbance = tokio::task::spawn_blocking(disturb);
    while !disturbance.is_finished() {
        events.append(20);
        sleep(Duration::from_millis(5)).await;
    }
    disturbance.await.unwrap();
    let lasted = begun.elapsed();
    events.append(200);
    lasted
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_and_frozen_amid_delivery_loses_nothing_and_the_order_holds() {
    let kafka = std::sync::Arc::new(Kafka::start());
    let mut events = Events::new();
    events.append(100);
    let shipping = events.ship(&KafkaConfig::new(kafka.brokers()));
    let folder = events.folder.path().to_path_buf();
    eventually("a first acknowledgement", || acknowledged(&folder).is_some()).await;
    let mut outages = Vec::new();
    for _ in 0..2 {
        let broker = std::sync::Arc::clone(&kafka);
        let killed = under_load(&mut events, move || {
            broker.kill();
            broker.start_again();
        });
        outages.push(killed.await);
        let broker = std::sync::Arc::clone(&kafka);
        let frozen = under_load(&mut events, move || {
            broker.freeze();
            std::thread::sleep(Duration::from_secs(3)); // what is tested: nothing answers for so long
            broker.thaw();
        });
        outages.push(frozen.await);
    }
    let broker = std::sync::Arc::clone(&kafka);
    let stopped = under_load(&mut events, move || {
        broker.stop();
        broker.start_again();
    });
    outages.push(stopped.await);
    assert_eq!(shipping.stop().await, ShipEnd::Drained);
    let messages = of_journal(&kafka.brokers(), events.journal.id());
    events.assert_all_in_order(&messages);
    let (sent, copies) = (events.appended.len(), messages.len() - events.appended.len());
    assert!(
        copies == 0 || outages.iter().any(|outage| *outage > SHORT),
        "one producer outlived it all ({outages:?}), so the broker sorted its copies out: {copies} of {sent} were not"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn events_wait_in_the_journal_for_a_broker_that_comes_later() {
    let (kafka, mut events) = (Kafka::start(), Events::new());
    kafka.kill();
    events.append(500);
    let config = KafkaConfig::new(kafka.brokers());
    let error =
        KafkaSink::new(config.clone(), events.folder.path()).position(events.journal.id()).await.unwrap_err();
    let text = chain(&error);
    assert!(text.contains(&format!("Kafka does not answer at {}", kafka.brokers())), "{text}");
    assert!(text.contains("Connection refused"), "{text}");
    let shipping = events.ship(&config);
    events.append(500);
    kafka.start_again();
    let last = events.appended.last().unwrap().0;
    let folder = events.folder.path().to_path_buf();
    eventually("the last acknowledgement", || acknowledged(&folder) == Some(last)).await;
    assert_eq!(shipping.stop().await, ShipEnd::Drained);
    events.assert_all_in_order(&of_journal(&kafka.brokers(), events.journal.id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_outage_is_told_of_and_costs_no_copies() {
    let (kafka, mut events) = (Kafka::start(), Events::new());
    let mut sink = KafkaSink::new(KafkaConfig::new(kafka.brokers()), events.folder.path());
    events.append(100);
    assert_eq!(sink.position(events.journal.id()).await.unwrap(), None);
    sink.deliver(&events.batch(..)).await.unwrap();
    kafka.kill();
    events.append(200);
    let batch = events.batch(100..);
    let begun = Instant::now();
    let error = sink.deliver(&batch).await.unwrap_err();
    assert!(chain(&error).contains("Connection refused"), "{}", chain(&error));
    assert!(
        begun.elapsed() >= Duration::from_secs(10),
        "a short outage is waited for: {:?}",
        begun.elapsed()
    );
    kafka.start_again();
    sink.deliver(&batch).await.unwrap();
    let messages = of_journal(&kafka.brokers(), events.journal.id());
    events.assert_all_in_order(&messages);
    assert_eq!(messages.len(), 300, "what was under way was not sent again");
    assert_eq!(sink.position(events.journal.id()).await.unwrap(), Some(batch.last));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_deleted_amid_delivery_is_made_again() {
    let (kafka, mut events) = (Kafka::start(), Events::new());
    events.append(100);
    let shipping = events.ship(&KafkaConfig::new(kafka.brokers()));
    let folder = events.folder.path().to_path_buf();
    let last = events.appended.last().unwrap().0;
    eventually("a first acknowledgement", || acknowledged(&folder) == Some(last)).await;
    kafka.delete_topic("usage.events");
    eventually("the end of the topic", || !topics(&kafka.brokers()).contains_key("usage.events")).await;
    events.appended.clear();
    events.append(100);
    assert_eq!(shipping.stop().await, ShipEnd::Drained);
    events.assert_all_in_order(&of_journal(&kafka.brokers(), events.journal.id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_without_broker_keeps_to_its_deadline_and_the_next_start_delivers() {
    let (kafka, mut events) = (Kafka::start(), Events::new());
    let config = KafkaConfig::new(kafka.brokers());
    for frozen in [true, false] {
        let sink = KafkaSink::new(config.clone(), events.folder.path());
        let deadline = Duration::from_secs(2);
        let quick = ShipConfig { drain_deadline: deadline, ..ShipConfig::default() };
        let (stop, stopped) = oneshot::channel::<()>();
        let shipping = ship_with(quick, events.journal.clone(), sink, async move { drop(stopped.await) });
        let shipping = tokio::spawn(shipping);
        events.append(1);
        let (folder, last) = (events.folder.path().to_path_buf(), events.appended.last().unwrap().0);
        eventually("an acknowledgement", || acknowledged(&folder) == Some(last)).await;
        if frozen {
            kafka.freeze();
        } else {
            kafka.kill();
        }
        events.append(100);
        sleep(Duration::from_millis(200)).await; // they are under way
        let begun = Instant::now();
        drop(stop);
        assert_eq!(shipping.await.unwrap(), ShipEnd::DeadlinePassed);
        assert!(begun.elapsed() < deadline + Duration::from_secs(1), "{:?}", begun.elapsed());
        assert_eq!(acknowledged(events.folder.path()), Some(last));
        if frozen {
            kafka.thaw();
        }
        events.reopen().await;
    }
    kafka.start_again();
    events.ship_all(&config).await;
    events.assert_all_in_order(&of_journal(&kafka.brokers(), events.journal.id()));
}

pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
