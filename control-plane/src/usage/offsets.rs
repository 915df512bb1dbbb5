//! How far each source is in the ledger, and who may move it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::dims::without_nul;
use crate::db::{Connection, Doing, Engine, StoreError, answered, sql};

/// The stored offset of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Offset {
    /// The last sequence that is in the ledger.
    pub(crate) position: Option<i64>,
    /// Rises each time a consumer takes over.
    pub(crate) epoch: i64,
}

/// Takes a source over: whoever had it before is fenced from now on.
pub(crate) async fn offset_claim(
    tx: &mut Connection,
    source: &str,
    now: Timestamp,
) -> Result<Offset, StoreError> {
    sql::query_as(
        "INSERT INTO consumer_offsets (source, position, epoch, updated_at) VALUES (?, NULL, 1, ?)
         ON CONFLICT (source) DO UPDATE SET epoch = consumer_offsets.epoch + 1, updated_at = excluded.updated_at
         RETURNING position, epoch",
    )
    .bind(source)
    .bind(now.as_microsecond())
    .fetch_one(tx)
    .await
    .doing("claiming a source")
}

/// What is known of the ledger at the moment an offset was moved: read in the same statement, because each costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Moved {
    /// In a file, where nobody else writes meanwhile: the last event that landed before, of any source, or 0 if there is none.
    pub(crate) last_landed: i64,
    /// The revision of budgets; 0 in an empty database.
    pub(crate) budgets_revision: i64,
    /// The revision of who was erased; 0 in an empty database.
    pub(crate) erasures_revision: i64,
    /// Whether a control plane of the server wants to know what is booked; see [`super::live`].
    pub(crate) followed: bool,
}

/// Whether nobody but its consumer moves a source's offset. A journal's is moved by others too, see [`origins_move`]; what is no
/// journal has a colon in its name.
pub(crate) fn moves_alone(source: &str) -> bool {
    source.contains(':')
}

/// Moves an offset to the last sequence of a batch that is about to be booked in this transaction. `None`, and changes
/// nothing, when somebody else has claimed the source meanwhile, or when the offset is not where the claim knows it to be: then
/// the database was put back, or is a standby that had not got everything. Waits for a claim, and for another transaction of the
/// source.
pub(crate) async fn offset_move(
    tx: &mut Connection,
    source: &str,
    claimed: Offset,
    to: i64,
    now: Timestamp,
) -> Result<Option<Moved>, StoreError> {
    sql::query_as(match tx.engine() {
        Engine::Sqlite => {
            "UPDATE consumer_offsets SET position = ?, updated_at = ?
             WHERE source = ? AND epoch = ? AND position IS NOT DISTINCT FROM coalesce(?, position)
             RETURNING coalesce((SELECT max(landed) FROM usage_events), 0) AS last_landed,
                 coalesce((SELECT budgets_revision FROM installation), 0) AS budgets_revision,
                 coalesce((SELECT erasures_revision FROM installation), 0) AS erasures_revision, false AS followed"
        }
        Engine::Postgres => {
            "UPDATE consumer_offsets SET position = ?, updated_at = ?
             WHERE source = ? AND epoch = ? AND position IS NOT DISTINCT FROM coalesce(?, position)
             RETURNING CAST(0 AS BIGINT) AS last_landed,
                 coalesce((SELECT budgets_revision FROM installation), 0) AS budgets_revision,
                 coalesce((SELECT erasures_revision FROM installation), 0) AS erasures_revision,
                 EXISTS (SELECT FROM live_followers WHERE follows_until > usage_now()) AS followed"
        }
    })
    .bind(to)
    .bind(now.as_microsecond())
    .bind(source)
    .bind(claimed.epoch)
    .bind(claimed.position)
    .fetch_optional(tx)
    .await
    .doing("moving an offset")
}

/// Notes how far journals are in the ledger whose events came by another source, in ascending order of their ids. Nobody's claim to
/// deliver the journal itself is touched.
pub(crate) async fn origins_move(
    tx: &mut Connection,
    positions: &BTreeMap<&str, i64>,
    now: Timestamp,
) -> Result<(), StoreError> {
    for (journal, position) in positions {
        sql::query(
            "INSERT INTO consumer_offsets (source, position, epoch, updated_at) VALUES (?, ?, 0, ?)
             ON CONFLICT (source) DO UPDATE SET position = excluded.position, updated_at = excluded.updated_at",
        )
        .bind(*journal)
        .bind(*position)
        .bind(now.as_microsecond())
        .execute(&mut *tx)
        .await
        .doing("moving the offset of a journal")?;
    }
    Ok(())
}

/// The positions of these sources, of those that have one.
pub(crate) async fn positions_read(
    tx: &mut Connection,
    sources: &[Arc<str>],
) -> Result<Vec<(String, i64)>, StoreError> {
    if let Connection::Postgres(tx) = tx {
        let sources: Vec<_> = sources.iter().map(|source| without_nul(source)).collect();
        let read = sqlx::query_as(
            "SELECT source, position FROM consumer_offsets WHERE position IS NOT NULL AND source = ANY($1)",
        )
        .bind(sources)
        .fetch_all(&mut **tx);
        return answered(read).await.doing("reading positions");
    }
    let sources = serde_json::to_string(sources).unwrap_or_default(); // texts always serialise
    sql::query_as(
        "SELECT source, position FROM consumer_offsets
         WHERE position IS NOT NULL AND source IN (SELECT value FROM json_each(?))",
    )
    .bind(sources)
    .fetch_all(tx)
    .await
    .doing("reading positions")
}
