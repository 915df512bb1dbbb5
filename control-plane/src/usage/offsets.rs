//! How far each source is in the ledger, and who may move it.

use std::sync::Arc;

use jiff::Timestamp;

use crate::db::{Connection, Doing, StoreError, sql};

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
    /// The last event that landed before, of any source, or 0 if there is none.
    pub(crate) last_landed: i64,
    /// The revision of budgets; 0 in an empty database.
    pub(crate) budgets_revision: i64,
}

/// Moves an offset to the last sequence of a batch that is about to be booked in this transaction. `None`, and changes
/// nothing, when somebody else has claimed the source meanwhile.
pub(crate) async fn offset_move(
    tx: &mut Connection,
    source: &str,
    epoch: i64,
    to: i64,
    now: Timestamp,
) -> Result<Option<Moved>, StoreError> {
    sql::query_as(
        "UPDATE consumer_offsets SET position = ?, updated_at = ? WHERE source = ? AND epoch = ?
         RETURNING coalesce((SELECT max(landed) FROM usage_events), 0) AS last_landed,
             coalesce((SELECT budgets_revision FROM installation), 0) AS budgets_revision",
    )
    .bind(to)
    .bind(now.as_microsecond())
    .bind(source)
    .bind(epoch)
    .fetch_optional(tx)
    .await
    .doing("moving an offset")
}

/// The positions of these sources, of those that have one.
pub(crate) async fn positions_read(
    tx: &mut Connection,
    sources: &[Arc<str>],
) -> Result<Vec<(String, i64)>, StoreError> {
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
