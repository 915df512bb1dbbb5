//! Who sends events: whoever holds a MindWeave key, for its project; an admin, for any.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use jiff::Timestamp;
use mindweave_policy::{Fingerprint, Principal, Snapshot};

use crate::http::auth::{AdminToken, bearer};
use crate::keys::SECRET_PREFIX;

/// Where a key may stand beside `authorization`: where the API's own clients put one, and where the proxy takes one.
const KEY_HEADERS: [&str; 2] = ["x-api-key", "x-mindweave-key"];

/// Who sends.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// The holder of a key.
    Key(Arc<Principal>),
    /// An admin.
    Admin,
}

impl Caller {
    /// Who these headers are from, or what is wrong with them.
    pub(super) fn of(
        headers: &HeaderMap,
        admin: &AdminToken,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<Self, &'static str> {
        let keys = KEY_HEADERS
            .iter()
            .filter_map(|name| headers.get(*name))
            .map(|value| value.as_bytes().trim_ascii());
        let bearer = headers.get(AUTHORIZATION).map(|value| bearer(value.as_bytes()));
        let mut credentials = keys.chain(bearer.flatten()).peekable();
        if credentials.peek().is_none() {
            return Err(
                "send a MindWeave key (x-api-key: mw_...) or the admin token (authorization: Bearer ...)",
            );
        }
        let mut refusal = "this is neither a MindWeave key nor the admin token of this installation";
        for credential in credentials {
            if credential.starts_with(SECRET_PREFIX.as_bytes()) {
                match snapshot.keys.get(&Fingerprint::of(credential)) {
                    None => refusal = "this MindWeave key is not known here, or it was revoked",
                    Some(entry) if entry.expires_at.is_some_and(|expiry| expiry <= now) => {
                        refusal = "this MindWeave key has expired";
                    }
                    Some(entry) => return Ok(Self::Key(Arc::clone(&entry.principal))),
                }
            } else if admin.matches(credential) {
                return Ok(Self::Admin);
            }
        }
        Err(refusal)
    }

    /// What an `idempotency-key` of this caller is one of: the same key of somebody else's is another one.
    pub(super) fn scope(&self) -> &str {
        match self {
            Self::Key(principal) => principal.project_id.as_str(),
            Self::Admin => "",
        }
    }
}
