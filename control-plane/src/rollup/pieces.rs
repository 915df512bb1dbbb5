//! The pieces of the big tables on a server: made ahead of their time, compressed when they are quiet, dropped as a whole.
//!
//! Native partitions have to be made. What arrives for a time that has none, because it is late or somebody's clock is ahead,
//! lands in the partition for everything else, and moves when its own is made. Hypertables make theirs themselves, and can
//! be compressed; an event that arrives late for a compressed piece is added to it as to any other.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::AssertSqlSafe;
use tokio::time::sleep;

use super::level::Level;
use crate::db::{Connection, Db, Doing, Engine, StoreError, sql};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Pieces made ahead of the current one: the job that makes them may be away for as many days.
const AHEAD: i64 = 2;
/// How long a change of a table's pieces waits for whoever reads the table. Everybody else waits behind it meanwhile, ingest
/// too.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '2s'";
/// How often it is tried in a row, before the job's next turn.
const LOCK_TRIES: u32 = 5;
/// The pause between two of them, in which the others get their turn.
const LOCK_PAUSE: Duration = Duration::from_secs(3);

/// A table in pieces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Divided {
    pub(super) table: &'static str,
    /// The sums that it holds, if it does.
    level: Option<Level>,
    /// What it is divided by.
    column: &'static str,
    /// The age at which a piece is compressed: by then little arrives for it.
    compress_after: Duration,
}

/// Raw events.
pub(super) const EVENTS: Divided =
    Divided { table: "usage_events", level: None, column: "id_at", compress_after: DAY.saturating_mul(2) };
/// Sums by minute.
pub(super) const MINUTES: Divided = Divided {
    table: "usage_minute",
    level: Some(Level::Minute),
    column: "bucket",
    compress_after: DAY.saturating_mul(3),
};
/// Sums by hour.
pub(super) const HOURS: Divided = Divided {
    table: "usage_hour",
    level: Some(Level::Hour),
    column: "bucket",
    compress_after: DAY.saturating_mul(60),
};

/// A change of a table's pieces.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// The native partition that holds this moment.
    Make(i64),
    /// What lies before this moment goes. Of sums, only what the level above has, and the cut is written down with it: from
    /// then on nothing is added or read below it.
    Drop(i64),
}

/// Drops what lies before `cutoff`, by the piece.
pub(super) async fn pieces_drop(db: &Db, divided: Divided, cutoff: i64) -> Result<(), StoreError> {
    let cut = change(db, divided, Change::Drop(cutoff)).await?;
    if is_native(db).await? {
        // What was late beyond its time, and has no piece of its own.
        let Divided { table, column, .. } = divided;
        let sql = format!(
            "DELETE FROM {table}_default WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table}_default WHERE {column} < ? LIMIT ?))"
        );
        super::retention::delete_in_steps(db, &sql, cut).await?;
    }
    Ok(())
}

/// Makes the pieces of the coming days, and those of the time since `kept_from` for which something has arrived late.
pub(super) async fn pieces_make(
    db: &Db,
    divided: Divided,
    kept_from: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    if !is_native(db).await? {
        return Ok(());
    }
    for moment in missing(db, divided, kept_from, now.as_microsecond()).await? {
        let moved = change(db, divided, Change::Make(moment)).await?;
        tracing::info!(table = divided.table, from = moment, moved, "a partition was made");
    }
    Ok(())
}

/// Compresses the pieces that have become quiet, and those that something was added to since.
pub(super) async fn pieces_compress(db: &Db, divided: Divided, now: Timestamp) -> Result<(), StoreError> {
    if db.engine() == Engine::Sqlite || is_native(db).await? {
        return Ok(());
    }
    let before = super::retention::cutoff(now, divided.compress_after);
    let pieces: Vec<String> = sql::query_scalar(
        "SELECT piece FROM usage_pieces(?) WHERE ends <= ? AND EXISTS (SELECT FROM timescaledb_information.hypertables
             WHERE hypertable_name = ? AND compression_enabled)",
    )
    .bind(divided.table)
    .bind(before)
    .bind(divided.table)
    .fetch_all(db.readers())
    .await
    .doing("looking for pieces to compress")?;
    let mut done = Ok(());
    for piece in pieces {
        // Not under the write lock: it may take a minute, in which only events for this very piece wait.
        let sql = "SELECT compress_chunk(CAST($1 AS regclass), if_not_compressed => true)";
        done = done.and(db.run_long(sql, &piece).await.doing("compressing"));
    }
    done
}

/// Whether the tables are divided into native partitions.
async fn is_native(db: &Db) -> Result<bool, StoreError> {
    if db.engine() == Engine::Sqlite {
        return Ok(false);
    }
    let partitioning: String = sql::query_scalar("SELECT partitioning FROM usage_storage")
        .fetch_one(db.readers())
        .await
        .doing("reading how tables are divided")?;
    Ok(partitioning == "native")
}

/// Moments in the pieces that should be there and are not.
async fn missing(db: &Db, divided: Divided, kept_from: i64, now: i64) -> Result<Vec<i64>, StoreError> {
    let Divided { table, column, .. } = divided;
    let sql = format!(
        "WITH division AS (
             SELECT step, CAST(?1 AS BIGINT) - CAST(?1 AS BIGINT) % step AS current FROM usage_divisions WHERE table_name = ?2
         ), wanted AS (
             SELECT generate_series(current, current + {AHEAD} * step, step) AS first FROM division
             UNION
             SELECT {column} - {column} % step FROM {table}_default, division WHERE {column} >= ?3 AND {column} < current
         )
         SELECT first FROM wanted WHERE NOT EXISTS (SELECT FROM usage_pieces(?2) WHERE starts = first) ORDER BY first"
    );
    sql::query_scalar(AssertSqlSafe(sql))
        .bind(now)
        .bind(table)
        .bind(kept_from.max(0))
        .fetch_all(db.readers())
        .await
        .doing("looking for missing partitions")
}

/// Changes a table's pieces, with patience. Returns what [`make`] or [`drop_before`] does.
async fn change(db: &Db, divided: Divided, change: Change) -> Result<i64, StoreError> {
    let mut tries = 1;
    loop {
        match try_change(db, divided, change).await {
            Err(error) if error.is_busy() && tries < LOCK_TRIES => tries = tries.saturating_add(1),
            done => return done,
        }
        sleep(LOCK_PAUSE).await;
    }
}

async fn try_change(db: &Db, divided: Divided, change: Change) -> Result<i64, StoreError> {
    let mut tx = db.begin_write().await?;
    sql::query(LOCK_TIMEOUT).execute(&mut *tx).await.doing("limiting a wait")?;
    let done = match change {
        Change::Make(moment) => make(&mut tx, divided, moment).await?,
        Change::Drop(cutoff) => drop_before(&mut tx, divided, cutoff).await?,
    };
    tx.commit().await.doing("committing a change of pieces")?;
    Ok(done)
}

/// Returns how many rows moved into the new piece.
async fn make(tx: &mut Connection, divided: Divided, moment: i64) -> Result<i64, StoreError> {
    sql::query_scalar("SELECT coalesce(usage_partition_make(?, ?), 0)")
        .bind(divided.table)
        .bind(moment)
        .fetch_one(tx)
        .await
        .doing("making a partition")
}

/// Returns where the cut is. A piece that lies across it stays, unseen below it, until all of it has passed its time.
async fn drop_before(tx: &mut Connection, divided: Divided, cutoff: i64) -> Result<i64, StoreError> {
    let cut = match divided.level {
        Some(level) => super::retention::cut_move(tx, level, cutoff).await?,
        None => cutoff,
    };
    let dropped: i64 = sql::query_scalar("SELECT usage_pieces_drop(?, ?)")
        .bind(divided.table)
        .bind(cut)
        .fetch_one(tx)
        .await
        .doing("dropping what has passed its time")?;
    if dropped > 0 {
        tracing::info!(table = divided.table, before = cut, dropped, "pieces were dropped");
    }
    Ok(cut)
}

#[cfg(test)]
mod tests;
