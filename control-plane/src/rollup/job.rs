//! Closes hours and days. Idempotent: what is closed stays closed, an interrupted run is continued by the next.

use jiff::Timestamp;
use sqlx::AssertSqlSafe;

use super::level::{Level, State, states_read};
use crate::db::{Connection, Db, Doing, StoreError, sql};
use crate::usage::totals::{self, Totals};

/// How long after its end a bucket is closed. Events that arrive later are booked twice over (two or three rows in place
/// of one), which is right but dearer; two minutes cover the usual delay of a proxy.
const CLOSE_AFTER_MICROS: i64 = 2 * 60 * 1_000_000;
/// Most buckets closed in one transaction, so that ingest and the API get their turn.
const BUCKETS_PER_TRANSACTION: i64 = 24;

/// Closes every hour and day that has ended.
pub(crate) async fn rollup_run(db: &Db, now: Timestamp) -> Result<(), StoreError> {
    let until = now.as_microsecond().saturating_sub(CLOSE_AFTER_MICROS);
    close_through(db, Level::Hour, Level::Hour.floor(until)).await?;
    // Hours are closed through this moment: a day that ended before has all its hours.
    close_through(db, Level::Day, Level::Day.floor(until)).await
}

async fn close_through(db: &Db, level: Level, target: i64) -> Result<(), StoreError> {
    loop {
        let mut tx = db.begin_write().await?;
        let state = states_read(&mut tx).await?;
        let from = watermark(&state, level);
        if from >= target {
            return Ok(());
        }
        // Jump over the time before the first row: a new installation would otherwise walk from 1970.
        let first = first_bucket(&mut tx, below(level), from).await?;
        let start = first.map_or(target, |first| level.floor(first).clamp(from, target));
        let end = start.saturating_add(level.micros().saturating_mul(BUCKETS_PER_TRANSACTION)).min(target);
        sum_into(&mut tx, level, start, end).await?;
        sql::query("UPDATE rollup_state SET complete_until = ? WHERE level = ?")
            .bind(end)
            .bind(level.name())
            .execute(&mut *tx)
            .await
            .doing("moving a rollup watermark")?;
        tx.commit().await.doing("committing a rollup")?;
    }
}

fn watermark(state: &State, level: Level) -> i64 {
    match level {
        Level::Minute => i64::MAX, // minutes are never closed: ingest writes them
        Level::Hour => state.hour_complete_until,
        Level::Day => state.day_complete_until,
    }
}

/// The level that a level is summed from.
fn below(level: Level) -> Level {
    match level {
        Level::Minute | Level::Hour => Level::Minute,
        Level::Day => Level::Hour,
    }
}

async fn first_bucket(tx: &mut Connection, level: Level, from: i64) -> Result<Option<i64>, StoreError> {
    let sql = format!("SELECT min(bucket) FROM {} WHERE bucket >= ?", level.table());
    sql::query_scalar(AssertSqlSafe(sql)).bind(from).fetch_one(tx).await.doing("looking for unsummed usage")
}

/// Sums the level below into the rows of `start..end`, of which there are none yet.
async fn sum_into(tx: &mut Connection, level: Level, start: i64, end: i64) -> Result<(), StoreError> {
    let columns = Totals::COLUMNS.join(", ");
    let sql = format!(
        "INSERT INTO {table} (bucket, dim_id, {columns})
         SELECT {floor}, dim_id, {sums} FROM {source} WHERE bucket >= ? AND bucket < ? GROUP BY 1, 2",
        table = level.table(),
        floor = totals::floor_sql(level),
        sums = totals::sums_sql(),
        source = below(level).table(),
    );
    sql::query(AssertSqlSafe(sql)).bind(start).bind(end).execute(tx).await.doing("summing usage").map(drop)
}
