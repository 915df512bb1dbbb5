//! Proof that a caller may do something. Only [`Caller`] makes permits, after it has asked.

use std::sync::Arc;

use super::caller::Caller;
use super::grants::Place;

/// To do something that belongs to the installation.
#[derive(Clone, Debug)]
pub(crate) struct InstallationPermit {
    caller: Caller,
}

/// To do something with an organisation, or in all of it.
#[derive(Clone, Debug)]
pub(crate) struct OrgPermit {
    caller: Caller,
    org_id: Arc<str>,
}

/// To do something with a team.
#[derive(Clone, Debug)]
pub(crate) struct TeamPermit {
    caller: Caller,
    org_id: Arc<str>,
    team_id: Arc<str>,
}

/// To do something with a project, or in it.
#[derive(Clone, Debug)]
pub(crate) struct ProjectPermit {
    caller: Caller,
    org_id: Arc<str>,
    project_id: Arc<str>,
}

/// To do something in a place of an organisation, whichever kind of place it is.
#[derive(Clone, Debug)]
pub(crate) enum PlacePermit {
    Org(OrgPermit),
    Team(TeamPermit),
    Project(ProjectPermit),
}

impl PlacePermit {
    /// Who was permitted.
    pub(crate) fn caller(&self) -> &Caller {
        match self {
            Self::Org(permit) => permit.caller(),
            Self::Team(permit) => permit.caller(),
            Self::Project(permit) => permit.caller(),
        }
    }

    /// The organisation that the place is in.
    pub(crate) fn org_id(&self) -> &str {
        match self {
            Self::Org(permit) => permit.org_id(),
            Self::Team(permit) => permit.org_id(),
            Self::Project(permit) => permit.org_id(),
        }
    }

    /// Which place.
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Org(_) => Place::Org,
            Self::Team(permit) => Place::Team(permit.team_id().to_owned()),
            Self::Project(permit) => Place::Project(permit.project_id().to_owned()),
        }
    }
}

macro_rules! permits {
    ($($permit:ident),+) => {
        $(impl $permit {
            /// Who was permitted.
            pub(crate) fn caller(&self) -> &Caller {
                &self.caller
            }
        })+
    };
}
permits!(InstallationPermit, OrgPermit, TeamPermit, ProjectPermit);

impl InstallationPermit {
    pub(super) fn new(caller: Caller) -> Self {
        Self { caller }
    }
}

impl OrgPermit {
    pub(super) fn new(caller: Caller, org_id: Arc<str>) -> Self {
        Self { caller, org_id }
    }

    /// Which organisation.
    pub(crate) fn org_id(&self) -> &str {
        &self.org_id
    }
}

impl TeamPermit {
    pub(super) fn new(caller: Caller, org_id: Arc<str>, team_id: Arc<str>) -> Self {
        Self { caller, org_id, team_id }
    }

    /// The organisation that it is in.
    pub(crate) fn org_id(&self) -> &str {
        &self.org_id
    }

    /// Which team.
    pub(crate) fn team_id(&self) -> &str {
        &self.team_id
    }
}

impl ProjectPermit {
    pub(super) fn new(caller: Caller, org_id: Arc<str>, project_id: Arc<str>) -> Self {
        Self { caller, org_id, project_id }
    }

    /// The organisation that it is in.
    pub(crate) fn org_id(&self) -> &str {
        &self.org_id
    }

    /// Which project.
    pub(crate) fn project_id(&self) -> &str {
        &self.project_id
    }
}
