//! Ships events from the journal to a sink, in order, at least once.
//!
//! The sink stores the position: together with the events, in one transaction, where it can. The shipper asks for it at the start,
//! so that what was stored is not sent again. Nothing is dropped: a sink that cannot take a batch gets it again, for ever,
//! with a growing pause, and the journal keeps the events until then. Only a record that the sink declares poison is put
//! aside, into `dead-letter.jsonl` in the journal's folder.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::dead_letters::{DEAD_LETTER_FILE, DeadLetters, PutAside};
use crate::error_chain::Chain;
use crate::journal::{Events, Journal, ReadLimits, Sequence, Tail};
use crate::metrics::ShipMetrics;

/// How often the log is told that the sink still takes nothing: in an outage of hours, every attempt would fill it.
const REMINDER: Duration = Duration::from_secs(60);

/// Where an event was first written down, when it travels through something else that has positions of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// [`Journal::id`].
    pub journal: Arc<str>,
    /// Its sequence there.
    pub sequence: Sequence,
}

/// One record on its way.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Its position in the source it was read from.
    pub sequence: Sequence,
    /// Where it was written down; `None` when that is the source itself, or not known.
    pub origin: Option<Origin>,
    /// What the journal holds.
    pub payload: Vec<u8>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("sequence", &self.sequence)
            .field("origin", &self.origin)
            .field("bytes", &self.payload.len()) // the content belongs into no log
            .finish_non_exhaustive()
    }
}

/// Records that travel together.
pub struct Batch {
    /// [`Journal::id`], or the name of a partition: positions of different sources have nothing to do with each other.
    pub source: String,
    /// The first sequence that the batch covers.
    pub first: Sequence,
    /// The last one: the position to store.
    pub last: Sequence,
    /// In order; poisonous ones are left out of a second attempt. None where only the position moves, past what was put aside.
    pub records: Vec<Record>,
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = self.records.len(); // their content belongs into no log
        f.debug_struct("Batch")
            .field("first", &self.first)
            .field("last", &self.last)
            .field("records", &records)
            .finish_non_exhaustive()
    }
}

/// Why a sink did not take a batch. Nothing of it may have been stored.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// It may work later.
    #[error("the sink cannot take events now")]
    Retry(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// This record will never work; the others of the batch may.
    #[error("record {sequence} cannot be taken: {reason}")]
    Poison {
        /// Which one.
        sequence: Sequence,
        /// Why; without any content of the record.
        reason: String,
    },
}

/// Where events go.
pub trait EventSink: Send + 'static {
    /// The last sequence of this source that is stored, if there is one.
    fn position(&mut self, source: &str) -> impl Future<Output = Result<Option<Sequence>, SinkError>> + Send;

    /// Stores the events and `batch.last` as the position, all or nothing. May see an event again that it has.
    fn deliver(&mut self, batch: &Batch) -> impl Future<Output = Result<(), SinkError>> + Send;
}

/// How the shipper batches and waits.
#[derive(Clone, Copy, Debug)]
pub struct ShipConfig {
    /// How long an event waits for company. Also the least time between two deliveries, unless there is a backlog of full
    /// batches.
    pub linger: Duration,
    /// How much travels together.
    pub batch: ReadLimits,
    /// Pause after the first failure; doubles with each one that follows.
    pub first_retry: Duration,
    /// The longest pause.
    pub max_retry: Duration,
    /// How long a shutdown waits for the rest to be delivered.
    pub drain_deadline: Duration,
}

impl Default for ShipConfig {
    fn default() -> Self {
        Self {
            // An event is in the ledger before a person looks. A delivery costs the ledger as much as 50 events and one
            // wait for the disk, so half the time would be twice that (docs/decisions/ingest.md).
            linger: Duration::from_millis(40),
            batch: ReadLimits { max_records: 5_000, max_bytes: 8 << 20 }, // beyond this a transaction gains nothing
            first_retry: Duration::from_millis(100),
            max_retry: Duration::from_secs(5),
            drain_deadline: Duration::from_secs(5),
        }
    }
}

/// How shipping ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShipEnd {
    /// The sink has everything that was in the journal at the shutdown.
    Drained,
    /// It did not take all of it in time; the next start goes on from there.
    DeadlinePassed,
    /// The journal was closed or failed, and the sink has what could be read.
    JournalStopped,
}

/// Ships until `shutdown` resolves, then what is left, with the default settings.
pub async fn ship(
    journal: Journal,
    sink: impl EventSink,
    shutdown: impl Future<Output = ()> + Send,
) -> ShipEnd {
    ship_with(ShipConfig::default(), journal, sink, shutdown).await
}

/// Like [`ship`], with these settings.
pub async fn ship_with(
    config: ShipConfig,
    journal: Journal,
    sink: impl EventSink,
    shutdown: impl Future<Output = ()> + Send,
) -> ShipEnd {
    let (stop, stopping) = watch::channel(Phase::Running);
    let dead_letters = DeadLetters::in_folder(journal.folder());
    let metrics = ShipMetrics::new(journal.label());
    let shipper = Shipper { config, journal, sink, dead_letters, metrics, stopping, warned: None };
    let run = shipper.run();
    tokio::pin!(run, shutdown);
    tokio::select! {
        end = &mut run => return end,
        () = &mut shutdown => {}
    }
    stop.send_replace(Phase::Draining);
    timeout(config.drain_deadline, run).await.unwrap_or(ShipEnd::DeadlinePassed)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// Deliver what is there, then end.
    Draining,
}

struct Shipper<S> {
    config: ShipConfig,
    journal: Journal,
    sink: S,
    dead_letters: DeadLetters,
    metrics: ShipMetrics,
    stopping: watch::Receiver<Phase>,
    /// When the log was last told that the sink takes nothing; `None` once it takes something.
    warned: Option<Instant>,
}

impl<S: EventSink> Shipper<S> {
    async fn run(mut self) -> ShipEnd {
        let position = self.position().await;
        self.journal.release(position);
        let mut tail = self.journal.tail(position);
        let mut behind = false;
        loop {
            let mut stopping = self.stopping.clone();
            tokio::select! {
                biased;
                ready = tail.ready() => if ready.is_err() { return ShipEnd::JournalStopped },
                _ = stopping.wait_for(|phase| *phase == Phase::Draining) => return ShipEnd::Drained,
            }
            if !behind {
                tokio::select! {
                    () = sleep(self.config.linger) => {}
                    _ = stopping.wait_for(|phase| *phase == Phase::Draining) => {}
                }
            }
            let Some((returned, events)) = read(tail, self.config.batch).await else {
                return ShipEnd::JournalStopped;
            };
            tail = returned;
            behind = events.records.len() >= self.config.batch.max_records;
            self.ship_events(events).await;
        }
    }

    /// Asks the sink until it knows.
    async fn position(&mut self) -> Sequence {
        let mut pause = self.config.first_retry;
        let stored = loop {
            match self.sink.position(self.journal.id()).await {
                Ok(position) => break position.unwrap_or(Sequence::ZERO),
                Err(error) => self.pause(&mut pause, &error).await,
            }
        };
        let next = self.journal.stats().next_sequence;
        if stored >= next {
            // The folder was put back from a copy. The sink knows the events that it has; it must get the others.
            tracing::error!(%stored, %next, "ledger is ahead of the journal: all events in the journal are sent again");
            return Sequence::ZERO;
        }
        stored
    }

    async fn ship_events(&mut self, events: Events) {
        if let Some(gap) = events.gap {
            self.metrics.gaps.increment(1);
            tracing::error!(after = %gap.after, through = %gap.through, "events were deleted before the sink had them");
        }
        let (Some((first, _)), Some((last, _))) = (events.records.first(), events.records.last()) else {
            return;
        };
        let (first, last) = (*first, *last);
        let record = |(sequence, payload)| Record { sequence, origin: None, payload };
        let records = events.records.into_iter().map(record).collect();
        let mut batch = Batch { source: self.journal.id().to_owned(), first, last, records };
        let mut pause = self.config.first_retry;
        while !batch.records.is_empty() {
            match self.sink.deliver(&batch).await {
                Ok(()) => {
                    self.warned = None;
                    self.metrics
                        .shipped_records
                        .increment(u64::try_from(batch.records.len()).unwrap_or(u64::MAX));
                    break;
                }
                Err(SinkError::Poison { sequence, reason })
                    if self.put_aside(&mut batch, sequence, &reason) => {}
                Err(error) => self.pause(&mut pause, &error).await,
            }
        }
        self.journal.release(last);
    }

    /// Takes a poisonous record out of the batch. `false`: it is still in, because it could not be written or is not there.
    fn put_aside(&self, batch: &mut Batch, sequence: Sequence, reason: &str) -> bool {
        let Some(index) = batch.records.iter().position(|record| record.sequence == sequence) else {
            tracing::error!(%sequence, "sink names a poisonous record that is not in its batch");
            return false;
        };
        let Some(record) = batch.records.get(index) else { return false };
        match self.dead_letters.put(sequence, reason, &record.payload) {
            Ok(PutAside::Kept) => {
                tracing::error!(%sequence, reason, file = DEAD_LETTER_FILE, "event was put aside");
            }
            Ok(PutAside::FileFull) => {
                tracing::error!(%sequence, reason, file = DEAD_LETTER_FILE, "event is lost: the file is full");
            }
            Err(error) => {
                tracing::error!(%sequence, error = %Chain(&error), "event cannot be put aside");
                return false;
            }
        }
        self.metrics.dead_letters.increment(1);
        batch.records.remove(index);
        true
    }

    async fn pause(&mut self, pause: &mut Duration, error: &SinkError) {
        self.metrics.retries.increment(1);
        if self.warned.is_none_or(|last| last.elapsed() >= REMINDER) {
            self.warned = Some(Instant::now());
            tracing::warn!(error = %Chain(error), "events stay in the journal until they can be delivered");
        }
        sleep(*pause).await;
        *pause = pause.saturating_mul(2).min(self.config.max_retry);
    }
}

/// Reads on a thread that may block. `None` when the runtime is ending.
async fn read(mut tail: Tail, limits: ReadLimits) -> Option<(Tail, Events)> {
    tokio::task::spawn_blocking(move || {
        let events = tail.read(limits);
        (tail, events)
    })
    .await
    .ok()
}

#[cfg(test)]
mod tests;
