//! All SQL of access: what belongs to whom, and who has which role.

use sqlx::FromRow;

use super::grants::{Grant, Grants, Place};
use super::role::Role;
use crate::db::{Connection, Doing, StoreError, sql};

/// Whether there is such an organisation.
pub(super) async fn org_exists(tx: &mut Connection, org_id: &str) -> Result<bool, StoreError> {
    sql::query_scalar("SELECT EXISTS (SELECT 1 FROM orgs WHERE id = ? AND deleted_at IS NULL)")
        .bind(org_id)
        .fetch_one(tx)
        .await
        .doing("looking for an organisation")
}

/// The organisation of a team.
pub(super) async fn org_of_team(tx: &mut Connection, team_id: &str) -> Result<Option<String>, StoreError> {
    sql::query_scalar("SELECT org_id FROM teams WHERE id = ? AND deleted_at IS NULL")
        .bind(team_id)
        .fetch_optional(tx)
        .await
        .doing("looking for a team")
}

/// The organisation and the team of a project.
pub(super) async fn owners_of_project(
    tx: &mut Connection,
    project_id: &str,
) -> Result<Option<(String, Option<String>)>, StoreError> {
    sql::query_as("SELECT org_id, team_id FROM projects WHERE id = ? AND deleted_at IS NULL")
        .bind(project_id)
        .fetch_optional(tx)
        .await
        .doing("looking for a project")
}

#[derive(FromRow)]
struct BindingRow {
    org_id: String,
    place: String,
    place_id: String,
    role: String,
}

/// All roles of a person or a service account.
pub(crate) async fn grants_read(tx: &mut Connection, principal_id: &str) -> Result<Grants, StoreError> {
    let rows: Vec<BindingRow> = sql::query_as(
        "SELECT b.org_id, b.place, b.place_id, b.role FROM role_bindings b JOIN orgs o ON o.id = b.org_id
         WHERE b.principal_id = ? AND o.deleted_at IS NULL ORDER BY b.id",
    )
    .bind(principal_id)
    .fetch_all(tx)
    .await
    .doing("reading roles")?;
    let grant = |row: BindingRow| {
        let role = Role::from_text(&row.role).ok_or(StoreError::Corrupt { what: "a role" })?;
        let place = match row.place.as_str() {
            "org" => Place::Org,
            "team" => Place::Team(row.place_id),
            "project" => Place::Project(row.place_id),
            _ => return Err(StoreError::Corrupt { what: "the place of a role" }),
        };
        Ok(Grant { org_id: row.org_id, place, role })
    };
    rows.into_iter().map(grant).collect::<Result<_, _>>().map(Grants)
}
