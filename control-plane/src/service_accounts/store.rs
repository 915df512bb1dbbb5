//! All SQL of service accounts.

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, FromRow};

use super::account::ServiceAccount;
use crate::access::{OrgPermit, Role};
use crate::db::{Connection, Doing, StoreError, sql};
use crate::members::MANUAL;
use crate::stored::timestamp;

/// A service account and its role in the organisation, which nobody but people gives.
const ACCOUNTS: &str = "SELECT s.id, s.org_id, s.name, s.created_at, s.updated_at, s.disabled_at, b.role
    FROM service_accounts s
    LEFT JOIN role_bindings b ON b.principal_id = s.id AND b.place = 'org' AND b.place_id = s.org_id AND b.source = ?
    WHERE s.org_id = ? AND s.deleted_at IS NULL";

#[derive(FromRow)]
struct AccountRow {
    id: String,
    org_id: String,
    name: String,
    created_at: i64,
    updated_at: i64,
    disabled_at: Option<i64>,
    role: Option<String>,
}

impl TryFrom<AccountRow> for ServiceAccount {
    type Error = StoreError;

    fn try_from(row: AccountRow) -> Result<Self, StoreError> {
        let role = |text: String| Role::from_text(&text).ok_or(StoreError::Corrupt { what: "a role" });
        Ok(Self {
            id: row.id,
            org_id: row.org_id,
            name: row.name,
            role: row.role.map(role).transpose()?,
            created_at: timestamp(row.created_at)?,
            updated_at: timestamp(row.updated_at)?,
            disabled_at: row.disabled_at.map(timestamp).transpose()?,
        })
    }
}

/// How many service accounts an organisation has.
pub(super) async fn account_count(tx: &mut Connection, permit: &OrgPermit) -> Result<i64, StoreError> {
    sql::query_scalar("SELECT count(*) FROM service_accounts WHERE org_id = ? AND deleted_at IS NULL")
        .bind(permit.org_id())
        .fetch_one(tx)
        .await
        .doing("counting service accounts")
}

/// Service accounts after this id, oldest first.
pub(super) async fn account_list(
    tx: &mut Connection,
    permit: &OrgPermit,
    after: &str,
    limit: u64,
) -> Result<Vec<ServiceAccount>, StoreError> {
    let rows: Vec<AccountRow> =
        sql::query_as(AssertSqlSafe(format!("{ACCOUNTS} AND s.id > ? ORDER BY s.id LIMIT ?")))
            .bind(MANUAL)
            .bind(permit.org_id())
            .bind(after)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(tx)
            .await
            .doing("listing service accounts")?;
    rows.into_iter().map(ServiceAccount::try_from).collect()
}

/// The service account of this id, if the organisation has it.
pub(super) async fn account_find(
    tx: &mut Connection,
    permit: &OrgPermit,
    id: &str,
) -> Result<Option<ServiceAccount>, StoreError> {
    let row: Option<AccountRow> = sql::query_as(AssertSqlSafe(format!("{ACCOUNTS} AND s.id = ?")))
        .bind(MANUAL)
        .bind(permit.org_id())
        .bind(id)
        .fetch_optional(tx)
        .await
        .doing("reading a service account")?;
    row.map(ServiceAccount::try_from).transpose()
}

/// Writes a new service account. Its role is given apart.
pub(super) async fn account_insert(
    tx: &mut Connection,
    permit: &OrgPermit,
    account: &ServiceAccount,
) -> Result<(), StoreError> {
    sql::query(
        "INSERT INTO service_accounts (id, org_id, name, created_at, updated_at) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(&account.id)
    .bind(permit.org_id())
    .bind(&account.name)
    .bind(account.created_at.as_microsecond())
    .bind(account.updated_at.as_microsecond())
    .execute(tx)
    .await
    .doing("making a service account")
    .map(drop)
}

/// Writes name and whether it is disabled.
pub(super) async fn account_update(
    tx: &mut Connection,
    permit: &OrgPermit,
    account: &ServiceAccount,
) -> Result<(), StoreError> {
    sql::query(
        "UPDATE service_accounts SET name = ?, disabled_at = ?, updated_at = ? WHERE org_id = ? AND id = ?",
    )
    .bind(&account.name)
    .bind(account.disabled_at.map(|at| at.as_microsecond()))
    .bind(account.updated_at.as_microsecond())
    .bind(permit.org_id())
    .bind(&account.id)
    .execute(tx)
    .await
    .doing("changing a service account")
    .map(drop)
}

/// Takes a service account out of every list, for good. What it did stays on the audit log.
pub(super) async fn account_delete(
    tx: &mut Connection,
    permit: &OrgPermit,
    id: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sql::query("UPDATE service_accounts SET deleted_at = ? WHERE org_id = ? AND id = ?")
        .bind(now.as_microsecond())
        .bind(permit.org_id())
        .bind(id)
        .execute(tx)
        .await
        .doing("deleting a service account")
        .map(drop)
}
