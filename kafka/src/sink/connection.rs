//! A producer and where it sends.

use std::sync::Arc;
use std::time::Duration;

use mindweave_eventlog::{Batch, Record};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use super::audit::AuditRecord;
use super::flight::{Flight, Reporting};
use crate::config::{KafkaConfig, millis};
use crate::error::KafkaError;
use crate::key::project_of;
use crate::link::Link;
use crate::topics::{ANSWER_TIMEOUT, AUDIT_LOG, MAX_MESSAGE_BYTES, USAGE_EVENTS};
use crate::{CHAIN_HEADER, JOURNAL_HEADER, SEQUENCE_HEADER};

/// How long a message waits for company. The shipper hands over whole batches, so there is nothing to wait for but the next
/// call of the same loop.
const LINGER: Duration = Duration::from_millis(2);
/// The memory that messages take until they are acknowledged: one batch of the shipper's, and as much again.
const QUEUE_KIBIBYTES: usize = 32 << 10;
/// The same, counted: four batches of the shipper's.
const QUEUE_MESSAGES: usize = 20_000;
/// How much travels in one request to one partition: Kafka's own default, which brokers are made for.
const USUAL_REQUEST_BYTES: usize = 1_000_000;

/// How messages are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// Many in one request, but none larger than this.
    Together { largest: Option<usize> },
    /// Each by itself, so that the one that a broker refuses is known.
    Singly,
}

/// A producer. Dropping it gives up what is not acknowledged, on a thread that may block.
pub(super) struct Connection {
    /// `None` only while it is being dropped.
    producer: Option<ThreadedProducer<Reporting>>,
    link: Link,
}

impl Connection {
    /// Makes a producer; it connects by itself.
    ///
    /// # Errors
    /// When a setting cannot be used, or a file of it cannot be read.
    pub(super) async fn open(config: &KafkaConfig, packing: Packing) -> Result<Self, KafkaError> {
        let config = config.clone();
        let opened = spawn_blocking(move || Self::make(&config, packing)).await; // reads certificates
        opened.unwrap_or_else(|error| Err(KafkaError::Client { reason: error.to_string() }))
    }

    fn make(config: &KafkaConfig, packing: Packing) -> Result<Self, KafkaError> {
        let (messages, bytes) = match packing {
            Packing::Together { largest } => (
                QUEUE_MESSAGES,
                largest.map_or(USUAL_REQUEST_BYTES, |largest| largest.min(USUAL_REQUEST_BYTES)),
            ),
            Packing::Singly => (1, USUAL_REQUEST_BYTES),
        };
        let link = Link::new(&config.brokers);
        let mut client = config.client()?;
        client
            // A broker sorts out what is sent twice and keeps the order; all replicas in sync have it before it counts.
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // Never given up for time alone: the order would have a hole. The journal waits as long as it takes.
            .set("message.timeout.ms", "0")
            .set("compression.type", config.compression.name())
            .set("linger.ms", millis(LINGER))
            .set("batch.num.messages", messages.to_string())
            .set("batch.size", bytes.to_string())
            .set("message.max.bytes", MAX_MESSAGE_BYTES.to_string())
            .set("queue.buffering.max.messages", QUEUE_MESSAGES.to_string())
            .set("queue.buffering.max.kbytes", QUEUE_KIBIBYTES.to_string());
        let producer = client.create_with_context(Reporting(link.clone()))?;
        Ok(Self { producer: Some(producer), link })
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Hands a record of a batch over, to be sent.
    pub(super) fn send(
        &self,
        batch: &Batch,
        record: &Record,
        partition: i32,
        flight: &Arc<Flight>,
    ) -> Result<(), ClientError> {
        let producer = self.producer.as_ref().ok_or(ClientError::Canceled)?;
        let (journal, sequence) = match &record.origin {
            Some(origin) => (&*origin.journal, origin.sequence),
            None => (batch.source.as_str(), record.sequence),
        };
        let headers = OwnedHeaders::new_with_capacity(2)
            .insert(Header { key: JOURNAL_HEADER, value: Some(journal) })
            .insert(Header { key: SEQUENCE_HEADER, value: Some(&sequence.to_string()) });
        let key = project_of(&record.payload);
        let mut message = BaseRecord::with_opaque_to(USAGE_EVENTS, Arc::clone(flight))
            .partition(partition)
            .payload(record.payload.as_slice())
            .headers(headers);
        message.key = key.as_deref();
        producer.send::<str, [u8]>(message).map_err(|(error, _)| error)
    }

    /// Hands an entry of the audit log over, to be sent to the partition of its chain.
    pub(super) fn send_entry(
        &self,
        entry: &AuditRecord<'_>,
        flight: &Arc<Flight>,
    ) -> Result<(), ClientError> {
        let producer = self.producer.as_ref().ok_or(ClientError::Canceled)?;
        let headers = OwnedHeaders::new_with_capacity(2)
            .insert(Header { key: CHAIN_HEADER, value: Some(entry.chain) })
            .insert(Header { key: SEQUENCE_HEADER, value: Some(&entry.sequence.to_string()) });
        let message = BaseRecord::with_opaque_to(AUDIT_LOG, Arc::clone(flight))
            .key(entry.chain)
            .payload(entry.payload)
            .headers(headers);
        producer.send::<str, [u8]>(message).map_err(|(error, _)| error)
    }

    /// An error that this producer cannot get over.
    pub(super) fn fatal(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.producer.as_ref()?.client().fatal_error()
    }

    /// The offset that the next message of a partition would get.
    ///
    /// # Errors
    /// When the brokers do not say.
    pub(super) async fn end_of(&self, partition: i32) -> Result<i64, KafkaError> {
        let Some(producer) = self.producer.clone() else { return Ok(i64::MAX) };
        let asked = spawn_blocking(move || {
            producer.client().fetch_watermarks(USAGE_EVENTS, partition, ANSWER_TIMEOUT)
        });
        match asked.await {
            Ok(Ok((_, end))) => Ok(end),
            Ok(Err(error)) => Err(self.link.explained(error)),
            Err(error) => Err(KafkaError::Client { reason: error.to_string() }),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(producer) = self.producer.take() else { return };
        // librdkafka waits for its threads. A runtime that is ending waits for this.
        if let Ok(handle) = Handle::try_current() {
            drop(handle.spawn_blocking(move || drop(producer)));
        }
    }
}
