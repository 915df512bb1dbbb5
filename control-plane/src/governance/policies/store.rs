//! All SQL of policies.

use std::sync::Arc;

use jiff::Timestamp;
use mindweave_policy::{OnError, PolicyMode, Subject};
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow};

use super::version_store::stored;
use crate::access::{Access, Caller, Reach};
use crate::db::sql::{self, QueryBuilder};
use crate::db::{Connection, Db, Doing, StoreError};
use crate::governance::bounds::Bounded;
use crate::governance::listing::limit_to_reach;
use crate::governance::permit::{Permit, permit_of};
use crate::governance::schema::{OnErrorWord, PolicyModeWord, PolicyScope};
use crate::governance::stored_specs::{parse, word};
use crate::http::problem::Problem;
use crate::stored::timestamp;

/// What a policy is called in messages.
pub(super) const KIND: &str = "policy";

/// A policy without its content, which is that of its version.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub(in crate::governance) struct Policy {
    pub(in crate::governance) id: String,
    pub(in crate::governance) org_id: String,
    #[schema(value_type = String)]
    pub(in crate::governance) name: Arc<str>,
    #[schema(value_type = PolicyModeWord)]
    pub(in crate::governance) mode: PolicyMode,
    #[schema(value_type = PolicyScope)]
    pub(in crate::governance) scope: Subject,
    #[schema(value_type = OnErrorWord)]
    pub(in crate::governance) on_error: OnError,
    /// The version in force.
    pub(in crate::governance) version: u64,
    pub(in crate::governance) created_at: Timestamp,
    pub(in crate::governance) updated_at: Timestamp,
}

#[derive(FromRow)]
struct PolicyRow {
    id: String,
    org_id: String,
    name: String,
    mode: String,
    scope: String,
    on_error: String,
    version: i64,
    created_at: i64,
    updated_at: i64,
}

const SELECT: &str =
    "SELECT id, org_id, name, mode, scope, on_error, version, created_at, updated_at FROM policies";

impl TryFrom<PolicyRow> for Policy {
    type Error = StoreError;

    fn try_from(row: PolicyRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            org_id: row.org_id,
            name: row.name.into(),
            mode: word(&row.mode, "a policy's mode")?,
            scope: parse(&row.scope, "a policy's scope")?,
            on_error: word(&row.on_error, "a policy's on_error")?,
            version: u64::try_from(row.version)
                .map_err(|_| StoreError::Corrupt { what: "a policy's version" })?,
            created_at: timestamp(row.created_at)?,
            updated_at: timestamp(row.updated_at)?,
        })
    }
}

fn mode_text(mode: PolicyMode) -> &'static str {
    match mode {
        PolicyMode::Enforce => "enforce",
        PolicyMode::Shadow => "shadow",
        PolicyMode::Off => "off",
    }
}

fn on_error_text(on_error: OnError) -> &'static str {
    match on_error {
        OnError::Deny => "deny",
        OnError::Allow => "allow",
    }
}

fn scope_json(scope: &Subject) -> String {
    serde_json::to_string(scope).unwrap_or_default() // two texts always serialise
}

/// Stores a new policy.
pub(super) async fn policy_insert(
    tx: &mut Connection,
    permit: &Permit,
    policy: &Policy,
) -> Result<(), StoreError> {
    sql::query(
        "INSERT INTO policies (id, org_id, name, mode, scope, on_error, version, created_at, updated_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&policy.id)
    .bind(permit.org_id())
    .bind(&*policy.name)
    .bind(mode_text(policy.mode))
    .bind(scope_json(&policy.scope))
    .bind(on_error_text(policy.on_error))
    .bind(stored(policy.version))
    .bind(policy.created_at.as_microsecond())
    .bind(policy.updated_at.as_microsecond())
    .execute(tx)
    .await
    .doing("storing a policy")
    .map(drop)
}

/// Replaces a policy.
pub(super) async fn policy_update(
    tx: &mut Connection,
    permit: &Permit,
    policy: &Policy,
) -> Result<(), StoreError> {
    sql::query(
        "UPDATE policies SET name = ?, mode = ?, scope = ?, on_error = ?, version = ?, updated_at = ?
         WHERE id = ? AND org_id = ?",
    )
    .bind(&*policy.name)
    .bind(mode_text(policy.mode))
    .bind(scope_json(&policy.scope))
    .bind(on_error_text(policy.on_error))
    .bind(stored(policy.version))
    .bind(policy.updated_at.as_microsecond())
    .bind(&policy.id)
    .bind(permit.org_id())
    .execute(tx)
    .await
    .doing("changing a policy")
    .map(drop)
}

/// The policy with this id, for whoever may do this with it.
///
/// # Errors
/// 404 when there is none, or it was deleted, or the caller may not look at it.
pub(in crate::governance) async fn policy_open(
    tx: &mut Connection,
    caller: &Caller,
    id: &str,
    need: Access,
) -> Result<(Policy, Permit), Problem> {
    open(tx, caller, id, need, " AND deleted_at IS NULL").await
}

/// Like [`policy_open`], also for one that was deleted: the decision log names it.
pub(super) async fn policy_open_ever(
    tx: &mut Connection,
    caller: &Caller,
    id: &str,
    need: Access,
) -> Result<(Policy, Permit), Problem> {
    open(tx, caller, id, need, "").await
}

async fn open(
    tx: &mut Connection,
    caller: &Caller,
    id: &str,
    need: Access,
    condition: &'static str,
) -> Result<(Policy, Permit), Problem> {
    let sql = format!("{SELECT} WHERE id = ?{condition}");
    let row: Result<Option<PolicyRow>, StoreError> =
        sql::query_as(AssertSqlSafe(sql)).bind(id).fetch_optional(&mut *tx).await.doing("reading a policy");
    let missing = || Problem::not_found(KIND, id);
    let policy = Policy::try_from(row?.ok_or_else(missing)?)?;
    let permit = permit_of(tx, caller, (&policy.org_id, &policy.scope), need, missing).await?;
    Ok((policy, permit))
}

/// Policies after this id that are in reach, oldest first.
pub(super) async fn policy_list(
    db: &Db,
    reach: &Reach,
    after: &str,
    limit: u64,
) -> Result<Vec<Policy>, StoreError> {
    let mut sql = QueryBuilder::new(format!("{SELECT} WHERE deleted_at IS NULL AND id > "));
    sql.push_bind(after);
    limit_to_reach(&mut sql, reach, Bounded::Policies, db.engine());
    sql.push(" ORDER BY id LIMIT ").push_bind(stored(limit));
    let rows: Vec<PolicyRow> =
        sql.build_query_as().fetch_all(db.readers()).await.doing("listing policies")?;
    rows.into_iter().map(Policy::try_from).collect()
}

/// Deletes a policy; it and its versions stay for the decision log.
pub(super) async fn policy_delete(
    tx: &mut Connection,
    permit: &Permit,
    id: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sql::query("UPDATE policies SET deleted_at = ? WHERE id = ? AND org_id = ? AND deleted_at IS NULL")
        .bind(now.as_microsecond())
        .bind(id)
        .bind(permit.org_id())
        .execute(tx)
        .await
        .doing("deleting a policy")
        .map(drop)
}
