//! Reads the partitions that it is told, each from the offset that it is told.
//!
//! It is a client of its own beside the group's member. A member's reading is moved by librdkafka in every rebalance, to
//! the offset that was committed to Kafka; here the ledger says where to begin, in its own time. This client never joins the
//! group and names it only to need no other rights.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::consumer::stream_consumer::StreamPartitionQueue;
use rdkafka::consumer::{Consumer as _, ConsumerContext, StreamConsumer};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::config::ConsumerConfig;
use super::start::Held;
use crate::config::KafkaConfig;
use crate::error::KafkaError;
use crate::link::Link;

/// How long one question to the brokers may take. Many times what they need, and as long as an end waits for it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Messages of one partition, in order. Memory is bounded by the client's settings; reading stops while it is full.
pub(super) type Queue = StreamPartitionQueue<Link>;

impl ConsumerContext for Link {}

/// The client that reads. Clones share it.
#[derive(Clone)]
pub(super) struct Fetcher {
    consumer: Arc<StreamConsumer<Link>>,
    link: Link,
    topic: Arc<str>,
    reading: Arc<Mutex<BTreeSet<i32>>>,
}

impl Fetcher {
    pub(super) fn new(kafka: &KafkaConfig, config: &ConsumerConfig) -> Result<Self, KafkaError> {
        let link = Link::new(&kafka.brokers);
        let consumer: StreamConsumer<Link> = config.fetcher(kafka)?.create_with_context(link.clone())?;
        Ok(Self {
            consumer: Arc::new(consumer),
            link,
            topic: config.topic.as_str().into(),
            reading: Arc::default(),
        })
    }

    /// The name under which the ledger knows a partition. Another cluster's topic of the same name is another source.
    pub(super) async fn source(&self, partition: i32) -> Result<String, KafkaError> {
        let fetcher = self.clone();
        let id = spawn_blocking(move || fetcher.consumer.client().fetch_cluster_id(ANSWER_TIMEOUT)).await;
        let id = id.ok().flatten();
        let id = id.ok_or_else(|| self.link.explain("the brokers do not say which cluster they are"))?;
        Ok(format!("kafka:{id}:{}:{partition}", self.topic))
    }

    /// The offsets that a partition holds now.
    pub(super) async fn held(&self, partition: i32) -> Result<Held, KafkaError> {
        let fetcher = self.clone();
        let ask = move || fetcher.consumer.fetch_watermarks(&fetcher.topic, partition, ANSWER_TIMEOUT);
        let (first, end) = spawn_blocking(ask)
            .await
            .map_err(|error| ended(&error))?
            .map_err(|error| self.link.explained(error))?;
        self.link.works();
        Ok(Held { first, end })
    }

    /// Begins to read a partition at an offset, anew if it was read before.
    pub(super) async fn begin(&self, partition: i32, offset: i64) -> Result<Queue, KafkaError> {
        let fetcher = self.clone();
        let (begun, queue) = oneshot::channel();
        let task = spawn_blocking(move || {
            // To the end: a queue that is dropped takes the wake-ups of the partition's next queue with it.
            let mut reading = fetcher.reading.lock();
            fetcher.release(&mut reading, partition);
            let read = fetcher.read(&mut reading, partition, offset);
            if begun.send(read).is_err() {
                fetcher.release(&mut reading, partition); // whoever wanted it is gone
            }
        });
        task.await.map_err(|error| ended(&error))?;
        queue.await.unwrap_or_else(|_| Err(KafkaError::Client { reason: "reading did not begin".to_owned() }))
    }

    fn read(&self, reading: &mut BTreeSet<i32>, partition: i32, offset: i64) -> Result<Queue, KafkaError> {
        // Before the first fetch: what comes earlier would go to the client's common queue.
        let queue = self.consumer.split_partition_queue(&self.topic, partition);
        let queue = queue.ok_or_else(|| KafkaError::Client { reason: "no such partition".to_owned() })?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, partition, Offset::Offset(offset))?;
        self.consumer.incremental_assign(&list)?;
        reading.insert(partition);
        Ok(queue)
    }

    /// Stops reading a partition. Whoever has its queue must have dropped it.
    pub(super) async fn end(&self, partition: i32) {
        let fetcher = self.clone();
        let release = move || fetcher.release(&mut fetcher.reading.lock(), partition);
        if let Err(error) = spawn_blocking(release).await {
            tracing::error!(%error, partition, "reading of a partition was not ended");
        }
    }

    fn release(&self, reading: &mut BTreeSet<i32>, partition: i32) {
        if !reading.remove(&partition) {
            return;
        }
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, partition);
        if let Err(error) = self.consumer.incremental_unassign(&list) {
            tracing::error!(%error, partition, "reading of a partition cannot be ended");
        }
    }

    /// Passes on what librdkafka has to say. Messages come by the partitions' queues only.
    pub(super) async fn serve(&self) -> Infallible {
        loop {
            if let Err(error) = self.consumer.recv().await {
                tracing::debug!(%error, "Kafka client: reading");
            }
        }
    }

    /// What an error of a partition's queue means.
    pub(super) fn explain(&self, error: rdkafka::error::KafkaError) -> KafkaError {
        self.link.explained(error)
    }
}

fn ended(error: &tokio::task::JoinError) -> KafkaError {
    KafkaError::Client { reason: error.to_string() }
}
