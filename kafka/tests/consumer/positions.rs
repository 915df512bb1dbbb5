//! The ledger's position rules, also where it does not fit the partition.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use mindweave_eventlog::ReadLimits;
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;
use tokio::time::sleep;

use crate::cluster::{Load, PARTITIONS, Topic, shared};
use crate::ledger::Ledger;
use crate::{eventually, has, member};

fn metrics() -> &'static PrometheusHandle {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    METRICS.get_or_init(|| PrometheusBuilder::new().install_recorder().expect("the only one of this process"))
}

/// The value of a sample, by all that stands before it.
fn metric(sample: &str) -> f64 {
    let text = metrics().render();
    let value = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().expect("a number"))
}

fn source(topic: &Topic, partition: i32) -> String {
    let topic_name = topic.name.clone();
    let admin = topic.admin();
    let id = tokio::task::block_in_place(|| admin.inner().fetch_cluster_id(Duration::from_secs(10)));
    format!("kafka:{}:{topic_name}:{partition}", id.expect("Kafka says which cluster it is"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_topic_is_read_again_when_the_ledger_says_so_and_changes_nothing() {
    let topic = Topic::new(shared()).await;
    let ledger = Ledger::new();
    let truth = topic.fill("a", 0..2_000).await;
    let one = member(&topic, topic.config(), &ledger, "one");
    ledger.equals(&truth).await;
    one.shutdown().await;
    ledger.put_back(|_| None);
    let two = member(&topic, topic.config(), &ledger, "two");
    eventually("all of it was read again", || {
        let again = ledger.read(|state| state.again);
        if again == 2_000 { Ok(()) } else { Err(format!("{again}")) }
    })
    .await;
    ledger.equals(&truth).await;
    two.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_is_put_back_from_a_copy_amid_work_gets_what_the_copy_lacks() {
    let topic = Topic::new(shared()).await;
    let ledger = Ledger::new();
    let load = Load::start(&topic, "a");
    let one = member(&topic, topic.config(), &ledger, "one");
    ledger.holds(1_000).await;
    ledger.put_back(|position| position.map(|position| position / 2));
    eventually("the second half was read again", || {
        let again = ledger.read(|state| state.again);
        if again >= 400 { Ok(()) } else { Err(format!("{again}")) }
    })
    .await;
    let truth = load.end().await;
    ledger.equals(&truth).await;
    one.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_is_ahead_of_its_partition_gets_all_that_is_in_it() {
    metrics();
    let topic = Topic::new(shared()).await;
    let ledger = Ledger::new();
    let mut truth = topic.fill("a", 0..40).await;
    ledger.set_position(&source(&topic, 0), 1_000);
    ledger.set_position(&source(&topic, 1), 10); // exactly the end
    let before = metric("mindweave_kafka_consumer_position_faults_total{fault=\"replaced\"}");
    let one = member(&topic, topic.config(), &ledger, "one");
    ledger.holds(30).await;
    let replaced = metric("mindweave_kafka_consumer_position_faults_total{fault=\"replaced\"}");
    assert!(replaced > before, "it is counted");
    eventually("the position is one of this partition", || {
        let position = ledger.position(":0");
        if position == Some(10) { Ok(()) } else { Err(format!("{position:?}")) }
    })
    .await;
    truth.extend(topic.fill("b", 0..40).await);
    truth.retain(|event| !event.starts_with("a ") || number(event) % 4 != 1); // what the ledger says it has
    ledger.equals(&truth).await;
    one.shutdown().await;
}

fn number(event: &str) -> u32 {
    event.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_kafka_deleted_before_the_ledger_had_them_are_counted_and_the_rest_is_read() {
    metrics();
    let topic = Topic::new(shared()).await;
    let ledger = Ledger::new();
    let truth = topic.fill("a", 0..400).await;
    ledger.set_position(&source(&topic, 0), 10);
    topic.expire(0, 40).await;
    topic.expire(1, 40).await; // the ledger never had anything of this one: nobody's loss
    let missed = metric("mindweave_kafka_consumer_missed_messages_total");
    let one = member(&topic, topic.config(), &ledger, "one");
    let left = |event: &&String| number(event) % 4 > 1 || number(event) / 4 >= 40;
    let mut truth: Vec<_> = truth.iter().filter(left).cloned().collect();
    ledger.equals(&truth).await;
    assert!((metric("mindweave_kafka_consumer_missed_messages_total") - missed - 30.0).abs() < 0.5);

    // The same amid work: the ledger is slow, and retention is faster.
    one.shutdown().await;
    ledger.set(|mode| {
        mode.held.insert("two");
    });
    let mut config = topic.config();
    (config.queue_bytes, config.batch) = (1, ReadLimits { max_records: 10, max_bytes: 1 << 20 });
    let two = member(&topic, config, &ledger, "two");
    has(&two, 4).await;
    // More than one fetch, so that not everything is here already.
    let filler = "z".repeat(50_000);
    let producer = topic.producer();
    let mut late = Vec::new();
    for number in 0..400 {
        let event = format!("late {number} {filler}");
        producer.send(Some(0), event.as_bytes(), None).await.unwrap().unwrap();
        late.push(event);
    }
    topic.expire(0, 100 + 390).await;
    ledger.set(|mode| mode.held.clear());
    eventually("the last ones are there", || {
        let there =
            ledger.read(|state| state.booked.iter().any(|booked| booked.event.starts_with("late 399 ")));
        there.then_some(()).ok_or_else(|| "they are not".to_owned())
    })
    .await;
    let booked = ledger.read(|state| state.booked.len()) - truth.len();
    let lost = metric("mindweave_kafka_consumer_missed_messages_total") - missed - 30.0;
    assert!(booked < 400, "something was deleted in time");
    let missing = f64::from(u32::try_from(400 - booked).unwrap());
    assert!((lost - missing).abs() < 0.5, "{missing} are missing and {lost} are counted");
    truth.extend(late.into_iter().rev().take(10));
    ledger.read(|state| {
        let events: Vec<&str> = state.booked.iter().map(|booked| booked.event.as_str()).collect();
        assert!(truth.iter().all(|event| events.contains(&event.as_str())));
    });
    two.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_deleted_and_made_anew_amid_work_is_read_from_its_beginning() {
    let topic = Topic::new(shared()).await;
    let ledger = Ledger::new();
    let mut truth = topic.fill("a", 0..2_000).await;
    let one = member(&topic, topic.config(), &ledger, "one");
    ledger.equals(&truth).await;
    tokio::task::block_in_place(|| shared().delete_topic(&topic.name));
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    let new = NewTopic::new(&topic.name, PARTITIONS, TopicReplication::Fixed(1));
    loop {
        // Kafka takes a moment to forget the old one.
        let made = topic.admin().create_topics([&new], &options).await.expect("Kafka answers");
        match made[0] {
            Ok(_) => break,
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => sleep(Duration::from_millis(50)).await,
            Err((_, code)) => panic!("{code}"),
        }
    }
    let new = topic.fill("b", 0..100).await;
    truth.extend(new);
    ledger.holds(truth.len()).await;
    let (events, position) = (ledger.read(|state| state.booked.len()), ledger.position(":0"));
    assert_eq!((events, position), (2_100, Some(25)));
    one.shutdown().await;
}
