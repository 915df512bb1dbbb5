//! All SQL of organisations, projects and their upstream credentials.

use jiff::Timestamp;
use mindweave_metering::{OrgId, ProjectId};
use serde::Serialize;
use sqlx::FromRow;

use crate::app::Home;
use crate::clock;
use crate::db::{Db, Doing, StoreError, sql};
use crate::entropy::{self, NoEntropy};
use crate::snapshot::revision_raise;
use crate::stored::timestamp;

/// The name of the organisation and of the project that the first start makes.
const DEFAULT_NAME: &str = "default";

/// A project as the API shows it.
#[derive(Debug, Serialize)]
pub(crate) struct Project {
    pub(crate) id: String,
    pub(crate) org_id: String,
    pub(crate) name: String,
    pub(crate) created_at: Timestamp,
    pub(crate) upstream: Upstream,
}

/// Whether a project has its own Claude key. The key itself is never shown again.
#[derive(Debug, Serialize)]
pub(crate) struct Upstream {
    pub(crate) configured: bool,
    /// The key's last four characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) updated_at: Option<Timestamp>,
}

#[derive(FromRow)]
struct ProjectRow {
    id: String,
    org_id: String,
    name: String,
    created_at: i64,
    hint: Option<String>,
    updated_at: Option<i64>,
}

impl TryFrom<ProjectRow> for Project {
    type Error = StoreError;

    fn try_from(row: ProjectRow) -> Result<Self, StoreError> {
        let upstream = Upstream {
            configured: row.hint.is_some(),
            hint: row.hint,
            updated_at: row.updated_at.map(timestamp).transpose()?,
        };
        Ok(Self {
            id: row.id,
            org_id: row.org_id,
            name: row.name,
            created_at: timestamp(row.created_at)?,
            upstream,
        })
    }
}

/// Why the first start could not make its organisation and project.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HomeError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
}

/// Finds the default organisation and project, and makes them at the first start.
pub(crate) async fn home_ensure(db: &Db) -> Result<Home, HomeError> {
    let now = clock::now();
    let (org, project) =
        (OrgId::generate(now, entropy::bytes()?), ProjectId::generate(now, entropy::bytes()?));
    let doing = "making the default project";
    let mut tx = db.begin_write().await?;
    let existing: Option<(String, String)> = sql::query_as(
        "SELECT p.org_id, p.id FROM installation i JOIN projects p ON p.id = i.default_project_id",
    )
    .fetch_optional(&mut *tx)
    .await
    .doing("looking for the default project")?;
    if let Some((org_id, project_id)) = existing {
        return Ok(Home { org_id: OrgId::new(org_id), default_project_id: ProjectId::new(project_id) });
    }
    sql::query("INSERT INTO orgs (id, name, created_at) VALUES (?, ?, ?)")
        .bind(org.as_str())
        .bind(DEFAULT_NAME)
        .bind(now.as_microsecond())
        .execute(&mut *tx)
        .await
        .doing(doing)?;
    sql::query("INSERT INTO projects (id, org_id, name, created_at) VALUES (?, ?, ?, ?)")
        .bind(project.as_str())
        .bind(org.as_str())
        .bind(DEFAULT_NAME)
        .bind(now.as_microsecond())
        .execute(&mut *tx)
        .await
        .doing(doing)?;
    sql::query("INSERT INTO installation (only_row, default_project_id, snapshot_revision) VALUES (1, ?, 1)")
        .bind(project.as_str())
        .execute(&mut *tx)
        .await
        .doing(doing)?;
    tx.commit().await.doing(doing)?;
    Ok(Home { org_id: org, default_project_id: project })
}

/// Makes a project. Returns the snapshot revision that includes it.
pub(crate) async fn project_insert(db: &Db, project: &Project) -> Result<u64, StoreError> {
    let mut tx = db.begin_write().await?;
    sql::query("INSERT INTO projects (id, org_id, name, created_at) VALUES (?, ?, ?, ?)")
        .bind(&project.id)
        .bind(&project.org_id)
        .bind(&project.name)
        .bind(project.created_at.as_microsecond())
        .execute(&mut *tx)
        .await
        .doing("inserting a project")?;
    let revision = revision_raise(&mut tx).await?;
    tx.commit().await.doing("committing a project")?;
    Ok(revision)
}

/// The project with this id.
pub(crate) async fn project_view(db: &Db, id: &str) -> Result<Option<Project>, StoreError> {
    let row: Option<ProjectRow> = sql::query_as(
        "SELECT p.id, p.org_id, p.name, p.created_at, u.hint, u.updated_at
         FROM projects p LEFT JOIN upstream_credentials u ON u.project_id = p.id WHERE p.id = ?",
    )
    .bind(id)
    .fetch_optional(db.readers())
    .await
    .doing("reading a project")?;
    row.map(Project::try_from).transpose()
}

/// Projects after this id, oldest first.
pub(crate) async fn project_list(db: &Db, after: &str, limit: u64) -> Result<Vec<Project>, StoreError> {
    let rows: Vec<ProjectRow> = sql::query_as(
        "SELECT p.id, p.org_id, p.name, p.created_at, u.hint, u.updated_at
         FROM projects p LEFT JOIN upstream_credentials u ON u.project_id = p.id
         WHERE p.id > ? ORDER BY p.id LIMIT ?",
    )
    .bind(after)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(db.readers())
    .await
    .doing("listing projects")?;
    rows.into_iter().map(Project::try_from).collect()
}

/// Whether there is such a project.
pub(crate) async fn project_exists(db: &Db, id: &str) -> Result<bool, StoreError> {
    sql::query_scalar("SELECT EXISTS (SELECT 1 FROM projects WHERE id = ?)")
        .bind(id)
        .fetch_one(db.readers())
        .await
        .doing("looking for a project")
}

/// What a project's Claude key is sealed for: a row that is copied to another project does not open.
pub(crate) fn upstream_owner(project_id: &str) -> String {
    format!("upstream:{project_id}")
}

/// Sets or replaces a project's Claude key. Returns the snapshot revision that includes it; `None` without such a project.
pub(crate) async fn upstream_upsert(
    db: &Db,
    project_id: &str,
    sealed: &[u8],
    hint: &str,
    now: Timestamp,
) -> Result<Option<u64>, StoreError> {
    let mut tx = db.begin_write().await?;
    let changed = sql::query(
        "INSERT INTO upstream_credentials (project_id, sealed, hint, updated_at)
         SELECT id, ?, ?, ? FROM projects WHERE id = ?
         ON CONFLICT (project_id) DO UPDATE SET
             sealed = excluded.sealed, hint = excluded.hint, updated_at = excluded.updated_at",
    )
    .bind(sealed)
    .bind(hint)
    .bind(now.as_microsecond())
    .bind(project_id)
    .execute(&mut *tx)
    .await
    .doing("storing an upstream key")?;
    if changed.rows_affected() == 0 {
        return Ok(None);
    }
    let revision = revision_raise(&mut tx).await?;
    tx.commit().await.doing("committing an upstream key")?;
    Ok(Some(revision))
}

/// Forgets a project's Claude key, if it has one. Returns the snapshot revision without it.
pub(crate) async fn upstream_delete(db: &Db, project_id: &str) -> Result<u64, StoreError> {
    let mut tx = db.begin_write().await?;
    sql::query("DELETE FROM upstream_credentials WHERE project_id = ?")
        .bind(project_id)
        .execute(&mut *tx)
        .await
        .doing("deleting an upstream key")?;
    let revision = revision_raise(&mut tx).await?;
    tx.commit().await.doing("committing the deletion of an upstream key")?;
    Ok(revision)
}
