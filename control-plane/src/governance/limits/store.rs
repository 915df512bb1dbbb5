//! All SQL of rate limits.

use jiff::Timestamp;
use mindweave_policy::LimitSpec;
use sqlx::FromRow;

use crate::db::{Connection, Db, Doing, StoreError, sql};
use crate::governance::stored_specs::parse;
use crate::stored::timestamp;

/// A rate limit with its times.
#[derive(Debug)]
pub(super) struct Limit {
    pub(super) spec: LimitSpec,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
}

#[derive(FromRow)]
struct LimitRow {
    spec: String,
    created_at: i64,
    updated_at: i64,
}

impl TryFrom<LimitRow> for Limit {
    type Error = StoreError;

    fn try_from(row: LimitRow) -> Result<Self, StoreError> {
        Ok(Self {
            spec: parse(&row.spec, "a rate limit")?,
            created_at: timestamp(row.created_at)?,
            updated_at: timestamp(row.updated_at)?,
        })
    }
}

/// Stores a new limit.
pub(super) async fn limit_insert(tx: &mut Connection, limit: &Limit) -> Result<(), StoreError> {
    let spec = &limit.spec;
    sql::query(
        "INSERT INTO limits (id, org_id, name, spec, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(spec.id.as_str())
    .bind(spec.org_id.as_str())
    .bind(&*spec.name)
    .bind(spec_json(spec))
    .bind(limit.created_at.as_microsecond())
    .bind(limit.updated_at.as_microsecond())
    .execute(tx)
    .await
    .doing("storing a rate limit")
    .map(drop)
}

/// Replaces a limit.
pub(super) async fn limit_update(tx: &mut Connection, limit: &Limit) -> Result<(), StoreError> {
    sql::query("UPDATE limits SET name = ?, spec = ?, updated_at = ? WHERE id = ?")
        .bind(&*limit.spec.name)
        .bind(spec_json(&limit.spec))
        .bind(limit.updated_at.as_microsecond())
        .bind(limit.spec.id.as_str())
        .execute(tx)
        .await
        .doing("changing a rate limit")
        .map(drop)
}

fn spec_json(spec: &LimitSpec) -> String {
    serde_json::to_string(spec).unwrap_or_default() // texts and numbers always serialise
}

/// The limit with this id, unless it was deleted.
pub(super) async fn limit_view(tx: &mut Connection, id: &str) -> Result<Option<Limit>, StoreError> {
    let row: Option<LimitRow> =
        sql::query_as("SELECT spec, created_at, updated_at FROM limits WHERE id = ? AND deleted_at IS NULL")
            .bind(id)
            .fetch_optional(tx)
            .await
            .doing("reading a rate limit")?;
    row.map(Limit::try_from).transpose()
}

/// Limits after this id, oldest first.
pub(super) async fn limit_list(db: &Db, after: &str, limit: u64) -> Result<Vec<Limit>, StoreError> {
    let rows: Vec<LimitRow> = sql::query_as(
        "SELECT spec, created_at, updated_at FROM limits
         WHERE id > ? AND deleted_at IS NULL ORDER BY id LIMIT ?",
    )
    .bind(after)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(db.readers())
    .await
    .doing("listing rate limits")?;
    rows.into_iter().map(Limit::try_from).collect()
}

/// Deletes a limit; its row stays for the decision log. Returns whether there was one.
pub(super) async fn limit_delete(tx: &mut Connection, id: &str, now: Timestamp) -> Result<bool, StoreError> {
    let deleted = sql::query("UPDATE limits SET deleted_at = ? WHERE id = ? AND deleted_at IS NULL")
        .bind(now.as_microsecond())
        .bind(id)
        .execute(tx)
        .await
        .doing("deleting a rate limit")?;
    Ok(deleted.rows_affected() > 0)
}
