//! All SQL of organisations, but for the first one, which the first start makes.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use mindweave_metering::OrgId;
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow};

use crate::access::{InstallationPermit, OrgPermit, Reach};
use crate::db::sql::QueryBuilder;
use crate::db::{Connection, Db, Doing, StoreError, sql};
use crate::http::sorting::Sorting;
use crate::stored::timestamp;

/// An organisation as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct Org {
    pub(crate) id: String,
    pub(crate) name: String,
    /// IANA name.
    pub(crate) time_zone: String,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

#[derive(FromRow)]
struct OrgRow {
    id: String,
    name: String,
    time_zone: String,
    created_at: i64,
    updated_at: i64,
}

impl TryFrom<OrgRow> for Org {
    type Error = StoreError;

    fn try_from(row: OrgRow) -> Result<Self, StoreError> {
        let created_at = timestamp(row.created_at)?;
        // Rows of before this was noted have 0.
        let updated_at = timestamp(row.updated_at)?.max(created_at);
        Ok(Self { id: row.id, name: row.name, time_zone: row.time_zone, created_at, updated_at })
    }
}

const COLUMNS: &str = "SELECT id, name, time_zone, created_at, updated_at FROM orgs";

/// The organisation.
pub(super) async fn org_view(tx: &mut Connection, permit: &OrgPermit) -> Result<Org, StoreError> {
    let row: OrgRow = sql::query_as(AssertSqlSafe(format!("{COLUMNS} WHERE id = ?")))
        .bind(permit.org_id())
        .fetch_one(tx)
        .await
        .doing("reading an organisation")?;
    Org::try_from(row)
}

/// Organisations in which the caller has a role.
pub(super) async fn org_list(
    db: &Db,
    reach: &Reach,
    name: Option<String>,
    sorting: &Sorting,
    limit: u64,
) -> Result<Vec<Org>, StoreError> {
    let mut sql = QueryBuilder::new(format!("{COLUMNS} WHERE deleted_at IS NULL"));
    reach.limit_to_members(&mut sql, "id");
    if let Some(name) = name {
        sql.push(" AND name = ").push_bind(name);
    }
    sorting.push(&mut sql, "id", limit);
    let rows: Vec<OrgRow> =
        sql.build_query_as().fetch_all(db.readers()).await.doing("listing organisations")?;
    rows.into_iter().map(Org::try_from).collect()
}

/// Writes a new organisation.
pub(super) async fn org_insert(
    tx: &mut Connection,
    _: &InstallationPermit,
    org: &Org,
) -> Result<(), StoreError> {
    sql::query("INSERT INTO orgs (id, name, time_zone, created_at, updated_at) VALUES (?, ?, ?, ?, ?)")
        .bind(&org.id)
        .bind(&org.name)
        .bind(&org.time_zone)
        .bind(org.created_at.as_microsecond())
        .bind(org.updated_at.as_microsecond())
        .execute(tx)
        .await
        .doing("making an organisation")
        .map(drop)
}

/// Ends an organisation. Its roles and keys stay as they are stored; whoever reads them asks whether the organisation was deleted.
pub(super) async fn org_delete(
    tx: &mut Connection,
    permit: &OrgPermit,
    now: Timestamp,
) -> Result<(), StoreError> {
    const DOING: &str = "ending an organisation";
    let now = now.as_microsecond();
    sql::query("UPDATE orgs SET deleted_at = ?, updated_at = ? WHERE id = ?")
        .bind(now)
        .bind(now)
        .bind(permit.org_id())
        .execute(&mut *tx)
        .await
        .doing(DOING)?;
    sql::query(
        "UPDATE invitations SET revoked_at = ? WHERE org_id = ? AND accepted_at IS NULL AND revoked_at IS NULL",
    )
    .bind(now)
    .bind(permit.org_id())
    .execute(tx)
    .await
    .doing(DOING)
    .map(drop)
}

/// Changes name and zone.
pub(super) async fn org_update(tx: &mut Connection, permit: &OrgPermit, org: &Org) -> Result<(), StoreError> {
    sql::query("UPDATE orgs SET name = ?, time_zone = ?, updated_at = ? WHERE id = ?")
        .bind(&org.name)
        .bind(&org.time_zone)
        .bind(org.updated_at.as_microsecond())
        .bind(permit.org_id())
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
