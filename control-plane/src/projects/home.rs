//! What the first start makes.

use mindweave_metering::{OrgId, ProjectId};

use crate::app::Home;
use crate::clock;
use crate::db::{Db, Doing, StoreError, sql};
use crate::entropy::{self, NoEntropy};

/// The name of the organisation and of the project that the first start makes.
const DEFAULT_NAME: &str = "default";

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
