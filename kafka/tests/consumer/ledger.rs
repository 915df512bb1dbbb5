//! A ledger in memory that keeps the control plane's promises: one transaction moves a source's position and books the events
//! that are new by their id; a claim fences whoever had the source before; what precedes a poisonous record is booked.
//!
//! A transaction runs on when its caller is gone, as in a database.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use mindweave_eventlog::{Batch, EventSink, Origin, Record, Sequence, SinkError};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::eventually;

/// As in the control plane.
const RECORDS_PER_TRANSACTION: usize = 500;
/// What makes a payload one that can never be booked.
pub(crate) const POISON: &str = "poison";

#[derive(Clone)]
pub(crate) struct Ledger {
    state: Arc<Mutex<State>>,
    mode: watch::Sender<Mode>,
}

/// What the ledger does with what it is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mode {
    /// Refuses everything.
    pub(crate) down: bool,
    /// Transactions of these sinks wait.
    pub(crate) held: BTreeSet<&'static str>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) sources: HashMap<String, Source>,
    /// Events in the order in which they were booked.
    pub(crate) booked: Vec<Booked>,
    known: BTreeSet<String>,
    /// Records of committed transactions whose event was known.
    pub(crate) again: usize,
    /// Transactions that were refused because somebody else had claimed the source.
    pub(crate) fenced: usize,
    pub(crate) deliveries: usize,
    /// Records that were looked into.
    pub(crate) decoded: usize,
    /// By sink.
    pub(crate) booked_by: BTreeMap<&'static str, usize>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Source {
    pub(crate) position: Option<u64>,
    epoch: u64,
    /// What was booked under this epoch.
    through: Option<u64>,
}

pub(crate) struct Booked {
    pub(crate) source: String,
    pub(crate) sequence: u64,
    pub(crate) origin: Option<Origin>,
    pub(crate) event: String,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self { state: Arc::default(), mode: watch::channel(Mode::default()).0 }
    }

    pub(crate) fn sink(&self, name: &'static str) -> LedgerSink {
        LedgerSink { ledger: self.clone(), name, claims: HashMap::new() }
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Mode)) {
        self.mode.send_modify(change);
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state.lock())
    }

    /// As if the database had been put back from a copy: all claims are void.
    pub(crate) fn put_back(&self, position: impl Fn(Option<u64>) -> Option<u64>) {
        for source in self.state.lock().sources.values_mut() {
            *source =
                Source { position: position(source.position), epoch: source.epoch + 100, through: None };
        }
    }

    pub(crate) fn set_position(&self, source: &str, position: u64) {
        self.state.lock().sources.entry(source.to_owned()).or_default().position = Some(position);
    }

    /// The position of a partition whose source ends like this.
    pub(crate) fn position(&self, end_of_source: &str) -> Option<u64> {
        let state = self.state.lock();
        let found = state.sources.iter().find(|(source, _)| source.ends_with(end_of_source));
        found.and_then(|(_, source)| source.position)
    }

    pub(crate) async fn holds(&self, count: usize) {
        eventually(&format!("the ledger holds {count} events"), || {
            let held = self.read(|state| state.booked.len());
            (held >= count).then_some(()).ok_or_else(|| format!("{held} events"))
        })
        .await;
    }

    /// Waits until nothing is missing, then holds everything to the truth: each event once, and each partition in order.
    pub(crate) async fn equals(&self, truth: &[String]) {
        self.holds(truth.len()).await;
        let state = self.state.lock();
        let booked: BTreeSet<&str> = state.booked.iter().map(|booked| booked.event.as_str()).collect();
        assert_eq!(booked.len(), state.booked.len(), "each event once");
        let truth: BTreeSet<&str> = truth.iter().map(String::as_str).collect();
        assert!(booked == truth, "missing {:?}", truth.difference(&booked).take(5).collect::<Vec<_>>());
        let mut last: HashMap<&str, u64> = HashMap::new();
        for booked in &state.booked {
            let before = last.insert(&booked.source, booked.sequence);
            assert!(before.is_none_or(|before| before < booked.sequence), "{} is in order", booked.source);
        }
    }

    fn commit(&self, name: &'static str, source: &str, epoch: u64, records: &[Record], end: u64) -> bool {
        let mut state = self.state.lock();
        let State { sources, booked, known, again, fenced, booked_by, .. } = &mut *state;
        let position = sources.entry(source.to_owned()).or_default();
        if position.epoch != epoch {
            *fenced += 1;
            return false;
        }
        if position.through.is_some_and(|through| end <= through) {
            return true;
        }
        for record in records {
            let sequence = record.sequence.get();
            if position.through.is_some_and(|through| sequence <= through) {
                continue;
            }
            let event = String::from_utf8(record.payload.clone()).expect("events of tests are text");
            if known.insert(event.clone()) {
                booked.push(Booked {
                    source: source.to_owned(),
                    sequence,
                    origin: record.origin.clone(),
                    event,
                });
                *booked_by.entry(name).or_default() += 1;
            } else {
                *again += 1;
            }
        }
        position.position = Some(end);
        position.through = Some(end);
        true
    }

    async fn deliver(
        self,
        name: &'static str,
        source: String,
        epoch: u64,
        records: Vec<Record>,
        last: u64,
    ) -> Result<(), SinkError> {
        self.state.lock().deliveries += 1;
        let mut mode = self.mode.subscribe();
        let now = mode.wait_for(|mode| !mode.held.contains(name)).await.expect("a ledger").clone();
        if now.down {
            return Err(SinkError::Retry("the database is down".into()));
        }
        if records.is_empty() && !self.commit(name, &source, epoch, &[], last) {
            return Err(SinkError::Retry("somebody else has claimed the source".into()));
        }
        let parts = records.len().div_ceil(RECORDS_PER_TRANSACTION);
        for (number, part) in records.chunks(RECORDS_PER_TRANSACTION).enumerate() {
            let poison = part.iter().position(|record| record.payload.starts_with(POISON.as_bytes()));
            self.state.lock().decoded += poison.map_or(part.len(), |index| index + 1);
            let good = &part[..poison.unwrap_or(part.len())];
            let end = match (poison, number + 1 == parts) {
                (None, true) => Some(last),
                _ => good.last().map(|record| record.sequence.get()),
            };
            if let Some(end) = end
                && !self.commit(name, &source, epoch, good, end)
            {
                return Err(SinkError::Retry("somebody else has claimed the source".into()));
            }
            if let Some(index) = poison {
                return Err(SinkError::Poison {
                    sequence: part[index].sequence,
                    reason: "not an event".to_owned(),
                });
            }
        }
        Ok(())
    }
}

pub(crate) struct LedgerSink {
    ledger: Ledger,
    name: &'static str,
    claims: HashMap<String, u64>,
}

impl EventSink for LedgerSink {
    async fn position(&mut self, source: &str) -> Result<Option<Sequence>, SinkError> {
        if self.ledger.mode.borrow().down {
            return Err(SinkError::Retry("the database is down".into()));
        }
        let mut state = self.ledger.state.lock();
        let found = state.sources.entry(source.to_owned()).or_default();
        found.epoch += 1;
        found.through = None;
        self.claims.insert(source.to_owned(), found.epoch);
        Ok(found.position.map(Sequence::new))
    }

    async fn deliver(&mut self, batch: &Batch) -> Result<(), SinkError> {
        assert!(batch.records.is_sorted_by_key(|record| record.sequence));
        assert!(batch.records.last().is_none_or(|record| record.sequence <= batch.last));
        let epoch = self.claims[&batch.source];
        let (source, records, last) = (batch.source.clone(), batch.records.clone(), batch.last.get());
        let transaction = self.ledger.clone().deliver(self.name, source, epoch, records, last);
        tokio::spawn(transaction).await.expect("a transaction does not panic")
    }
}

/// How long things may take on a machine with other work.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
