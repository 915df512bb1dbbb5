//! How credentials are recognised without being stored.

use std::fmt;

/// The SHA-256 of a credential. What a key table holds in place of the secret: keys are long and random, so a plain
/// hash cannot be reversed and, unlike a password hash, costs well under a microsecond per request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a credential as it stands in its header, without scheme.
    pub fn of(credential: &[u8]) -> Self {
        let mut bytes = [0; 32];
        let digest = ring::digest::digest(&ring::digest::SHA256, credential);
        bytes.copy_from_slice(digest.as_ref()); // SHA-256 always has 32 bytes
        Self(bytes)
    }

    /// The fingerprint with these bytes, as read from a store; `None` unless there are 32.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes, for a store.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Fingerprint {
    /// The first four bytes: enough to tell two apart in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "Fingerprint({a:02x}{b:02x}{c:02x}{d:02x}..)")
    }
}
