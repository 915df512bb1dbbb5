//! How entries hang together.
//!
//! `hash = SHA-256("mindweave audit 1\0" | length of chain | chain | sequence | previous_hash | personal_hash | length of body |
//! body)`, where lengths and the sequence are eight bytes, big-endian, and hashes 32 bytes: no two different entries have the same
//! bytes. `personal_hash = SHA-256("mindweave audit personal 1\0" | salt (32 bytes) | personal)`. The first entry's `previous_hash`
//! is zero. What identifies a person is only in `personal`: taking it and its salt away leaves the chain whole, and nobody can
//! guess what was there.

use ring::digest::{Context, SHA256};

/// What is hashed before everything else, so that no other hash of the same bytes is one of ours.
const CONTEXT: &[u8] = b"mindweave audit 1\0";
/// The same, before what identifies a person.
const PERSONAL_CONTEXT: &[u8] = b"mindweave audit personal 1\0";
/// The chain of what belongs to no organisation.
pub(crate) const INSTALLATION: &str = "installation";
/// Bytes of salt: what a person is called cannot be guessed from the hash that stays.
pub(super) const SALT_BYTES: usize = 32;

/// A SHA-256.
pub(super) type Hash = [u8; 32];
/// What makes a [`personal_hash`] unguessable.
pub(super) type Salt = [u8; SALT_BYTES];

/// The hash before the first entry's.
pub(super) const NO_HASH: Hash = [0; 32];

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
    pub(super) previous_hash: &'a Hash,
    pub(super) personal_hash: &'a Hash,
    pub(super) body: &'a str,
}

impl Link<'_> {
    pub(super) fn hash(&self) -> Hash {
        let mut digest = Context::new(&SHA256);
        digest.update(CONTEXT);
        update_with_length(&mut digest, self.chain.as_bytes());
        digest.update(&self.sequence.to_be_bytes());
        digest.update(self.previous_hash);
        digest.update(self.personal_hash);
        update_with_length(&mut digest, self.body.as_bytes());
        finish(digest)
    }
}

/// The commitment to what identifies a person.
pub(super) fn personal_hash(salt: &Salt, personal: &str) -> Hash {
    let mut digest = Context::new(&SHA256);
    digest.update(PERSONAL_CONTEXT);
    digest.update(salt);
    digest.update(personal.as_bytes());
    finish(digest)
}

fn update_with_length(digest: &mut Context, bytes: &[u8]) {
    digest.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
    digest.update(bytes);
}

fn finish(digest: Context) -> Hash {
    let mut hash = NO_HASH;
    hash.iter_mut().zip(digest.finish().as_ref()).for_each(|(to, from)| *to = *from);
    hash
}

/// A hash or a salt as people and programs write it.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).map_or('0', |digit| char::from(*digit));
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xF)]).collect()
}

/// Reads [`hex`] of 32 bytes, in lower case only: one text for one hash.
pub(super) fn from_hex(text: &str) -> Option<[u8; 32]> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let mut bytes = [0; 32];
    if pairs.len() != bytes.len() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

fn digit(char: u8) -> Option<u8> {
    match char {
        b'0'..=b'9' => Some(char - b'0'),
        b'a'..=b'f' => Some(char - b'a' + 10),
        _ => None,
    }
}
