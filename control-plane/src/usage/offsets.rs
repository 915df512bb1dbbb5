//! How far each source is in the ledger, and who may move it.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use crate::db::{Doing, StoreError};

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
    tx: &mut SqliteConnection,
    source: &str,
    now: Timestamp,
) -> Result<Offset, StoreError> {
    sqlx::query_as(
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

/// The offset of a source.
pub(crate) async fn offset_view(
    tx: &mut SqliteConnection,
    source: &str,
) -> Result<Option<Offset>, StoreError> {
    sqlx::query_as("SELECT position, epoch FROM consumer_offsets WHERE source = ?")
        .bind(source)
        .fetch_optional(tx)
        .await
        .doing("reading an offset")
}

/// Moves an offset from what was read to the last sequence of a batch. Returns `false`, and changes nothing, when
/// somebody else moved or claimed it meanwhile.
pub(crate) async fn offset_move(
    tx: &mut SqliteConnection,
    source: &str,
    from: Offset,
    to: i64,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let moved = sqlx::query(
        "UPDATE consumer_offsets SET position = ?, updated_at = ?
         WHERE source = ? AND epoch = ? AND position IS NOT DISTINCT FROM ?",
    )
    .bind(to)
    .bind(now.as_microsecond())
    .bind(source)
    .bind(from.epoch)
    .bind(from.position)
    .execute(tx)
    .await
    .doing("moving an offset")?;
    Ok(moved.rows_affected() == 1)
}
