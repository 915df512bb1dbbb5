//! Gathers the messages of a partition into batches: by size, or by time.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use mindweave_eventlog::{ReadLimits, Record, Sequence};
use rdkafka::error::KafkaError as ClientError;
use tokio::time::{Instant, timeout, timeout_at};

use super::dead_letters::Letter;
use super::fetcher::Queue;
use super::message::{Aside, Content, Taken, Taker};

/// How often a queue is looked at though nothing was said of it. A wake-up that got lost would stop its partition for ever.
const LOOK: Duration = Duration::from_secs(1);
/// Messages taken before other tasks of the thread get their turn: about a tenth of a millisecond.
const MESSAGES_PER_TURN: usize = 128;

/// Messages in order, on their way to the sink.
#[derive(Default)]
pub(super) struct Gathered {
    /// For the sink.
    pub(super) records: Vec<Record>,
    /// What belongs to each of the records.
    pub(super) asides: Vec<Aside>,
    /// What cannot be an event, between them.
    pub(super) unfit: Vec<Letter>,
    /// The last message of all.
    pub(super) last: Sequence,
    bytes: usize,
    /// When the first one came.
    since: Option<Instant>,
}

impl Gathered {
    fn push(&mut self, taken: Taken) {
        self.since.get_or_insert_with(Instant::now);
        self.last = taken.sequence;
        self.bytes = self.bytes.saturating_add(taken.bytes);
        match taken.content {
            Content::Record(record, aside) => {
                self.records.push(record);
                self.asides.push(aside);
            }
            Content::Unfit(letter) => self.unfit.push(letter),
        }
    }

    fn is_full(&self, limits: ReadLimits) -> bool {
        self.records.len().saturating_add(self.unfit.len()) >= limits.max_records
            || self.bytes >= limits.max_bytes
    }
}

/// Gathers from one partition.
pub(super) struct Collector {
    queue: Queue,
    taker: Taker,
    limits: ReadLimits,
    linger: Duration,
    gathered: Gathered,
    taken: usize,
    /// Why nothing more comes; told after what came before.
    broken: Option<ClientError>,
}

impl Collector {
    pub(super) fn new(queue: Queue, limits: ReadLimits, linger: Duration) -> Self {
        let (taker, gathered) = (Taker::default(), Gathered::default());
        Self { queue, taker, limits, linger, gathered, taken: 0, broken: None }
    }

    /// The next batch, which has at least one message. Nothing is lost when this is dropped before its end.
    ///
    /// # Errors
    /// When the partition can no longer be read from where it is.
    pub(super) async fn next(&mut self) -> Result<Gathered, ClientError> {
        while !self.gathered.is_full(self.limits) && self.broken.is_none() {
            match self.gathered.since {
                None => self.take().await,
                Some(since) => {
                    if timeout_at(since + self.linger, self.take()).await.is_err() {
                        break;
                    }
                }
            }
        }
        match self.broken.take() {
            Some(error) if self.gathered.since.is_none() => Err(error),
            broken => {
                self.broken = broken;
                Ok(std::mem::take(&mut self.gathered))
            }
        }
    }

    /// Gathers as long as it is polled, up to one full batch.
    pub(super) async fn prefetch(&mut self) -> Infallible {
        while !self.gathered.is_full(self.limits) && self.broken.is_none() {
            self.take().await;
        }
        pending().await
    }

    async fn take(&mut self) {
        self.taken = self.taken.wrapping_add(1);
        if self.taken.is_multiple_of(MESSAGES_PER_TURN) {
            tokio::task::yield_now().await;
        }
        let message = loop {
            if let Ok(message) = timeout(LOOK, self.queue.recv()).await {
                break message;
            }
        };
        match message {
            Ok(message) => {
                let taken = self.taker.take(&message);
                self.gathered.push(taken);
            }
            Err(error) => self.broken = Some(error),
        }
    }
}
