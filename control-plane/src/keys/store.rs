//! All SQL of keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use mindweave_policy::Fingerprint;
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow};

use super::list::{Filter, State};
use crate::access::ProjectPermit;
use crate::db::sql::QueryBuilder;
use crate::db::{Connection, Doing, StoreError, sql};
use crate::http::sorting::Sorting;
use crate::stored::{labels, labels_json, roles, roles_json, timestamp};

/// What can be said of a key but its secret, and but what moves by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
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
    /// Since when it is refused until it is enabled again.
    pub(crate) disabled_at: Option<Timestamp>,
    /// Since when it is refused for good.
    pub(crate) revoked_at: Option<Timestamp>,
    /// When it got its present secret, if that is not its first one.
    pub(crate) rotated_at: Option<Timestamp>,
    /// Until when the secret before that one is good.
    pub(crate) previous_expires_at: Option<Timestamp>,
}

/// A key as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = Key)]
pub(crate) struct ShownKey {
    #[serde(flatten)]
    pub(crate) key: Key,
    pub(crate) state: State,
    /// The minute in which it was last used, as far as it is summed: a minute or two behind. The `etag` does not cover it.
    pub(crate) last_used_at: Option<Timestamp>,
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
    disabled_at: Option<i64>,
    revoked_at: Option<i64>,
    rotated_at: Option<i64>,
    previous_expires_at: Option<i64>,
    last_used_at: Option<i64>,
}

impl KeyRow {
    fn shown(self, now: Timestamp) -> Result<ShownKey, StoreError> {
        let time = |micros: Option<i64>| micros.map(timestamp).transpose();
        let key = Key {
            id: self.id,
            project_id: self.project_id,
            name: self.name,
            hint: self.hint,
            team_id: self.team_id,
            user_id: self.user_id,
            roles: roles(&self.roles)?,
            labels: labels(&self.labels)?,
            created_at: timestamp(self.created_at)?,
            expires_at: time(self.expires_at)?,
            disabled_at: time(self.disabled_at)?,
            revoked_at: time(self.revoked_at)?,
            rotated_at: time(self.rotated_at)?,
            previous_expires_at: time(self.previous_expires_at)?,
        };
        let state = State::of(&key, now);
        Ok(ShownKey { key, state, last_used_at: time(self.last_used_at)? })
    }
}

const SELECT: &str =
    "SELECT k.id, k.project_id, k.name, k.hint, k.team_id, k.user_id, k.roles, k.labels, k.created_at,
        k.expires_at, k.disabled_at, k.revoked_at, k.rotated_at, k.previous_expires_at, u.last_used_at
     FROM keys k LEFT JOIN key_uses u ON u.key_id = k.id WHERE k.project_id = ";

/// Stores a key.
pub(super) async fn key_insert(
    tx: &mut Connection,
    permit: &ProjectPermit,
    key: &Key,
    fingerprint: &Fingerprint,
) -> Result<(), StoreError> {
    sql::query(
        "INSERT INTO keys (id, project_id, name, fingerprint, hint, team_id, user_id, roles, labels, created_at,
             expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&key.id)
    .bind(permit.project_id())
    .bind(&key.name)
    .bind(fingerprint.as_bytes().as_slice())
    .bind(&key.hint)
    .bind(&key.team_id)
    .bind(&key.user_id)
    .bind(roles_json(&key.roles))
    .bind(labels_json(&key.labels))
    .bind(key.created_at.as_microsecond())
    .bind(key.expires_at.map(|at| at.as_microsecond()))
    .execute(tx)
    .await
    .doing("inserting a key")
    .map(drop)
}

/// The key of this project with this id, also when it was revoked.
pub(super) async fn key_view(
    tx: &mut Connection,
    permit: &ProjectPermit,
    key_id: &str,
    now: Timestamp,
) -> Result<Option<ShownKey>, StoreError> {
    let row: Option<KeyRow> = sql::query_as(AssertSqlSafe(format!("{SELECT}? AND k.id = ?")))
        .bind(permit.project_id())
        .bind(key_id)
        .fetch_optional(tx)
        .await
        .doing("reading a key")?;
    row.map(|row| row.shown(now)).transpose()
}

/// Replaces what can be changed of a key, its revocation included, but for its secret.
pub(super) async fn key_update(
    tx: &mut Connection,
    permit: &ProjectPermit,
    key: &Key,
) -> Result<(), StoreError> {
    let micros = |at: Option<Timestamp>| at.map(|at| at.as_microsecond());
    sql::query(
        "UPDATE keys SET name = ?, team_id = ?, user_id = ?, roles = ?, labels = ?, expires_at = ?, disabled_at = ?,
             revoked_at = ? WHERE id = ? AND project_id = ?",
    )
    .bind(&key.name)
    .bind(&key.team_id)
    .bind(&key.user_id)
    .bind(roles_json(&key.roles))
    .bind(labels_json(&key.labels))
    .bind(micros(key.expires_at))
    .bind(micros(key.disabled_at))
    .bind(micros(key.revoked_at))
    .bind(&key.id)
    .bind(permit.project_id())
    .execute(tx)
    .await
    .doing("changing a key")
    .map(drop)
}

/// Gives a key another secret. The one before stays known where `key` says until when; without that it is forgotten here and now.
pub(super) async fn key_rotate(
    tx: &mut Connection,
    permit: &ProjectPermit,
    key: &Key,
    fingerprint: &Fingerprint,
) -> Result<(), StoreError> {
    let keeps = key.previous_expires_at.is_some();
    let previous = if keeps { "fingerprint, previous_hint = hint" } else { "NULL, previous_hint = NULL" };
    // The right-hand sides are the values before the statement.
    sql::query(AssertSqlSafe(format!(
        "UPDATE keys SET previous_fingerprint = {previous}, previous_expires_at = ?, fingerprint = ?, hint = ?, rotated_at = ?
         WHERE id = ? AND project_id = ?"
    )))
    .bind(key.previous_expires_at.map(|at| at.as_microsecond()))
    .bind(fingerprint.as_bytes().as_slice())
    .bind(&key.hint)
    .bind(key.rotated_at.map(|at| at.as_microsecond()))
    .bind(&key.id)
    .bind(permit.project_id())
    .execute(tx)
    .await
    .doing("rotating a key")
    .map(drop)
}

/// A project's keys, revoked ones included.
pub(super) async fn key_list(
    tx: &mut Connection,
    permit: &ProjectPermit,
    filter: &Filter,
    sorting: &Sorting,
    limit: u64,
    now: Timestamp,
) -> Result<Vec<ShownKey>, StoreError> {
    let mut sql = QueryBuilder::new(SELECT);
    sql.push_bind(permit.project_id());
    if let Some(team_id) = &filter.team_id {
        sql.push(" AND k.team_id = ").push_bind(team_id);
    }
    if let Some(user_id) = &filter.user_id {
        sql.push(" AND k.user_id = ").push_bind(user_id);
    }
    match filter.state {
        None => {}
        Some(State::Revoked) => drop(sql.push(" AND k.revoked_at IS NOT NULL")),
        Some(State::Disabled) => drop(sql.push(" AND k.revoked_at IS NULL AND k.disabled_at IS NOT NULL")),
        Some(state @ (State::Expired | State::Active)) => {
            let comparison = if state == State::Expired { "<=" } else { ">" };
            sql.push(" AND k.revoked_at IS NULL AND k.disabled_at IS NULL AND coalesce(k.expires_at, ")
                .push_bind(i64::MAX)
                .push(") ")
                .push(comparison)
                .push(" ")
                .push_bind(now.as_microsecond());
        }
    }
    sorting.push(&mut sql, "k.id", limit);
    let rows: Vec<KeyRow> = sql.build_query_as().fetch_all(tx).await.doing("listing keys")?;
    rows.into_iter().map(|row| row.shown(now)).collect()
}
