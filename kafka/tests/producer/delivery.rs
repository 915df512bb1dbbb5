use std::collections::HashSet;

use mindweave_kafka::{Compression, KafkaConfig};
use mindweave_test_servers::Kafka;
use rdkafka::admin::{AdminOptions, NewPartitions, NewTopic, TopicReplication};

use crate::journals::Events;
use crate::reading::{admin, of_journal};

fn config(kafka: &Kafka) -> KafkaConfig {
    KafkaConfig::new(kafka.brokers())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_arrives_once_in_order_with_its_key_partition_and_origin() {
    let kafka = Kafka::shared();
    let mut journals = [Events::new(), Events::new(), Events::new()];
    for events in &mut journals {
        events.append(1_000);
    }
    let [one, two, three] = &journals;
    let config = config(kafka);
    tokio::join!(one.ship_all(&config), two.ship_all(&config), three.ship_all(&config));
    for events in &journals {
        let messages = of_journal(&kafka.brokers(), events.journal.id());
        assert_eq!(messages.len(), 1_000, "no copies without a failure");
        events.assert_all_in_order(&messages);
        let partitions: HashSet<i32> = messages.iter().map(|message| message.partition).collect();
        assert_eq!(partitions.len(), 1, "one journal, one partition");
        assert!(
            messages
                .iter()
                .enumerate()
                .all(|(number, message)| message.key == Some(format!("prj_{}", number % 7)))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_compression_arrives() {
    let kafka = Kafka::shared();
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd, Compression::Gzip] {
        let mut events = Events::new();
        events.append(50);
        events.ship_all(&KafkaConfig { compression, ..config(kafka) }).await;
        events.assert_all_in_order(&of_journal(&kafka.brokers(), events.journal.id()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_where_the_last_run_was() {
    let (kafka, mut events) = (Kafka::shared(), Events::new());
    events.append(300);
    events.ship_all(&config(kafka)).await;
    events.reopen().await;
    events.append(200);
    events.ship_all(&config(kafka)).await;
    let messages = of_journal(&kafka.brokers(), events.journal.id());
    assert_eq!(messages.len(), 500, "nothing twice");
    events.assert_all_in_order(&messages);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_or_foreign_file_costs_copies_and_no_event() {
    let (kafka, mut events) = (Kafka::shared(), Events::new());
    let file = events.folder.path().join("kafka.json");
    events.append(100);
    events.ship_all(&config(kafka)).await;
    let partition = of_journal(&kafka.brokers(), events.journal.id())[0].partition;
    let text = std::fs::read_to_string(&file).unwrap();
    let foreign = text.replace(kafka.cluster_id(), "another-cluster");
    assert_ne!(foreign, text, "the file names the cluster");
    let cut = text.split_once("cluster").unwrap().0.to_owned();
    let mut before = 100;
    for damage in [None, Some(foreign), Some(cut)] {
        match damage {
            None => std::fs::remove_file(&file).unwrap(),
            Some(text) => std::fs::write(&file, text).unwrap(),
        }
        events.reopen().await;
        events.append(10);
        events.ship_all(&config(kafka)).await;
        let messages = of_journal(&kafka.brokers(), events.journal.id());
        events.assert_all_in_order(&messages);
        assert!(messages.len() > before + 10, "what the journal still has was not sent again");
        assert!(messages.iter().all(|message| message.partition == partition), "chosen by the journal's id");
        before = messages.len();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_stays_in_its_partition_when_partitions_are_added() {
    let (kafka, mut events) = (Kafka::start(), Events::new());
    events.append(100);
    let few = KafkaConfig { partitions: 2.try_into().unwrap(), ..config(&kafka) };
    events.ship_all(&few).await;
    let more = NewPartitions::new("usage.events", 31);
    let added = admin(&kafka.brokers()).create_partitions([&more], &AdminOptions::new()).await.unwrap();
    assert!(added.iter().all(Result::is_ok), "{added:?}");
    events.reopen().await;
    events.append(100);
    events.ship_all(&few).await;
    let messages = of_journal(&kafka.brokers(), events.journal.id());
    events.assert_all_in_order(&messages);
    assert_eq!(messages.len(), 200);
    assert!(messages.iter().all(|message| message.partition == messages[0].partition));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_anew_gets_all_that_the_journal_still_has() {
    let (kafka, mut events) = (Kafka::start(), Events::new());
    events.append(100);
    events.ship_all(&config(&kafka)).await;
    kafka.delete_topic("usage.events");
    events.reopen().await;
    events.append(10);
    events.ship_all(&config(&kafka)).await;
    events.assert_all_in_order(&of_journal(&kafka.brokers(), events.journal.id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_larger_than_the_topic_takes_is_put_aside_and_holds_up_nobody() {
    let (kafka, mut events) = (Kafka::start(), Events::new());
    let small =
        NewTopic::new("usage.events", 1, TopicReplication::Fixed(1)).set("max.message.bytes", "20000");
    admin(&kafka.brokers()).create_topics([&small], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    let config = KafkaConfig { compression: Compression::None, ..config(&kafka) };
    let large = |text: &str| {
        format!(r#"{{"event_id":"l","project_id":"prj_1","text":"{}"}}"#, text.repeat(30_000)).into_bytes()
    };
    events.append(150);
    let refused = [events.append_payload(large("a")).get(), events.append_payload(large("b")).get()];
    events.append(150);
    events.ship_all(&config).await;
    events.appended.retain(|(sequence, _)| !refused.contains(sequence));
    events.assert_all_in_order(&of_journal(&kafka.brokers(), events.journal.id()));
    let letters = std::fs::read_to_string(events.folder.path().join("dead-letter.jsonl")).unwrap();
    let reasons: Vec<(u64, String)> = letters
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|letter| (letter["sequence"].as_u64().unwrap(), letter["reason"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(reasons.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), refused);
    assert!(reasons.iter().all(|(_, reason)| reason.contains("max.message.bytes")), "{reasons:?}");
}
