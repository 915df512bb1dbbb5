//! Typed identifiers. A function that takes two of them cannot be called with them swapped.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// What every identifier of this kind starts with.
            pub const PREFIX: &'static str = $prefix;

            /// Wraps text that already is an identifier, for example one read from the database.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// Makes a new identifier: the prefix and a UUIDv7, so that ids sort by age.
            pub fn generate(now: jiff::Timestamp, random: [u8; 10]) -> Self {
                Self(format!(concat!($prefix, "{}"), uuid_v7(now, random).simple()).into())
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// An organisation: the tenant that policies, budgets and invoices belong to.
    OrgId, "org_"
);
text_id!(
    /// A project: what keys, upstream credentials and usage belong to.
    ProjectId, "prj_"
);
text_id!(
    /// A team inside an organisation.
    TeamId, "team_"
);
text_id!(
    /// A person or service account.
    UserId, "usr_"
);
text_id!(
    /// A MindWeave key. The id is public; the secret it stands for is not.
    KeyId, "key_"
);
text_id!(
    /// A policy: one Rego module with its versions.
    PolicyId, "pol_"
);
text_id!(
    /// A rate limit.
    LimitId, "lim_"
);
text_id!(
    /// A budget.
    QuotaId, "quo_"
);
text_id!(
    /// A proxy process, stable across its restarts because it lives beside the journal.
    ProxyId, "pxy_"
);

/// The identity of one usage event: a UUIDv7 made once, when the request is admitted.
///
/// The ledger is unique in it, so anything between proxy and ledger may deliver twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(uuid::Uuid);

impl EventId {
    /// Makes an id from the admission time and ten random bytes (the caller owns clock and randomness).
    pub fn generate(now: jiff::Timestamp, random: [u8; 10]) -> Self {
        Self(uuid_v7(now, random))
    }

    /// The sixteen bytes, most significant first: the journal's key of a request.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id whose [`Self::as_bytes`] these are.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(uuid::Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for EventId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

fn uuid_v7(now: jiff::Timestamp, random: [u8; 10]) -> uuid::Uuid {
    let millis = u64::try_from(now.as_millisecond()).unwrap_or(0); // before 1970: a broken clock, not a reason to fail
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_carry_their_prefix_and_sort_by_age() {
        let early = ProjectId::generate(jiff::Timestamp::from_millisecond(1_000).unwrap(), [255; 10]);
        let late = ProjectId::generate(jiff::Timestamp::from_millisecond(2_000).unwrap(), [0; 10]);
        assert!(early.as_str().starts_with("prj_"));
        assert!(early < late);
    }

    #[test]
    fn an_event_id_survives_text_and_bytes() {
        let id = EventId::generate(jiff::Timestamp::from_millisecond(1_764_000_000_000).unwrap(), [7; 10]);
        assert_eq!(id.to_string().parse::<EventId>().unwrap(), id);
        assert_eq!(EventId::from_bytes(*id.as_bytes()), id);
    }
}
