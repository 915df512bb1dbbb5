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
    sql::query_scalar(
        "SELECT t.org_id FROM teams t JOIN orgs o ON o.id = t.org_id
         WHERE t.id = ? AND t.deleted_at IS NULL AND o.deleted_at IS NULL",
    )
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
    sql::query_as(
        "SELECT p.org_id, p.team_id FROM projects p JOIN orgs o ON o.id = p.org_id
         WHERE p.id = ? AND p.deleted_at IS NULL AND o.deleted_at IS NULL",
    )
    .bind(project_id)
    .fetch_optional(tx)
    .await
    .doing("looking for a project")
}

/// Whether a place is in this organisation, and was not deleted.
pub(crate) async fn place_exists(
    tx: &mut Connection,
    org_id: &str,
    place: &Place,
) -> Result<bool, StoreError> {
    match place {
        Place::Org => org_exists(tx, org_id).await,
        Place::Team(id) => Ok(org_of_team(tx, id).await?.is_some_and(|owner| owner == org_id)),
        Place::Project(id) => Ok(owners_of_project(tx, id).await?.is_some_and(|(owner, _)| owner == org_id)),
    }
}

/// Whether somebody may do everything everywhere. `None`: there is nobody of this id, or they were disabled.
pub(super) async fn installation_admin(
    tx: &mut Connection,
    principal_id: &str,
) -> Result<Option<bool>, StoreError> {
    let admin: Option<i64> = sql::query_scalar(
        "SELECT installation_admin FROM users WHERE id = ? AND disabled_at IS NULL AND erased_at IS NULL
         UNION ALL
         SELECT 0 FROM service_accounts WHERE id = ? AND disabled_at IS NULL AND deleted_at IS NULL",
    )
    .bind(principal_id)
    .bind(principal_id)
    .fetch_optional(tx)
    .await
    .doing("looking for whoever has roles")?;
    Ok(admin.map(|admin| admin != 0))
}

#[derive(FromRow)]
struct BindingRow {
    org_id: String,
    place: String,
    place_id: String,
    role: String,
}

/// All roles of a person or a service account. One in what was deleted is none.
pub(crate) async fn grants_read(tx: &mut Connection, principal_id: &str) -> Result<Grants, StoreError> {
    let rows: Vec<BindingRow> = sql::query_as(
        "SELECT b.org_id, b.place, b.place_id, b.role FROM role_bindings b JOIN orgs o ON o.id = b.org_id
         WHERE b.principal_id = ? AND o.deleted_at IS NULL
             AND (b.place = 'org'
                 OR EXISTS (SELECT 1 FROM teams t WHERE t.id = b.place_id AND t.deleted_at IS NULL)
                 OR EXISTS (SELECT 1 FROM projects p WHERE p.id = b.place_id AND p.deleted_at IS NULL))
         ORDER BY b.id",
    )
    .bind(principal_id)
    .fetch_all(tx)
    .await
    .doing("reading roles")?;
    let grant = |row: BindingRow| {
        let role = Role::from_text(&row.role).ok_or(StoreError::Corrupt { what: "a role" })?;
        let place = Place::from_stored(&row.place, row.place_id)
            .ok_or(StoreError::Corrupt { what: "the place of a role" })?;
        Ok(Grant { org_id: row.org_id, place, role })
    };
    rows.into_iter().map(grant).collect::<Result<_, _>>().map(Grants)
}
