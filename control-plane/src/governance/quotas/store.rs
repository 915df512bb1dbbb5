//! All SQL of budgets.

use jiff::Timestamp;
use mindweave_policy::QuotaSpec;
use sqlx::FromRow;

use crate::db::{Connection, Doing, StoreError, sql};
use crate::governance::stored_specs::parse;
use crate::stored::timestamp;

/// A budget with its times.
#[derive(Debug)]
pub(super) struct Quota {
    pub(super) spec: QuotaSpec,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
}

#[derive(FromRow)]
struct QuotaRow {
    spec: String,
    created_at: i64,
    updated_at: i64,
}

impl TryFrom<QuotaRow> for Quota {
    type Error = StoreError;

    fn try_from(row: QuotaRow) -> Result<Self, StoreError> {
        Ok(Self {
            spec: parse(&row.spec, "a budget")?,
            created_at: timestamp(row.created_at)?,
            updated_at: timestamp(row.updated_at)?,
        })
    }
}

/// Stores a new budget.
pub(super) async fn quota_insert(tx: &mut Connection, quota: &Quota) -> Result<(), StoreError> {
    let spec = &quota.spec;
    sql::query(
        "INSERT INTO quotas (id, org_id, name, spec, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(spec.id.as_str())
    .bind(spec.org_id.as_str())
    .bind(&*spec.name)
    .bind(spec_json(spec))
    .bind(quota.created_at.as_microsecond())
    .bind(quota.updated_at.as_microsecond())
    .execute(tx)
    .await
    .doing("storing a budget")
    .map(drop)
}

/// Replaces a budget.
pub(super) async fn quota_update(tx: &mut Connection, quota: &Quota) -> Result<(), StoreError> {
    sql::query("UPDATE quotas SET name = ?, spec = ?, updated_at = ? WHERE id = ?")
        .bind(&*quota.spec.name)
        .bind(spec_json(&quota.spec))
        .bind(quota.updated_at.as_microsecond())
        .bind(quota.spec.id.as_str())
        .execute(tx)
        .await
        .doing("changing a budget")
        .map(drop)
}

fn spec_json(spec: &QuotaSpec) -> String {
    serde_json::to_string(spec).unwrap_or_default() // texts and numbers always serialise
}

/// The budget with this id, unless it was deleted.
pub(super) async fn quota_view(tx: &mut Connection, id: &str) -> Result<Option<Quota>, StoreError> {
    let row: Option<QuotaRow> =
        sql::query_as("SELECT spec, created_at, updated_at FROM quotas WHERE id = ? AND deleted_at IS NULL")
            .bind(id)
            .fetch_optional(tx)
            .await
            .doing("reading a budget")?;
    row.map(Quota::try_from).transpose()
}

/// Budgets after this id, oldest first.
pub(super) async fn quota_list(
    tx: &mut Connection,
    after: &str,
    limit: u64,
) -> Result<Vec<Quota>, StoreError> {
    let rows: Vec<QuotaRow> = sql::query_as(
        "SELECT spec, created_at, updated_at FROM quotas
         WHERE id > ? AND deleted_at IS NULL ORDER BY id LIMIT ?",
    )
    .bind(after)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(tx)
    .await
    .doing("listing budgets")?;
    rows.into_iter().map(Quota::try_from).collect()
}

/// Deletes a budget; its row stays for the decision log. Returns whether there was one.
pub(super) async fn quota_delete(tx: &mut Connection, id: &str, now: Timestamp) -> Result<bool, StoreError> {
    let deleted = sql::query("UPDATE quotas SET deleted_at = ? WHERE id = ? AND deleted_at IS NULL")
        .bind(now.as_microsecond())
        .bind(id)
        .execute(tx)
        .await
        .doing("deleting a budget")?;
    Ok(deleted.rows_affected() > 0)
}
