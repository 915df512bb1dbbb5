//! All SQL of whom policies, limits and budgets are about.

use mindweave_policy::SubjectKind;

use crate::app::Home;
use crate::db::{Connection, Doing, StoreError, sql};

/// Whether there is such an organisation, project or key. Teams and users have no table: any id may be one.
pub(super) async fn subject_exists(
    tx: &mut Connection,
    home: &Home,
    kind: SubjectKind,
    id: &str,
) -> Result<bool, StoreError> {
    let sql = match kind {
        SubjectKind::Org => return Ok(id == home.org_id.as_str()),
        SubjectKind::Team | SubjectKind::User => return Ok(true),
        SubjectKind::Project => "SELECT EXISTS (SELECT 1 FROM projects WHERE id = ?)",
        SubjectKind::Key => "SELECT EXISTS (SELECT 1 FROM keys WHERE id = ?)",
    };
    sql::query_scalar(sql).bind(id).fetch_one(tx).await.doing("looking for the subject of a scope")
}

/// Whether any key that is not revoked, or any credential, carries this team or user.
pub(super) async fn carrier_exists(
    tx: &mut Connection,
    kind: SubjectKind,
    id: &str,
) -> Result<bool, StoreError> {
    let sql = match kind {
        SubjectKind::Team => {
            "SELECT EXISTS (SELECT 1 FROM keys WHERE team_id = ?1 AND revoked_at IS NULL)
                 OR EXISTS (SELECT 1 FROM client_credentials WHERE team_id = ?1)"
        }
        SubjectKind::User => {
            "SELECT EXISTS (SELECT 1 FROM keys WHERE user_id = ?1 AND revoked_at IS NULL)
                 OR EXISTS (SELECT 1 FROM client_credentials WHERE user_id = ?1)"
        }
        SubjectKind::Org | SubjectKind::Project | SubjectKind::Key => return Ok(true),
    };
    sql::query_scalar(sql).bind(id).fetch_one(tx).await.doing("looking for who carries a scope")
}
