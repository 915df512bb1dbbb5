//! One reading of the figures.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use mindweave_metering::QuotaId;
use mindweave_policy::CounterUsage;
use tokio::time::Instant;

use crate::clock;
use crate::db::{Connection, Db, Doing, Engine, StoreError, sql};
use crate::governance::budgets_revision;
use crate::stored::timestamp;
use crate::usage::counters::{
    Rules, RulesCache, StoredCounter, counters_current, counters_moved_after, last_move, rules_read,
};
use crate::usage::offsets;

/// What the ledger said at one moment.
#[derive(Debug)]
pub(super) struct Round {
    /// Which round of the task; 0 for a subscriber's own reading.
    pub(super) number: u64,
    /// When the reading began.
    pub(super) began: Instant,
    /// The same by the clock of the database, which all control planes share.
    pub(super) as_of: Timestamp,
    /// No counter moved after this move.
    pub(super) through: i64,
    /// Counters of current windows, each with the move that left it so.
    pub(super) counters: Vec<(i64, CounterUsage)>,
    /// The last sequence in the ledger, for each journal that was asked for and has one.
    pub(super) positions: HashMap<Arc<str>, u64>,
}

/// Reads the counters that moved after this move, or all that are current, and the positions of these journals.
pub(super) async fn read(
    db: &Db,
    rules: &RulesCache,
    moved: Option<i64>,
    journals: &[Arc<str>],
) -> Result<Round, StoreError> {
    let began = Instant::now();
    let mut tx = db.begin_read().await?;
    let as_of = ledger_clock(&mut tx).await?;
    let through = last_move(&mut tx).await?;
    let counters = match moved {
        Some(moved) if moved >= through => Vec::new(),
        _ => {
            let rules = current_rules(&mut tx, rules).await?;
            match moved {
                Some(moved) => current(&rules, counters_moved_after(&mut tx, moved).await?, as_of)?,
                None => all(&mut tx, &rules, as_of).await?,
            }
        }
    };
    let positions = positions(&mut tx, journals).await?;
    Ok(Round { number: 0, began, as_of, through, counters, positions })
}

/// The time, by the clock of the database: control planes' own may differ by seconds.
async fn ledger_clock(tx: &mut Connection) -> Result<Timestamp, StoreError> {
    if tx.engine() == Engine::Sqlite {
        return Ok(clock::now()); // the file's clock is this machine's
    }
    let now = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)";
    let now: i64 = sql::query_scalar(now).fetch_one(tx).await.doing("asking the ledger for the time")?;
    timestamp(now)
}

async fn current_rules(tx: &mut Connection, cache: &RulesCache) -> Result<Arc<Rules>, StoreError> {
    let revision = budgets_revision(tx).await?;
    if let Some(rules) = cache.get(revision) {
        return Ok(rules);
    }
    let rules = Arc::new(rules_read(tx).await?);
    cache.remember(revision, Arc::clone(&rules));
    Ok(rules)
}

async fn all(
    tx: &mut Connection,
    rules: &Rules,
    now: Timestamp,
) -> Result<Vec<(i64, CounterUsage)>, StoreError> {
    let stored = counters_current(tx, &rules.window_starts(now)).await?;
    let tell = |stored: StoredCounter| Ok((stored.moved, told(rules, stored)?));
    stored.into_iter().map(tell).collect()
}

/// Those whose window has not ended; late events move counters of windows that nobody is held to any more.
fn current(
    rules: &Rules,
    moved: Vec<StoredCounter>,
    now: Timestamp,
) -> Result<Vec<(i64, CounterUsage)>, StoreError> {
    let mut starts: HashMap<QuotaId, i64> = HashMap::new();
    let mut counters = Vec::with_capacity(moved.len());
    for stored in moved {
        let (start, move_number, counter) = (stored.window_start, stored.moved, told(rules, stored)?);
        let Some(rule) = rules.get(&counter.quota_id) else { continue };
        let current =
            starts.entry(counter.quota_id.clone()).or_insert_with(|| rule.window(now.as_microsecond()).0);
        if start >= *current {
            counters.push((move_number, counter));
        }
    }
    Ok(counters)
}

fn told(rules: &Rules, stored: StoredCounter) -> Result<CounterUsage, StoreError> {
    let (quota_id, window_start) = (QuotaId::new(stored.quota_id), timestamp(stored.window_start)?);
    let definition = rules.get(&quota_id).map_or(0, |rule| rule.definition);
    Ok(CounterUsage { quota_id, subject: stored.subject.into(), window_start, used: stored.used, definition })
}

async fn positions(tx: &mut Connection, journals: &[Arc<str>]) -> Result<HashMap<Arc<str>, u64>, StoreError> {
    let known = offsets::positions_read(tx, journals).await?;
    let number = |(source, position): (String, i64)| Some((source.into(), u64::try_from(position).ok()?));
    Ok(known.into_iter().filter_map(number).collect())
}
