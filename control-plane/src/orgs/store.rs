//! All SQL of organisations, but for their making, which is the first start's.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use mindweave_metering::OrgId;
use serde::Serialize;
use sqlx::FromRow;

use crate::db::{Connection, Db, Doing, StoreError, sql};
use crate::stored::timestamp;

/// An organisation as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Org {
    pub(crate) id: String,
    pub(crate) name: String,
    /// IANA name.
    pub(crate) time_zone: String,
    pub(crate) created_at: Timestamp,
}

#[derive(FromRow)]
struct OrgRow {
    id: String,
    name: String,
    time_zone: String,
    created_at: i64,
}

impl TryFrom<OrgRow> for Org {
    type Error = StoreError;

    fn try_from(row: OrgRow) -> Result<Self, StoreError> {
        let created_at = timestamp(row.created_at)?;
        Ok(Self { id: row.id, name: row.name, time_zone: row.time_zone, created_at })
    }
}

/// The organisation with this id.
pub(super) async fn org_view(tx: &mut Connection, id: &str) -> Result<Option<Org>, StoreError> {
    let row: Option<OrgRow> = sql::query_as("SELECT id, name, time_zone, created_at FROM orgs WHERE id = ?")
        .bind(id)
        .fetch_optional(tx)
        .await
        .doing("reading an organisation")?;
    row.map(Org::try_from).transpose()
}

/// Organisations after this id, oldest first.
pub(super) async fn org_list(db: &Db, after: &str, limit: u64) -> Result<Vec<Org>, StoreError> {
    let rows: Vec<OrgRow> =
        sql::query_as("SELECT id, name, time_zone, created_at FROM orgs WHERE id > ? ORDER BY id LIMIT ?")
            .bind(after)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(db.readers())
            .await
            .doing("listing organisations")?;
    rows.into_iter().map(Org::try_from).collect()
}

/// Changes name and zone.
pub(super) async fn org_update(tx: &mut Connection, org: &Org) -> Result<(), StoreError> {
    sql::query("UPDATE orgs SET name = ?, time_zone = ? WHERE id = ?")
        .bind(&org.name)
        .bind(&org.time_zone)
        .bind(&org.id)
        .execute(tx)
        .await
        .doing("changing an organisation")
        .map(drop)
}

/// The zone in which an organisation's days begin.
#[derive(Clone, Debug)]
pub(crate) struct OrgZone {
    /// IANA name.
    pub(crate) name: Arc<str>,
    /// The zone of that name.
    pub(crate) zone: TimeZone,
}

/// The zone of an organisation.
pub(crate) async fn org_zone(tx: &mut Connection, id: &OrgId) -> Result<OrgZone, StoreError> {
    let name: String = sql::query_scalar("SELECT time_zone FROM orgs WHERE id = ?")
        .bind(id.as_str())
        .fetch_one(tx)
        .await
        .doing("reading a time zone")?;
    let zone = mindweave_policy::time_zone(&name);
    Ok(OrgZone { name: name.into(), zone })
}
