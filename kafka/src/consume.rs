//! From Kafka into the ledger: the consumer group.
//!
//! Each partition is a source of its own, `kafka:<cluster id>:<topic>:<partition>`, and goes into a sink of its own. The sequence of
//! a message is its offset plus one. The sink stores the position together with the events, so it knows where to go on, and
//! asking it takes the partition over: a member that lost the partition and does not know it yet books nothing any more.
//! What Kafka holds as committed offsets is there for its own tools.
//!
//! - A sink that cannot take a batch gets it again, for ever, with a growing pause; messages stay in Kafka until then.
//! - What the sink can never take goes to the topic of dead letters, and is there before the partition goes on.
//! - Memory is bounded (see [`ConsumerConfig`]); a partition is not read while its part is full.
//! - A partition that moves away gets a moment to end the batch in its sink. The next owner would find out without.
//!
//! Who does what: the [membership](membership) says which partitions are ours, the [supervisor](supervisor) gives each a
//! [worker](worker), which reads through the common [fetcher](fetcher), [gathers](collector) and [delivers](delivery).

mod collector;
mod config;
mod dead_letters;
mod delivery;
mod fetcher;
mod health;
mod membership;
mod message;
mod metrics;
mod start;
mod supervisor;
mod worker;

use std::sync::Arc;

use mindweave_eventlog::EventSink;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::KafkaConfig;
use crate::error::KafkaError;
pub use config::ConsumerConfig;
use dead_letters::DeadLetters;
pub use dead_letters::{
    DEAD_LETTER_DETAIL_HEADER, DEAD_LETTER_LEFT_OUT_HEADER, DEAD_LETTER_OFFSET_HEADER,
    DEAD_LETTER_PARTITION_HEADER, DEAD_LETTER_REASON_HEADER, DEAD_LETTER_TIME_HEADER,
    DEAD_LETTER_TOPIC_HEADER,
};
use fetcher::Fetcher;
use health::Board;
pub use health::{ConsumerHealth, ConsumerProbe};
use membership::Membership;
use supervisor::Supervisor;
use worker::Parts;

/// A member of the consumer group that books what it is given. Stops in the background when it is dropped.
#[derive(Debug)]
pub struct Consumer {
    probe: ConsumerProbe,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Consumer {
    /// Starts in the background; brokers may be away, or the topic missing, for as long as they like. `make_sink` makes a sink
    /// for each partition that the group gives to this member.
    ///
    /// # Errors
    /// When the settings cannot be used.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn start<S, F>(kafka: &KafkaConfig, config: ConsumerConfig, make_sink: F) -> Result<Self, KafkaError>
    where
        S: EventSink,
        F: Fn() -> S + Send + Sync + 'static,
    {
        let board = Arc::new(Board::new());
        let membership = Membership::join(kafka, &config, &board)?;
        let parts = Arc::new(Parts {
            fetcher: Fetcher::new(kafka, &config)?,
            dead_letters: DeadLetters::new(kafka, &config)?,
            config,
            board: Arc::clone(&board),
        });
        let (stop, stopping) = watch::channel(false);
        let supervisor = Supervisor::new(kafka.clone(), parts, make_sink, stopping);
        let task = tokio::spawn(supervisor.run(membership));
        Ok(Self { probe: ConsumerProbe::new(board), stop, task })
    }

    /// Answers how it is doing, also while it shuts down.
    pub fn probe(&self) -> ConsumerProbe {
        self.probe.clone()
    }

    /// Ends what is in the sinks, within [`ConsumerConfig::drain_deadline`], leaves the group, and closes all connections.
    pub async fn shutdown(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the consumer did not end in order");
        }
    }
}
