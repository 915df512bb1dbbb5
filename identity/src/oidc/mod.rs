//! OpenID Connect sign-on: the authorisation code flow with PKCE, as OpenID Connect Core 1.0, Discovery 1.0, RFC 7636 and RFC 9207
//! have it.
//!
//! Everything here blocks its thread and is bounded in time and size. What a provider says is believed only after it was checked:
//! the discovery document has to be the issuer's own, the ID token signed with one of its keys and made for this very sign-on.
//! Issuers may be in-house, so private addresses are called as any other; that is why only those who may administer sign-on name
//! them, and why no answer of one is ever shown.

mod binding;
mod claims;
mod client;
mod exchange;
mod fault;
mod fetch;
mod id_token;
mod issuer;
mod jws;
mod keys;
mod metadata;
#[cfg(test)]
mod tests;
mod unique;

pub use binding::Binding;
pub use claims::{EmailTrust, Person};
pub use client::{Oidc, Registration};
pub use exchange::Callback;
pub use fault::{Document, FetchFault, MetadataFault, OidcError, TokenFault};
pub use issuer::{Issuer, IssuerFault};
pub use metadata::Metadata;
