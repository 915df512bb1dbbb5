//! All SQL of registered client credentials.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use mindweave_policy::Fingerprint;
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow};

use crate::access::ProjectPermit;
use crate::db::sql::QueryBuilder;
use crate::db::{Connection, Doing, StoreError, sql};
use crate::http::sorting::Sorting;
use crate::stored::{labels, labels_json, roles, roles_json, timestamp};

/// A registered credential as the API shows it. The credential itself was never stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
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

const SELECT: &str = "SELECT id, project_id, name, hint, team_id, user_id, roles, labels, created_at
     FROM client_credentials WHERE project_id = ";

/// Registers a credential.
pub(super) async fn credential_insert(
    tx: &mut Connection,
    permit: &ProjectPermit,
    credential: &Credential,
    fingerprint: &Fingerprint,
) -> Result<(), StoreError> {
    sql::query(
        "INSERT INTO client_credentials (id, project_id, name, fingerprint, hint, team_id, user_id, roles, labels,
             created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&credential.id)
    .bind(permit.project_id())
    .bind(&credential.name)
    .bind(fingerprint.as_bytes().as_slice())
    .bind(&credential.hint)
    .bind(&credential.team_id)
    .bind(&credential.user_id)
    .bind(roles_json(&credential.roles))
    .bind(labels_json(&credential.labels))
    .bind(credential.created_at.as_microsecond())
    .execute(tx)
    .await
    .doing("registering a credential")
    .map(drop)
}

/// The credential of this project with this id.
pub(super) async fn credential_view(
    tx: &mut Connection,
    permit: &ProjectPermit,
    id: &str,
) -> Result<Option<Credential>, StoreError> {
    let row: Option<CredentialRow> = sql::query_as(AssertSqlSafe(format!("{SELECT}? AND id = ?")))
        .bind(permit.project_id())
        .bind(id)
        .fetch_optional(tx)
        .await
        .doing("reading a credential")?;
    row.map(Credential::try_from).transpose()
}

/// Replaces what can be changed of a credential.
pub(super) async fn credential_update(
    tx: &mut Connection,
    permit: &ProjectPermit,
    credential: &Credential,
) -> Result<(), StoreError> {
    sql::query(
        "UPDATE client_credentials SET name = ?, team_id = ?, user_id = ?, roles = ?, labels = ?
         WHERE id = ? AND project_id = ?",
    )
    .bind(&credential.name)
    .bind(&credential.team_id)
    .bind(&credential.user_id)
    .bind(roles_json(&credential.roles))
    .bind(labels_json(&credential.labels))
    .bind(&credential.id)
    .bind(permit.project_id())
    .execute(tx)
    .await
    .doing("changing a credential")
    .map(drop)
}

/// What a list of credentials is limited to.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    pub(super) team_id: Option<String>,
    pub(super) user_id: Option<String>,
}

/// A project's credentials.
pub(super) async fn credential_list(
    tx: &mut Connection,
    permit: &ProjectPermit,
    filter: &Filter,
    sorting: &Sorting,
    limit: u64,
) -> Result<Vec<Credential>, StoreError> {
    let mut sql = QueryBuilder::new(SELECT);
    sql.push_bind(permit.project_id());
    if let Some(team_id) = &filter.team_id {
        sql.push(" AND team_id = ").push_bind(team_id);
    }
    if let Some(user_id) = &filter.user_id {
        sql.push(" AND user_id = ").push_bind(user_id);
    }
    sorting.push(&mut sql, "id", limit);
    let rows: Vec<CredentialRow> = sql.build_query_as().fetch_all(tx).await.doing("listing credentials")?;
    rows.into_iter().map(Credential::try_from).collect()
}

/// Unregisters a credential.
pub(super) async fn credential_delete(
    tx: &mut Connection,
    permit: &ProjectPermit,
    id: &str,
) -> Result<(), StoreError> {
    sql::query("DELETE FROM client_credentials WHERE id = ? AND project_id = ?")
        .bind(id)
        .bind(permit.project_id())
        .execute(tx)
        .await
        .doing("unregistering a credential")
        .map(drop)
}
