//! All SQL of teams.

use jiff::Timestamp;
use serde::Serialize;
use sqlx::FromRow;

use crate::access::{OrgPermit, Reach, TeamPermit};
use crate::db::sql::QueryBuilder;
use crate::db::{Connection, Doing, StoreError, sql};
use crate::http::sorting::Sorting;
use crate::stored::timestamp;

/// A team as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct Team {
    pub(crate) id: String,
    pub(crate) org_id: String,
    pub(crate) name: String,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

#[derive(FromRow)]
struct TeamRow {
    id: String,
    org_id: String,
    name: String,
    created_at: i64,
    updated_at: i64,
}

impl TryFrom<TeamRow> for Team {
    type Error = StoreError;

    fn try_from(row: TeamRow) -> Result<Self, StoreError> {
        let (created_at, updated_at) = (timestamp(row.created_at)?, timestamp(row.updated_at)?);
        Ok(Self { id: row.id, org_id: row.org_id, name: row.name, created_at, updated_at })
    }
}

/// How many teams an organisation has.
pub(super) async fn team_count(tx: &mut Connection, permit: &OrgPermit) -> Result<i64, StoreError> {
    sql::query_scalar("SELECT count(*) FROM teams WHERE org_id = ? AND deleted_at IS NULL")
        .bind(permit.org_id())
        .fetch_one(tx)
        .await
        .doing("counting teams")
}

/// Writes a new team. Unique violation: another one of the organisation has this name.
pub(super) async fn team_insert(
    tx: &mut Connection,
    permit: &OrgPermit,
    team: &Team,
) -> Result<(), StoreError> {
    sql::query("INSERT INTO teams (id, org_id, name, created_at, updated_at) VALUES (?, ?, ?, ?, ?)")
        .bind(&team.id)
        .bind(permit.org_id())
        .bind(&team.name)
        .bind(team.created_at.as_microsecond())
        .bind(team.updated_at.as_microsecond())
        .execute(tx)
        .await
        .doing("making a team")
        .map(drop)
}

/// The team.
pub(super) async fn team_view(tx: &mut Connection, permit: &TeamPermit) -> Result<Team, StoreError> {
    let row: TeamRow =
        sql::query_as("SELECT id, org_id, name, created_at, updated_at FROM teams WHERE id = ?")
            .bind(permit.team_id())
            .fetch_one(tx)
            .await
            .doing("reading a team")?;
    Team::try_from(row)
}

/// Teams of an organisation that the caller may see.
pub(super) async fn team_list(
    tx: &mut Connection,
    (permit, reach): (&OrgPermit, &Reach),
    name: Option<String>,
    sorting: &Sorting,
    limit: u64,
) -> Result<Vec<Team>, StoreError> {
    let mut sql = QueryBuilder::new(
        "SELECT id, org_id, name, created_at, updated_at FROM teams WHERE deleted_at IS NULL AND org_id = ",
    );
    sql.push_bind(permit.org_id());
    reach.limit_to_teams_and_orgs(&mut sql, "id", "org_id");
    if let Some(name) = name {
        sql.push(" AND name = ").push_bind(name);
    }
    sorting.push(&mut sql, "id", limit);
    let rows: Vec<TeamRow> = sql.build_query_as().fetch_all(tx).await.doing("listing teams")?;
    rows.into_iter().map(Team::try_from).collect()
}

/// Changes the name. Unique violation: another one of the organisation has this name.
pub(super) async fn team_update(
    tx: &mut Connection,
    permit: &TeamPermit,
    team: &Team,
) -> Result<(), StoreError> {
    sql::query("UPDATE teams SET name = ?, updated_at = ? WHERE id = ?")
        .bind(&team.name)
        .bind(team.updated_at.as_microsecond())
        .bind(permit.team_id())
        .execute(tx)
        .await
        .doing("changing a team")
        .map(drop)
}

/// How many projects belong to the team.
pub(super) async fn team_projects(tx: &mut Connection, permit: &TeamPermit) -> Result<i64, StoreError> {
    sql::query_scalar("SELECT count(*) FROM projects WHERE team_id = ? AND deleted_at IS NULL")
        .bind(permit.team_id())
        .fetch_one(tx)
        .await
        .doing("counting a team's projects")
}

/// Deletes the team: its roles go, and nobody can accept an invitation to it any more.
pub(super) async fn team_delete(
    tx: &mut Connection,
    permit: &TeamPermit,
    now: Timestamp,
) -> Result<(), StoreError> {
    const DOING: &str = "deleting a team";
    sql::query("UPDATE teams SET deleted_at = ?, updated_at = ? WHERE id = ?")
        .bind(now.as_microsecond())
        .bind(now.as_microsecond())
        .bind(permit.team_id())
        .execute(&mut *tx)
        .await
        .doing(DOING)?;
    sql::query("DELETE FROM role_bindings WHERE place = 'team' AND place_id = ?")
        .bind(permit.team_id())
        .execute(&mut *tx)
        .await
        .doing(DOING)?;
    sql::query(
        "UPDATE invitations SET revoked_at = ?
         WHERE place = 'team' AND place_id = ? AND accepted_at IS NULL AND revoked_at IS NULL",
    )
    .bind(now.as_microsecond())
    .bind(permit.team_id())
    .execute(tx)
    .await
    .doing(DOING)
    .map(drop)
}
