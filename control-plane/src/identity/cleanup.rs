//! Deletes what has passed its time: tokens, sessions, attempts. Idempotent; the leader runs it.

use std::time::Duration;

use jiff::Timestamp;

use super::throttle;
use crate::db::{Connection, Db, Doing, StoreError, sql};

/// How often it runs.
pub(crate) const PERIOD: Duration = Duration::from_secs(10 * 60);
/// Most rows deleted in one transaction, so that others get their turn.
const ROWS_PER_TRANSACTION: i64 = 1_000;
/// Sessions that are over stay so long: their addresses are known, and a refresh token of them is recognised.
const ENDED_SESSIONS_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// One-time tokens that were used or have expired stay so long.
const USED_TOKENS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Deletes until nothing is left that is old enough.
pub(crate) async fn identity_prune(db: &Db, now: Timestamp) -> Result<(), StoreError> {
    loop {
        let mut tx = db.begin_apart().await?;
        let deleted = prune_some(&mut tx, now.as_microsecond()).await?;
        tx.commit().await.doing("deleting what has expired")?;
        if deleted == 0 {
            return Ok(());
        }
    }
}

async fn prune_some(tx: &mut Connection, now: i64) -> Result<u64, StoreError> {
    let before = |kept: Duration| now.saturating_sub(i64::try_from(kept.as_micros()).unwrap_or(i64::MAX));
    let ended = before(ENDED_SESSIONS_KEPT);
    let mut deleted = throttle::forget(tx, now, ROWS_PER_TRANSACTION).await?;
    // Tokens of a session go before it. A used refresh token stays until it would have expired: it betrays a thief.
    for (sql, until) in [
        (
            "DELETE FROM session_tokens WHERE fingerprint IN
                 (SELECT fingerprint FROM session_tokens WHERE expires_at < ? LIMIT ?)",
            now,
        ),
        (
            "DELETE FROM one_time_tokens WHERE fingerprint IN
                 (SELECT fingerprint FROM one_time_tokens WHERE expires_at < ? LIMIT ?)",
            before(USED_TOKENS_KEPT),
        ),
        (
            "DELETE FROM sessions WHERE id IN (SELECT s.id FROM sessions s WHERE s.expires_at < ?
                 AND NOT EXISTS (SELECT 1 FROM session_tokens t WHERE t.session_id = s.id) LIMIT ?)",
            ended,
        ),
    ] {
        let done = sql::query(sql)
            .bind(until)
            .bind(ROWS_PER_TRANSACTION)
            .execute(&mut *tx)
            .await
            .doing("deleting what has expired")?;
        deleted = deleted.saturating_add(done.rows_affected());
    }
    Ok(deleted)
}
