//! All SQL of projects, but for the making of the first one and their upstream credentials.

use jiff::Timestamp;
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow};

use super::settings::ProjectSettings;
use super::upstream::Upstream;
use crate::access::{OrgPermit, ProjectPermit, Reach, TeamPermit};
use crate::db::sql::QueryBuilder;
use crate::db::{Connection, Db, Doing, StoreError, sql};
use crate::http::sorting::Sorting;
use crate::stored::timestamp;

/// A project as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct Project {
    pub(crate) id: String,
    pub(crate) org_id: String,
    /// The team that it belongs to: roles in the team hold for it.
    pub(crate) team_id: Option<String>,
    pub(crate) name: String,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) upstream: Upstream,
}

#[derive(FromRow)]
struct ProjectRow {
    id: String,
    org_id: String,
    team_id: Option<String>,
    name: String,
    created_at: i64,
    updated_at: i64,
    hint: Option<String>,
    upstream_at: Option<i64>,
}

impl TryFrom<ProjectRow> for Project {
    type Error = StoreError;

    fn try_from(row: ProjectRow) -> Result<Self, StoreError> {
        let created_at = timestamp(row.created_at)?;
        Ok(Self {
            id: row.id,
            org_id: row.org_id,
            team_id: row.team_id,
            name: row.name,
            created_at,
            updated_at: timestamp(row.updated_at)?.max(created_at), // rows of before this was noted have 0
            upstream: Upstream {
                configured: row.hint.is_some(),
                hint: row.hint,
                updated_at: row.upstream_at.map(timestamp).transpose()?,
            },
        })
    }
}

const SELECT: &str =
    "SELECT p.id, p.org_id, p.team_id, p.name, p.created_at, p.updated_at, u.hint, u.updated_at AS upstream_at
     FROM projects p LEFT JOIN upstream_credentials u ON u.project_id = p.id WHERE p.deleted_at IS NULL";

/// Who permits that a project is made, and where.
#[derive(Clone, Debug)]
pub(super) enum Owner {
    /// In an organisation, in no team.
    Org(OrgPermit),
    /// In a team.
    Team(TeamPermit),
}

impl Owner {
    pub(super) fn org_id(&self) -> &str {
        match self {
            Self::Org(permit) => permit.org_id(),
            Self::Team(permit) => permit.org_id(),
        }
    }

    pub(super) fn team_id(&self) -> Option<&str> {
        match self {
            Self::Org(_) => None,
            Self::Team(permit) => Some(permit.team_id()),
        }
    }
}

/// Makes a project where it is permitted.
pub(super) async fn project_insert(
    tx: &mut Connection,
    owner: &Owner,
    project: &Project,
) -> Result<(), StoreError> {
    sql::query(
        "INSERT INTO projects (id, org_id, team_id, name, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(&project.id)
    .bind(owner.org_id())
    .bind(owner.team_id().map(str::to_owned))
    .bind(&project.name)
    .bind(project.created_at.as_microsecond())
    .bind(project.updated_at.as_microsecond())
    .execute(tx)
    .await
    .doing("inserting a project")
    .map(drop)
}

/// The project.
pub(super) async fn project_view(tx: &mut Connection, permit: &ProjectPermit) -> Result<Project, StoreError> {
    let row: ProjectRow = sql::query_as(AssertSqlSafe(format!("{SELECT} AND p.id = ?")))
        .bind(permit.project_id())
        .fetch_one(tx)
        .await
        .doing("reading a project")?;
    Project::try_from(row)
}

/// What a list of projects is limited to.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    pub(super) org_id: Option<String>,
    pub(super) team_id: Option<String>,
    /// Somewhere in the name; the letter case of ASCII does not matter.
    pub(super) q: Option<String>,
}

/// Projects within reach.
pub(super) async fn project_list(
    db: &Db,
    reach: &Reach,
    filter: &Filter,
    sorting: &Sorting,
    limit: u64,
) -> Result<Vec<Project>, StoreError> {
    let mut sql = QueryBuilder::new(SELECT);
    reach.limit_to_projects(&mut sql, "p.id");
    if let Some(org_id) = &filter.org_id {
        sql.push(" AND p.org_id = ").push_bind(org_id);
    }
    if let Some(team_id) = &filter.team_id {
        sql.push(" AND p.team_id = ").push_bind(team_id);
    }
    if let Some(text) = &filter.q {
        sql.push(" AND lower(p.name) LIKE ").push_bind(anywhere(text)).push(r" ESCAPE '\'");
    }
    sorting.push(&mut sql, "p.id", limit);
    let rows: Vec<ProjectRow> =
        sql.build_query_as().fetch_all(db.readers()).await.doing("listing projects")?;
    rows.into_iter().map(Project::try_from).collect()
}

/// Changes name and team.
pub(super) async fn project_update(
    tx: &mut Connection,
    permit: &ProjectPermit,
    project: &Project,
) -> Result<(), StoreError> {
    sql::query("UPDATE projects SET name = ?, team_id = ?, updated_at = ? WHERE id = ?")
        .bind(&project.name)
        .bind(project.team_id.clone())
        .bind(project.updated_at.as_microsecond())
        .bind(permit.project_id())
        .execute(tx)
        .await
        .doing("changing a project")
        .map(drop)
}

/// Ends a project: what it used stays and is still named; its keys are revoked, its Claude key and the fingerprints of its clients'
/// credentials are forgotten, which may then be registered elsewhere. Roles in it stay, so that whoever saw what it used still does.
pub(super) async fn project_delete(
    tx: &mut Connection,
    permit: &ProjectPermit,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (id, at) = (permit.project_id(), now.as_microsecond());
    let doing = "deleting a project";
    sql::query("UPDATE projects SET deleted_at = ?, updated_at = ? WHERE id = ?")
        .bind(at)
        .bind(at)
        .bind(id)
        .execute(&mut *tx)
        .await
        .doing(doing)?;
    sql::query(
        "UPDATE keys SET revoked_at = ?, previous_fingerprint = NULL, previous_hint = NULL, previous_expires_at = NULL
         WHERE project_id = ? AND revoked_at IS NULL",
    )
    .bind(at)
    .bind(id)
    .execute(&mut *tx)
    .await
    .doing(doing)?;
    for table in ["client_credentials", "upstream_credentials"] {
        let sql = format!("DELETE FROM {table} WHERE project_id = ?");
        sql::query(AssertSqlSafe(sql)).bind(id).execute(&mut *tx).await.doing(doing)?;
    }
    Ok(())
}

/// The settings of a project.
pub(super) async fn settings_view(
    tx: &mut Connection,
    permit: &ProjectPermit,
) -> Result<ProjectSettings, StoreError> {
    let json: String = sql::query_scalar("SELECT settings FROM projects WHERE id = ?")
        .bind(permit.project_id())
        .fetch_one(tx)
        .await
        .doing("reading the settings of a project")?;
    ProjectSettings::stored(&json)
}

/// Replaces the settings of a project.
pub(super) async fn settings_update(
    tx: &mut Connection,
    permit: &ProjectPermit,
    settings: &ProjectSettings,
    now: Timestamp,
) -> Result<(), StoreError> {
    sql::query("UPDATE projects SET settings = ?, updated_at = ? WHERE id = ?")
        .bind(settings.json())
        .bind(now.as_microsecond())
        .bind(permit.project_id())
        .execute(tx)
        .await
        .doing("changing the settings of a project")
        .map(drop)
}

/// The projects that say how many days their raw events are kept, deleted ones as well. For MindWeave itself.
pub(crate) async fn retentions_read(db: &Db) -> Result<Vec<(String, u32)>, StoreError> {
    let rows: Vec<(String, String)> =
        sql::query_as("SELECT id, settings FROM projects WHERE settings <> '{}' ORDER BY id")
            .fetch_all(db.readers())
            .await
            .doing("reading how long projects keep their events")?;
    let mut kept = Vec::new();
    for (id, settings) in rows {
        if let Some(days) = ProjectSettings::stored(&settings)?.raw_days() {
            kept.push((id, days));
        }
    }
    Ok(kept)
}

/// A text as a pattern of LIKE, with `\` as its escape, that is found anywhere in a column of lower-case ASCII.
pub(crate) fn anywhere(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len().saturating_add(2));
    pattern.push('%');
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character.to_ascii_lowercase());
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_for_is_no_pattern() {
        assert_eq!(anywhere(r"50%_A\b"), r"%50\%\_a\\b%");
    }
}
