//! Reads a topic as any consumer would.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

const DEADLINE: Duration = Duration::from_secs(30);

/// What a topic holds.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) partition: i32,
    pub(crate) key: Option<String>,
    pub(crate) journal: String,
    pub(crate) sequence: u64,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn client(brokers: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers).set("group.id", "the-test").set("enable.auto.commit", "false");
    client
}

pub(crate) fn admin(brokers: &str) -> AdminClient<DefaultClientContext> {
    client(brokers).create().unwrap()
}

/// Everything that is in `usage.events` now, each partition in its order.
pub(crate) fn all(brokers: &str) -> Vec<Message> {
    let consumer: BaseConsumer = client(brokers).create().unwrap();
    let deadline = Instant::now() + DEADLINE;
    let partitions = loop {
        let metadata = consumer.fetch_metadata(Some("usage.events"), DEADLINE).unwrap();
        match metadata.topics()[0].partitions().len() {
            0 => assert!(Instant::now() < deadline, "the topic has no partitions"),
            partitions => break i32::try_from(partitions).unwrap(),
        }
    };
    let mut assignment = TopicPartitionList::new();
    // Where each partition ends now: others may write while this reads, and theirs must not be taken for what is awaited.
    let mut unread = BTreeMap::new();
    for partition in 0..partitions {
        let (low, high) = ends(&consumer, partition);
        assignment.add_partition_offset("usage.events", partition, Offset::Beginning).unwrap();
        if low < high {
            unread.insert(partition, high);
        }
    }
    consumer.assign(&assignment).unwrap();
    let mut messages = Vec::new();
    while !unread.is_empty() {
        assert!(Instant::now() < deadline, "these partitions are not read to their ends: {unread:?}");
        let Some(message) = consumer.poll(Duration::from_millis(500)) else { continue };
        let message = message.unwrap();
        if unread.get(&message.partition()).is_some_and(|end| message.offset() + 1 >= *end) {
            unread.remove(&message.partition());
        }
        let header = |name: &str| {
            let headers = message.headers().expect("headers");
            let header = headers.iter().find(|header| header.key == name).expect("the header");
            String::from_utf8(header.value.unwrap().to_vec()).unwrap()
        };
        messages.push(Message {
            partition: message.partition(),
            key: message.key().map(|key| String::from_utf8(key.to_vec()).unwrap()),
            journal: header("mindweave-journal"),
            sequence: header("mindweave-sequence").parse().unwrap(),
            payload: message.payload().unwrap().to_vec(),
        });
    }
    messages
}

/// First and next offset, once the partition of a new topic has a leader.
fn ends(consumer: &BaseConsumer, partition: i32) -> (i64, i64) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match consumer.fetch_watermarks("usage.events", partition, DEADLINE) {
            Ok(ends) => return ends,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The topics that a broker shows, beside Kafka's own, with the count of their partitions.
pub(crate) fn topics(brokers: &str) -> BTreeMap<String, usize> {
    let consumer: BaseConsumer = client(brokers).create().unwrap();
    let metadata = consumer.fetch_metadata(None, DEADLINE).unwrap();
    let topics = metadata.topics().iter().filter(|topic| !topic.name().starts_with("__"));
    topics.map(|topic| (topic.name().to_owned(), topic.partitions().len())).collect()
}

/// What came from one journal.
pub(crate) fn of_journal(brokers: &str, journal: &str) -> Vec<Message> {
    all(brokers).into_iter().filter(|message| message.journal == journal).collect()
}
