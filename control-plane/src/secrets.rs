//! Secrets at rest: sealed with AES-256-GCM under the master key.
//!
//! What a secret belongs to is authenticated along with it: a row copied to another project does not open. Nonces are random:
//! safe for some four billion seals under one key (NIST SP 800-38D, section 8.3), and an installation makes a few thousand.
//! While one master key takes another's place, both open, and the first seals; `rotation` brings what is stored under it.

mod key;
mod rotation;
mod sealed;
mod store;

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use mindweave_policy::Secret;
use zeroize::Zeroizing;

use crate::entropy::NoEntropy;

use key::Key;
pub use rotation::{RotationError, SecretsReport, SecretsTable, secrets_check, secrets_rotate};

/// A key's text is far shorter; more is another file.
const MAX_KEY_FILE_BYTES: u64 = 4_096;
/// Most keys that open what was sealed before: a rotation has one, one that was broken off has two.
const MAX_PREVIOUS: usize = 8;

/// The key that stored secrets are sealed with, and those that still open what was sealed before. Wiped when dropped, shown
/// nowhere. Cheap to clone: there is one copy of each key.
#[derive(Clone)]
pub struct MasterKey {
    current: Key,
    previous: Vec<Key>,
}

/// Why a master key was refused.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// The text is not a key.
    #[error("a master key is 32 bytes, written as 64 hexadecimal digits or as base64")]
    Malformed,
    /// More previous keys than any rotation has.
    #[error("there are more than {MAX_PREVIOUS} previous master keys")]
    TooMany,
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

/// How a secret that opened was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Under {
    /// As it would be now.
    Current,
    /// Under the current key, in a form of before.
    OlderForm,
    /// Under a previous key.
    Previous,
}

impl MasterKey {
    /// Reads a key from text: 64 hexadecimal digits or base64 of 32 bytes; blanks around it are ignored.
    ///
    /// # Errors
    /// [`MasterKeyError::Malformed`], which never repeats the text.
    pub fn from_text(text: &str) -> Result<Self, MasterKeyError> {
        let current = Key::from_text(text).ok_or(MasterKeyError::Malformed)?;
        Ok(Self { current, previous: Vec::new() })
    }

    /// Reads a key from a file that holds such a text.
    ///
    /// # Errors
    /// See [`MasterKeyError`].
    pub fn from_file(path: &Path) -> Result<Self, MasterKeyError> {
        Self::from_text(Self::file_text(path)?.expose_secret())
    }

    /// The text of a file that holds one key or several.
    ///
    /// # Errors
    /// [`MasterKeyError::File`].
    pub fn file_text(path: &Path) -> Result<Secret, MasterKeyError> {
        let failed = |cause| MasterKeyError::File { path: path.to_owned(), cause };
        let file = std::fs::File::open(path).map_err(failed)?;
        let capacity = usize::try_from(MAX_KEY_FILE_BYTES).unwrap_or_default();
        // Room for all of it at once: a text that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(capacity.saturating_add(1)));
        file.take(MAX_KEY_FILE_BYTES).read_to_string(&mut text).map_err(failed)?;
        Ok(Secret::new(std::mem::take(&mut *text)))
    }

    /// Has this key open what other keys sealed, too. The text has one key or several, with blanks, line ends or commas between
    /// them; the current key among them means nothing.
    ///
    /// # Errors
    /// When one of them is no key, or there are too many.
    pub fn opening(mut self, text: &str) -> Result<Self, MasterKeyError> {
        let apart = |char: char| char.is_whitespace() || char == ',';
        for text in text.split(apart).filter(|text| !text.is_empty()) {
            let key = Key::from_text(text).ok_or(MasterKeyError::Malformed)?;
            if key.id() != self.current.id() && !self.previous.iter().any(|known| known.id() == key.id()) {
                self.previous.push(key);
            }
        }
        if self.previous.len() > MAX_PREVIOUS {
            return Err(MasterKeyError::TooMany);
        }
        Ok(self)
    }

    /// A new random key as text, for a key file or a secret store.
    ///
    /// # Errors
    /// When the operating system has no random bytes.
    pub fn generate_text() -> Result<Secret, NoEntropy> {
        Key::generate_text()
    }

    /// A name for the key that seals, for people who compare servers: says nothing of the key itself.
    pub fn id(&self) -> String {
        self.current.id().to_string()
    }

    /// Names like [`Self::id`] for the keys that only open.
    pub fn previous_ids(&self) -> Vec<String> {
        self.previous.iter().map(|key| key.id().to_string()).collect()
    }

    /// Seals a secret for its owner (for example `upstream:prj_...`), which must be given again to open it.
    ///
    /// # Errors
    /// When the operating system has no random bytes.
    pub(crate) fn seal(&self, owner: &str, secret: &Secret) -> Result<Vec<u8>, NoEntropy> {
        sealed::seal(&self.current, owner, secret)
    }

    /// Opens what [`Self::seal`] sealed for this owner, now or under a previous key.
    ///
    /// # Errors
    /// See [`UnsealError`].
    pub(crate) fn open(&self, owner: &str, sealed: &[u8]) -> Result<Secret, UnsealError> {
        self.open_and_tell(owner, sealed).map(|(secret, _)| secret)
    }

    /// The same, and how it was sealed.
    ///
    /// # Errors
    /// See [`UnsealError`].
    pub(crate) fn open_and_tell(&self, owner: &str, sealed: &[u8]) -> Result<(Secret, Under), UnsealError> {
        let mut refused = UnsealError::OtherKey;
        for (place, key) in std::iter::once(&self.current).chain(&self.previous).enumerate() {
            match sealed::open(key, owner, sealed) {
                Ok((secret, _)) if place > 0 => return Ok((secret, Under::Previous)),
                Ok((secret, sealed::Form::Second)) => return Ok((secret, Under::Current)),
                Ok((secret, sealed::Form::First)) => return Ok((secret, Under::OlderForm)),
                Err(UnsealError::Altered) => refused = UnsealError::Altered,
                Err(UnsealError::OtherKey) => {}
            }
        }
        Err(refused)
    }
}

/// For whom the secret of somebody's authenticator app is sealed.
pub(crate) fn totp_owner(user_id: &str) -> String {
    format!("totp:{user_id}")
}

/// For whom the client secret of a sign-on provider is sealed.
pub(crate) fn sign_on_owner(provider_id: &str) -> String {
    format!("oidc:{provider_id}")
}

/// For whom the answer to a request with an `Idempotency-Key` is sealed. The length tells apart what a `:` in a name could not.
pub(crate) fn idempotent_owner(caller: &str, key: &str) -> String {
    format!("idempotent_request:{}:{caller}:{key}", caller.len())
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

#[cfg(test)]
mod tests;
