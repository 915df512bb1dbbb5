//! Topics, producers and readers of the tests.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mindweave_eventlog::ReadLimits;
use mindweave_kafka::{ConsumerConfig, JOURNAL_HEADER, KafkaConfig, SEQUENCE_HEADER};
use mindweave_test_servers::{Kafka, KafkaOptions};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, Headers as _, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

use crate::eventually;

/// How soon a member that is dead must be out in tests.
pub(crate) const SESSION: Duration = Duration::from_secs(3);
pub(crate) const PARTITIONS: i32 = 4;

/// The broker that the tests share which do it no harm.
pub(crate) fn shared() -> &'static Kafka {
    static SHARED: OnceLock<Kafka> = OnceLock::new();
    SHARED.get_or_init(start)
}

pub(crate) fn start() -> Kafka {
    let settings = vec![("group.min.session.timeout.ms", "1000".to_owned())];
    Kafka::with_options(&KafkaOptions { settings, ..KafkaOptions::default() })
}

/// A topic with its own dead letters and its own group.
pub(crate) struct Topic {
    pub(crate) brokers: String,
    pub(crate) name: String,
    pub(crate) dead_letters: String,
}

impl Topic {
    /// Both made.
    pub(crate) async fn new(kafka: &Kafka) -> Self {
        let topic = Self::unmade(kafka);
        topic.make(&topic.name, &[]).await;
        topic.make(&topic.dead_letters, &[]).await;
        topic
    }

    pub(crate) fn unmade(kafka: &Kafka) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("events-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        Self { brokers: kafka.brokers(), dead_letters: format!("{name}.dead-letter"), name }
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.brokers);
        client
    }

    pub(crate) fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("a client")
    }

    pub(crate) async fn make(&self, name: &str, settings: &[(&str, &str)]) {
        let new = NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1));
        let new = settings.iter().fold(new, |new, (key, value)| new.set(key, value));
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        let made = self.admin().create_topics([&new], &options).await.expect("Kafka answers");
        made[0].as_ref().expect("the topic is made");
    }

    /// Deletes what is before an offset, as retention does.
    pub(crate) async fn expire(&self, partition: i32, before: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.name, partition, Offset::Offset(before)).unwrap();
        let deleted = self.admin().delete_records(&list, &AdminOptions::new()).await.expect("Kafka answers");
        deleted.elements()[0].error().expect("records are deleted");
    }

    pub(crate) fn kafka(&self) -> KafkaConfig {
        KafkaConfig::new(&self.brokers)
    }

    /// Quick rebalances and small batches.
    pub(crate) fn config(&self) -> ConsumerConfig {
        ConsumerConfig {
            group: format!("group of {}", self.name),
            topic: self.name.clone(),
            dead_letter_topic: self.dead_letters.clone(),
            batch: ReadLimits { max_records: 200, max_bytes: 1 << 20 },
            linger: Duration::from_millis(20),
            first_retry: Duration::from_millis(20),
            max_retry: Duration::from_millis(200),
            session_timeout: SESSION,
            heartbeat: Duration::from_millis(300),
            max_poll_interval: SESSION,
            handover: Duration::from_secs(1),
            drain_deadline: Duration::from_secs(2),
            lag_interval: Duration::from_millis(300),
            commit_interval: Duration::from_millis(200),
            ..ConsumerConfig::default()
        }
    }

    pub(crate) fn producer(&self) -> Producer {
        let producer = self.client().set("enable.idempotence", "true").set("linger.ms", "5").create();
        Producer { producer: producer.expect("a producer"), topic: self.name.clone() }
    }

    /// Puts events with these numbers into partitions in turn, and returns them.
    pub(crate) async fn fill(&self, producer: &str, numbers: std::ops::Range<i64>) -> Vec<String> {
        let kafka = self.producer();
        let events: Vec<String> = numbers.map(|number| event(producer, number)).collect();
        let mut sent = Vec::new();
        for (number, event) in events.iter().enumerate() {
            let partition = i32::try_from(number).unwrap() % PARTITIONS;
            sent.push(kafka.send(Some(partition), event.as_bytes(), Some((producer, number))));
        }
        for sent in sent {
            sent.await.expect("sent").expect("delivered");
        }
        events
    }

    /// Messages of a topic, once there are so many.
    pub(crate) async fn messages(&self, topic: &str, count: usize) -> Vec<OwnedMessage> {
        let mut client = self.client();
        client.set("group.id", format!("reader of {topic}")).set("enable.auto.commit", "false");
        let consumer: BaseConsumer = client.create().expect("a client");
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        let mut messages = Vec::new();
        eventually(&format!("{count} messages in {topic}"), || {
            while let Some(message) = consumer.poll(Duration::ZERO) {
                messages.push(message.expect("a message").detach());
            }
            if messages.len() >= count { Ok(()) } else { Err(messages.len().to_string()) }
        })
        .await;
        tokio::task::spawn_blocking(move || drop(consumer)).await.unwrap();
        messages
    }

    /// What Kafka has of the group: its members, and the offset it was told last of a partition.
    pub(crate) fn group(&self) -> (usize, Vec<i64>) {
        let mut client = self.client();
        client.set("group.id", self.config().group).set("enable.auto.commit", "false");
        let consumer: BaseConsumer = client.create().expect("a client");
        let groups = consumer.fetch_group_list(Some(&self.config().group), Duration::from_secs(10)).unwrap();
        let members = groups.groups().first().map_or(0, |group| group.members().len());
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.name, 0, PARTITIONS - 1);
        let committed = consumer.committed_offsets(list, Duration::from_secs(10)).unwrap();
        let offsets =
            committed.elements().iter().map(|element| element.offset().to_raw().unwrap_or(-1)).collect();
        (members, offsets)
    }
}

pub(crate) fn event(producer: &str, number: i64) -> String {
    format!("{producer} {number} {}", "x".repeat(100))
}

#[derive(Clone)]
pub(crate) struct Producer {
    producer: FutureProducer,
    topic: String,
}

impl Producer {
    pub(crate) fn send(
        &self,
        partition: Option<i32>,
        payload: &[u8],
        origin: Option<(&str, usize)>,
    ) -> rdkafka::producer::DeliveryFuture {
        let headers = origin.map(|(journal, sequence)| {
            OwnedHeaders::new()
                .insert(Header { key: JOURNAL_HEADER, value: Some(journal) })
                .insert(Header { key: SEQUENCE_HEADER, value: Some(&sequence.to_string()) })
        });
        self.send_with(partition, Some(payload), headers)
    }

    pub(crate) fn send_with(
        &self,
        partition: Option<i32>,
        payload: Option<&[u8]>,
        headers: Option<OwnedHeaders>,
    ) -> rdkafka::producer::DeliveryFuture {
        let record = FutureRecord {
            topic: &self.topic,
            partition,
            payload,
            key: Some("project"),
            timestamp: None,
            headers,
        };
        self.producer.send_result(record).map_err(|(error, _)| error).expect("room in the producer")
    }
}

/// Produces until it is stopped, a few thousand events a second.
pub(crate) struct Load {
    stop: tokio::sync::watch::Sender<bool>,
    task: tokio::task::JoinHandle<Vec<String>>,
}

impl Load {
    pub(crate) fn start(topic: &Topic, name: &'static str) -> Self {
        let (stop, stopping) = tokio::sync::watch::channel(false);
        let producer = topic.producer();
        let task = tokio::spawn(async move {
            let mut events = Vec::new();
            let mut ticks = tokio::time::interval(Duration::from_millis(10));
            while !*stopping.borrow() {
                ticks.tick().await;
                let mut sent = Vec::new();
                for _ in 0..20 {
                    let number = events.len();
                    let event = event(name, i64::try_from(number).unwrap());
                    let partition = i32::try_from(number).unwrap() % PARTITIONS;
                    sent.push(producer.send(Some(partition), event.as_bytes(), Some((name, number))));
                    events.push(event);
                }
                for sent in sent {
                    sent.await.expect("sent").expect("delivered");
                }
            }
            events
        });
        Self { stop, task }
    }

    /// What was produced.
    pub(crate) async fn end(self) -> Vec<String> {
        self.stop.send_replace(true);
        self.task.await.expect("the load ends")
    }
}

pub(crate) fn header(message: &OwnedMessage, key: &str) -> Option<String> {
    let headers = message.headers()?;
    let header = headers.iter().find(|header| header.key == key)?;
    Some(String::from_utf8(header.value?.to_vec()).expect("text"))
}
