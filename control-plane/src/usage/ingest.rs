//! Events into the ledger, exactly once.
//!
//! One transaction moves the source's offset, stores the events that are new, and adds those to their sums and to the counters
//! of budgets. Whatever is delivered again - a batch whose acknowledgement was lost, a part of one, an event by another way -
//! is known by its event id and changes nothing. A consumer that was replaced finds its epoch gone and writes nothing.
//!
//! The offset tells a consumer where to go on; it does not decide what is new. A journal that was put back from a copy
//! gives sequences out again, below the offset, for events that nobody has seen. Only what went through the same claim
//! is skipped by sequence, because a claim sees one journal in order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use mindweave_eventlog::{Record, Sequence};
use mindweave_policy::EventPart;
use tokio::sync::Notify;

use super::batch_items;
use super::counters::{Rules, RulesCache, Used, counters_move, rules_count};
use super::decode::{self, Decoded, Undecodable};
use super::dims::{Dim, DimCache, dim_ensure};
use super::live::LiveEvents;
use super::offsets;
use super::store::{self, Sum};
use super::totals::Totals;
use crate::clock;
use crate::db::{Connection, Db, Doing, StoreError};
use crate::metrics;
use crate::rollup::{Level, State, states_read};

/// Most events of one transaction. Writers of the API wait for it, some ten milliseconds; with more, ingest gains little
/// and the API's writes miss their 50 ms.
const MAX_EVENTS_PER_TRANSACTION: usize = 500;
/// Events decoded before other tasks of the thread get their turn: about a tenth of a millisecond.
const DECODED_PER_TURN: usize = 32;

/// The right to book a source's events, until somebody else claims it.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    source: Arc<str>,
    epoch: i64,
    /// What was booked under this claim.
    through: Option<u64>,
}

impl Claim {
    /// A claim of this epoch that was made before, perhaps through another process.
    pub(crate) fn resumed(source: &str, epoch: i64) -> Self {
        Self { source: source.into(), epoch, through: None }
    }

    /// Which of the source's claims it is. Only the last one counts.
    pub(crate) fn epoch(&self) -> i64 {
        self.epoch
    }

    fn has(&self, sequence: u64) -> bool {
        self.through.is_some_and(|through| sequence <= through)
    }
}

/// Why a batch was not booked. What came before the failure may have been; delivering the batch again is right.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IngestError {
    /// Another consumer took the source over.
    #[error("another consumer has taken over the source {0}")]
    Fenced(Arc<str>),
    /// A record can never be booked. What precedes it was.
    #[error(transparent)]
    Undecodable(#[from] Undecodable),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A sequence does not fit the database.
    #[error("the sequence {0} is out of range")]
    Sequence(u64),
}

/// Books events. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Ingest {
    db: Db,
    live: LiveEvents,
    dims: Arc<DimCache>,
    rules: Arc<RulesCache>,
    counters_moved: Arc<Notify>,
}

impl Ingest {
    /// Books into this database and announces what was booked.
    pub(crate) fn new(db: Db, live: LiveEvents) -> Self {
        Self { db, live, dims: Arc::default(), rules: Arc::default(), counters_moved: Arc::default() }
    }

    /// Wakes one waiter after every commit that moved budget counters.
    pub(crate) fn counters_moved(&self) -> Arc<Notify> {
        Arc::clone(&self.counters_moved)
    }

    /// Takes a source over. Returns the last of its sequences that is booked.
    pub(crate) async fn claim(&self, source: &str) -> Result<(Claim, Option<u64>), StoreError> {
        let mut tx = self.db.begin_write().await?;
        let offset = offsets::offset_claim(&mut tx, source, clock::now()).await?;
        tx.commit().await.doing("committing a claim")?;
        let position = offset.position.and_then(|position| u64::try_from(position).ok());
        Ok((Claim { source: source.into(), epoch: offset.epoch, through: None }, position))
    }

    /// Books records, which are in ascending order, and moves the source's offset to `last`. Returns how many were new.
    ///
    /// May be dropped at any point: what is not committed is rolled back as a whole.
    ///
    /// # Errors
    /// See [`IngestError`].
    pub(crate) async fn apply(
        &self,
        claim: &mut Claim,
        records: &[Record],
        last: Sequence,
    ) -> Result<usize, IngestError> {
        let mut new = 0_usize;
        let mut parts = records.chunks(MAX_EVENTS_PER_TRANSACTION).peekable();
        while let Some(part) = parts.next() {
            let end =
                if parts.peek().is_none() { Some(last) } else { part.last().map(|record| record.sequence) };
            let (decoded, undecodable) = decode_all(part).await;
            let end = if undecodable.is_none() {
                end.map(Sequence::get)
            } else {
                decoded.last().map(|row| row.sequence)
            };
            if let Some(end) = end {
                new = new.saturating_add(self.book(claim, decoded, end).await?);
            }
            if let Some(undecodable) = undecodable {
                return Err(undecodable.into());
            }
        }
        Ok(new)
    }

    async fn book(
        &self,
        claim: &mut Claim,
        mut events: Vec<Decoded<'_>>,
        end: u64,
    ) -> Result<usize, IngestError> {
        if claim.has(end) {
            return Ok(0);
        }
        let started = tokio::time::Instant::now();
        let position = i64::try_from(end).map_err(|_| IngestError::Sequence(end))?;
        let delivered = events.len();
        let mut seen = HashSet::with_capacity(events.len());
        events.retain(|event| !claim.has(event.sequence) && seen.insert(event.fields.event_id));
        let mut tx = self.db.begin_ingest().await?;
        // First, because it is what tells whether this consumer may still write. It is undone with all the rest.
        let moved = offsets::offset_move(&mut tx, &claim.source, claim.epoch, position, clock::now()).await?;
        let moved = moved.ok_or_else(|| IngestError::Fenced(Arc::clone(&claim.source)))?;
        // Before anything is added to the sums, of which budgets that are new are counted.
        let rules = self.rules(&mut tx, moved.budgets_revision).await?;
        book_downloads(&mut tx, &mut events).await?;
        insert_new(&mut tx, &mut events, moved.last_landed).await?;
        let added = self.add_to_sums(&mut tx, &events, &rules).await?;
        tx.commit().await.doing("committing events")?;
        claim.through = Some(end);
        self.dims.remember(added.numbered);
        self.rules.remember(moved.budgets_revision, rules);
        if added.counters_moved {
            self.counters_moved.notify_one();
        }
        metrics::events_ingested(events.len(), delivered.saturating_sub(events.len()));
        metrics::ingest_transaction(started.elapsed());
        self.live.announce(&events);
        Ok(events.len())
    }

    /// The budgets of this revision of theirs, which was read in this transaction.
    async fn rules(&self, tx: &mut Connection, revision: i64) -> Result<Arc<Rules>, StoreError> {
        match self.rules.get(revision) {
            Some(rules) => Ok(rules),
            None => Ok(Arc::new(rules_count(tx, clock::now()).await?)),
        }
    }

    /// Adds events to every level they belong to, and to the counters of budgets.
    async fn add_to_sums<'a>(
        &self,
        tx: &mut Connection,
        events: &'a [Decoded<'_>],
        rules: &Rules,
    ) -> Result<Added<'a>, StoreError> {
        let mut by_minute = ByMinute::new();
        for event in events {
            add_event(&mut by_minute, event);
        }
        let used = by_minute.iter().map(|((minute, dim), totals)| (*minute, dim, Used::of(totals)));
        let moves = rules.moves(used, clock::now());
        counters_move(tx, &moves).await?;
        let state = states_read(tx).await?;
        let mut numbered = HashMap::new();
        let mut minutes = Vec::with_capacity(by_minute.len());
        for ((bucket, dim), totals) in by_minute {
            let known = self.dims.get(&dim).or_else(|| numbered.get(&dim).copied());
            let dim_id = match known {
                Some(dim_id) => dim_id,
                None => {
                    let dim_id = dim_ensure(tx, &dim).await?;
                    numbered.insert(dim, dim_id);
                    dim_id
                }
            };
            minutes.push(Sum { bucket, dim_id, totals });
        }
        for level in [Level::Minute, Level::Hour, Level::Day] {
            store::sums_add(tx, level, &sums_of(level, &state, &minutes)).await?;
        }
        Ok(Added { numbered, counters_moved: !moves.is_empty() })
    }
}

/// Sums by minute and what they are kept apart by.
type ByMinute<'a> = HashMap<(i64, Dim<'a>), Totals>;

/// Adds an event: whole under its model, a download of several models' batch results by item under each item's.
fn add_event<'a>(sums: &mut ByMinute<'a>, event: &'a Decoded<'_>) {
    let Decoded { fields, download, .. } = event;
    let minute = Level::Minute.floor(fields.timestamp.as_microsecond());
    let (dim, whole) = (Dim::of(fields), Totals::of(fields));
    let several = download.as_deref().filter(|_| dim.model().is_none() && whole.denied == 0);
    let Some(download) = several else {
        sums.entry((minute, dim)).or_default().add(&whole);
        return;
    };
    for (place, part) in EventPart::all(download).into_iter().enumerate() {
        // One request, in the first part; the figures add up to the event's.
        let counted = if place == 0 { whole } else { Totals::default() };
        let dim = dim.clone().of_model(part.model.as_deref());
        sums.entry((minute, dim)).or_default().add(&counted.with_figures_of(&part));
    }
}

/// What a transaction must tell once it is committed.
struct Added<'a> {
    /// The dimensions that got a number.
    numbered: HashMap<Dim<'a>, i64>,
    counters_moved: bool,
}

/// The sums that belong into rows of a level, given those by minute.
fn sums_of(level: Level, state: &State, minutes: &[Sum]) -> Vec<Sum> {
    let mut sums: HashMap<(i64, i64), Totals> = HashMap::new();
    for sum in minutes.iter().filter(|sum| state.books(level, sum.bucket)) {
        sums.entry((level.floor(sum.bucket), sum.dim_id)).or_default().add(&sum.totals);
    }
    let mut sums: Vec<_> =
        sums.into_iter().map(|((bucket, dim_id), totals)| Sum { bucket, dim_id, totals }).collect();
    sums.sort_unstable_by_key(|sum| (sum.bucket, sum.dim_id)); // in the order of the table's key
    sums
}

/// The sequence of an event in the journal where it was written down.
fn own_sequence(record: &Record) -> u64 {
    record.origin.as_ref().map_or(record.sequence, |origin| origin.sequence).get()
}

/// Decodes records until the first that cannot be.
async fn decode_all(records: &[Record]) -> (Vec<Decoded<'_>>, Option<Undecodable>) {
    let mut decoded = Vec::with_capacity(records.len());
    for run in records.chunks(DECODED_PER_TURN) {
        for record in run {
            let (sequence, own) = (record.sequence.get(), own_sequence(record));
            match decode::decode(sequence, own, &record.payload) {
                Ok(event) => decoded.push(event),
                Err(undecodable) => return (decoded, Some(undecodable)),
            }
        }
        tokio::task::yield_now().await;
    }
    (decoded, None)
}

/// Books the items of downloads of batch results and takes those out that were booked before. A download that is in the
/// ledger itself is left out: all its items were.
async fn book_downloads(tx: &mut Connection, events: &mut Vec<Decoded<'_>>) -> Result<(), IngestError> {
    let downloads = events.iter().filter(|event| event.download.is_some());
    let ids: Vec<_> = downloads.map(|event| event.fields.event_id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let existing = store::events_existing(tx, &ids).await?;
    events.retain(|event| !existing.contains(event.fields.event_id.as_bytes().as_slice()));
    for event in events {
        let Some(download) = &mut event.download else { continue };
        let new = store::batch_items_book(tx, download, clock::now()).await?;
        batch_items::keep_only(download, new);
        event.refresh()?;
    }
    Ok(())
}

/// Stores events and leaves out those that the ledger knows by their id, which is rare: it is not asked beforehand.
async fn insert_new(
    tx: &mut Connection,
    events: &mut Vec<Decoded<'_>>,
    last_landed: i64,
) -> Result<(), StoreError> {
    let inserted = store::events_insert(tx, events).await?;
    if inserted < events.len() {
        let new = store::events_after(tx, last_landed).await?;
        events.retain(|event| new.contains(event.fields.event_id.as_bytes().as_slice()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
