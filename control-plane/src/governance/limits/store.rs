//! All SQL of rate limits.

use jiff::Timestamp;
use mindweave_policy::LimitSpec;
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

/// What a rate limit is called in messages.
pub(super) const KIND: &str = "rate limit";

/// A rate limit with its times.
#[derive(Clone, Debug)]
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
pub(super) async fn limit_insert(
    tx: &mut Connection,
    permit: &Permit,
    limit: &Limit,
) -> Result<(), StoreError> {
    let spec = &limit.spec;
    sql::query(
        "INSERT INTO limits (id, org_id, name, spec, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(spec.id.as_str())
    .bind(permit.org_id())
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
pub(super) async fn limit_update(
    tx: &mut Connection,
    permit: &Permit,
    limit: &Limit,
) -> Result<(), StoreError> {
    sql::query("UPDATE limits SET name = ?, spec = ?, updated_at = ? WHERE id = ? AND org_id = ?")
        .bind(&*limit.spec.name)
        .bind(spec_json(&limit.spec))
        .bind(limit.updated_at.as_microsecond())
        .bind(limit.spec.id.as_str())
        .bind(permit.org_id())
        .execute(tx)
        .await
        .doing("changing a rate limit")
        .map(drop)
}

fn spec_json(spec: &LimitSpec) -> String {
    serde_json::to_string(spec).unwrap_or_default() // texts and numbers always serialise
}

/// The rate limit with this id, for whoever may do this with it.
///
/// # Errors
/// 404 when there is none, or it was deleted, or the caller may not look at it.
pub(super) async fn limit_open(
    tx: &mut Connection,
    caller: &Caller,
    id: &str,
    need: Access,
) -> Result<(Limit, Permit), Problem> {
    let row: Result<Option<LimitRow>, StoreError> =
        sql::query_as("SELECT spec, created_at, updated_at FROM limits WHERE id = ? AND deleted_at IS NULL")
            .bind(id)
            .fetch_optional(&mut *tx)
            .await
            .doing("reading a rate limit");
    let missing = || Problem::not_found(KIND, id);
    let limit = Limit::try_from(row?.ok_or_else(missing)?)?;
    let place = (limit.spec.org_id.as_str(), &limit.spec.scope);
    let permit = permit_of(tx, caller, place, need, missing).await?;
    Ok((limit, permit))
}

/// Rate limits after this id that are in reach, oldest first.
pub(super) async fn limit_list(
    db: &Db,
    reach: &Reach,
    after: &str,
    limit: u64,
) -> Result<Vec<Limit>, StoreError> {
    let mut sql = QueryBuilder::new(
        "SELECT spec, created_at, updated_at FROM limits WHERE deleted_at IS NULL AND id > ",
    );
    sql.push_bind(after);
    limit_to_reach(&mut sql, reach, Bounded::Limits, db.engine());
    sql.push(" ORDER BY id LIMIT ").push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
    let rows: Vec<LimitRow> =
        sql.build_query_as().fetch_all(db.readers()).await.doing("listing rate limits")?;
    rows.into_iter().map(Limit::try_from).collect()
}

/// Deletes a rate limit; its row stays for the decision log.
pub(super) async fn limit_delete(
    tx: &mut Connection,
    permit: &Permit,
    id: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sql::query("UPDATE limits SET deleted_at = ? WHERE id = ? AND org_id = ? AND deleted_at IS NULL")
        .bind(now.as_microsecond())
        .bind(id)
        .bind(permit.org_id())
        .execute(tx)
        .await
        .doing("deleting a rate limit")
        .map(drop)
}
