//! All SQL of providers.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, FromRow};

use super::provider::{Provider, Settings};
use crate::access::OrgPermit;
use crate::db::{Connection, Doing, StoreError, sql};
use crate::stored::timestamp;

#[derive(FromRow)]
struct Row {
    id: String,
    org_id: String,
    name: String,
    issuer: String,
    client_id: String,
    sealed: Option<Vec<u8>>,
    settings: String,
    enabled: i64,
    created_at: i64,
    updated_at: i64,
}

const COLUMNS: &str =
    "SELECT id, org_id, name, issuer, client_id, sealed, settings, enabled, created_at, updated_at
    FROM oidc_providers WHERE ";

/// A provider with its sealed client secret.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) provider: Provider,
    pub(super) sealed: Option<Vec<u8>>,
}

impl TryFrom<Row> for Stored {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let provider = Provider {
            id: row.id,
            org_id: row.org_id,
            name: row.name,
            issuer: row.issuer,
            client_id: row.client_id,
            has_client_secret: row.sealed.is_some(),
            settings: settings(&row.settings)?,
            enabled: row.enabled != 0,
            created_at: timestamp(row.created_at)?,
            updated_at: timestamp(row.updated_at)?,
        };
        Ok(Self { provider, sealed: row.sealed })
    }
}

fn settings(json: &str) -> Result<Settings, StoreError> {
    serde_json::from_str(json).map_err(|_| StoreError::Corrupt { what: "the settings of a sign-on provider" })
}

fn settings_json(settings: &Settings) -> Result<String, StoreError> {
    serde_json::to_string(settings)
        .map_err(|_| StoreError::Corrupt { what: "the settings of a sign-on provider" })
}

/// Providers of an organisation after this id, by id.
pub(super) async fn provider_list(
    tx: &mut Connection,
    permit: &OrgPermit,
    after: &str,
    limit: u64,
) -> Result<Vec<Provider>, StoreError> {
    let sql = format!("{COLUMNS} org_id = ? AND id > ? ORDER BY id LIMIT ?");
    let rows: Vec<Row> = sql::query_as(AssertSqlSafe(sql))
        .bind(permit.org_id())
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(tx)
        .await
        .doing("listing sign-on providers")?;
    rows.into_iter().map(|row| Stored::try_from(row).map(|stored| stored.provider)).collect()
}

/// A provider of an organisation.
pub(super) async fn provider_view(
    tx: &mut Connection,
    permit: &OrgPermit,
    id: &str,
) -> Result<Option<Stored>, StoreError> {
    let row: Option<Row> = sql::query_as(AssertSqlSafe(format!("{COLUMNS} org_id = ? AND id = ?")))
        .bind(permit.org_id())
        .bind(id)
        .fetch_optional(tx)
        .await
        .doing("reading a sign-on provider")?;
    row.map(Stored::try_from).transpose()
}

/// How many providers an organisation has.
pub(super) async fn provider_count(tx: &mut Connection, permit: &OrgPermit) -> Result<i64, StoreError> {
    sql::query_scalar("SELECT count(*) FROM oidc_providers WHERE org_id = ?")
        .bind(permit.org_id())
        .fetch_one(tx)
        .await
        .doing("counting sign-on providers")
}

/// Makes a provider. A taken id fails as a unique violation.
pub(super) async fn provider_insert(
    tx: &mut Connection,
    permit: &OrgPermit,
    Stored { provider, sealed }: &Stored,
) -> Result<(), StoreError> {
    sql::query(
        "INSERT INTO oidc_providers (id, org_id, name, issuer, client_id, sealed, settings, enabled, created_at, updated_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&provider.id)
    .bind(permit.org_id())
    .bind(&provider.name)
    .bind(&provider.issuer)
    .bind(&provider.client_id)
    .bind(sealed.clone())
    .bind(settings_json(&provider.settings)?)
    .bind(i64::from(provider.enabled))
    .bind(provider.created_at.as_microsecond())
    .bind(provider.updated_at.as_microsecond())
    .execute(tx)
    .await
    .doing("making a sign-on provider")
    .map(drop)
}

/// Changes a provider.
pub(super) async fn provider_update(
    tx: &mut Connection,
    permit: &OrgPermit,
    Stored { provider, sealed }: &Stored,
) -> Result<(), StoreError> {
    sql::query(
        "UPDATE oidc_providers SET name = ?, issuer = ?, client_id = ?, sealed = ?, settings = ?, enabled = ?, updated_at = ?
         WHERE org_id = ? AND id = ?",
    )
    .bind(&provider.name)
    .bind(&provider.issuer)
    .bind(&provider.client_id)
    .bind(sealed.clone())
    .bind(settings_json(&provider.settings)?)
    .bind(i64::from(provider.enabled))
    .bind(provider.updated_at.as_microsecond())
    .bind(permit.org_id())
    .bind(&provider.id)
    .execute(tx)
    .await
    .doing("changing a sign-on provider")
    .map(drop)
}

/// Deletes a provider, which has given nobody a role any more.
pub(super) async fn provider_delete(
    tx: &mut Connection,
    permit: &OrgPermit,
    id: &str,
) -> Result<(), StoreError> {
    sql::query("DELETE FROM oidc_providers WHERE org_id = ? AND id = ?")
        .bind(permit.org_id())
        .bind(id)
        .execute(tx)
        .await
        .doing("deleting a sign-on provider")
        .map(drop)
}

/// People to whom a provider gave roles.
pub(super) async fn people_with_roles(
    tx: &mut Connection,
    permit: &OrgPermit,
    provider_id: &str,
) -> Result<Vec<String>, StoreError> {
    sql::query_scalar("SELECT DISTINCT principal_id FROM role_bindings WHERE org_id = ? AND source = ? ORDER BY principal_id")
        .bind(permit.org_id())
        .bind(provider_id)
        .fetch_all(tx)
        .await
        .doing("looking for people with roles from a provider")
}

/// The first of these domains that another organisation's provider has.
pub(super) async fn domain_of_others(
    tx: &mut Connection,
    permit: &OrgPermit,
    domains: &[String],
) -> Result<Option<String>, StoreError> {
    if domains.is_empty() {
        return Ok(None);
    }
    let all: Vec<String> = sql::query_scalar("SELECT settings FROM oidc_providers WHERE org_id <> ?")
        .bind(permit.org_id())
        .fetch_all(tx)
        .await
        .doing("looking for domains")?;
    let mut taken = BTreeSet::new();
    for json in all {
        taken.extend(settings(&json)?.domains);
    }
    Ok(domains.iter().find(|domain| taken.contains(*domain)).cloned())
}

/// Whether the places that a mapping names are in the organisation; the first that is not.
pub(super) async fn place_of_others(
    tx: &mut Connection,
    permit: &OrgPermit,
    settings: &Settings,
) -> Result<Option<String>, StoreError> {
    for mapped in &settings.role_mapping {
        if !crate::access::place_exists(tx, permit.org_id(), &mapped.place()).await? {
            return Ok(mapped.place_id.clone());
        }
    }
    Ok(None)
}

/// A provider that people may sign in by. Without a permit: whoever signs in has none yet.
pub(super) async fn provider_enabled(tx: &mut Connection, id: &str) -> Result<Option<Stored>, StoreError> {
    let sql = format!(
        "{COLUMNS} id = ? AND enabled = 1 AND EXISTS (SELECT 1 FROM orgs WHERE orgs.id = org_id AND deleted_at IS NULL)"
    );
    let row: Option<Row> = sql::query_as(AssertSqlSafe(sql))
        .bind(id)
        .fetch_optional(tx)
        .await
        .doing("reading a sign-on provider")?;
    row.map(Stored::try_from).transpose()
}

/// Whether people may sign in by a provider: asked again in the transaction that begins their session, for it may have been switched off
/// since they were sent there.
pub(crate) async fn is_enabled(tx: &mut Connection, id: &str) -> Result<bool, StoreError> {
    Ok(provider_enabled(tx, id).await?.is_some())
}

/// A provider as everybody may know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) domains: Vec<String>,
}

/// All providers that people may sign in by, by id.
pub(super) async fn providers_known(tx: &mut Connection, limit: i64) -> Result<Vec<Known>, StoreError> {
    let rows: Vec<(String, String, String)> = sql::query_as(
        "SELECT p.id, p.name, p.settings FROM oidc_providers p JOIN orgs o ON o.id = p.org_id
         WHERE p.enabled = 1 AND o.deleted_at IS NULL ORDER BY p.id LIMIT ?",
    )
    .bind(limit)
    .fetch_all(tx)
    .await
    .doing("listing sign-on providers")?;
    rows.into_iter()
        .map(|(id, name, json)| Ok(Known { id, name, domains: settings(&json)?.domains }))
        .collect()
}

/// Whether there is one organisation only.
pub(super) async fn is_sole_org(tx: &mut Connection) -> Result<bool, StoreError> {
    let orgs: i64 = sql::query_scalar("SELECT count(*) FROM orgs WHERE deleted_at IS NULL")
        .fetch_one(tx)
        .await
        .doing("counting organisations")?;
    Ok(orgs <= 1)
}

/// The live sessions that a provider began, with whose they are.
pub(super) async fn sessions_of(
    tx: &mut Connection,
    permit: &OrgPermit,
    provider_id: &str,
    now: Timestamp,
) -> Result<Vec<(String, String)>, StoreError> {
    sql::query_as(
        "SELECT id, user_id FROM sessions
         WHERE method = (SELECT id FROM oidc_providers WHERE org_id = ? AND id = ?) AND revoked_at IS NULL AND expires_at > ?
         ORDER BY id",
    )
    .bind(permit.org_id())
    .bind(provider_id)
    .bind(now.as_microsecond())
    .fetch_all(tx)
    .await
    .doing("looking for sessions of a provider")
}
