//! What a token is for.

use serde::Serialize;

use crate::db::StoreError;

/// One of the things that a proxy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ProxyScope)]
pub(crate) enum Scope {
    /// Hears what is in force, the Claude keys of every project included, and reports what limits are asked for.
    Watch,
    /// Delivers events.
    Deliver,
}

impl Scope {
    /// Every scope, in the order in which answers show them.
    pub(crate) const ALL: [Self; 2] = [Self::Watch, Self::Deliver];

    /// As the API and the database write it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Deliver => "deliver",
        }
    }

    /// The scope of this name.
    pub(crate) fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.text() == text)
    }
}

/// Scopes as they are stored: a JSON array of their names.
pub(super) fn stored(scopes: &[Scope]) -> String {
    serde_json::to_string(scopes).unwrap_or_else(|_| "[]".to_owned()) // an array of names always serialises
}

/// Stored scopes. One that this version does not know is left out: it allows nothing here.
pub(super) fn read(json: &str) -> Result<Vec<Scope>, StoreError> {
    let corrupt = |_| StoreError::Corrupt { what: "the scopes of a proxy token" };
    let names: Vec<String> = serde_json::from_str(json).map_err(corrupt)?;
    Ok(names.iter().filter_map(|name| Scope::named(name)).collect())
}
