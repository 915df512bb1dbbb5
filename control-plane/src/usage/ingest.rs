//! Events into the ledger, exactly once.
//!
//! One transaction moves the source's offset, stores the events that are new, and adds those to their sums. Whatever is
//! delivered again - a batch whose acknowledgement was lost, a part of one, an event by another way - is known by its event
//! id and changes nothing. A consumer that was replaced finds its epoch gone and writes nothing.
//!
//! The offset tells a consumer where to go on; it does not decide what is new. A journal that was put back from a copy
//! gives sequences out again, below the offset, for events that nobody has seen. Only what went through the same claim
//! is skipped by sequence, because a claim sees one journal in order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use mindweave_eventlog::Sequence;
use sqlx::SqliteConnection;

use super::batch_items;
use super::decode::{self, Decoded, Undecodable};
use super::dims::{Dim, DimCache, dim_ensure};
use super::live::LiveEvents;
use super::offsets;
use super::store::{self, Sum};
use super::totals::Totals;
use crate::clock;
use crate::db::{Db, Doing, StoreError};
use crate::metrics;
use crate::rollup::{Level, State, states_read};

/// Most events of one transaction. Writers of the API wait for it, some ten milliseconds; with more, ingest gains little
/// (about 30 000 events/s on one core either way) and the API's writes miss their 50 ms.
const MAX_EVENTS_PER_TRANSACTION: usize = 500;

/// The right to book a source's events, until somebody else claims it.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    source: Arc<str>,
    epoch: i64,
    /// What was booked under this claim.
    through: Option<u64>,
}

impl Claim {
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
    /// The process is ending.
    #[error("the decoder was stopped")]
    Stopped,
}

/// Books events. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Ingest {
    db: Db,
    live: LiveEvents,
    dims: Arc<DimCache>,
}

impl Ingest {
    /// Books into this database and announces what was booked.
    pub(crate) fn new(db: Db, live: LiveEvents) -> Self {
        Self { db, live, dims: Arc::new(DimCache::default()) }
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
        records: &[(Sequence, Vec<u8>)],
        last: Sequence,
    ) -> Result<usize, IngestError> {
        let mut new = 0_usize;
        let mut parts = records.chunks(MAX_EVENTS_PER_TRANSACTION).peekable();
        while let Some(part) = parts.next() {
            let end =
                if parts.peek().is_none() { Some(last) } else { part.last().map(|(sequence, _)| *sequence) };
            let (decoded, undecodable) = decode_all(part.to_vec()).await?;
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

    async fn book(&self, claim: &mut Claim, events: Vec<Decoded>, end: u64) -> Result<usize, IngestError> {
        if claim.has(end) {
            return Ok(0);
        }
        let started = tokio::time::Instant::now();
        let position = i64::try_from(end).map_err(|_| IngestError::Sequence(end))?;
        let fenced = || IngestError::Fenced(Arc::clone(&claim.source));
        let delivered = events.len();
        let mut tx = self.db.begin_write().await?;
        let offset = offsets::offset_view(&mut tx, &claim.source).await?.ok_or_else(fenced)?;
        if offset.epoch != claim.epoch {
            return Err(fenced());
        }
        let mut events = only_new(&mut tx, events, claim).await?;
        for decoded in &mut events {
            book_batch(&mut tx, decoded).await?;
        }
        store::events_insert(&mut tx, &events).await?;
        let numbered = self.add_to_sums(&mut tx, &events).await?;
        if !offsets::offset_move(&mut tx, &claim.source, offset, position, clock::now()).await? {
            return Err(fenced());
        }
        tx.commit().await.doing("committing events")?;
        claim.through = Some(end);
        self.dims.remember(numbered);
        metrics::events_ingested(events.len(), delivered.saturating_sub(events.len()));
        metrics::ingest_transaction(started.elapsed());
        self.live.announce(&events);
        Ok(events.len())
    }

    /// Adds events to every level they belong to. Returns the dimensions that got a number.
    async fn add_to_sums(
        &self,
        tx: &mut SqliteConnection,
        events: &[Decoded],
    ) -> Result<HashMap<Dim, i64>, StoreError> {
        let mut by_minute: HashMap<(i64, Dim), Totals> = HashMap::new();
        for Decoded { event, .. } in events {
            let minute = Level::Minute.floor(event.timestamp.as_microsecond());
            by_minute.entry((minute, Dim::of(event))).or_default().add(&Totals::of(event));
        }
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
        Ok(numbered)
    }
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

/// Decodes records until the first that cannot be. Away from the async threads, which serve traffic.
async fn decode_all(
    records: Vec<(Sequence, Vec<u8>)>,
) -> Result<(Vec<Decoded>, Option<Undecodable>), IngestError> {
    let decoding = tokio::task::spawn_blocking(move || {
        let mut decoded = Vec::with_capacity(records.len());
        for (sequence, payload) in &records {
            match decode::decode(sequence.get(), payload) {
                Ok(event) => decoded.push(event),
                Err(undecodable) => return (decoded, Some(undecodable)),
            }
        }
        (decoded, None)
    });
    decoding.await.map_err(|_| IngestError::Stopped)
}

/// Leaves out what this claim has booked, what the ledger knows by its id, and repetitions inside the batch.
async fn only_new(
    tx: &mut SqliteConnection,
    mut events: Vec<Decoded>,
    claim: &Claim,
) -> Result<Vec<Decoded>, StoreError> {
    events.retain(|decoded| !claim.has(decoded.sequence));
    let existing = store::events_existing(tx, &events).await?;
    let mut seen = HashSet::with_capacity(events.len());
    events.retain(|decoded| {
        let id = decoded.event.event_id;
        !existing.contains(id.as_bytes().as_slice()) && seen.insert(id)
    });
    Ok(events)
}

/// Books the batch items of an event and takes those out that were booked before.
async fn book_batch(tx: &mut SqliteConnection, decoded: &mut Decoded) -> Result<(), IngestError> {
    if decoded.event.batch.is_none() {
        return Ok(());
    }
    let new = store::batch_items_book(tx, &decoded.event, clock::now()).await?;
    batch_items::keep_only(&mut decoded.event, new);
    let sequence = decoded.sequence;
    decoded.json = decode::to_json(&decoded.event)
        .map_err(|error| Undecodable { sequence, reason: format!("{:?} error", error.classify()) })?;
    Ok(())
}

#[cfg(test)]
mod tests;
