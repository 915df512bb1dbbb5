//! What somebody's roles come to in one place, as the database says within a transaction: what is decided by it cannot rest on a role that
//! was taken a moment ago.

use super::caller::{Actor, Caller};
use super::grants::{Place, Target};
use super::role::Role;
use super::scope::Access;
use super::store;
use crate::db::{Connection, StoreError};

/// The roles that somebody has in one place, those given above it included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    everything: bool,
    roles: Vec<Role>,
}

impl Authority {
    /// No role at all.
    const NONE: Self = Self { everything: false, roles: Vec::new() };
    /// May do everything in every organisation.
    const EVERYTHING: Self = Self { everything: true, roles: Vec::new() };

    /// Whether a role allows it.
    pub(crate) fn allows(&self, need: Access) -> bool {
        self.everything || self.roles.iter().any(|role| role.allows(need))
    }

    /// Whether one of the roles may do all that this one may: only then may it be given to somebody, or taken from somebody.
    pub(crate) fn covers(&self, role: Role) -> bool {
        self.everything || self.roles.iter().any(|own| own.covers(role))
    }
}

/// The authority of a person or a service account in a place of an organisation. Who is disabled or gone has none.
pub(crate) async fn authority_of(
    tx: &mut Connection,
    principal_id: &str,
    org_id: &str,
    place: &Place,
) -> Result<Authority, StoreError> {
    if principal_id == Actor::AdminToken.id() || principal_id == Actor::System.id() {
        return Ok(Authority::EVERYTHING);
    }
    match store::installation_admin(tx, principal_id).await? {
        None => return Ok(Authority::NONE),
        Some(true) => return Ok(Authority::EVERYTHING),
        Some(false) => {}
    }
    let grants = store::grants_read(tx, principal_id).await?;
    let target = |team_id, project_id| Target { org_id, team_id, project_id };
    let roles = match place {
        Place::Org => grants.roles_in(target(None, None)),
        Place::Team(id) => grants.roles_in(target(Some(id), None)),
        Place::Project(id) => match store::owners_of_project(tx, id).await? {
            Some((owner, team_id)) if owner == org_id => {
                grants.roles_in(target(team_id.as_deref(), Some(id)))
            }
            _ => Vec::new(),
        },
    };
    Ok(Authority { everything: false, roles })
}

impl Caller {
    /// What the caller's roles come to in a place, read anew.
    pub(crate) async fn authority(
        &self,
        tx: &mut Connection,
        org_id: &str,
        place: &Place,
    ) -> Result<Authority, StoreError> {
        match self.actor() {
            Actor::AdminToken | Actor::System => Ok(Authority::EVERYTHING),
            Actor::Anonymous => Ok(Authority::NONE),
            Actor::User { id, .. } | Actor::ServiceAccount { id, .. } => {
                authority_of(tx, id, org_id, place).await
            }
        }
    }
}
