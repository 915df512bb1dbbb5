//! Passkeys (WebAuthn, level 3): the side of the server. The rules are `webauthn_rp`'s; here is what we ask for and what we keep.
//!
//! Every passkey is discoverable and verifies its user (by finger, face or PIN), so that it is enough alone. Who made the authenticator
//! is not asked (attestation `none`): people bring their own.

mod ceremony;
mod relying_party;
mod stored;
#[cfg(test)]
mod tests;

pub use ceremony::{PasskeyError, Person, Started};
pub use relying_party::{RelyingParty, RelyingPartyError};
pub use stored::Passkey;
