//! How entries hang together.
//!
//! `hash = SHA-256("mindweave audit 1\0" | chain | 0 | sequence (8 bytes, big-endian) | previous_hash | personal_hash | body)`, where
//! `personal_hash = SHA-256(salt | personal)`. The first entry's `previous_hash` is zero. What identifies a person is only in
//! `personal`: taking it and its salt away leaves the chain whole, and nobody can guess what was there.

use ring::digest::{Context, SHA256};

/// What is hashed before everything else, so that no other hash of the same bytes is one of ours.
const CONTEXT: &[u8] = b"mindweave audit 1\0";
/// The chain of what belongs to no organisation.
pub(crate) const INSTALLATION: &str = "installation";

/// A SHA-256.
pub(super) type Hash = [u8; 32];

/// Which chain an entry belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chain<'a> {
    /// That of an organisation.
    Org(&'a str),
    /// That of the installation.
    Installation,
}

impl<'a> Chain<'a> {
    /// As it is stored.
    pub(crate) fn as_str(self) -> &'a str {
        match self {
            Self::Org(id) => id,
            Self::Installation => INSTALLATION,
        }
    }
}

/// What a hash covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link<'a> {
    pub(super) chain: &'a str,
    pub(super) sequence: i64,
    pub(super) previous_hash: &'a [u8],
    pub(super) personal_hash: &'a [u8],
    pub(super) body: &'a str,
}

impl Link<'_> {
    pub(super) fn hash(&self) -> Hash {
        let mut digest = Context::new(&SHA256);
        digest.update(CONTEXT);
        digest.update(self.chain.as_bytes());
        digest.update(&[0]);
        digest.update(&self.sequence.to_be_bytes());
        digest.update(self.previous_hash);
        digest.update(self.personal_hash);
        digest.update(self.body.as_bytes());
        finish(digest)
    }
}

/// The commitment to what identifies a person.
pub(super) fn personal_hash(salt: &[u8], personal: &str) -> Hash {
    let mut digest = Context::new(&SHA256);
    digest.update(salt);
    digest.update(personal.as_bytes());
    finish(digest)
}

fn finish(digest: Context) -> Hash {
    let mut hash = [0; 32];
    hash.iter_mut().zip(digest.finish().as_ref()).for_each(|(to, from)| *to = *from);
    hash
}
