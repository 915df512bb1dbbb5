//! What is in force, as it stands in the database: what snapshots and the ledger are built from.

use std::collections::HashMap;
use std::sync::Arc;

use mindweave_metering::{OrgId, PolicyId};
use mindweave_policy::{Governance, LimitSpec, OrgEntry, PolicySpec, QuotaSpec};
use serde::de::DeserializeOwned;
use sqlx::FromRow;

use crate::db::{Connection, Doing, StoreError, sql};

/// Rises with every change of what [`governance_read`] reads.
pub(crate) async fn governance_revision(tx: &mut Connection) -> Result<i64, StoreError> {
    revision(tx, "SELECT governance_revision FROM installation").await
}

/// Rises with every change of what [`quotas_read`] reads, and of the zones in which windows begin.
pub(crate) async fn budgets_revision(tx: &mut Connection) -> Result<i64, StoreError> {
    revision(tx, "SELECT budgets_revision FROM installation").await
}

async fn revision(tx: &mut Connection, sql: &'static str) -> Result<i64, StoreError> {
    let revision = sql::query_scalar(sql).fetch_optional(tx).await.doing("reading a revision")?;
    Ok(revision.unwrap_or(0)) // 0 in an empty database
}

/// Everything in force: policies that are not `off`, limits and budgets, in the order in which they were made.
pub(crate) async fn governance_read(tx: &mut Connection) -> Result<Governance, StoreError> {
    Ok(Governance {
        orgs: orgs_read(tx).await?,
        policies: policies_read(tx).await?,
        limits: limits_read(tx).await?,
        quotas: quotas_read(tx).await?,
    })
}

/// Every budget, in the order in which they were made.
pub(crate) async fn quotas_read(tx: &mut Connection) -> Result<Vec<Arc<QuotaSpec>>, StoreError> {
    let rows: Vec<String> = sql::query_scalar("SELECT spec FROM quotas WHERE deleted_at IS NULL ORDER BY id")
        .fetch_all(tx)
        .await
        .doing("reading budgets")?;
    rows.iter().map(|spec| parse(spec, "a budget").map(Arc::new)).collect()
}

async fn limits_read(tx: &mut Connection) -> Result<Vec<Arc<LimitSpec>>, StoreError> {
    let rows: Vec<String> = sql::query_scalar("SELECT spec FROM limits WHERE deleted_at IS NULL ORDER BY id")
        .fetch_all(tx)
        .await
        .doing("reading rate limits")?;
    rows.iter().map(|spec| parse(spec, "a rate limit").map(Arc::new)).collect()
}

async fn orgs_read(tx: &mut Connection) -> Result<HashMap<OrgId, OrgEntry>, StoreError> {
    let rows: Vec<(String, String, String)> = sql::query_as("SELECT id, name, time_zone FROM orgs")
        .fetch_all(tx)
        .await
        .doing("reading organisations")?;
    let entry = |(id, name, time_zone): (String, String, String)| {
        (OrgId::new(id), OrgEntry { name: name.into(), time_zone: time_zone.into() })
    };
    Ok(rows.into_iter().map(entry).collect())
}

#[derive(FromRow)]
struct PolicyRow {
    id: String,
    org_id: String,
    name: String,
    version: i64,
    mode: String,
    scope: String,
    on_error: String,
    rego: String,
    data: String,
}

impl TryFrom<PolicyRow> for PolicySpec {
    type Error = StoreError;

    fn try_from(row: PolicyRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: PolicyId::new(row.id),
            org_id: OrgId::new(row.org_id),
            name: row.name.into(),
            version: u64::try_from(row.version).map_err(|_| StoreError::Corrupt { what: "a version" })?,
            mode: word(&row.mode, "a policy's mode")?,
            scope: parse(&row.scope, "a policy's scope")?,
            rego: row.rego.into(),
            data: parse(&row.data, "a policy's data")?,
            on_error: word(&row.on_error, "a policy's on_error")?,
        })
    }
}

async fn policies_read(tx: &mut Connection) -> Result<Vec<Arc<PolicySpec>>, StoreError> {
    let rows: Vec<PolicyRow> = sql::query_as(
        "SELECT p.id, p.org_id, p.name, p.version, p.mode, p.scope, p.on_error, v.rego, v.data
         FROM policies p JOIN policy_versions v ON v.policy_id = p.id AND v.version = p.version
         WHERE p.deleted_at IS NULL AND p.mode <> 'off' ORDER BY p.id",
    )
    .fetch_all(tx)
    .await
    .doing("reading policies")?;
    rows.into_iter().map(|row| PolicySpec::try_from(row).map(Arc::new)).collect()
}

/// A stored JSON value.
pub(crate) fn parse<T: DeserializeOwned>(json: &str, what: &'static str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|_| StoreError::Corrupt { what })
}

/// A stored word of a closed list.
pub(crate) fn word<T: DeserializeOwned>(word: &str, what: &'static str) -> Result<T, StoreError> {
    serde_json::from_value(serde_json::Value::from(word)).map_err(|_| StoreError::Corrupt { what })
}
