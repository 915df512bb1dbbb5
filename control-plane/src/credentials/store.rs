//! All SQL of registered client credentials.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use mindweave_policy::Fingerprint;
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow};

use crate::db::{Connection, Db, Doing, StoreError, sql};
use crate::snapshot::revision_raise;
use crate::stored::{labels, labels_json, roles, roles_json, timestamp};

/// A registered credential as the API shows it. The credential itself was never stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Credential {
    pub(crate) id: String,
    pub(crate) project_id: String,
    pub(crate) name: String,
    /// The credential's last four characters.
    pub(crate) hint: String,
    pub(crate) team_id: Option<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) roles: Vec<Arc<str>>,
    pub(crate) labels: BTreeMap<Arc<str>, Arc<str>>,
    pub(crate) created_at: Timestamp,
}

#[derive(FromRow)]
struct CredentialRow {
    id: String,
    project_id: String,
    name: String,
    hint: String,
    team_id: Option<String>,
    user_id: Option<String>,
    roles: String,
    labels: String,
    created_at: i64,
}

impl TryFrom<CredentialRow> for Credential {
    type Error = StoreError;

    fn try_from(row: CredentialRow) -> Result<Self, StoreError> {
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
        })
    }
}

const SELECT: &str =
    "SELECT id, project_id, name, hint, team_id, user_id, roles, labels, created_at FROM client_credentials";

/// Registers a credential. Returns the snapshot revision that includes it; `None` when its project does not exist.
pub(crate) async fn credential_insert(
    db: &Db,
    credential: &Credential,
    fingerprint: &Fingerprint,
) -> Result<Option<u64>, StoreError> {
    let mut tx = db.begin_write().await?;
    let inserted = sql::query(
        "INSERT INTO client_credentials (id, project_id, name, fingerprint, hint, team_id, user_id, roles, labels,
             created_at)
         SELECT ?, id, ?, ?, ?, ?, ?, ?, ?, ? FROM projects WHERE id = ?",
    )
    .bind(&credential.id)
    .bind(&credential.name)
    .bind(fingerprint.as_bytes().as_slice())
    .bind(&credential.hint)
    .bind(&credential.team_id)
    .bind(&credential.user_id)
    .bind(roles_json(&credential.roles))
    .bind(labels_json(&credential.labels))
    .bind(credential.created_at.as_microsecond())
    .bind(&credential.project_id)
    .execute(&mut *tx)
    .await
    .doing("registering a credential")?;
    if inserted.rows_affected() == 0 {
        return Ok(None);
    }
    let revision = revision_raise(&mut tx).await?;
    tx.commit().await.doing("committing a credential")?;
    Ok(Some(revision))
}

/// The credential of this project with this id.
pub(crate) async fn credential_view(
    tx: &mut Connection,
    project_id: &str,
    id: &str,
) -> Result<Option<Credential>, StoreError> {
    let sql = format!("{SELECT} WHERE id = ? AND project_id = ?");
    let row: Option<CredentialRow> = sql::query_as(AssertSqlSafe(sql))
        .bind(id)
        .bind(project_id)
        .fetch_optional(tx)
        .await
        .doing("reading a credential")?;
    row.map(Credential::try_from).transpose()
}

/// Replaces what can be changed of a credential.
pub(crate) async fn credential_update(
    tx: &mut Connection,
    credential: &Credential,
) -> Result<(), StoreError> {
    sql::query(
        "UPDATE client_credentials SET name = ?, team_id = ?, user_id = ?, roles = ?, labels = ? WHERE id = ?",
    )
    .bind(&credential.name)
    .bind(&credential.team_id)
    .bind(&credential.user_id)
    .bind(roles_json(&credential.roles))
    .bind(labels_json(&credential.labels))
    .bind(&credential.id)
    .execute(tx)
    .await
    .doing("changing a credential")
    .map(drop)
}

/// A project's credentials after this id, oldest first.
pub(crate) async fn credential_list(
    db: &Db,
    project_id: &str,
    after: &str,
    limit: u64,
) -> Result<Vec<Credential>, StoreError> {
    let sql = format!("{SELECT} WHERE project_id = ? AND id > ? ORDER BY id LIMIT ?");
    let rows: Vec<CredentialRow> = sql::query_as(AssertSqlSafe(sql))
        .bind(project_id)
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(db.readers())
        .await
        .doing("listing credentials")?;
    rows.into_iter().map(Credential::try_from).collect()
}

/// Unregisters a credential, which may then be registered elsewhere. Returns the snapshot revision without it; `None`
/// when the project has no such credential.
pub(crate) async fn credential_delete(
    db: &Db,
    project_id: &str,
    id: &str,
) -> Result<Option<u64>, StoreError> {
    let mut tx = db.begin_write().await?;
    let deleted = sql::query("DELETE FROM client_credentials WHERE id = ? AND project_id = ?")
        .bind(id)
        .bind(project_id)
        .execute(&mut *tx)
        .await
        .doing("unregistering a credential")?;
    if deleted.rows_affected() == 0 {
        return Ok(None);
    }
    let revision = revision_raise(&mut tx).await?;
    tx.commit().await.doing("committing the removal of a credential")?;
    Ok(Some(revision))
}
