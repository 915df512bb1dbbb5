//! Who may see and change a policy, a limit or a budget: whoever may govern what its scope names.
//!
//! What stands on a project is for whoever may govern that project, what stands on a team for whoever may govern that team, and
//! everything else for whoever may govern the organisation; a role above holds below, as everywhere. A scope that names a team by
//! a text of keys, and not one that is a team here, belongs to the organisation. Who changes a scope must be permitted at the old and the new one.

use mindweave_policy::{Subject, SubjectKind};

use super::subjects::place_exists;
use crate::access::{Access, Area, Caller, OrgPermit, ProjectPermit, TeamPermit};
use crate::audit::{Chain, Change};
use crate::db::Connection;
use crate::http::problem::{Code, Problem};

/// To look at what governs.
pub(super) const READ: Access = Access::read(Area::Governance);
/// To change it.
pub(super) const WRITE: Access = Access::write(Area::Governance);

/// To see or change something that governs, at its scope.
#[derive(Clone, Debug)]
pub(super) enum Permit {
    Org(OrgPermit),
    Team(TeamPermit),
    Project(ProjectPermit),
}

impl Permit {
    /// Whose it is.
    pub(super) fn org_id(&self) -> &str {
        match self {
            Self::Org(permit) => permit.org_id(),
            Self::Team(permit) => permit.org_id(),
            Self::Project(permit) => permit.org_id(),
        }
    }

    /// A change of it for the audit log.
    pub(super) fn change<'a>(&'a self, action: &'static str, kind: &'static str, id: &'a str) -> Change<'a> {
        let change = Change::new(Chain::Org(self.org_id()), action, kind, id);
        match self {
            Self::Project(permit) => change.in_project(permit.project_id()),
            Self::Org(_) | Self::Team(_) => change,
        }
    }
}

/// Permission for what stands, or is to stand, in an organisation with this scope.
///
/// # Errors
/// 404 for who sees nothing of the organisation or of what the scope names, 403 for who may not do this there.
pub(super) async fn permit_at(
    tx: &mut Connection,
    caller: &Caller,
    org_id: &str,
    scope: &Subject,
    need: Access,
) -> Result<Permit, Problem> {
    if let Some(id) = scope.id.as_deref()
        && place_exists(tx, org_id, scope.kind, id).await?
    {
        match scope.kind {
            SubjectKind::Team => return Ok(Permit::Team(caller.team(tx, id, need).await?)),
            SubjectKind::Project => return Ok(Permit::Project(caller.project(tx, id, need).await?)),
            SubjectKind::Org | SubjectKind::User | SubjectKind::Key => {}
        }
    }
    Ok(Permit::Org(caller.org(tx, org_id, need).await?))
}

/// Permission for what stands there already. For whoever may not look at it, it is `missing`.
pub(super) async fn permit_of(
    tx: &mut Connection,
    caller: &Caller,
    (org_id, scope): (&str, &Subject),
    need: Access,
    missing: impl Fn() -> Problem,
) -> Result<Permit, Problem> {
    let seen = permit_at(tx, caller, org_id, scope, READ).await;
    match seen {
        Err(problem) if matches!(problem.code(), Code::NotFound | Code::Forbidden) => Err(missing()),
        seen if need == READ => seen,
        seen => {
            seen?;
            permit_at(tx, caller, org_id, scope, need).await
        }
    }
}

/// Whether the caller may look at what stands there.
pub(super) async fn is_seen(
    tx: &mut Connection,
    caller: &Caller,
    org_id: &str,
    scope: &Subject,
) -> Result<bool, Problem> {
    match permit_at(tx, caller, org_id, scope, READ).await {
        Ok(_) => Ok(true),
        Err(problem) if matches!(problem.code(), Code::NotFound | Code::Forbidden) => Ok(false),
        Err(problem) => Err(problem),
    }
}

/// The organisation in which something is to be made: the one that was named, or the only one in which the caller may.
///
/// # Errors
/// 404 for an organisation of which the caller sees nothing.
pub(super) async fn org_for_new(
    tx: &mut Connection,
    caller: &Caller,
    home: &str,
    named: Option<String>,
) -> Result<String, Problem> {
    let org_id = match named {
        Some(org_id) => org_id,
        None => caller.only_org(home, WRITE)?.as_ref().to_owned(),
    };
    // Whether they may is for the scope to say, which is not read yet.
    match caller.org(tx, &org_id, WRITE).await {
        Err(problem) if !matches!(problem.code(), Code::Forbidden | Code::ScopeMissing) => Err(problem),
        Ok(_) | Err(_) => Ok(org_id),
    }
}
