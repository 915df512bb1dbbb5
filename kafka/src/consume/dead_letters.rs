//! The topic for messages that the ledger can never take.
//!
//! A dead letter has the key, the value and the headers of the message, and headers that say what it was and why it is here
//! (`mindweave-dead-letter-*`). It is on the brokers, on all replicas in sync, before the partition goes on without it. It may
//! be there twice: when the process ends before the ledger has something that came after it.

use parking_lot::Mutex;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};

use mindweave_eventlog::Sequence;

use super::config::ConsumerConfig;
use super::start::next_offset;
use crate::config::KafkaConfig;
use crate::error::KafkaError;
use crate::link::Link;

/// Header with the [`Reason`]: `refused`, `empty` or `too_long`.
pub const DEAD_LETTER_REASON_HEADER: &str = "mindweave-dead-letter-reason";
/// Header with the reason in words.
pub const DEAD_LETTER_DETAIL_HEADER: &str = "mindweave-dead-letter-detail";
/// Header with the topic that the message was in.
pub const DEAD_LETTER_TOPIC_HEADER: &str = "mindweave-dead-letter-topic";
/// Header with its partition, as decimal text.
pub const DEAD_LETTER_PARTITION_HEADER: &str = "mindweave-dead-letter-partition";
/// Header with its offset, as decimal text.
pub const DEAD_LETTER_OFFSET_HEADER: &str = "mindweave-dead-letter-offset";
/// Header with the time of the message, in milliseconds since 1970. The dead letter's own time is when it was put aside.
pub const DEAD_LETTER_TIME_HEADER: &str = "mindweave-dead-letter-time";
/// Header with the length of the value, in bytes, on a dead letter that was too large for its topic with it.
pub const DEAD_LETTER_LEFT_OUT_HEADER: &str = "mindweave-dead-letter-left-out-bytes";

/// Why a message is a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The ledger can make nothing of it.
    Refused,
    /// It has no value.
    Empty,
    /// It is longer than any event.
    TooLong,
}

impl Reason {
    pub(super) const ALL: [Self; 3] = [Self::Refused, Self::Empty, Self::TooLong];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Empty => "empty",
            Self::TooLong => "too_long",
        }
    }
}

/// A message to be put aside.
pub(super) struct Letter {
    pub(super) sequence: Sequence,
    pub(super) key: Option<Vec<u8>>,
    pub(super) timestamp: Option<i64>,
    pub(super) headers: Option<OwnedHeaders>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) reason: Reason,
    /// Without any content of the message.
    pub(super) detail: String,
}

impl Letter {
    pub(super) fn offset(&self) -> i64 {
        next_offset(self.sequence).saturating_sub(1)
    }

    /// The largest part of it goes, and where it was is told: beyond what the topic takes, a partition would wait for ever.
    fn without_value(&mut self) {
        let bytes = self.value.take().map_or(0, |value| value.len()).to_string();
        let headers = self.headers.take().unwrap_or_default();
        self.headers = Some(headers.insert(Header { key: DEAD_LETTER_LEFT_OUT_HEADER, value: Some(&bytes) }));
    }
}

/// Writes dead letters.
pub(super) struct DeadLetters {
    kafka: KafkaConfig,
    config: ConsumerConfig,
    link: Link,
    producer: Mutex<FutureProducer<Link>>,
}

impl DeadLetters {
    pub(super) fn new(kafka: &KafkaConfig, config: &ConsumerConfig) -> Result<Self, KafkaError> {
        let link = Link::new(&kafka.brokers);
        let producer = config.dead_letters(kafka)?.create_with_context(link.clone())?;
        Ok(Self { kafka: kafka.clone(), config: config.clone(), link, producer: Mutex::new(producer) })
    }

    /// Writes letters of a partition, all at once. Those that the brokers have leave the list.
    ///
    /// # Errors
    /// Why the first of those that are left was not taken.
    pub(super) async fn write(&self, partition: i32, letters: &mut Vec<Letter>) -> Result<(), KafkaError> {
        let producer = self.producer.lock().clone();
        let sent: Vec<_> =
            letters.iter().map(|letter| send(&producer, &self.config, partition, letter)).collect();
        let mut results = Vec::with_capacity(sent.len());
        for sent in sent {
            results.push(delivered(sent).await);
        }
        drop(producer);
        let mut results = results.into_iter();
        let mut failed = None;
        letters.retain_mut(|letter| {
            let Some(Err(error)) = results.next() else { return false };
            if too_large(&error) && letter.value.is_some() {
                letter.without_value();
            }
            failed.get_or_insert(error);
            true
        });
        let Some(error) = failed else {
            self.link.works();
            return Ok(());
        };
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.renew().await?; // nothing ever works again with this producer
        }
        Err(self.link.explained(error))
    }

    async fn renew(&self) -> Result<(), KafkaError> {
        let new = self.config.dead_letters(&self.kafka)?.create_with_context(self.link.clone())?;
        let old = std::mem::replace(&mut *self.producer.lock(), new);
        let dropped = tokio::task::spawn_blocking(move || drop(old)).await; // waits for a thread
        dropped.map_err(|error| KafkaError::Client { reason: error.to_string() })
    }
}

fn send(
    producer: &FutureProducer<Link>,
    config: &ConsumerConfig,
    partition: i32,
    letter: &Letter,
) -> Result<DeliveryFuture, ClientError> {
    let header = |headers: OwnedHeaders, key, value: &str| headers.insert(Header { key, value: Some(value) });
    let mut headers = letter.headers.clone().unwrap_or_default();
    headers = header(headers, DEAD_LETTER_REASON_HEADER, letter.reason.name());
    headers = header(headers, DEAD_LETTER_DETAIL_HEADER, &letter.detail);
    headers = header(headers, DEAD_LETTER_TOPIC_HEADER, &config.topic);
    headers = header(headers, DEAD_LETTER_PARTITION_HEADER, &partition.to_string());
    headers = header(headers, DEAD_LETTER_OFFSET_HEADER, &letter.offset().to_string());
    if let Some(timestamp) = letter.timestamp {
        headers = header(headers, DEAD_LETTER_TIME_HEADER, &timestamp.to_string());
    }
    let record = FutureRecord {
        topic: &config.dead_letter_topic,
        partition: None,
        payload: letter.value.as_deref(),
        key: letter.key.as_deref(),
        timestamp: None,
        headers: Some(headers),
    };
    producer.send_result(record).map_err(|(error, _)| error)
}

async fn delivered(sent: Result<DeliveryFuture, ClientError>) -> Result<(), ClientError> {
    match sent?.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err((error, _))) => Err(error),
        Err(_) => Err(ClientError::Canceled),
    }
}

fn too_large(error: &ClientError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(code, Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize))
}
