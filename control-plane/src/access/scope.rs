//! What there is to do, and the scopes of tokens, which name it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Area {
    /// An organisation itself: its name, its time zone, its end.
    Org,
    /// Who has which role, invitations, service accounts.
    Members,
    /// Teams.
    Teams,
    /// Projects and their settings.
    Projects,
    /// The Claude key of a project.
    Upstream,
    /// MindWeave keys and client credentials.
    Keys,
    /// Policies, limits, budgets, and what was decided.
    Governance,
    /// Sums and single events.
    Usage,
    /// Delivering events of other producers.
    Events,
    /// The audit log.
    Audit,
    /// Invoices and what they are made of.
    Billing,
    /// Sign-on providers.
    SignOn,
    /// Exporting and erasing a person's data.
    Privacy,
    /// Proxies, their tokens, and everything else that belongs to the installation and not to one organisation.
    Installation,
}

/// Every area, in the order of the documentation.
pub(crate) const AREAS: [Area; 14] = [
    Area::Org,
    Area::Members,
    Area::Teams,
    Area::Projects,
    Area::Upstream,
    Area::Keys,
    Area::Governance,
    Area::Usage,
    Area::Events,
    Area::Audit,
    Area::Billing,
    Area::SignOn,
    Area::Privacy,
    Area::Installation,
];

impl Area {
    /// Its name in scopes.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Org => "org",
            Self::Members => "members",
            Self::Teams => "teams",
            Self::Projects => "projects",
            Self::Upstream => "upstream",
            Self::Keys => "keys",
            Self::Governance => "governance",
            Self::Usage => "usage",
            Self::Events => "events",
            Self::Audit => "audit",
            Self::Billing => "billing",
            Self::SignOn => "sign_on",
            Self::Privacy => "privacy",
            Self::Installation => "installation",
        }
    }
}

/// Whether an operation only looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Verb {
    Read,
    Write,
}

/// What an operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Access {
    pub(crate) area: Area,
    pub(crate) verb: Verb,
}

impl Access {
    /// To look.
    pub(crate) const fn read(area: Area) -> Self {
        Self { area, verb: Verb::Read }
    }

    /// To change.
    pub(crate) const fn write(area: Area) -> Self {
        Self { area, verb: Verb::Write }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.verb {
            Verb::Read => "read",
            Verb::Write => "write",
        };
        write!(f, "{}:{verb}", self.area.as_str())
    }
}

/// What a token is limited to. Each text is `*`, `read`, or an area with a verb: `keys:write`. To write includes to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scopes {
    /// Everything that its holder may.
    All,
    /// These only.
    Only(Vec<Access>),
}

impl Scopes {
    /// Whether a token with these scopes may be used for it.
    pub(crate) fn allow(&self, need: Access) -> bool {
        match self {
            Self::All => true,
            Self::Only(given) => given.iter().any(|scope| scope.area == need.area && scope.verb >= need.verb),
        }
    }

    /// Reads scopes. `Err` has the first text that is none.
    pub(crate) fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        let (mut all, mut given) = (false, Vec::new());
        for text in texts {
            match text {
                "*" => all = true,
                "read" => given.extend(AREAS.map(Access::read)),
                text => given.push(access(text).ok_or(text)?),
            }
        }
        Ok(if all { Self::All } else { Self::Only(given) })
    }
}

fn access(text: &str) -> Option<Access> {
    let (area, verb) = text.split_once(':')?;
    let area = AREAS.into_iter().find(|known| known.as_str() == area)?;
    match verb {
        "read" => Some(Access::read(area)),
        "write" => Some(Access::write(area)),
        _ => None,
    }
}
