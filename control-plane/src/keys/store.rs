//! All SQL of keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use mindweave_policy::Fingerprint;
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow};

use crate::db::{Connection, Db, Doing, StoreError, sql};
use crate::snapshot::revision_raise;
use crate::stored::{labels, labels_json, roles, roles_json, timestamp};

/// A key as the API shows it: everything but its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) project_id: String,
    pub(crate) name: String,
    /// The secret's last four characters.
    pub(crate) hint: String,
    pub(crate) team_id: Option<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) roles: Vec<Arc<str>>,
    pub(crate) labels: BTreeMap<Arc<str>, Arc<str>>,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) revoked_at: Option<Timestamp>,
}

#[derive(FromRow)]
struct KeyRow {
    id: String,
    project_id: String,
    name: String,
    hint: String,
    team_id: Option<String>,
    user_id: Option<String>,
    roles: String,
    labels: String,
    created_at: i64,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
}

impl TryFrom<KeyRow> for Key {
    type Error = StoreError;

    fn try_from(row: KeyRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            project_id: row.project_id,
            name: row.name,
            hint: row.hint,
            team_id: row.team_id,
            user_id: row.user_id,
            roles: roles(&row.roles)?,
            labels: labels(&row.labels)?,
            created_at: timestamp(row.created_at)?,
            expires_at: row.expires_at.map(timestamp).transpose()?,
            revoked_at: row.revoked_at.map(timestamp).transpose()?,
        })
    }
}

const SELECT: &str = "SELECT id, project_id, name, hint, team_id, user_id, roles, labels, created_at, expires_at, revoked_at FROM keys";

/// Stores a key. Returns the snapshot revision that includes it; `None` when its project does not exist.
pub(crate) async fn key_insert(
    db: &Db,
    key: &Key,
    fingerprint: &Fingerprint,
) -> Result<Option<u64>, StoreError> {
    let mut tx = db.begin_write().await?;
    let inserted = sql::query(
        "INSERT INTO keys (id, project_id, name, fingerprint, hint, team_id, user_id, roles, labels, created_at,
             expires_at)
         SELECT ?, id, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM projects WHERE id = ?",
    )
    .bind(&key.id)
    .bind(&key.name)
    .bind(fingerprint.as_bytes().as_slice())
    .bind(&key.hint)
    .bind(&key.team_id)
    .bind(&key.user_id)
    .bind(roles_json(&key.roles))
    .bind(labels_json(&key.labels))
    .bind(key.created_at.as_microsecond())
    .bind(key.expires_at.map(|at| at.as_microsecond()))
    .bind(&key.project_id)
    .execute(&mut *tx)
    .await
    .doing("inserting a key")?;
    if inserted.rows_affected() == 0 {
        return Ok(None);
    }
    let revision = revision_raise(&mut tx).await?;
    tx.commit().await.doing("committing a key")?;
    Ok(Some(revision))
}

/// The key of this project with this id, also when it was revoked.
pub(crate) async fn key_view(
    tx: &mut Connection,
    project_id: &str,
    key_id: &str,
) -> Result<Option<Key>, StoreError> {
    let sql = format!("{SELECT} WHERE id = ? AND project_id = ?");
    let row: Option<KeyRow> = sql::query_as(AssertSqlSafe(sql))
        .bind(key_id)
        .bind(project_id)
        .fetch_optional(tx)
        .await
        .doing("reading a key")?;
    row.map(Key::try_from).transpose()
}

/// Replaces what can be changed of a key.
pub(crate) async fn key_update(tx: &mut Connection, key: &Key) -> Result<(), StoreError> {
    sql::query(
        "UPDATE keys SET name = ?, team_id = ?, user_id = ?, roles = ?, labels = ?, expires_at = ? WHERE id = ?",
    )
    .bind(&key.name)
    .bind(&key.team_id)
    .bind(&key.user_id)
    .bind(roles_json(&key.roles))
    .bind(labels_json(&key.labels))
    .bind(key.expires_at.map(|at| at.as_microsecond()))
    .bind(&key.id)
    .execute(tx)
    .await
    .doing("changing a key")
    .map(drop)
}

/// A project's keys after this id, oldest first, revoked ones included.
pub(crate) async fn key_list(
    db: &Db,
    project_id: &str,
    after: &str,
    limit: u64,
) -> Result<Vec<Key>, StoreError> {
    let sql = format!("{SELECT} WHERE project_id = ? AND id > ? ORDER BY id LIMIT ?");
    let rows: Vec<KeyRow> = sql::query_as(AssertSqlSafe(sql))
        .bind(project_id)
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(db.readers())
        .await
        .doing("listing keys")?;
    rows.into_iter().map(Key::try_from).collect()
}

/// Revokes a key; the time of a first revocation stays. Returns the snapshot revision without the key; `None` when the
/// project has no such key.
pub(crate) async fn key_revoke(
    db: &Db,
    project_id: &str,
    key_id: &str,
    now: Timestamp,
) -> Result<Option<u64>, StoreError> {
    let mut tx = db.begin_write().await?;
    let found =
        sql::query("UPDATE keys SET revoked_at = coalesce(revoked_at, ?) WHERE id = ? AND project_id = ?")
            .bind(now.as_microsecond())
            .bind(key_id)
            .bind(project_id)
            .execute(&mut *tx)
            .await
            .doing("revoking a key")?;
    if found.rows_affected() == 0 {
        return Ok(None);
    }
    let revision = revision_raise(&mut tx).await?;
    tx.commit().await.doing("committing the revocation of a key")?;
    Ok(Some(revision))
}
