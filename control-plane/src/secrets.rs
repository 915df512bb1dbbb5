//! Secrets at rest: sealed with AES-256-GCM under the master key.
//!
//! A sealed secret is `key id (1 byte) | nonce (12 bytes) | ciphertext | tag (16 bytes)`. The key id is derived from the
//! master key, so that rotation can tell which key a row needs. What the secret belongs to is authenticated along with it:
//! a row copied to another project does not open. Nonces are random: safe for some four billion seals under one key
//! (NIST SP 800-38D, section 8.3), and an installation makes a few thousand.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use mindweave_policy::Secret;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::entropy::{self, NoEntropy};

/// Length of a master key.
const KEY_BYTES: usize = 32;
/// What is hashed before the key to get its id: the id must not be the start of a plain hash of the key.
const KEY_ID_CONTEXT: &[u8] = b"mindweave master key id\0";

/// The key that stored secrets are sealed with. Wiped when dropped, shown nowhere.
#[derive(Clone)]
pub struct MasterKey {
    id: u8,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

/// Why a master key was refused.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// The text is not a key.
    #[error("a master key is 32 bytes, written as 64 hexadecimal digits or as base64")]
    Malformed,
    /// The file with the key could not be read.
    #[error("the master key file {path} cannot be read")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        cause: io::Error,
    },
}

/// Why a sealed secret did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsealError {
    /// It was sealed under another master key.
    #[error("it was sealed under another master key")]
    OtherKey,
    /// It was changed, cut, or belongs to something else.
    #[error("it was altered or belongs to another owner")]
    Altered,
}

impl MasterKey {
    /// Reads a key from text: 64 hexadecimal digits or base64 of 32 bytes; blanks around it are ignored.
    ///
    /// # Errors
    /// [`MasterKeyError::Malformed`], which never repeats the text.
    pub fn from_text(text: &str) -> Result<Self, MasterKeyError> {
        let text = text.trim().as_bytes();
        let decoded = from_hex(text).or_else(|| {
            let engines = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD];
            engines.iter().find_map(|engine| engine.decode(text).ok())
        });
        let decoded = Zeroizing::new(decoded.ok_or(MasterKeyError::Malformed)?);
        let bytes = <[u8; KEY_BYTES]>::try_from(decoded.as_slice()).map_err(|_| MasterKeyError::Malformed)?;
        Ok(Self::from_bytes(bytes))
    }

    /// Reads a key from a file that holds such a text.
    ///
    /// # Errors
    /// See [`MasterKeyError`].
    pub fn from_file(path: &Path) -> Result<Self, MasterKeyError> {
        let text = std::fs::read_to_string(path)
            .map_err(|cause| MasterKeyError::File { path: path.to_owned(), cause })?;
        Self::from_text(&Zeroizing::new(text))
    }

    /// A new random key as text, for a key file or a secret store.
    ///
    /// # Errors
    /// When the operating system has no random bytes.
    pub fn generate_text() -> Result<Secret, NoEntropy> {
        let bytes = Zeroizing::new(entropy::bytes::<KEY_BYTES>()?);
        Ok(Secret::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
        digest.update(KEY_ID_CONTEXT);
        digest.update(&bytes);
        let id = digest.finish().as_ref().first().copied().unwrap_or_default(); // a SHA-256 is never empty
        Self { id, bytes: Zeroizing::new(bytes) }
    }

    fn cipher(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, self.bytes.as_slice()).ok().map(LessSafeKey::new)
    }

    /// Seals a secret for its owner (for example `upstream:prj_...`), which must be given again to open it.
    ///
    /// # Errors
    /// When the operating system has no random bytes.
    pub(crate) fn seal(&self, owner: &str, secret: &Secret) -> Result<Vec<u8>, NoEntropy> {
        let nonce = entropy::bytes::<NONCE_LEN>()?;
        let mut body = secret.expose_secret().as_bytes().to_vec();
        let cipher = self.cipher().ok_or(NoEntropy)?; // the key always has the right length
        cipher
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(owner), &mut body)
            .map_err(|_| NoEntropy)?; // only fails for a secret of 64 GiB
        Ok([&[self.id][..], &nonce, &body].concat())
    }

    /// Opens what [`Self::seal`] sealed for this owner.
    ///
    /// # Errors
    /// See [`UnsealError`].
    pub(crate) fn open(&self, owner: &str, sealed: &[u8]) -> Result<Secret, UnsealError> {
        let (key_id, rest) = sealed.split_first().ok_or(UnsealError::Altered)?;
        if *key_id != self.id {
            return Err(UnsealError::OtherKey);
        }
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(UnsealError::Altered)?;
        let mut body = Zeroizing::new(body.to_vec());
        let cipher = self.cipher().ok_or(UnsealError::Altered)?;
        let opened = cipher
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(owner), &mut body)
            .map_err(|_| UnsealError::Altered)?;
        let text = std::str::from_utf8(opened).map_err(|_| UnsealError::Altered)?;
        Ok(Secret::new(text.to_owned()))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    if text.len() != KEY_BYTES * 2 {
        return None;
    }
    let (pairs, _) = text.as_chunks::<2>();
    pairs.iter().map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests;
