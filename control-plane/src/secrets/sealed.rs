//! The forms of a sealed secret.
//!
//! The second, which is written: `2 | key id (8 bytes) | nonce (12 bytes) | ciphertext | tag (16 bytes)`, where `"mindweave sealed
//! 2\0" | key id | owner` is authenticated. The first, which is still read: `key id (1 byte) | nonce | ciphertext | tag`, with the
//! owner authenticated. One byte tells 256 keys apart and so does not tell two of them apart for sure; that is why it grew.
//! A secret in the first form whose key id happens to be 2 is not taken for the second: the eight bytes after it are random.

use mindweave_policy::Secret;
use ring::aead::{Aad, NONCE_LEN, Nonce};
use zeroize::Zeroizing;

use super::UnsealError;
use super::key::{ID_BYTES, Key};
use crate::entropy::{self, NoEntropy};

/// What the second form begins with.
const SECOND: u8 = 2;
/// What is authenticated before everything else of the second form.
const CONTEXT: &[u8] = b"mindweave sealed 2\0";
/// Length of a tag of AES-GCM.
const TAG_BYTES: usize = 16;

/// In which form something is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    First,
    Second,
}

/// Seals in the second form.
pub(super) fn seal(key: &Key, owner: &str, secret: &Secret) -> Result<Vec<u8>, NoEntropy> {
    let nonce = entropy::bytes::<NONCE_LEN>()?;
    let text = secret.expose_secret().as_bytes();
    // Room for the tag as well: a vector that grows leaves the plain text behind.
    let mut body = Zeroizing::new(Vec::with_capacity(text.len().saturating_add(TAG_BYTES)));
    body.extend_from_slice(text);
    let cipher = key.cipher().ok_or(NoEntropy)?; // the key always has the right length
    cipher
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), associated(key, owner), &mut *body)
        .map_err(|_| NoEntropy)?; // only fails for a secret of 64 GiB
    Ok([&[SECOND][..], &key.id().0, &nonce, &body].concat())
}

/// Opens either form, if it was sealed under this key.
pub(super) fn open(key: &Key, owner: &str, sealed: &[u8]) -> Result<(Secret, Form), UnsealError> {
    let (first, rest) = sealed.split_first().ok_or(UnsealError::Altered)?;
    let mut refused = UnsealError::OtherKey;
    if *first == SECOND
        && let Some((id, rest)) = rest.split_first_chunk::<ID_BYTES>()
        && *id == key.id().0
    {
        match decrypt(key, associated(key, owner), rest) {
            Ok(secret) => return Ok((secret, Form::Second)),
            Err(error) => refused = error,
        }
    }
    if *first == key.id().first_form() {
        return decrypt(key, Aad::from(owner.as_bytes().to_vec()), rest).map(|secret| (secret, Form::First));
    }
    Err(refused)
}

fn associated(key: &Key, owner: &str) -> Aad<Vec<u8>> {
    Aad::from([CONTEXT, &key.id().0, owner.as_bytes()].concat())
}

fn decrypt(key: &Key, associated: Aad<Vec<u8>>, sealed: &[u8]) -> Result<Secret, UnsealError> {
    let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(UnsealError::Altered)?;
    let mut body = Zeroizing::new(body.to_vec());
    let cipher = key.cipher().ok_or(UnsealError::Altered)?;
    let opened = cipher
        .open_in_place(Nonce::assume_unique_for_key(*nonce), associated, &mut body)
        .map_err(|_| UnsealError::Altered)?;
    let text = std::str::from_utf8(opened).map_err(|_| UnsealError::Altered)?;
    Ok(Secret::new(text.to_owned()))
}
