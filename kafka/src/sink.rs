//! Where a journal is shipped to, when that is Kafka.
//!
//! A batch is delivered when every message of it is acknowledged. Until then this waits; librdkafka tries again by itself,
//! in order and without making duplicates, for as long as its producer lives. A producer that cannot go on is replaced, and
//! the batch begins anew: what the first producer had delivered comes twice then. It is always a beginning of the batch, so
//! the first copies of the events stay in the journal's order.

mod audit;
mod connection;
mod flight;
mod place;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mindweave_eventlog::{Batch, EventSink, Record, Sequence, SinkError};
use rdkafka::error::RDKafkaErrorCode;
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::{Instant, sleep, timeout};

use crate::config::KafkaConfig;
use crate::error::KafkaError;
use crate::link::Trouble;
use crate::metrics::SinkMetrics;
use crate::topics::{Cluster, USAGE_EVENTS, prepare_topics};

pub use audit::{AuditProducer, AuditRecord};
use connection::{Connection, Packing};
use flight::{Failure, Flight, Landed};
use place::Place;

/// After this long without acknowledgement the shipper is told, and so is the log. The messages stay under way.
const PATIENCE: Duration = Duration::from_secs(15);
/// Pause while the producer's memory is full.
const FULL_PAUSE: Duration = Duration::from_millis(5);
/// Messages handed over before other tasks of the thread get their turn: about 100 us.
const TURN: usize = 64;

/// Delivers one journal to [`USAGE_EVENTS`].
pub struct KafkaSink {
    config: KafkaConfig,
    /// Where [`Place`] is kept.
    folder: PathBuf,
    connection: Option<Connection>,
    place: Option<Place>,
    under_way: Option<UnderWay>,
    packing: Packing,
    /// What the log was told of the topics: not again with every producer.
    told: Vec<String>,
    metrics: SinkMetrics,
}

/// A batch whose messages are not all acknowledged.
struct UnderWay {
    first: Sequence,
    last: Sequence,
    records: usize,
    /// How many were handed to the producer.
    sent: usize,
    flight: Arc<Flight>,
    since: Instant,
}

/// Why a batch is not delivered.
enum Fault {
    Kafka(KafkaError),
    Poison { sequence: Sequence, reason: String },
}

impl From<KafkaError> for Fault {
    fn from(error: KafkaError) -> Self {
        Self::Kafka(error)
    }
}

impl From<Fault> for SinkError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Kafka(error) => Self::Retry(error.into()),
            Fault::Poison { sequence, reason } => Self::Poison { sequence, reason },
        }
    }
}

impl KafkaSink {
    /// A sink for the journal in this folder. Connects when it is first asked for something.
    pub fn new(config: KafkaConfig, journal_folder: &Path) -> Self {
        Self {
            config,
            folder: journal_folder.to_path_buf(),
            connection: None,
            place: None,
            under_way: None,
            packing: Packing::Together { largest: None },
            told: Vec::new(),
            metrics: SinkMetrics::new(),
        }
    }

    /// Makes sure of the topics, of a producer and of the place that the journal has there.
    async fn connect(&mut self, journal: &str) -> Result<(), KafkaError> {
        if self.connection.is_some() {
            return Ok(());
        }
        let cluster = prepare_topics(&self.config).await?;
        if self.told != cluster.shortcomings {
            for shortcoming in &cluster.shortcomings {
                tracing::warn!("{shortcoming}");
            }
            self.told.clone_from(&cluster.shortcomings);
        }
        if let Packing::Together { largest } = &mut self.packing {
            *largest = cluster.message_bytes;
        }
        let connection = Connection::open(&self.config, self.packing).await?;
        self.metrics.producers.increment(1);
        let known = self.place.take().or_else(|| Place::read(&self.folder));
        self.place = Some(place_in(known, journal, &cluster));
        self.connection = Some(connection);
        Ok(())
    }

    /// Gives the producer up, with everything that it did not deliver.
    fn disconnect(&mut self) {
        self.connection = None;
        self.under_way = None;
    }

    /// Where to go on, unless the partition has lost what was there.
    async fn stored(&mut self, journal: &str) -> Result<Option<Sequence>, KafkaError> {
        self.connect(journal).await?;
        let (Some(connection), Some(place)) = (&self.connection, &mut self.place) else { return Ok(None) };
        if place.is_empty() {
            return Ok(None);
        }
        match connection.end_of(place.partition).await {
            Ok(end) if place.is_beyond(end) => {
                tracing::error!(
                    "the partition ends before what it acknowledged: all events in the journal are sent again"
                );
                place.empty();
            }
            Ok(_) => {}
            Err(error) => {
                self.disconnect(); // the next attempt looks at the topic again
                return Err(error);
            }
        }
        Ok(place.position())
    }

    async fn delivered(&mut self, batch: &Batch) -> Result<(), Fault> {
        self.connect(&batch.source).await?;
        if self.under_way.as_ref().is_none_or(|under_way| !under_way.is(batch)) {
            self.under_way = Some(UnderWay::new(batch));
        }
        let flight = self.hand_over(batch).await?;
        match timeout(PATIENCE, flight.landed()).await {
            Ok(Landed::All { offset }) => self.landed(batch, offset).await,
            Ok(Landed::Failed { count, first }) => Err(self.failed(batch, count, &first)),
            Err(_) => Err(self.stuck(flight.waiting()).into()),
        }
    }

    /// Hands everything over that the producer does not have yet.
    async fn hand_over(&mut self, batch: &Batch) -> Result<Arc<Flight>, Fault> {
        let (Some(connection), Some(under_way), Some(place)) =
            (&self.connection, &mut self.under_way, &self.place)
        else {
            return Err(KafkaError::Client { reason: "there is no producer".to_owned() }.into());
        };
        let flight = Arc::clone(&under_way.flight);
        let begun = Instant::now();
        while let Some(record) = batch.records.get(under_way.sent) {
            match connection.send(batch, record, place.partition, &flight) {
                Ok(()) => under_way.sent += 1,
                Err(error) => match error.rdkafka_error_code() {
                    Some(RDKafkaErrorCode::QueueFull) if begun.elapsed() < PATIENCE => {
                        sleep(FULL_PAUSE).await;
                    }
                    Some(RDKafkaErrorCode::QueueFull) => return Err(self.stuck(batch.records.len()).into()),
                    Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                        self.under_way = None;
                        return Err(too_large(record));
                    }
                    _ => {
                        let error = connection.link().explained(error);
                        self.disconnect();
                        return Err(error.into());
                    }
                },
            }
            if under_way.sent.is_multiple_of(TURN) {
                yield_now().await;
            }
        }
        Ok(flight)
    }

    /// Remembers that a batch is acknowledged. When that fails, the next attempt finds it acknowledged already.
    async fn landed(&mut self, batch: &Batch, offset: Option<i64>) -> Result<(), Fault> {
        if let Some(connection) = &self.connection {
            connection.link().works();
        }
        self.metrics.connected.set(1.0);
        if let Some(place) = self.place.take() {
            let place = place.advanced(batch.last, offset);
            self.place = Some(place.clone());
            let folder = self.folder.clone();
            let stored = spawn_blocking(move || place.store(&folder)).await;
            stored.map_err(|error| KafkaError::Client { reason: error.to_string() })??;
        }
        if let Some(under_way) = self.under_way.take() {
            self.metrics.delivery_seconds.record(under_way.since.elapsed());
        }
        let bytes = batch.records.iter().map(|record| record.payload.len()).sum::<usize>();
        self.metrics.delivered_records.increment(u64::try_from(batch.records.len()).unwrap_or(u64::MAX));
        self.metrics.delivered_bytes.increment(u64::try_from(bytes).unwrap_or(u64::MAX));
        if self.packing == Packing::Singly {
            // What was too large is out. Together again, within the limit that the topic has now.
            self.packing = Packing::Together { largest: None };
            self.disconnect();
        }
        Ok(())
    }

    /// No acknowledgement in time: says why, as far as is known, and goes on waiting where waiting may help.
    fn stuck(&mut self, waiting: usize) -> KafkaError {
        let Some(connection) = &self.connection else {
            return not_delivered(waiting, "there is no producer");
        };
        if let Some((code, reason)) = connection.fatal() {
            self.disconnect();
            return not_delivered(waiting, &format!("the producer cannot go on: {reason} ({code})"));
        }
        let trouble = connection.link().trouble();
        let silence = format!("no acknowledgement within {} s", PATIENCE.as_secs());
        let error = match trouble {
            Some(_) => connection.link().explain(&silence),
            None => not_delivered(
                waiting,
                &format!("{silence}: the brokers are reachable; look for replicas that are not in sync"),
            ),
        };
        if matches!(trouble, Some(Trouble::Authentication | Trouble::Tls)) {
            self.disconnect(); // passwords and certificates are read anew with the next one
        }
        error
    }

    /// Messages were given up. The next attempt sends the batch anew, with another producer.
    fn failed(&mut self, batch: &Batch, count: usize, first: &Failure) -> Fault {
        let fatal = self.connection.as_ref().and_then(Connection::fatal);
        self.disconnect();
        if let Some((code, reason)) = fatal {
            return not_delivered(count, &format!("the producer cannot go on: {reason} ({code})")).into();
        }
        let written = |record: &&Record| {
            let sequence = record.origin.as_ref().map_or(record.sequence, |origin| origin.sequence);
            Some(sequence) == first.sequence
        };
        match first.code {
            RDKafkaErrorCode::MessageSizeTooLarge => match batch.records.iter().find(written) {
                Some(record) if self.packing == Packing::Singly || batch.records.len() == 1 => {
                    too_large(record)
                }
                _ => {
                    self.packing = Packing::Singly;
                    let reason = "the topic takes no request so large; sending one by one to find the event";
                    not_delivered(count, reason).into()
                }
            },
            RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed => {
                KafkaError::NotAuthorized { action: "write to", topic: USAGE_EVENTS.to_owned() }.into()
            }
            RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition => {
                not_delivered(count, "the topic or the partition is gone").into()
            }
            code => not_delivered(count, &code.to_string()).into(),
        }
    }
}

impl EventSink for KafkaSink {
    async fn position(&mut self, source: &str) -> Result<Option<Sequence>, SinkError> {
        self.stored(source).await.map_err(|error| Fault::from(error).into())
    }

    async fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError> {
        self.delivered(batch).await.map_err(|fault| {
            self.metrics.delivery_failures.increment(1);
            self.metrics.connected.set(0.0);
            fault.into()
        })
    }
}

impl UnderWay {
    fn new(batch: &Batch) -> Self {
        let records = batch.records.len();
        let (first, last, since) = (batch.first, batch.last, Instant::now());
        Self { first, last, records, sent: 0, flight: Flight::of(records), since }
    }

    /// Whether this is that batch: the shipper comes with the same one again, or without the records that it put aside.
    fn is(&self, batch: &Batch) -> bool {
        (self.first, self.last, self.records) == (batch.first, batch.last, batch.records.len())
    }
}

/// The place that is known, if it is one in this cluster; else a new one.
fn place_in(known: Option<Place>, journal: &str, cluster: &Cluster) -> Place {
    match known {
        Some(place) if place.fits(journal, cluster) => place,
        Some(_) => {
            tracing::warn!(
                cluster = cluster.id,
                "what is known of this journal's place in Kafka is about another one: all events in the journal are sent again"
            );
            Place::choose(journal, cluster)
        }
        None => Place::choose(journal, cluster),
    }
}

fn not_delivered(count: usize, reason: &str) -> KafkaError {
    KafkaError::NotDelivered { topic: USAGE_EVENTS, count, reason: reason.to_owned() }
}

fn too_large(record: &Record) -> Fault {
    let bytes = record.payload.len();
    Fault::Poison {
        sequence: record.sequence,
        reason: format!(
            "an event of {bytes} bytes is larger than topic `{USAGE_EVENTS}` takes: raise its max.message.bytes"
        ),
    }
}
