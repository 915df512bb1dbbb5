//! Drops what is older than it is kept. Sums are never touched by the end of what they were made from.

mod projects;

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use sqlx::AssertSqlSafe;

use super::level::{Level, states_read};
use super::pieces::{self, pieces_compress, pieces_drop, pieces_make};
use crate::db::{Connection, Db, Doing, Engine, StoreError, sql};
use crate::usage::counters::counters_expire;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Rows deleted in one transaction, so that ingest and the API get their turn.
const ROWS_PER_TRANSACTION: i64 = 1_000;
/// How long a booked batch item is remembered. The API keeps results for 29 days after a batch was made, so no later
/// download can bring the item again.
const BATCH_ITEMS: Duration = DAY.saturating_mul(60);

/// On a server raw events go by the day that their ids were made on, at the begin of their requests. What ended in the time
/// that is kept may have begun so much earlier; so it is also longer than any topic keeps what could be delivered again.
const LONGEST_REQUEST_MICROS: i64 = 86_400_000_000;

/// How long each kind of row is kept. Days are kept for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Raw events. Also how far back a second delivery of an event is recognised by its id.
    pub raw: Duration,
    /// Sums by minute.
    pub minute: Duration,
    /// Sums by hour.
    pub hour: Duration,
}

impl Default for Retention {
    /// Seven days, thirty days, one year.
    fn default() -> Self {
        Self { raw: DAY.saturating_mul(7), minute: DAY.saturating_mul(30), hour: DAY.saturating_mul(365) }
    }
}

/// Makes the coming pieces of the big tables, deletes what has passed its time, and compresses what is quiet. One of these that
/// fails keeps none of the others from being done.
///
/// # Errors
/// The first failure.
pub(crate) async fn storage_run(db: &Db, retention: &Retention, now: Timestamp) -> Result<(), StoreError> {
    let kept = [
        (pieces::EVENTS, cutoff(now, retention.raw).saturating_sub(LONGEST_REQUEST_MICROS)),
        (pieces::MINUTES, cutoff(now, retention.minute)),
        (pieces::HOURS, cutoff(now, retention.hour)),
    ];
    let mut done = Ok(());
    for (divided, kept_from) in kept {
        done = done.and(pieces_make(db, divided, kept_from, now).await);
    }
    done = done.and(retention_run(db, retention, now).await);
    for (divided, _) in kept {
        done = done.and(pieces_compress(db, divided, now).await);
    }
    done
}

/// Deletes what has passed its time.
pub(crate) async fn retention_run(db: &Db, retention: &Retention, now: Timestamp) -> Result<(), StoreError> {
    drop_events(db, cutoff(now, retention.raw)).await?;
    projects::drop_events(db, retention, now).await?;
    delete_in_steps(
        db,
        "DELETE FROM booked_batch_items WHERE (batch_id, custom_id) IN
             (SELECT batch_id, custom_id FROM booked_batch_items WHERE booked_at < ? LIMIT ?)",
        cutoff(now, BATCH_ITEMS),
    )
    .await?;
    counters_expire(db, now).await?;
    let (minutes, hours) = (cutoff(now, retention.minute), cutoff(now, retention.hour));
    drop_level(db, Level::Minute, minutes.min(budgets_from(now))).await?;
    drop_level(db, Level::Hour, hours.min(budgets_from(now))).await
}

/// The earliest moment at which a current window of a budget can have begun, in whatever zone: its counters must be countable
/// from the sums, to the minute, whenever a budget is made or changed. A day is more than any zone is away from UTC.
fn budgets_from(now: Timestamp) -> i64 {
    let yesterday = now.as_microsecond().saturating_sub(Level::Day.micros());
    let date = Timestamp::from_microsecond(yesterday).unwrap_or(now).to_zoned(TimeZone::UTC).date();
    let month = date.first_of_month().to_zoned(TimeZone::UTC).map(|month| month.timestamp().as_microsecond());
    let week = yesterday.saturating_sub(Level::Day.micros().saturating_mul(6)); // may have begun in the month before
    month.unwrap_or(week).min(week).saturating_sub(Level::Day.micros())
}

pub(super) fn cutoff(now: Timestamp, kept: Duration) -> i64 {
    now.as_microsecond().saturating_sub(i64::try_from(kept.as_micros()).unwrap_or(i64::MAX))
}

/// Drops the raw events that ended before the cut-off.
async fn drop_events(db: &Db, cutoff: i64) -> Result<(), StoreError> {
    match db.engine() {
        Engine::Sqlite => {
            let sql = "DELETE FROM usage_events WHERE landed IN (SELECT landed FROM usage_events WHERE ended_at < ? LIMIT ?)";
            delete_in_steps(db, sql, cutoff).await
        }
        Engine::Postgres => {
            pieces_drop(db, pieces::EVENTS, cutoff.saturating_sub(LONGEST_REQUEST_MICROS)).await
        }
    }
}

/// Drops the rows of a level before the cut-off, but none that the level above has not summed yet.
async fn drop_level(db: &Db, level: Level, cutoff: i64) -> Result<(), StoreError> {
    let divided = match level {
        Level::Minute => pieces::MINUTES,
        Level::Hour => pieces::HOURS,
        Level::Day => return Ok(()),
    };
    if db.engine() == Engine::Postgres {
        return pieces_drop(db, divided, cutoff).await;
    }
    let mut tx = db.begin_write().await?;
    let cut = cut_move(&mut tx, level, cutoff).await?;
    // The cut is committed before the first row goes: from then on nothing is added or read below it.
    tx.commit().await.doing("committing a retention cut")?;
    let table = level.table();
    let sql = format!(
        "DELETE FROM {table} WHERE (bucket, dim_id) IN (SELECT bucket, dim_id FROM {table} WHERE bucket < ? LIMIT ?)"
    );
    delete_in_steps(db, &sql, cut).await
}

/// Moves the cut of a level forward to the cut-off, as far as the level above has summed. Returns where it is.
pub(super) async fn cut_move(tx: &mut Connection, level: Level, cutoff: i64) -> Result<i64, StoreError> {
    let state = states_read(tx).await?;
    // Whole buckets of the level above stay or go, so that a query of this level never sees a part of one.
    let cut = match level {
        Level::Minute => Level::Hour.floor(cutoff).min(state.hour_complete_until),
        Level::Hour => Level::Day.floor(cutoff).min(state.day_complete_until),
        Level::Day => i64::MIN,
    };
    let before = state.kept_from(level).unwrap_or(i64::MIN);
    sql::query("UPDATE rollup_state SET kept_from = ? WHERE level = ? AND kept_from < ?")
        .bind(cut)
        .bind(level.name())
        .bind(cut)
        .execute(tx)
        .await
        .doing("moving a retention cut")?;
    Ok(cut.max(before))
}

pub(super) async fn delete_in_steps(db: &Db, sql: &str, cutoff: i64) -> Result<(), StoreError> {
    loop {
        let mut tx = db.begin_write().await?;
        let deleted = sql::query(AssertSqlSafe(sql))
            .bind(cutoff)
            .bind(ROWS_PER_TRANSACTION)
            .execute(&mut *tx)
            .await
            .doing("deleting what has passed its time")?;
        tx.commit().await.doing("committing a deletion")?;
        if deleted.rows_affected() == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use mindweave_eventlog::Sequence;
    use mindweave_policy::{QuotaUnit, QuotaWindow, SubjectKind};

    use super::*;
    use crate::rollup::rollup_run;
    use crate::testing::{Ledger, event, install, record};
    use crate::usage::counters::counter_seed;
    use crate::usage::counters::tests::{one, quota};

    #[tokio::test]
    async fn a_budget_of_a_week_that_began_in_the_month_before_is_countable_however_little_is_kept() {
        let ledger = Ledger::new().await;
        install(&ledger.db).await;
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let (mut claim, _) = ledger.ingest.claim("journal").await.unwrap();
        let used = event(1, time("2025-12-28T18:40:00Z").as_microsecond(), 7);
        ledger.ingest.apply(&mut claim, &[record(1, &used)], Sequence::new(1)).await.unwrap();
        let saturday = time("2026-01-03T12:00:00Z");
        rollup_run(&ledger.db, saturday).await.unwrap();
        let little = Retention { raw: DAY, minute: DAY, hour: DAY };
        retention_run(&ledger.db, &little, saturday).await.unwrap();
        let mut tx = ledger.db.begin_write().await.unwrap();
        let zone = "UPDATE orgs SET time_zone = 'Asia/Kolkata'"; // the week began at 18:30 UTC on 28 December
        sql::query(zone).execute(&mut *tx).await.unwrap();
        let weekly = quota("quo_1", one(SubjectKind::Org, "org_1"), QuotaUnit::Tokens, QuotaWindow::Week);
        counter_seed(&mut tx, &weekly, saturday).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(ledger.number("SELECT sum(used) FROM budget_counters").await, 7);
    }
}
