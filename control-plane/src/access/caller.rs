//! Whoever calls, and what they may.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::grants::{Grants, Place, Target};
use super::permit::{InstallationPermit, OrgPermit, PlacePermit, ProjectPermit, TeamPermit};
use super::reach::Reach;
use super::scope::{Access, Area, Scopes};
use super::store;
use crate::db::Connection;
use crate::http::problem::{Code, Problem};

/// Who somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    /// Whoever has the admin token of the configuration: may do everything.
    AdminToken,
    /// A person, signed in, or by a personal access token.
    User {
        id: Arc<str>,
        /// The sign-in, if it is one.
        session_id: Option<Arc<str>>,
        /// The personal access token, if it is one.
        token_id: Option<Arc<str>>,
        /// May also do what belongs to the installation, and everything in every organisation.
        installation_admin: bool,
    },
    /// A program of an organisation.
    ServiceAccount { id: Arc<str>, token_id: Arc<str> },
    /// Nobody yet: requests that come before a sign-in.
    Anonymous,
    /// MindWeave itself.
    System,
}

impl Actor {
    /// The id by which the audit log knows them.
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::AdminToken => "admin-token",
            Self::User { id, .. } | Self::ServiceAccount { id, .. } => id,
            Self::Anonymous => "anonymous",
            Self::System => "system",
        }
    }

    /// The token with which they came, if it has an id.
    pub(crate) fn token_id(&self) -> Option<&str> {
        match self {
            Self::User { token_id, .. } => token_id.as_deref(),
            Self::ServiceAccount { token_id, .. } => Some(token_id),
            Self::AdminToken | Self::Anonymous | Self::System => None,
        }
    }

    /// What kind they are of, for the audit log.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::AdminToken => "admin_token",
            Self::User { .. } => "user",
            Self::ServiceAccount { .. } => "service_account",
            Self::Anonymous => "anonymous",
            Self::System => "system",
        }
    }
}

/// Where a request came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Given in every answer as `x-request-id`.
    pub(crate) request_id: Arc<str>,
    /// The peer of the connection, or who a trusted proxy in front says it was.
    pub(crate) address: Option<IpAddr>,
    pub(crate) user_agent: Option<Arc<str>>,
}

/// Whoever calls. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    actor: Actor,
    grants: Arc<Grants>,
    scopes: Arc<Scopes>,
    origin: Arc<Origin>,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::new(Code::Unauthorized, "send a token: authorization: Bearer <token>"))
    }
}

impl Caller {
    pub(crate) fn new(actor: Actor, grants: Grants, scopes: Scopes, origin: Arc<Origin>) -> Self {
        Self { actor, grants: Arc::new(grants), scopes: Arc::new(scopes), origin }
    }

    /// MindWeave itself, for what it does without being asked.
    pub(crate) fn system() -> Self {
        Self::new(Actor::System, Grants::default(), Scopes::All, Arc::default())
    }

    /// Who it is.
    pub(crate) fn actor(&self) -> &Actor {
        &self.actor
    }

    /// From where.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Its roles.
    pub(crate) fn grants(&self) -> &Grants {
        &self.grants
    }

    /// What its token is limited to.
    pub(crate) fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// Whether roles do not matter: it may do everything in every organisation.
    pub(crate) fn is_installation_admin(&self) -> bool {
        matches!(self.actor, Actor::AdminToken | Actor::System | Actor::User { installation_admin: true, .. })
    }

    /// For what belongs to the installation.
    pub(crate) fn installation(&self, need: Access) -> Result<InstallationPermit, Problem> {
        if !self.is_installation_admin() {
            return Err(forbidden(need));
        }
        self.within_scopes(need)?;
        Ok(InstallationPermit::new(self.clone()))
    }

    /// For an organisation as a whole.
    pub(crate) async fn org(
        &self,
        tx: &mut Connection,
        org_id: &str,
        need: Access,
    ) -> Result<OrgPermit, Problem> {
        let missing = || Problem::not_found("organisation", org_id);
        if !self.sees_org(org_id) || !store::org_exists(tx, org_id).await? {
            return Err(missing());
        }
        if need == Access::read(Area::Org) {
            self.within_scopes(need)?; // its name is for everybody who has a role anywhere in it
        } else {
            self.check(Target { org_id, team_id: None, project_id: None }, need)?;
        }
        Ok(OrgPermit::new(self.clone(), org_id.into()))
    }

    /// For a team.
    pub(crate) async fn team(
        &self,
        tx: &mut Connection,
        team_id: &str,
        need: Access,
    ) -> Result<TeamPermit, Problem> {
        let missing = || Problem::not_found("team", team_id);
        let org_id = store::org_of_team(tx, team_id).await?.ok_or_else(missing)?;
        let target = Target { org_id: &org_id, team_id: Some(team_id), project_id: None };
        if !self.sees(target, Access::read(Area::Teams)) {
            return Err(missing());
        }
        self.check(target, need)?;
        Ok(TeamPermit::new(self.clone(), org_id.into(), team_id.into()))
    }

    /// For a project, and what belongs to it.
    pub(crate) async fn project(
        &self,
        tx: &mut Connection,
        project_id: &str,
        need: Access,
    ) -> Result<ProjectPermit, Problem> {
        let missing = || Problem::not_found("project", project_id);
        let (org_id, team_id) = store::owners_of_project(tx, project_id).await?.ok_or_else(missing)?;
        let target = Target { org_id: &org_id, team_id: team_id.as_deref(), project_id: Some(project_id) };
        if !self.sees(target, Access::read(Area::Projects)) {
            return Err(missing());
        }
        self.check(target, need)?;
        Ok(ProjectPermit::new(self.clone(), org_id.into(), project_id.into()))
    }

    /// For a place of this organisation.
    pub(crate) async fn place(
        &self,
        tx: &mut Connection,
        org_id: &str,
        place: &Place,
        need: Access,
    ) -> Result<PlacePermit, Problem> {
        let permit = match place {
            Place::Org => PlacePermit::Org(self.org(tx, org_id, need).await?),
            Place::Team(id) => PlacePermit::Team(self.team(tx, id, need).await?),
            Place::Project(id) => PlacePermit::Project(self.project(tx, id, need).await?),
        };
        if permit.org_id() == org_id {
            return Ok(permit);
        }
        Err(Problem::not_found(place.kind(), place.id(org_id)))
    }

    /// For a list: everything where this is allowed, which may be nothing.
    ///
    /// # Errors
    /// When the token's scopes leave it out.
    pub(crate) fn reach(&self, need: Access) -> Result<Reach, Problem> {
        self.within_scopes(need)?;
        if self.is_installation_admin() {
            return Ok(Reach::everything(self.clone()));
        }
        Ok(Reach::of(self.clone(), need))
    }

    /// The organisation that is meant when a request names none: the only one in which the caller may do this, or for those
    /// who may do it everywhere the installation's first one.
    pub(crate) fn only_org(&self, home: &str, need: Access) -> Result<Arc<str>, Problem> {
        if self.is_installation_admin() {
            return Ok(home.into());
        }
        let mut orgs: Vec<&str> = (self.grants.0.iter())
            .filter(|grant| grant.role.allows(need))
            .map(|grant| grant.org_id.as_str())
            .collect();
        orgs.sort_unstable();
        orgs.dedup();
        match orgs.as_slice() {
            [only] => Ok((*only).into()),
            [] => Err(forbidden(need)),
            _ => Err(Problem::new(
                Code::InvalidField,
                "org_id: is required, because you belong to several organisations",
            )),
        }
    }

    fn sees_org(&self, org_id: &str) -> bool {
        self.is_installation_admin() || self.grants.belongs_to(org_id)
    }

    fn sees(&self, target: Target<'_>, need: Access) -> bool {
        self.is_installation_admin() || self.grants.allow(target, need)
    }

    fn check(&self, target: Target<'_>, need: Access) -> Result<(), Problem> {
        if !self.sees(target, need) {
            return Err(forbidden(need));
        }
        self.within_scopes(need)
    }

    fn within_scopes(&self, need: Access) -> Result<(), Problem> {
        if self.scopes.allow(need) {
            return Ok(());
        }
        Err(Problem::new(Code::ScopeMissing, format!("this token has not the scope {need}")))
    }
}

fn forbidden(need: Access) -> Problem {
    Problem::new(Code::Forbidden, format!("your role does not allow this here; it takes {need}"))
}
