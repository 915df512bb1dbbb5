//! When keys were used last: written down once a minute, from the minutes that are not summed into an hour yet. No request writes it.

use jiff::Timestamp;

use crate::db::{Db, Doing, StoreError, sql};
use crate::rollup::states_read;

/// Notes the last use of every key that was used in an open hour. To run before hours are closed, or their last minutes would be
/// passed over. Refused requests count: somebody has the secret.
pub(crate) async fn uses_note(db: &Db, now: Timestamp) -> Result<(), StoreError> {
    let mut tx = db.begin_write().await?;
    let since = states_read(&mut tx).await?.hour_complete_until;
    // Clocks that are ahead say nothing of the last use.
    sql::query(
        "INSERT INTO key_uses (key_id, last_used_at)
         SELECT d.key_id, max(m.bucket) FROM usage_minute m JOIN usage_dims d ON d.dim_id = m.dim_id
         WHERE m.bucket >= ? AND m.bucket <= ? AND d.key_id <> '' GROUP BY d.key_id ORDER BY d.key_id
         ON CONFLICT (key_id) DO UPDATE SET last_used_at = excluded.last_used_at
         WHERE key_uses.last_used_at < excluded.last_used_at",
    )
    .bind(since)
    .bind(now.as_microsecond())
    .execute(&mut *tx)
    .await
    .doing("noting when keys were used")?;
    tx.commit().await.doing("committing when keys were used")
}
