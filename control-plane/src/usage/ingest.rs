//! Events into the ledger, exactly once.
//!
//! One transaction moves the source's offset, stores the events that are new, and adds those to their sums and to the counters
//! of budgets. Whatever is delivered again - a batch whose acknowledgement was lost, a part of one, an event by another way -
//! is known by its event id and changes nothing. A consumer that was replaced finds its epoch gone and writes nothing;
//! so does one that knows the ledger to have been further, as before a failover to a standby that lagged.
//!
//! The offset tells a consumer where to go on; it does not decide what is new. A journal that was put back from a copy
//! gives sequences out again, below the offset, for events that nobody has seen. Only what went through the same claim
//! is skipped by sequence, because a claim sees one journal in order.
//!
//! On a server, transactions that book events run beside each other, but never beside one that changes what they go by: the
//! budgets, how far sums are closed and kept, how the tables are divided. Those take the ledger's lock alone, these share it. What
//! a transaction of this kind reads there therefore stays as it is until it ends. A deadlock, or a connection that is lost in whatever
//! moment, also that of the commit, is an attempt that failed: nothing here believes it to be booked, and the next attempt
//! finds by the events' ids what is.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use mindweave_eventlog::{Record, Sequence};
use mindweave_policy::EventPart;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::batch_items;
use super::counters::{Rules, RulesCache, Used, counters_move, rules_count, rules_counted};
use super::decode::{self, Decoded, Undecodable};
use super::dims::{Dim, DimCache, dims_ensure};
use super::live::{LiveEvents, arrivals_note};
use super::offsets::{self, Offset};
use super::store::{self, Sum};
use super::totals::Totals;
use crate::clock;
use crate::db::{Connection, Db, Doing, Engine, StoreError, Topic};
use crate::http::problem::chain;
use crate::metrics;
use crate::privacy::ErasedCache;
use crate::rollup::{Level, State, states_read};

/// Most events of one transaction in a file. Writers of the API wait for it, some ten milliseconds; with more, ingest gains
/// little and the API's writes miss their 50 ms.
const MAX_EVENTS_PER_TRANSACTION_SQLITE: usize = 500;
/// The same on a server, where a round trip and a commit cost more and the readers do not wait.
const MAX_EVENTS_PER_TRANSACTION_POSTGRES: usize = 5_000;
/// How long a transaction may take, when the server or the way to it is silent. The server itself gives up earlier.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(120);
/// How often a batch is tried that the server gives up for the sake of another transaction.
const MAX_TRIES: u32 = 5;
/// Events decoded before other tasks of the thread get their turn: about a tenth of a millisecond.
const DECODED_PER_TURN: usize = 32;

/// The right to book a source's events, until somebody else claims it.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    source: Arc<str>,
    /// The position is where the ledger must have the source, as far as this claim can know.
    offset: Offset,
    /// What was booked under this claim.
    through: Option<u64>,
    /// Whether the last batch held events that were known: it repeats something, and the next one will too.
    repeats: bool,
}

impl Claim {
    /// A claim of this epoch that was made before, perhaps through another process.
    pub(crate) fn resumed(source: &str, epoch: i64) -> Self {
        let offset = Offset { position: None, epoch };
        Self { source: source.into(), offset, through: None, repeats: false }
    }

    /// Which of the source's claims it is. Only the last one counts.
    pub(crate) fn epoch(&self) -> i64 {
        self.offset.epoch
    }

    /// The ledger has the source here.
    fn is_at(&mut self, position: Option<i64>) {
        self.offset.position = position.filter(|_| offsets::moves_alone(&self.source));
    }

    fn has(&self, sequence: u64) -> bool {
        self.through.is_some_and(|through| sequence <= through)
    }
}

/// Why a batch was not booked. What came before the failure may have been; delivering the batch again is right.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IngestError {
    /// Another consumer took the source over, or the ledger is not where this one left it: it has to ask where to go on.
    #[error("another consumer has taken over the source {0}, or the ledger was put back")]
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
    erased: Arc<ErasedCache>,
    counters_moved: Arc<Notify>,
}

impl Ingest {
    /// Books into this database and announces what was booked.
    pub(crate) fn new(db: Db, live: LiveEvents) -> Self {
        let (dims, rules, erased) = (Arc::default(), Arc::default(), Arc::default());
        Self { db, live, dims, rules, erased, counters_moved: Arc::default() }
    }

    /// Wakes one waiter after every commit that moved budget counters.
    pub(crate) fn counters_moved(&self) -> Arc<Notify> {
        Arc::clone(&self.counters_moved)
    }

    /// Takes a source over. Returns the last of its sequences that is booked.
    pub(crate) async fn claim(&self, source: &str) -> Result<(Claim, Option<u64>), StoreError> {
        let mut tx = self.db.begin_ingest().await?;
        let offset = offsets::offset_claim(&mut tx, source, clock::now()).await?;
        tx.commit().await.doing("committing a claim")?;
        let position = offset.position.and_then(|position| u64::try_from(position).ok());
        let mut claim = Claim::resumed(source, offset.epoch);
        claim.is_at(offset.position);
        Ok((claim, position))
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
        let most = match self.db.engine() {
            Engine::Sqlite => MAX_EVENTS_PER_TRANSACTION_SQLITE,
            Engine::Postgres => MAX_EVENTS_PER_TRANSACTION_POSTGRES,
        };
        let mut new = 0_usize;
        let mut rest = records;
        loop {
            let part = rest.split_off(..most.min(rest.len())).unwrap_or_default();
            let end = part.last().filter(|_| !rest.is_empty()).map_or(last, |record| record.sequence);
            new = new.saturating_add(self.apply_part(claim, part, end.get()).await?);
            if rest.is_empty() {
                return Ok(new);
            }
        }
    }

    /// Books records in one transaction, which is tried until it is committed or that makes no sense any more.
    async fn apply_part(
        &self,
        claim: &mut Claim,
        records: &[Record],
        end: u64,
    ) -> Result<usize, IngestError> {
        let mut tries = 1;
        loop {
            let (decoded, undecodable) = decode_all(records).await;
            let before = decoded.last().map(|event| event.sequence);
            let booked = match if undecodable.is_none() { Some(end) } else { before } {
                Some(end) => in_time(Box::pin(self.book(claim, decoded, end))).await,
                None => Ok(Some(0)),
            };
            match booked {
                Ok(Some(new)) => return undecodable.map_or(Ok(new), |undecodable| Err(undecodable.into())),
                Ok(None) => self.count_budgets().await?,
                Err(IngestError::Store(error)) if error.is_conflict() && tries < MAX_TRIES => {
                    tracing::debug!(error = %chain(&error), tries, "a batch is booked anew");
                    tries = tries.saturating_add(1);
                }
                Err(IngestError::Store(error)) if error.is_unfit() => {
                    return self.apply_halves(claim, records, end, error).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Books what can be booked of records among which the database refuses one, and names that one: it would hold up its source
    /// for ever. [`decode`] refuses what is known to be unfit; this is for what is not.
    async fn apply_halves(
        &self,
        claim: &mut Claim,
        records: &[Record],
        end: u64,
        error: StoreError,
    ) -> Result<usize, IngestError> {
        let (first, second) = records.split_at(records.len() / 2);
        let (Some(middle), Some(one)) = (first.last(), second.first()) else {
            let Some(unfit) = records.first() else { return Err(error.into()) };
            tracing::error!(error = %chain(&error), "the database cannot hold an event");
            let reason = "the database cannot hold it".to_owned();
            return Err(Undecodable { sequence: unfit.sequence.get(), reason }.into());
        };
        tracing::debug!(from = %one.sequence, "a batch is booked in halves");
        let new = Box::pin(self.apply_part(claim, first, middle.sequence.get())).await?;
        Ok(new.saturating_add(Box::pin(self.apply_part(claim, second, end)).await?))
    }

    /// Returns how many events were new; `None`, and books nothing, when budgets have to be counted first.
    async fn book(
        &self,
        claim: &mut Claim,
        mut events: Vec<Decoded<'_>>,
        end: u64,
    ) -> Result<Option<usize>, IngestError> {
        if claim.has(end) {
            return Ok(Some(0));
        }
        let started = tokio::time::Instant::now();
        let position = i64::try_from(end).map_err(|_| IngestError::Sequence(end))?;
        let delivered = events.len();
        let mut seen = HashSet::with_capacity(events.len());
        events.retain(|event| !claim.has(event.sequence) && seen.insert(event.fields.event_id));
        let offered = events.len();
        let mut tx = self.db.begin_ingest().await?;
        // First, because it is what tells whether this consumer may still write. It is undone with all the rest.
        let moved =
            offsets::offset_move(&mut tx, &claim.source, claim.offset, position, clock::now()).await?;
        let moved = moved.ok_or_else(|| IngestError::Fenced(Arc::clone(&claim.source)))?;
        let Some(rules) = self.rules(&mut tx, moved.budgets_revision).await? else { return Ok(None) };
        let erased = self.erased.of(&mut tx, moved.erasures_revision).await?;
        for event in &mut events {
            event.replace_erased(&erased)?;
        }
        book_downloads(&mut tx, &mut events).await?;
        let mut tx = store::events_insert(tx, &mut events, moved.last_landed, claim.repeats).await?;
        if moved.followed {
            arrivals_note(&mut tx, &events).await?;
        }
        let added = self.add_to_sums(&mut tx, &events, &rules).await?;
        tx.commit().await.doing("committing events")?;
        claim.through = Some(end);
        claim.is_at(Some(position));
        claim.repeats = events.len() < offered;
        self.dims.remember(added.numbered);
        if added.counters_moved {
            self.counters_moved.notify_one();
            self.db.news().tell(Topic::Counters);
        }
        if moved.followed {
            self.db.news().tell(Topic::Events);
        }
        metrics::events_ingested(events.len(), delivered.saturating_sub(events.len()));
        metrics::ingest_transaction(started.elapsed());
        self.live.announce(&events);
        Ok(Some(events.len()))
    }

    /// The budgets of this revision of theirs, which was read in this transaction; `None` when they are not counted yet.
    async fn rules(&self, tx: &mut Connection, revision: i64) -> Result<Option<Arc<Rules>>, StoreError> {
        if let Some(rules) = self.rules.get(revision) {
            return Ok(Some(rules));
        }
        let Some(rules) = rules_counted(tx).await? else { return Ok(None) };
        let rules = Arc::new(rules);
        self.rules.remember(revision, Arc::clone(&rules));
        Ok(Some(rules))
    }

    /// Counts budgets that were made or changed by somebody who did not, while no events are booked.
    async fn count_budgets(&self) -> Result<(), StoreError> {
        let mut tx = self.db.begin_write().await?;
        rules_count(&mut tx, clock::now()).await?;
        tx.commit().await.doing("committing the counting of budgets")
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
        let state = states_read(tx).await?;
        let dims: HashSet<_> = by_minute.keys().map(|(_, dim)| dim).collect();
        let unknown = dims.into_iter().filter(|dim| self.dims.get(dim).is_none()).cloned().collect();
        let numbered = dims_ensure(tx, unknown).await?;
        let mut minutes = Vec::with_capacity(by_minute.len());
        for ((bucket, dim), totals) in by_minute {
            let known = numbered.get(&dim).copied().or_else(|| self.dims.get(&dim));
            let dim_id = known.ok_or(StoreError::Corrupt { what: "a dimension" })?;
            minutes.push(Sum { bucket, dim_id, totals });
        }
        for level in [Level::Minute, Level::Hour, Level::Day] {
            store::sums_add(tx, level, &sums_of(level, &state, &minutes)).await?;
        }
        offsets::origins_move(tx, &origins_of(events), clock::now()).await?;
        counters_move(tx, &moves).await?;
        Ok(Added { numbered, counters_moved: !moves.is_empty() })
    }
}

/// A transaction that is left is rolled back, and found out about like any other that failed.
async fn in_time<T>(booking: impl Future<Output = Result<T, IngestError>>) -> Result<T, IngestError> {
    let silent = || sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
    match timeout(TRANSACTION_TIMEOUT, booking).await {
        Ok(booked) => booked,
        Err(_) => Ok(Err(silent()).doing("booking events")?),
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

/// How far these events, all of them new, show their journals to be in the ledger. In the order of the source, which is that of the
/// journals: one that was put back from a copy goes back here too. A replay moves nothing, because nothing in it is new.
fn origins_of<'e>(events: &'e [Decoded<'_>]) -> BTreeMap<&'e str, i64> {
    let mut last: BTreeMap<&str, (u64, i64)> = BTreeMap::new();
    for event in events {
        // Other sources than journals have colons in their names, and no producer may move those by pretending.
        let Some(origin) = event.origin.filter(|origin| !offsets::moves_alone(&origin.journal)) else {
            continue;
        };
        let Ok(position) = i64::try_from(origin.sequence.get()) else { continue };
        let known = last.entry(&origin.journal).or_insert((event.sequence, position));
        if known.0 <= event.sequence {
            *known = (event.sequence, position);
        }
    }
    last.into_iter().map(|(journal, (_, position))| (journal, position)).collect()
}

/// Decodes records until the first that cannot be.
async fn decode_all(records: &[Record]) -> (Vec<Decoded<'_>>, Option<Undecodable>) {
    let mut decoded = Vec::with_capacity(records.len());
    for run in records.chunks(DECODED_PER_TURN) {
        for record in run {
            match decode::decode(record) {
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
    let batches = events.iter().filter_map(|event| event.download.as_deref()?.batch.as_ref());
    let items = batches.flat_map(|batch| batch.items.iter().map(|item| (&*batch.batch_id, &*item.custom_id)));
    let items: BTreeSet<(&str, &str)> = items.collect();
    let items: Vec<_> = items.into_iter().collect();
    let mut new = store::batch_items_book(tx, &items, clock::now()).await?;
    for event in events {
        if let Some(download) = &mut event.download {
            batch_items::keep_only(download, &mut new);
            event.refresh()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
