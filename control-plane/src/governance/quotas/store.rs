//! All SQL of budgets.

use jiff::Timestamp;
use mindweave_policy::QuotaSpec;
use sqlx::FromRow;

use crate::access::{Access, Caller, Reach};
use crate::db::sql::{self, QueryBuilder};
use crate::db::{Connection, Db, Doing, StoreError};
use crate::governance::bounds::Bounded;
use crate::governance::listing::limit_to_reach;
use crate::governance::permit::{Permit, permit_of};
use crate::governance::stored_specs::parse;
use crate::http::problem::Problem;
use crate::stored::timestamp;

/// What a budget is called in messages.
pub(super) const KIND: &str = "budget";

/// A budget with its times.
#[derive(Clone, Debug)]
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
pub(super) async fn quota_insert(
    tx: &mut Connection,
    permit: &Permit,
    quota: &Quota,
) -> Result<(), StoreError> {
    let spec = &quota.spec;
    sql::query(
        "INSERT INTO quotas (id, org_id, name, spec, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(spec.id.as_str())
    .bind(permit.org_id())
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
pub(super) async fn quota_update(
    tx: &mut Connection,
    permit: &Permit,
    quota: &Quota,
) -> Result<(), StoreError> {
    sql::query("UPDATE quotas SET name = ?, spec = ?, updated_at = ? WHERE id = ? AND org_id = ?")
        .bind(&*quota.spec.name)
        .bind(spec_json(&quota.spec))
        .bind(quota.updated_at.as_microsecond())
        .bind(quota.spec.id.as_str())
        .bind(permit.org_id())
        .execute(tx)
        .await
        .doing("changing a budget")
        .map(drop)
}

fn spec_json(spec: &QuotaSpec) -> String {
    serde_json::to_string(spec).unwrap_or_default() // texts and numbers always serialise
}

/// The budget with this id, for whoever may do this with it.
///
/// # Errors
/// 404 when there is none, or it was deleted, or the caller may not look at it.
pub(super) async fn quota_open(
    tx: &mut Connection,
    caller: &Caller,
    id: &str,
    need: Access,
) -> Result<(Quota, Permit), Problem> {
    let row: Result<Option<QuotaRow>, StoreError> =
        sql::query_as("SELECT spec, created_at, updated_at FROM quotas WHERE id = ? AND deleted_at IS NULL")
            .bind(id)
            .fetch_optional(&mut *tx)
            .await
            .doing("reading a budget");
    let missing = || Problem::not_found(KIND, id);
    let quota = Quota::try_from(row?.ok_or_else(missing)?)?;
    let place = (quota.spec.org_id.as_str(), &quota.spec.scope);
    let permit = permit_of(tx, caller, place, need, missing).await?;
    Ok((quota, permit))
}

/// Budgets after this id that are in reach, oldest first.
pub(super) async fn quota_list(
    db: &Db,
    reach: &Reach,
    after: &str,
    limit: u64,
) -> Result<Vec<Quota>, StoreError> {
    let mut sql = QueryBuilder::new(
        "SELECT spec, created_at, updated_at FROM quotas WHERE deleted_at IS NULL AND id > ",
    );
    sql.push_bind(after);
    limit_to_reach(&mut sql, reach, Bounded::Quotas, db.engine());
    sql.push(" ORDER BY id LIMIT ").push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
    let rows: Vec<QuotaRow> = sql.build_query_as().fetch_all(db.readers()).await.doing("listing budgets")?;
    rows.into_iter().map(Quota::try_from).collect()
}

/// Deletes a budget; its row stays for the decision log.
pub(super) async fn quota_delete(
    tx: &mut Connection,
    permit: &Permit,
    id: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sql::query("UPDATE quotas SET deleted_at = ? WHERE id = ? AND org_id = ? AND deleted_at IS NULL")
        .bind(now.as_microsecond())
        .bind(id)
        .bind(permit.org_id())
        .execute(tx)
        .await
        .doing("deleting a budget")
        .map(drop)
}
