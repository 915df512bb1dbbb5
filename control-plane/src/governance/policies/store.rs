//! All SQL of policies.

use std::sync::Arc;

use jiff::Timestamp;
use mindweave_policy::{OnError, PolicyMode, Subject};
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow};

use super::version_store::stored;
use crate::db::{Connection, Doing, StoreError, sql};
use crate::governance::stored_specs::{parse, word};
use crate::stored::timestamp;

/// A policy without its content, which is that of its version.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::governance) struct Policy {
    pub(in crate::governance) id: String,
    pub(in crate::governance) org_id: String,
    pub(in crate::governance) name: Arc<str>,
    pub(in crate::governance) mode: PolicyMode,
    pub(in crate::governance) scope: Subject,
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
pub(super) async fn policy_insert(tx: &mut Connection, policy: &Policy) -> Result<(), StoreError> {
    sql::query(
        "INSERT INTO policies (id, org_id, name, mode, scope, on_error, version, created_at, updated_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&policy.id)
    .bind(&policy.org_id)
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
pub(super) async fn policy_update(tx: &mut Connection, policy: &Policy) -> Result<(), StoreError> {
    sql::query(
        "UPDATE policies SET name = ?, mode = ?, scope = ?, on_error = ?, version = ?, updated_at = ?
         WHERE id = ?",
    )
    .bind(&*policy.name)
    .bind(mode_text(policy.mode))
    .bind(scope_json(&policy.scope))
    .bind(on_error_text(policy.on_error))
    .bind(stored(policy.version))
    .bind(policy.updated_at.as_microsecond())
    .bind(&policy.id)
    .execute(tx)
    .await
    .doing("changing a policy")
    .map(drop)
}

/// The policy with this id, unless it was deleted.
pub(in crate::governance) async fn policy_view(
    tx: &mut Connection,
    id: &str,
) -> Result<Option<Policy>, StoreError> {
    let sql = format!("{SELECT} WHERE id = ? AND deleted_at IS NULL");
    let row: Option<PolicyRow> =
        sql::query_as(AssertSqlSafe(sql)).bind(id).fetch_optional(tx).await.doing("reading a policy")?;
    row.map(Policy::try_from).transpose()
}

/// Policies after this id, oldest first.
pub(super) async fn policy_list(
    tx: &mut Connection,
    after: &str,
    limit: u64,
) -> Result<Vec<Policy>, StoreError> {
    let sql = format!("{SELECT} WHERE id > ? AND deleted_at IS NULL ORDER BY id LIMIT ?");
    let rows: Vec<PolicyRow> = sql::query_as(AssertSqlSafe(sql))
        .bind(after)
        .bind(stored(limit))
        .fetch_all(tx)
        .await
        .doing("listing policies")?;
    rows.into_iter().map(Policy::try_from).collect()
}

/// Whether there is a policy with this id, or was one.
pub(super) async fn policy_existed(tx: &mut Connection, id: &str) -> Result<bool, StoreError> {
    sql::query_scalar("SELECT EXISTS (SELECT 1 FROM policies WHERE id = ?)")
        .bind(id)
        .fetch_one(tx)
        .await
        .doing("looking for a policy")
}

/// Deletes a policy; it and its versions stay for the decision log. Returns whether there was one.
pub(super) async fn policy_delete(tx: &mut Connection, id: &str, now: Timestamp) -> Result<bool, StoreError> {
    let deleted = sql::query("UPDATE policies SET deleted_at = ? WHERE id = ? AND deleted_at IS NULL")
        .bind(now.as_microsecond())
        .bind(id)
        .execute(tx)
        .await
        .doing("deleting a policy")?;
    Ok(deleted.rows_affected() > 0)
}
