//! Tokens as the API shows them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A token of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct ApiToken {
    /// `tok_..`
    pub(crate) id: String,
    pub(crate) name: String,
    /// The last characters of the token, by which its owner recognises it.
    pub(crate) hint: String,
    /// What it is limited to.
    pub(crate) scopes: Vec<Scope>,
    /// Who made it.
    pub(crate) created_by: String,
    pub(crate) created_at: Timestamp,
    /// It is refused from then on.
    pub(crate) expires_at: Option<Timestamp>,
    /// Noted once a minute at most.
    pub(crate) last_used_at: Option<Timestamp>,
    pub(crate) revoked_at: Option<Timestamp>,
}

/// `*` for everything that the holder may, `read` for reading all of it, or an area with a verb, such as `keys:write`, which includes
/// `keys:read`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(
    as = TokenScope,
    example = "usage:read",
    pattern = r"^(\*|read|(org|members|teams|projects|upstream|keys|governance|usage|events|audit|billing|sign_on|privacy|installation):(read|write))$"
)]
pub(crate) struct Scope(pub(crate) String);

/// A token with itself: shown once, in the answer to its making.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct NewApiToken {
    #[serde(flatten)]
    pub(crate) shown: ApiToken,
    /// The token. It cannot be shown again.
    pub(crate) token: String,
}
