//! All SQL of policies' versions.

use std::sync::Arc;

use jiff::Timestamp;
use mindweave_policy::{PolicyFault, PolicyReport};
use serde_json::Value;
use sqlx::FromRow;

use crate::access::ProjectPermit;
use crate::db::{Connection, Doing, StoreError, sql};
use crate::governance::permit::Permit;
use crate::governance::stored_specs::parse;
use crate::stored::timestamp;

/// What a version is made of.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::governance) struct Content {
    pub(in crate::governance) rego: Arc<str>,
    /// A JSON object.
    pub(in crate::governance) data: Value,
    /// The bundled policy that the text is, if it is one.
    pub(in crate::governance) bundled: Option<String>,
}

/// A version of a policy. Never changes.
#[derive(Clone, Debug)]
pub(in crate::governance) struct Version {
    pub(in crate::governance) policy_id: String,
    pub(in crate::governance) version: u64,
    pub(in crate::governance) content: Content,
    /// The version whose content this one has again.
    pub(in crate::governance) restored_from: Option<u64>,
    /// What the check found.
    pub(in crate::governance) report: PolicyReport,
    pub(in crate::governance) created_at: Timestamp,
}

#[derive(FromRow)]
struct VersionRow {
    policy_id: String,
    version: i64,
    rego: String,
    data: String,
    bundled: Option<String>,
    restored_from: Option<i64>,
    package: String,
    reads: String,
    warnings: String,
    created_at: i64,
}

const COLUMNS: &str =
    "policy_id, version, rego, data, bundled, restored_from, package, reads, warnings, created_at";

impl TryFrom<VersionRow> for Version {
    type Error = StoreError;

    fn try_from(row: VersionRow) -> Result<Self, StoreError> {
        let warnings: Vec<PolicyFault> = parse(&row.warnings, "a policy's warnings")?;
        Ok(Self {
            policy_id: row.policy_id,
            version: number(row.version)?,
            content: Content {
                rego: row.rego.into(),
                data: parse(&row.data, "a policy's data")?,
                bundled: row.bundled,
            },
            restored_from: row.restored_from.map(number).transpose()?,
            report: PolicyReport {
                package: row.package,
                reads: parse(&row.reads, "a policy's reads")?,
                warnings,
            },
            created_at: timestamp(row.created_at)?,
        })
    }
}

fn number(version: i64) -> Result<u64, StoreError> {
    u64::try_from(version).map_err(|_| StoreError::Corrupt { what: "a policy's version" })
}

/// A version's number as the database has it. What does not fit is no version's.
pub(super) fn stored(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

/// Stores a version.
pub(super) async fn version_insert(
    tx: &mut Connection,
    permit: &Permit,
    version: &Version,
) -> Result<(), StoreError> {
    let json = |value: Result<String, serde_json::Error>| value.unwrap_or_default(); // what came from JSON goes back
    sql::query(
        "INSERT INTO policy_versions
             (policy_id, version, rego, data, bundled, restored_from, package, reads, warnings, created_at)
         SELECT id, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM policies WHERE id = ? AND org_id = ?",
    )
    .bind(stored(version.version))
    .bind(&*version.content.rego)
    .bind(json(serde_json::to_string(&version.content.data)))
    .bind(&version.content.bundled)
    .bind(version.restored_from.map(stored))
    .bind(&version.report.package)
    .bind(json(serde_json::to_string(&version.report.reads)))
    .bind(json(serde_json::to_string(&version.report.warnings)))
    .bind(version.created_at.as_microsecond())
    .bind(&version.policy_id)
    .bind(permit.org_id())
    .execute(tx)
    .await
    .doing("storing a policy's version")
    .map(drop)
}

/// A version; also of a deleted policy, because the decision log names it.
pub(in crate::governance) async fn version_view(
    tx: &mut Connection,
    permit: &Permit,
    policy_id: &str,
    version: u64,
) -> Result<Option<Version>, StoreError> {
    let sql = select(
        COLUMNS,
        "WHERE policy_id = ? AND version = ? AND EXISTS (SELECT 1 FROM policies WHERE id = policy_id AND org_id = ?)",
    );
    let row: Option<VersionRow> = sql::query_as(sqlx::AssertSqlSafe(sql))
        .bind(policy_id)
        .bind(stored(version))
        .bind(permit.org_id())
        .fetch_optional(tx)
        .await
        .doing("reading a policy's version")?;
    row.map(Version::try_from).transpose()
}

/// The input paths that a version reads, for whom a project of its organisation is open; none when there is no such version.
pub(in crate::governance) async fn version_reads(
    tx: &mut Connection,
    permit: &ProjectPermit,
    policy_id: &str,
    version: u64,
) -> Result<Vec<String>, StoreError> {
    let sql = select(
        "reads",
        "WHERE policy_id = ? AND version = ? AND EXISTS (SELECT 1 FROM policies WHERE id = policy_id AND org_id = ?)",
    );
    let reads: Option<String> = sql::query_scalar(sqlx::AssertSqlSafe(sql))
        .bind(policy_id)
        .bind(stored(version))
        .bind(permit.org_id())
        .fetch_optional(tx)
        .await
        .doing("reading what a policy's version reads")?;
    reads.map_or_else(|| Ok(Vec::new()), |reads| parse(&reads, "a policy's reads"))
}

/// Versions below this one, newest first; also of a deleted policy.
pub(super) async fn version_list(
    tx: &mut Connection,
    permit: &Permit,
    policy_id: &str,
    below: u64,
    limit: u64,
) -> Result<Vec<Version>, StoreError> {
    let sql = select(
        COLUMNS,
        "WHERE policy_id = ? AND version < ? AND EXISTS (SELECT 1 FROM policies WHERE id = policy_id AND org_id = ?) ORDER BY version DESC LIMIT ?",
    );
    let rows: Vec<VersionRow> = sql::query_as(sqlx::AssertSqlSafe(sql))
        .bind(policy_id)
        .bind(stored(below))
        .bind(permit.org_id())
        .bind(stored(limit))
        .fetch_all(tx)
        .await
        .doing("listing a policy's versions")?;
    rows.into_iter().map(Version::try_from).collect()
}

fn select(columns: &str, rest: &str) -> String {
    format!("SELECT {columns} FROM policy_versions {rest}")
}
