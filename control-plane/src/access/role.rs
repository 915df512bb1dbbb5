//! The roles, and what each may.

use serde::{Deserialize, Serialize};

use super::scope::{AREAS, Access, Area, Verb};

/// What somebody is in an organisation, a team or a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Everything, the end of the organisation and other owners included.
    Owner,
    /// Everything but that, and but erasing people's data.
    Admin,
    /// Makes and uses keys, tries policies, sees usage.
    Developer,
    /// Sees usage and handles invoices.
    Billing,
    /// Sees everything, the audit log included, and changes nothing.
    Auditor,
}

/// Every role, most powerful first.
pub(crate) const ROLES: [Role; 5] = [Role::Owner, Role::Admin, Role::Developer, Role::Billing, Role::Auditor];

impl Role {
    /// Its name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Developer => "developer",
            Self::Billing => "billing",
            Self::Auditor => "auditor",
        }
    }

    /// The role of this name.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        ROLES.into_iter().find(|role| role.as_str() == text)
    }

    /// Whether this role may do all that the other one may. Roles are given and taken by those whose role covers them.
    pub(crate) fn covers(self, other: Self) -> bool {
        let needs = AREAS.into_iter().flat_map(|area| [Access::read(area), Access::write(area)]);
        needs.into_iter().all(|need| self.allows(need) || !other.allows(need))
    }

    /// Whether this role may do it where it was given. What belongs to the installation no role of an organisation allows.
    pub(crate) fn allows(self, need: Access) -> bool {
        let Access { area, verb } = need;
        if area == Area::Installation {
            return false;
        }
        match (self, verb) {
            (Self::Owner, _) | (Self::Auditor, Verb::Read) => true,
            (Self::Auditor, Verb::Write) => false,
            (Self::Admin, Verb::Read) => true,
            (Self::Admin, Verb::Write) => area != Area::Privacy,
            (Self::Developer, Verb::Read) => {
                !matches!(area, Area::Audit | Area::Billing | Area::SignOn | Area::Privacy)
            }
            (Self::Developer, Verb::Write) => matches!(area, Area::Keys | Area::Events),
            (Self::Billing, Verb::Read) => matches!(
                area,
                Area::Org | Area::Teams | Area::Projects | Area::Usage | Area::Billing | Area::Governance
            ),
            (Self::Billing, Verb::Write) => area == Area::Billing,
        }
    }
}
