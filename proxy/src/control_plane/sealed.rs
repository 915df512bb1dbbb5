//! Sealing of what a proxy keeps on disk of its control plane: it holds Claude keys.
//!
//! A sealed file, version 1:
//!
//! | Bytes | Field |
//! |---|---|
//! | 0 | version |
//! | 1 | what is in it: 1 snapshot, 2 counters |
//! | 2..14 | nonce |
//! | 14.. | AES-256-GCM of the content, and its tag of 16 bytes |
//!
//! The key comes from the proxy token by HKDF-SHA256, one for each kind of content; version and kind are authenticated
//! along. Another token, a changed byte or a file of the other kind do not open. Nonces are random: a file a second for a
//! century stays below the 2^32 seals that NIST SP 800-38D allows one key.

use mindweave_policy::Secret;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use ring::rand::{SecureRandom, SystemRandom};

/// Of the format.
const VERSION: u8 = 1;
/// Version and kind.
const HEAD_BYTES: usize = 2;
/// Separates keys made here from whatever else the token may be used for.
const SALT: &[u8] = b"mindweave proxy cache";

/// What is in a sealed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The last good snapshot.
    Snapshot,
    /// What was used of budgets.
    Counters,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Snapshot => 1,
            Self::Counters => 2,
        }
    }

    /// The file's name.
    pub(super) fn file_name(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot.sealed",
            Self::Counters => "counters.sealed",
        }
    }
}

/// Why a sealed file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnsealError {
    /// Too short to be one, or of a format that this build does not know.
    #[error("it is not a sealed file of this version")]
    Foreign,
    /// It was sealed with another token, or changed since.
    #[error("it was sealed with another proxy token, or damaged")]
    Closed,
}

/// The system gives no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system has no randomness")]
pub(super) struct NoRandomness;

/// Seals and opens with the keys of one token.
pub(super) struct Sealer {
    prk: Prk,
    random: SystemRandom,
}

impl Sealer {
    pub(super) fn new(token: &Secret) -> Self {
        let prk = Salt::new(HKDF_SHA256, SALT).extract(token.expose_secret().as_bytes());
        Self { prk, random: SystemRandom::new() }
    }

    /// Seals the content.
    pub(super) fn seal(&self, kind: Kind, content: &[u8]) -> Result<Vec<u8>, NoRandomness> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| NoRandomness)?;
        self.seal_with(kind, content, nonce)
    }

    fn seal_with(&self, kind: Kind, content: &[u8], nonce: [u8; NONCE_LEN]) -> Result<Vec<u8>, NoRandomness> {
        let head = [VERSION, kind.byte()];
        let mut sealed = Vec::with_capacity(HEAD_BYTES + NONCE_LEN + content.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(&head);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(content);
        let nonce = Nonce::assume_unique_for_key(nonce);
        // Fails only for more bytes than memory holds.
        let tag = (self.key(kind).zip(sealed.get_mut(HEAD_BYTES + NONCE_LEN..)))
            .and_then(|(key, body)| key.seal_in_place_separate_tag(nonce, Aad::from(head), body).ok())
            .ok_or(NoRandomness)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens a file; the content takes the place of the seal.
    pub(super) fn open(&self, kind: Kind, mut sealed: Vec<u8>) -> Result<Vec<u8>, UnsealError> {
        let head = [VERSION, kind.byte()];
        let Some((found, rest)) = sealed.split_first_chunk_mut::<HEAD_BYTES>() else {
            return Err(UnsealError::Foreign);
        };
        let Some((nonce, body)) = rest.split_first_chunk_mut::<NONCE_LEN>() else {
            return Err(UnsealError::Foreign);
        };
        if *found != head {
            return Err(UnsealError::Foreign);
        }
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self
            .key(kind)
            .and_then(|key| key.open_in_place(nonce, Aad::from(head), body).ok().map(|content| content.len()))
            .ok_or(UnsealError::Closed)?;
        sealed.drain(..HEAD_BYTES + NONCE_LEN);
        sealed.truncate(length);
        Ok(sealed)
    }

    fn key(&self, kind: Kind) -> Option<LessSafeKey> {
        let info = [kind.file_name().as_bytes()];
        let key = self.prk.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(token: &str) -> Sealer {
        Sealer::new(&Secret::new(token.to_owned()))
    }

    #[test]
    fn what_was_sealed_opens_with_the_same_token_and_kind_only() {
        let sealed = sealer("a").seal(Kind::Snapshot, b"content").unwrap();
        assert!(!sealed.windows(7).any(|window| window == b"content"));
        assert_eq!(sealer("a").open(Kind::Snapshot, sealed.clone()).unwrap(), b"content");
        assert_eq!(sealer("b").open(Kind::Snapshot, sealed.clone()), Err(UnsealError::Closed));
        assert_eq!(sealer("a").open(Kind::Counters, sealed), Err(UnsealError::Foreign));
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let sealed = sealer("a").seal(Kind::Counters, b"1").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(sealer("a").open(Kind::Counters, changed).is_err(), "byte {at}");
            assert!(sealer("a").open(Kind::Counters, sealed[..at].to_vec()).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_kind_cannot_be_passed_off_as_the_other_by_its_byte() {
        let mut sealed = sealer("a").seal(Kind::Counters, b"{}").unwrap();
        sealed[1] = Kind::Snapshot.byte();
        assert_eq!(sealer("a").open(Kind::Snapshot, sealed), Err(UnsealError::Closed));
    }

    #[test]
    fn two_seals_of_the_same_content_differ() {
        let one = sealer("a").seal(Kind::Snapshot, b"x").unwrap();
        assert_ne!(one, sealer("a").seal(Kind::Snapshot, b"x").unwrap());
    }

    #[test]
    fn the_format_of_version_1_stays_as_it_is() {
        let golden = include_bytes!("golden/v1.sealed");
        let content = b"a sealed file of version 1\n";
        let sealer = sealer("token of the golden file");
        assert_eq!(sealer.open(Kind::Snapshot, golden.to_vec()).unwrap(), content);
        assert_eq!(sealer.seal_with(Kind::Snapshot, content, *b"golden nonce").unwrap(), golden);
    }
}
