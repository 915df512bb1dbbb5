//! All SQL of passkeys.

use jiff::Timestamp;
use mindweave_identity::passkeys::Passkey;
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow};

use crate::db::{Connection, Doing, StoreError, sql};
use crate::stored::timestamp;

/// A passkey as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = Passkey)]
pub(super) struct PasskeyView {
    /// `pky_..`
    pub(super) id: String,
    pub(super) name: String,
    pub(super) created_at: Timestamp,
    pub(super) last_used_at: Option<Timestamp>,
}

#[derive(FromRow)]
struct ViewRow {
    id: String,
    name: String,
    created_at: i64,
    last_used_at: Option<i64>,
}

impl TryFrom<ViewRow> for PasskeyView {
    type Error = StoreError;

    fn try_from(row: ViewRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            name: row.name,
            created_at: timestamp(row.created_at)?,
            last_used_at: row.last_used_at.map(timestamp).transpose()?,
        })
    }
}

/// A passkey with what verifies it.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) id: String,
    pub(super) user_id: String,
    pub(super) passkey: Passkey,
}

#[derive(FromRow)]
struct KeptRow {
    id: String,
    user_id: String,
    credential_id: Vec<u8>,
    credential: String,
}

impl TryFrom<KeptRow> for Kept {
    type Error = StoreError;

    fn try_from(row: KeptRow) -> Result<Self, StoreError> {
        let mut passkey: Passkey =
            serde_json::from_str(&row.credential).map_err(|_| StoreError::Corrupt { what: "a passkey" })?;
        passkey.credential_id = row.credential_id;
        Ok(Self { id: row.id, user_id: row.user_id, passkey })
    }
}

const VIEW: &str = "SELECT id, name, created_at, last_used_at FROM passkeys WHERE user_id = ?";
const KEPT: &str = "SELECT id, user_id, credential_id, credential FROM passkeys WHERE";

/// Somebody's passkeys after this id, oldest first.
pub(super) async fn passkey_list(
    tx: &mut Connection,
    user_id: &str,
    after: &str,
    limit: u64,
) -> Result<Vec<PasskeyView>, StoreError> {
    let rows: Vec<ViewRow> = sql::query_as(AssertSqlSafe(format!("{VIEW} AND id > ? ORDER BY id LIMIT ?")))
        .bind(user_id)
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(tx)
        .await
        .doing("listing passkeys")?;
    rows.into_iter().map(PasskeyView::try_from).collect()
}

/// One of somebody's passkeys.
pub(super) async fn passkey_find(
    tx: &mut Connection,
    user_id: &str,
    id: &str,
) -> Result<Option<PasskeyView>, StoreError> {
    let row: Option<ViewRow> = sql::query_as(AssertSqlSafe(format!("{VIEW} AND id = ?")))
        .bind(user_id)
        .bind(id)
        .fetch_optional(tx)
        .await
        .doing("reading a passkey")?;
    row.map(PasskeyView::try_from).transpose()
}

/// What verifies somebody's passkeys.
pub(super) async fn passkeys_of(tx: &mut Connection, user_id: &str) -> Result<Vec<Passkey>, StoreError> {
    let rows: Vec<KeptRow> = sql::query_as(AssertSqlSafe(format!("{KEPT} user_id = ? ORDER BY id")))
        .bind(user_id)
        .fetch_all(tx)
        .await
        .doing("reading passkeys")?;
    rows.into_iter().map(|row| Kept::try_from(row).map(|kept| kept.passkey)).collect()
}

/// The passkey that its authenticator calls so, whose ever it is.
pub(super) async fn passkey_by_credential(
    tx: &mut Connection,
    credential_id: &[u8],
) -> Result<Option<Kept>, StoreError> {
    let row: Option<KeptRow> = sql::query_as(AssertSqlSafe(format!("{KEPT} credential_id = ?")))
        .bind(credential_id)
        .fetch_optional(tx)
        .await
        .doing("looking for a passkey")?;
    row.map(Kept::try_from).transpose()
}

/// Stores a passkey of somebody. Unique violation: it is registered already.
pub(super) async fn passkey_insert(
    tx: &mut Connection,
    user_id: &str,
    view: &PasskeyView,
    passkey: &Passkey,
) -> Result<(), StoreError> {
    sql::query(
        "INSERT INTO passkeys (id, user_id, credential_id, name, credential, created_at) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(&view.id)
    .bind(user_id)
    .bind(passkey.credential_id.as_slice())
    .bind(&view.name)
    .bind(json(passkey)?)
    .bind(view.created_at.as_microsecond())
    .execute(tx)
    .await
    .doing("storing a passkey")
    .map(drop)
}

/// Notes a use, and what it changed of the passkey.
pub(super) async fn passkey_used(tx: &mut Connection, kept: &Kept, now: Timestamp) -> Result<(), StoreError> {
    sql::query("UPDATE passkeys SET credential = ?, last_used_at = ? WHERE id = ?")
        .bind(json(&kept.passkey)?)
        .bind(now.as_microsecond())
        .bind(&kept.id)
        .execute(tx)
        .await
        .doing("noting the use of a passkey")
        .map(drop)
}

/// Gives one of somebody's passkeys another name.
pub(super) async fn passkey_rename(
    tx: &mut Connection,
    user_id: &str,
    view: &PasskeyView,
) -> Result<(), StoreError> {
    sql::query("UPDATE passkeys SET name = ? WHERE user_id = ? AND id = ?")
        .bind(&view.name)
        .bind(user_id)
        .bind(&view.id)
        .execute(tx)
        .await
        .doing("renaming a passkey")
        .map(drop)
}

/// Forgets one of somebody's passkeys.
pub(super) async fn passkey_delete(tx: &mut Connection, user_id: &str, id: &str) -> Result<(), StoreError> {
    sql::query("DELETE FROM passkeys WHERE user_id = ? AND id = ?")
        .bind(user_id)
        .bind(id)
        .execute(tx)
        .await
        .doing("deleting a passkey")
        .map(drop)
}

fn json(passkey: &Passkey) -> Result<String, StoreError> {
    serde_json::to_string(passkey).map_err(|_| StoreError::Corrupt { what: "a passkey" })
}
