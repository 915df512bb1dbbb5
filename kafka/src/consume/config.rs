//! How the consumer group works, and what its clients are told.

use std::time::Duration;

use mindweave_eventlog::ReadLimits;
use rdkafka::ClientConfig;

use crate::config::{KafkaConfig, millis};
use crate::error::KafkaError;
use crate::topics::{MAX_MESSAGE_BYTES, USAGE_EVENTS, USAGE_EVENTS_DEAD_LETTER};

/// How often clients look for topics and partitions that are new to them. librdkafka's own five minutes would be the time for
/// which a ledger reads nothing that started before its topic was made.
const METADATA_REFRESH: Duration = Duration::from_secs(10);
/// Pause before a partition whose queue is full is fetched again. librdkafka's own second is longer than a full queue lasts.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(20);
/// Most messages in a partition's queue; the bytes come first unless messages are tiny.
const QUEUE_MESSAGES: u32 = 20_000;
/// How long the brokers may take to acknowledge a dead letter before it is tried anew.
const DEAD_LETTER_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a topic may be missing until dead letters for it are given back, to be tried anew.
const MISSING_TOPIC_TIMEOUT: Duration = Duration::from_secs(5);

/// How the consumer group works.
///
/// In memory at most, for each partition: two batches and the queue of what was fetched ahead, so with the defaults
/// `2 x 4 MiB + 4 MiB` and one fetch of 1 MiB. A single event larger than that still passes.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// The consumer group. All that feed one ledger are in the same one.
    pub group: String,
    /// What is read.
    pub topic: String,
    /// Where messages go that the ledger can never take.
    pub dead_letter_topic: String,
    /// Static membership: with a name that survives a restart and that no other process has, a restart within
    /// `session_timeout` moves no partition. The price: partitions of a process that stops for good are read by nobody for
    /// that long. `None` (default): the process leaves as it stops, and others go on within a second or two.
    pub instance: Option<String>,
    /// How much travels to the sink together.
    pub batch: ReadLimits,
    /// How long the first message of a batch waits for company.
    pub linger: Duration,
    /// Bytes of a partition that are fetched ahead.
    pub queue_bytes: usize,
    /// Pause after the first failure of the sink; doubles with each one that follows.
    pub first_retry: Duration,
    /// The longest pause.
    pub max_retry: Duration,
    /// A delivery or a claim without an answer for so long is given up, and tried again. Far beyond what a slow database
    /// takes: it is for connections that died without a word.
    pub sink_timeout: Duration,
    /// Others take over a process that was killed or hangs after this. Brokers take 6 s at least, unless told otherwise.
    pub session_timeout: Duration,
    /// How often the group hears of this member: a few times within `session_timeout`.
    pub heartbeat: Duration,
    /// A member that does not follow a rebalance for so long is out. Its thread does nothing but that, and never waits for
    /// the sink for longer than `handover`. At least `session_timeout`.
    pub max_poll_interval: Duration,
    /// How long a partition that moves away waits for the batch that is in the sink. What takes longer is dropped there and
    /// booked by the next owner.
    pub handover: Duration,
    /// How long a shutdown waits for batches that are in the sink.
    pub drain_deadline: Duration,
    /// How often the ends of the partitions are asked for, for the lag.
    pub lag_interval: Duration,
    /// How often positions are committed to Kafka: only for tools that show lag from there, nothing here reads them.
    pub commit_interval: Duration,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            group: "mindweave-ledger".to_owned(),
            topic: USAGE_EVENTS.to_owned(),
            dead_letter_topic: USAGE_EVENTS_DEAD_LETTER.to_owned(),
            instance: None,
            batch: ReadLimits { max_records: 5_000, max_bytes: 4 << 20 }, // beyond this a transaction gains nothing
            linger: Duration::from_millis(40), // as the journal's own shipper, for the same reason
            queue_bytes: 4 << 20,
            first_retry: Duration::from_millis(100),
            max_retry: Duration::from_secs(5),
            sink_timeout: Duration::from_secs(60),
            // A thread of its own sends heartbeats: neither load nor a slow database delays them by seconds.
            session_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(2),
            max_poll_interval: Duration::from_secs(60),
            handover: Duration::from_secs(5),
            drain_deadline: Duration::from_secs(5),
            lag_interval: Duration::from_secs(5),
            commit_interval: Duration::from_secs(1),
        }
    }
}

impl ConsumerConfig {
    /// The member of the group. It reads nothing itself.
    pub(super) fn membership(&self, kafka: &KafkaConfig) -> Result<ClientConfig, KafkaError> {
        let mut client = self.reader(kafka)?;
        client
            .set("session.timeout.ms", millis(self.session_timeout))
            .set("heartbeat.interval.ms", millis(self.heartbeat))
            .set("max.poll.interval.ms", millis(self.max_poll_interval))
            .set("partition.assignment.strategy", "cooperative-sticky");
        if let Some(instance) = &self.instance {
            client.set("group.instance.id", instance);
        }
        Ok(client)
    }

    /// The client that reads the partitions it is told, from where it is told.
    pub(super) fn fetcher(&self, kafka: &KafkaConfig) -> Result<ClientConfig, KafkaError> {
        let mut client = self.reader(kafka)?;
        client
            .set("isolation.level", "read_committed")
            // An offset that is not there is for us to decide on and to tell about.
            .set("auto.offset.reset", "error")
            .set("check.crcs", "true") // a flipped bit in an amount is money
            .set("queued.max.messages.kbytes", (self.queue_bytes >> 10).max(1).to_string())
            .set("queued.min.messages", QUEUE_MESSAGES.to_string())
            .set("fetch.queue.backoff.ms", millis(FULL_QUEUE_PAUSE));
        Ok(client)
    }

    fn reader(&self, kafka: &KafkaConfig) -> Result<ClientConfig, KafkaError> {
        let mut client = kafka.client()?;
        client
            .set("group.id", &self.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("allow.auto.create.topics", "false")
            .set("topic.metadata.refresh.interval.ms", millis(METADATA_REFRESH));
        Ok(client)
    }

    /// The producer of dead letters.
    pub(super) fn dead_letters(&self, kafka: &KafkaConfig) -> Result<ClientConfig, KafkaError> {
        let mut client = kafka.client()?;
        client
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "0") // a partition waits for each
            .set("batch.num.messages", "1") // brokers refuse a whole batch as too large
            .set("compression.type", kafka.compression.name())
            .set("message.max.bytes", MAX_DEAD_LETTER_BYTES.to_string())
            .set("message.timeout.ms", millis(DEAD_LETTER_TIMEOUT))
            .set("topic.metadata.propagation.max.ms", millis(MISSING_TOPIC_TIMEOUT))
            .set("allow.auto.create.topics", "false");
        Ok(client)
    }
}

/// The largest dead letter that is tried. Brokers with a lower limit say so, and get it without its value.
const MAX_DEAD_LETTER_BYTES: usize = 8 * MAX_MESSAGE_BYTES;
