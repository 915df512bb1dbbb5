//! All SQL of whom policies, limits and budgets are about.

use mindweave_policy::SubjectKind;

use crate::db::{Connection, Doing, StoreError, sql};

const DOING: &str = "looking for the subject of a scope";

/// Whether an organisation has such a project or key, or is it. Users are whatever keys carry, and so are teams, but for those that are teams of
/// somebody else.
pub(super) async fn subject_exists(
    tx: &mut Connection,
    org_id: &str,
    kind: SubjectKind,
    id: &str,
) -> Result<bool, StoreError> {
    let sql = match kind {
        SubjectKind::Org => return Ok(id == org_id),
        SubjectKind::User => return Ok(true),
        SubjectKind::Team => "SELECT NOT EXISTS (SELECT 1 FROM teams WHERE id = ? AND org_id <> ?)",
        SubjectKind::Project => {
            "SELECT EXISTS (SELECT 1 FROM projects WHERE id = ? AND org_id = ? AND deleted_at IS NULL)"
        }
        SubjectKind::Key => {
            "SELECT EXISTS (SELECT 1 FROM keys k JOIN projects p ON p.id = k.project_id WHERE k.id = ? AND p.org_id = ?)"
        }
    };
    sql::query_scalar(sql).bind(id).bind(org_id).fetch_one(tx).await.doing(DOING)
}

/// Whether this is a team or a project of the organisation, in which people may have roles.
pub(super) async fn place_exists(
    tx: &mut Connection,
    org_id: &str,
    kind: SubjectKind,
    id: &str,
) -> Result<bool, StoreError> {
    let sql = match kind {
        SubjectKind::Org | SubjectKind::User | SubjectKind::Key => return Ok(false),
        SubjectKind::Team => {
            "SELECT EXISTS (SELECT 1 FROM teams WHERE id = ? AND org_id = ? AND deleted_at IS NULL)"
        }
        SubjectKind::Project => {
            "SELECT EXISTS (SELECT 1 FROM projects WHERE id = ? AND org_id = ? AND deleted_at IS NULL)"
        }
    };
    sql::query_scalar(sql).bind(id).bind(org_id).fetch_one(tx).await.doing(DOING)
}

/// Whether anything of the organisation carries this team or user: a key that is not revoked, or a credential.
pub(super) async fn carrier_exists(
    tx: &mut Connection,
    org_id: &str,
    kind: SubjectKind,
    id: &str,
) -> Result<bool, StoreError> {
    let sql = match kind {
        SubjectKind::Team => {
            "SELECT EXISTS (SELECT 1 FROM keys k JOIN projects p ON p.id = k.project_id
                            WHERE k.team_id = ?1 AND k.revoked_at IS NULL AND p.org_id = ?2)
                 OR EXISTS (SELECT 1 FROM client_credentials c JOIN projects p ON p.id = c.project_id
                            WHERE c.team_id = ?1 AND p.org_id = ?2)"
        }
        SubjectKind::User => {
            "SELECT EXISTS (SELECT 1 FROM keys k JOIN projects p ON p.id = k.project_id
                            WHERE k.user_id = ?1 AND k.revoked_at IS NULL AND p.org_id = ?2)
                 OR EXISTS (SELECT 1 FROM client_credentials c JOIN projects p ON p.id = c.project_id
                            WHERE c.user_id = ?1 AND p.org_id = ?2)"
        }
        SubjectKind::Org | SubjectKind::Project | SubjectKind::Key => return Ok(true),
    };
    sql::query_scalar(sql).bind(id).bind(org_id).fetch_one(tx).await.doing("looking for who carries a scope")
}
