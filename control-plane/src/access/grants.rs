//! Which roles somebody has, and where.

use super::role::Role;
use super::scope::Access;

/// Where a role was given. One in an organisation holds for its teams and projects, one in a team for the team's projects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Org,
    Team(String),
    Project(String),
}

impl Place {
    /// Its kind, as it is stored and shown.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Org => "org",
            Self::Team(_) => "team",
            Self::Project(_) => "project",
        }
    }

    /// The id under which it is stored: its own, or that of the organisation.
    pub(crate) fn id<'a>(&'a self, org_id: &'a str) -> &'a str {
        match self {
            Self::Org => org_id,
            Self::Team(id) | Self::Project(id) => id,
        }
    }

    /// The place that is stored so.
    pub(crate) fn from_stored(kind: &str, id: String) -> Option<Self> {
        match kind {
            "org" => Some(Self::Org),
            "team" => Some(Self::Team(id)),
            "project" => Some(Self::Project(id)),
            _ => None,
        }
    }
}

/// One role in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) org_id: String,
    pub(crate) place: Place,
    pub(crate) role: Role,
}

/// All roles of somebody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grants(pub(crate) Vec<Grant>);

/// What is asked about: an organisation, or something in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) org_id: &'a str,
    pub(super) team_id: Option<&'a str>,
    pub(super) project_id: Option<&'a str>,
}

impl Grants {
    /// Whether a role allows it there.
    pub(super) fn allow(&self, target: Target<'_>, need: Access) -> bool {
        self.holding(target).any(|grant| grant.role.allows(need))
    }

    /// Whether somebody belongs to it at all: a role in a team or project lets its holder see the organisation's name.
    pub(super) fn belongs_to(&self, org_id: &str) -> bool {
        self.0.iter().any(|grant| grant.org_id == org_id)
    }

    /// The roles that hold there, each as often as it was given.
    pub(super) fn roles_in(&self, target: Target<'_>) -> Vec<Role> {
        self.holding(target).map(|grant| grant.role).collect()
    }

    /// The grants that hold there.
    fn holding<'a>(&'a self, target: Target<'a>) -> impl Iterator<Item = &'a Grant> {
        self.0.iter().filter(move |grant| {
            grant.org_id == target.org_id
                && match &grant.place {
                    Place::Org => true,
                    Place::Team(id) => target.team_id == Some(id),
                    Place::Project(id) => target.project_id == Some(id),
                }
        })
    }
}
