//! Events by way of Kafka: from the journal to a topic, and from there to the ledger.
//!
//! [`KafkaSink`] is where a journal is shipped to. It delivers at least once and in order: one journal, one partition.
//! Whoever reads finds duplicates out by the events' ids. A message is the journal's payload as it is, its key is the
//! project's id, and [`JOURNAL_HEADER`] and [`SEQUENCE_HEADER`] say where the event was written down.
//!
//! [`Consumer`] is where they go on from there: a member of the consumer group that gives each of its partitions to a sink,
//! exactly once, with what can never be taken put aside as dead letters.
//!
//! [`AuditProducer`] tells entries of the audit log, each chain in its order.
//!
//! [`prepare_topics`] creates or checks the [`TOPICS`].

mod config;
mod consume;
mod error;
mod key;
mod link;
mod metrics;
mod sink;
mod topics;

pub use config::{
    ClientCertificate, Compression, KafkaConfig, Password, Sasl, SaslMechanism, Tls, TopicCare,
};
pub use consume::{
    Consumer, ConsumerConfig, ConsumerHealth, ConsumerProbe, DEAD_LETTER_DETAIL_HEADER,
    DEAD_LETTER_LEFT_OUT_HEADER, DEAD_LETTER_OFFSET_HEADER, DEAD_LETTER_PARTITION_HEADER,
    DEAD_LETTER_REASON_HEADER, DEAD_LETTER_TIME_HEADER, DEAD_LETTER_TOPIC_HEADER,
};
pub use error::KafkaError;
pub use sink::{AuditProducer, AuditRecord, KafkaSink};
pub use topics::{AUDIT_LOG, Cluster, TOPICS, Topic, USAGE_EVENTS, USAGE_EVENTS_DEAD_LETTER, prepare_topics};

/// Header with the id of the journal that an event was written to, as text.
pub const JOURNAL_HEADER: &str = "mindweave-journal";
/// Header with the chain of an entry of the audit log, as text.
pub const CHAIN_HEADER: &str = "mindweave-chain";
/// Header with the event's sequence in that journal, or of an entry in its chain, as decimal text.
pub const SEQUENCE_HEADER: &str = "mindweave-sequence";
