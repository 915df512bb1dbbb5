//! When keys were used last: written down once a minute from the sums. No request writes it.

use jiff::Timestamp;

use crate::db::{Db, Doing, StoreError, sql};
use crate::rollup::{Level, states_read};

/// How far back an event may lie that arrives only now, from a proxy that was away. Its key was used on that day at least.
const LATE_MICROS: i64 = 40 * 24 * 60 * 60 * 1_000_000;

/// Notes the last use of keys: to the minute in hours that are open still, and of what arrives later than that to the hour or to the
/// day. To run before hours are closed, or their last minutes would be noted by the hour. Refused requests count: somebody has the
/// secret.
pub(crate) async fn uses_note(db: &Db, now: Timestamp) -> Result<(), StoreError> {
    let changed = uses_read(db, now).await?;
    if changed.is_empty() {
        return Ok(());
    }
    let mut tx = db.begin_write().await?;
    for (key_id, last_used_at) in changed {
        sql::query(
            "INSERT INTO key_uses (key_id, last_used_at) VALUES (?, ?)
             ON CONFLICT (key_id) DO UPDATE SET last_used_at = excluded.last_used_at
             WHERE key_uses.last_used_at < excluded.last_used_at",
        )
        .bind(key_id)
        .bind(last_used_at)
        .execute(&mut *tx)
        .await
        .doing("noting when keys were used")?;
    }
    tx.commit().await.doing("committing when keys were used")
}

/// The keys whose last use is not noted yet. Each level is read where it is short: nobody waits for this.
async fn uses_read(db: &Db, now: Timestamp) -> Result<Vec<(String, i64)>, StoreError> {
    let mut tx = db.begin_read().await?;
    let state = states_read(&mut tx).await?;
    let now = now.as_microsecond();
    // Clocks that are ahead say nothing of the last use.
    sql::query_as(
        "SELECT d.key_id, max(u.bucket) AS last_used_at
         FROM (
             SELECT bucket, dim_id FROM usage_minute WHERE bucket >= ? AND bucket <= ?
             UNION ALL
             SELECT bucket, dim_id FROM usage_hour WHERE bucket >= ? AND bucket <= ?
             UNION ALL
             SELECT bucket, dim_id FROM usage_day WHERE bucket >= ? AND bucket <= ?
         ) u JOIN usage_dims d ON d.dim_id = u.dim_id LEFT JOIN key_uses k ON k.key_id = d.key_id
         WHERE d.key_id <> '' GROUP BY d.key_id HAVING max(u.bucket) > coalesce(max(k.last_used_at), 0)",
    )
    .bind(state.hour_complete_until)
    .bind(now)
    .bind(state.day_complete_until)
    .bind(now)
    .bind(Level::Day.floor(now.saturating_sub(LATE_MICROS)))
    .bind(now)
    .fetch_all(&mut *tx)
    .await
    .doing("looking for keys that were used")
}
