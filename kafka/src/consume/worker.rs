//! One partition on its way into the ledger, from the claim to its end.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use mindweave_eventlog::{EventSink, Sequence, SinkError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::collector::Collector;
use super::config::ConsumerConfig;
use super::dead_letters::DeadLetters;
use super::fetcher::Fetcher;
use super::health::Board;
use super::start::{Fault, Held, Start, next_offset, start};

/// How often the log is told that something still does not work: in an outage of hours, every attempt would fill it.
const REMINDER: Duration = Duration::from_secs(60);

pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// What all partitions of a consumer share.
pub(super) struct Parts {
    pub(super) config: ConsumerConfig,
    pub(super) fetcher: Fetcher,
    pub(super) dead_letters: DeadLetters,
    pub(super) board: Arc<Board>,
}

/// Why work on a partition stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The partition moves away, or the process stops.
    Stopping,
    /// The ledger is elsewhere than it was, or the partition is: begin with a new claim.
    Again,
}

/// Books one partition.
pub(super) struct Worker<S> {
    pub(super) parts: Arc<Parts>,
    pub(super) partition: i32,
    pub(super) sink: S,
    stop: watch::Receiver<bool>,
    /// The ledger's position, as it said or as our deliveries moved it.
    pub(super) ledger: Option<Sequence>,
    pause: Duration,
    /// When the log was last told that something does not work; `None` once it works.
    warned: Option<Instant>,
}

impl<S: EventSink> Worker<S> {
    /// Works until `stop` says so.
    pub(super) fn new(parts: Arc<Parts>, partition: i32, sink: S, stop: watch::Receiver<bool>) -> Self {
        let pause = parts.config.first_retry;
        Self { parts, partition, sink, stop, ledger: None, pause, warned: None }
    }

    /// Returns when it shall stop, with nothing of it in work. May be dropped at any point: what the sink was given and has
    /// not booked is read again by whoever claims the partition next.
    pub(super) async fn run(mut self) {
        let mut stop = self.stop.clone();
        loop {
            let begun = tokio::select! {
                biased;
                () = told(&mut stop) => return,
                begun = self.begin() => begun,
            };
            let ended = match begun {
                Ok((source, collector)) => self.consume(&source, collector).await,
                Err(ended) => Err(ended),
            };
            match ended {
                Err(Ended::Stopping) => return,
                Err(Ended::Again) => {}
                Ok(never) => match never {},
            }
        }
    }

    /// Claims the partition in the ledger and reads from where the ledger is.
    async fn begin(&mut self) -> Result<(String, Collector), Ended> {
        let parts = Arc::clone(&self.parts);
        let (fetcher, config) = (&parts.fetcher, &parts.config);
        let source = loop {
            match fetcher.source(self.partition).await {
                Ok(source) => break source,
                Err(error) => self.wait(chain(&error)).await?,
            }
        };
        self.ledger = loop {
            match self.claim(&source).await {
                Ok(position) => break position,
                Err(error) => self.wait(chain(&*error)).await?,
            }
        };
        let held = loop {
            match fetcher.held(self.partition).await {
                Ok(held) => break held,
                Err(error) => self.wait(chain(&error)).await?,
            }
        };
        let offset = self.place(held);
        let queue = loop {
            match fetcher.begin(self.partition, offset).await {
                Ok(queue) => break queue,
                Err(error) => self.wait(chain(&error)).await?,
            }
        };
        parts.board.ends(self.partition, held.end);
        parts.board.stored(self.partition, offset);
        tracing::info!(partition = self.partition, offset, end = held.end, "partition is read");
        Ok((source, Collector::new(queue, config.batch, config.linger)))
    }

    /// Asks the sink how far it is, which takes the partition over from whoever had it.
    pub(super) async fn claim(&mut self, source: &str) -> Result<Option<Sequence>, BoxError> {
        let claimed = timeout(self.parts.config.sink_timeout, self.sink.position(source)).await;
        match claimed {
            Ok(Ok(position)) => Ok(position),
            Ok(Err(SinkError::Retry(error))) => Err(error),
            Ok(Err(error @ SinkError::Poison { .. })) => Err(error.into()),
            Err(_) => Err("the ledger does not answer".into()),
        }
    }

    /// The offset to begin at.
    fn place(&self, held: Held) -> i64 {
        let Start { offset, fault } = start(self.ledger, held);
        let partition = self.partition;
        if let Some(fault) = fault {
            self.parts.board.metrics.fault(fault);
            match fault {
                Fault::Expired { missed } => {
                    tracing::error!(
                        partition,
                        missed,
                        first = offset,
                        "Kafka deleted messages before the ledger had them"
                    );
                }
                Fault::Replaced => {
                    tracing::error!(
                        partition,
                        position = %self.ledger.unwrap_or_default(),
                        end = held.end,
                        "ledger is ahead of the partition: all messages in it are read again"
                    );
                }
            }
        }
        offset
    }

    async fn consume(&mut self, source: &str, mut collector: Collector) -> Result<Infallible, Ended> {
        let mut stop = self.stop.clone();
        loop {
            let gathered = tokio::select! {
                biased;
                () = told(&mut stop) => return Err(Ended::Stopping),
                gathered = collector.next() => gathered,
            };
            let gathered = match gathered {
                Ok(gathered) => gathered,
                Err(error) => {
                    drop(collector);
                    let error = self.parts.fetcher.explain(error);
                    self.wait(chain(&error)).await?;
                    return Err(Ended::Again);
                }
            };
            let delivery = self.deliver(source, gathered);
            tokio::pin!(delivery);
            tokio::select! {
                biased;
                delivered = &mut delivery => delivered?,
                never = collector.prefetch() => match never {},
            }
        }
    }

    /// Tells of what failed, and waits before it is tried again: longer each time, until something is stored.
    pub(super) async fn wait(&mut self, error: String) -> Result<(), Ended> {
        let partition = self.partition;
        self.parts.board.metrics.retries.increment(1);
        if self.warned.is_none_or(|last| last.elapsed() >= REMINDER) {
            self.warned = Some(Instant::now());
            tracing::warn!(partition, error, "messages stay in Kafka until they can be booked");
        }
        self.parts.board.stalls(partition, error);
        let pause = self.pause;
        self.pause = pause.saturating_mul(2).min(self.parts.config.max_retry);
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            () = told(&mut stop) => Err(Ended::Stopping),
            () = sleep(pause) => Ok(()),
        }
    }

    /// Everything up to here is in the ledger.
    pub(super) fn stored(&mut self, through: Sequence, records: usize) {
        let board = &self.parts.board;
        board.metrics.batches.increment(1);
        board.metrics.records.increment(u64::try_from(records).unwrap_or(u64::MAX));
        board.stored(self.partition, next_offset(through));
        self.ledger = Some(through);
        self.pause = self.parts.config.first_retry;
        self.warned = None;
    }
}

/// Returns once it is said that something shall stop, or nobody is left to say it.
pub(super) async fn told(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

/// An error and what caused it, for people.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
