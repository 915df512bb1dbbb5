//! All SQL of counters.

use std::collections::HashMap;

use jiff::Timestamp;
use mindweave_metering::QuotaId;
use sqlx::{AssertSqlSafe, FromRow, PgConnection};

use super::rules::rules_read;
use crate::db::{Connection, Db, Doing, StoreError, answered, sql};
use crate::usage::store::{MAX_ROWS_PER_STATEMENT, rows_sql};

/// Counters deleted in one transaction, so that ingest and the API get their turn.
const ROWS_PER_TRANSACTION: i64 = 1_000;

/// What is added to a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CounterMove {
    pub(crate) quota_id: QuotaId,
    /// Microseconds, as everywhere here.
    pub(crate) window_start: i64,
    pub(crate) subject: String,
    pub(crate) amount: i64,
}

impl CounterMove {
    pub(super) fn key(&self) -> (&str, i64, &str) {
        (self.quota_id.as_str(), self.window_start, &self.subject)
    }
}

/// A counter as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct StoredCounter {
    pub(crate) quota_id: String,
    pub(crate) window_start: i64,
    pub(crate) subject: String,
    pub(crate) used: i64,
    pub(crate) moved: i64,
}

/// How the counters of a budget were counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counting {
    pub(super) definition: String,
    pub(super) first_window: i64,
}

/// Adds to counters. The moves are in the order of the table's key.
///
/// The last that a transaction does before it is committed: the number of the last move is one row, so that from here on every
/// other transaction that moves counters waits. Therefore moves are numbered in the order of their commits, and whoever sees a move
/// sees all those before it.
pub(crate) async fn counters_move(tx: &mut Connection, moves: &[CounterMove]) -> Result<(), StoreError> {
    if moves.is_empty() {
        return Ok(());
    }
    let moved = next_move(tx).await?;
    if let Connection::Postgres(tx) = tx {
        return counters_move_postgres(tx, moves, moved).await;
    }
    for run in moves.chunks(MAX_ROWS_PER_STATEMENT) {
        let before =
            "INSERT INTO budget_counters (quota_id, window_start, subject, used, moved) SELECT * FROM";
        let after = "ON CONFLICT (quota_id, window_start, subject) DO UPDATE
             SET used = budget_counters.used + excluded.used, moved = excluded.moved";
        let sql = rows_sql(before, run.len(), 5, after);
        let query = run.iter().fold(sql::query(AssertSqlSafe(sql)), |query, row| {
            query
                .bind(row.quota_id.as_str().to_owned())
                .bind(row.window_start)
                .bind(row.subject.clone())
                .bind(row.amount)
                .bind(moved)
        });
        query.execute(&mut *tx).await.doing("moving budget counters")?;
    }
    Ok(())
}

async fn counters_move_postgres(
    tx: &mut PgConnection,
    moves: &[CounterMove],
    moved: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO budget_counters (quota_id, window_start, subject, used, moved)
         SELECT quota_id, window_start, subject, amount, $5
         FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[]) AS move (quota_id, window_start, subject, amount)
         ON CONFLICT (quota_id, window_start, subject) DO UPDATE
             SET used = budget_counters.used + excluded.used, moved = excluded.moved",
    )
    .bind(moves.iter().map(|row| row.quota_id.as_str()).collect::<Vec<_>>())
    .bind(moves.iter().map(|row| row.window_start).collect::<Vec<_>>())
    .bind(moves.iter().map(|row| row.subject.as_str()).collect::<Vec<_>>())
    .bind(moves.iter().map(|row| row.amount).collect::<Vec<_>>())
    .bind(moved)
    .execute(tx)
    .await
    .doing("moving budget counters")
    .map(drop)
}

async fn next_move(tx: &mut Connection) -> Result<i64, StoreError> {
    sql::query_scalar("UPDATE budget_moves SET moved = moved + 1 RETURNING moved")
        .fetch_one(tx)
        .await
        .doing("numbering a move of counters")
}

/// The number of the last move.
pub(crate) async fn last_move(tx: &mut Connection) -> Result<i64, StoreError> {
    sql::query_scalar("SELECT moved FROM budget_moves").fetch_one(tx).await.doing("reading the last move")
}

/// The counters that moved after this move, in the order of their moves.
pub(crate) async fn counters_moved_after(
    tx: &mut Connection,
    moved: i64,
) -> Result<Vec<StoredCounter>, StoreError> {
    sql::query_as(
        "SELECT quota_id, window_start, subject, used, moved FROM budget_counters WHERE moved > ? ORDER BY moved",
    )
    .bind(moved)
    .fetch_all(tx)
    .await
    .doing("reading the counters that moved")
}

/// The counters of each budget in the window with the start that is given for it, and in later ones, which a proxy whose clock is
/// ahead is in already.
pub(crate) async fn counters_current(
    tx: &mut Connection,
    window_starts: &HashMap<&QuotaId, i64>,
) -> Result<Vec<StoredCounter>, StoreError> {
    if let Connection::Postgres(tx) = tx {
        let (quotas, starts): (Vec<_>, Vec<_>) =
            window_starts.iter().map(|(quota_id, start)| (quota_id.as_str(), *start)).unzip();
        let read = sqlx::query_as(
            "SELECT quota_id, window_start, subject, used, moved
             FROM unnest($1::text[], $2::bigint[]) AS current (quota, start)
             JOIN budget_counters ON quota_id = current.quota AND window_start >= current.start",
        )
        .bind(quotas)
        .bind(starts)
        .fetch_all(&mut **tx);
        return answered(read).await.doing("reading current counters");
    }
    let starts = serde_json::to_string(window_starts).unwrap_or_default(); // texts and numbers always serialise
    sql::query_as(
        "SELECT quota_id, window_start, subject, used, moved FROM json_each(?) AS current
         CROSS JOIN budget_counters ON quota_id = current.key AND window_start >= current.value",
    )
    .bind(starts)
    .fetch_all(tx)
    .await
    .doing("reading current counters")
}

/// Takes the place of every counter of a budget: those of the window that begins at `first_window` become zero, as whoever saw
/// them must learn, the others go. Then `counting` is how they are counted.
pub(super) async fn counters_reset(
    tx: &mut Connection,
    quota_id: &str,
    counting: &Counting,
) -> Result<(), StoreError> {
    sql::query("DELETE FROM budget_counters WHERE quota_id = ? AND window_start <> ?")
        .bind(quota_id)
        .bind(counting.first_window)
        .execute(&mut *tx)
        .await
        .doing("deleting counters")?;
    let moved = next_move(tx).await?;
    sql::query("UPDATE budget_counters SET used = 0, moved = ? WHERE quota_id = ?")
        .bind(moved)
        .bind(quota_id)
        .execute(&mut *tx)
        .await
        .doing("resetting counters")?;
    sql::query(
        "INSERT INTO budget_countings (quota_id, definition, first_window) VALUES (?, ?, ?)
         ON CONFLICT (quota_id) DO UPDATE SET definition = excluded.definition, first_window = excluded.first_window",
    )
    .bind(quota_id)
    .bind(&counting.definition)
    .bind(counting.first_window)
    .execute(tx)
    .await
    .doing("noting how a budget is counted")
    .map(drop)
}

/// Forgets a budget.
pub(super) async fn counters_forget(tx: &mut Connection, quota_id: &str) -> Result<(), StoreError> {
    for sql in
        ["DELETE FROM budget_counters WHERE quota_id = ?", "DELETE FROM budget_countings WHERE quota_id = ?"]
    {
        sql::query(sql).bind(quota_id).execute(&mut *tx).await.doing("forgetting a budget's counters")?;
    }
    Ok(())
}

/// How each budget's counters were counted, by the budget's id.
pub(super) async fn countings_read(tx: &mut Connection) -> Result<HashMap<String, Counting>, StoreError> {
    let rows: Vec<(String, String, i64)> =
        sql::query_as("SELECT quota_id, definition, first_window FROM budget_countings")
            .fetch_all(tx)
            .await
            .doing("reading how budgets are counted")?;
    let counting = |(id, definition, first_window)| (id, Counting { definition, first_window });
    Ok(rows.into_iter().map(counting).collect())
}

/// How a budget's counters were counted.
pub(super) async fn counting_read(
    tx: &mut Connection,
    quota_id: &str,
) -> Result<Option<Counting>, StoreError> {
    let row: Option<(String, i64)> =
        sql::query_as("SELECT definition, first_window FROM budget_countings WHERE quota_id = ?")
            .bind(quota_id)
            .fetch_optional(tx)
            .await
            .doing("reading how a budget is counted")?;
    Ok(row.map(|(definition, first_window)| Counting { definition, first_window }))
}

/// Deletes the counters of windows that are not counted any more.
pub(crate) async fn counters_expire(db: &Db, now: Timestamp) -> Result<(), StoreError> {
    let rules = rules_read(&mut *db.begin_read().await?).await?;
    for rule in rules.iter() {
        loop {
            let mut tx = db.begin_write().await?;
            let deleted = sql::query(
                "DELETE FROM budget_counters WHERE (quota_id, window_start, subject) IN
                     (SELECT quota_id, window_start, subject FROM budget_counters
                      WHERE quota_id = ? AND window_start < ? LIMIT ?)",
            )
            .bind(rule.quota.id.as_str())
            .bind(rule.kept_from(now))
            .bind(ROWS_PER_TRANSACTION)
            .execute(&mut *tx)
            .await
            .doing("deleting counters of old windows")?;
            tx.commit().await.doing("committing a deletion")?;
            if deleted.rows_affected() == 0 {
                break;
            }
        }
    }
    Ok(())
}
