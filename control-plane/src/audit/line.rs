//! The form of an export: lines of JSON. The first says what it is and where the chain ended, every other one is an entry with
//! all that it takes to verify it: `body` and `personal` are texts, exactly as they were hashed.

use serde::{Deserialize, Serialize};

use super::chain::{Hash, Salt, from_hex, hex};
use super::verify::Entry;

/// What the first line says the file is.
pub(super) const FORMAT: &str = "mindweave audit export 1";

/// The first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    pub(super) format: String,
    pub(super) chain: String,
    /// The entry behind which the export begins; 0 for all of it.
    pub(super) after: i64,
    pub(super) head: HeadEntry,
}

/// The last entry that the export has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HeadEntry {
    /// Its number; 0 of a chain that has none.
    pub(super) sequence: i64,
    /// Its hash.
    #[schema(min_length = 64, max_length = 64)]
    pub(super) hash: String,
}

/// Any other line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    pub(super) chain: String,
    pub(super) sequence: i64,
    pub(super) body: String,
    /// `null` once it was erased.
    pub(super) personal: Option<String>,
    pub(super) personal_salt: Option<String>,
    pub(super) personal_hash: String,
    pub(super) previous_hash: String,
    pub(super) hash: String,
}

/// A line whose hashes were read.
#[derive(Clone, Debug)]
pub(super) struct ReadLine {
    line: Line,
    salt: Option<Salt>,
    personal_hash: Hash,
    previous_hash: Hash,
    hash: Hash,
}

impl Line {
    /// Reads hashes and salt; `None` when one is not of its length, or when only one of `personal` and its salt is there.
    pub(super) fn read(self) -> Option<ReadLine> {
        if self.personal.is_some() != self.personal_salt.is_some() {
            return None;
        }
        let salt = match &self.personal_salt {
            Some(salt) => Some(from_hex(salt)?),
            None => None,
        };
        let personal_hash = from_hex(&self.personal_hash)?;
        let (previous_hash, hash) = (from_hex(&self.previous_hash)?, from_hex(&self.hash)?);
        Some(ReadLine { line: self, salt, personal_hash, previous_hash, hash })
    }

    /// The line of an entry.
    pub(super) fn of(entry: &Entry<'_>) -> Self {
        Self {
            chain: entry.chain.to_owned(),
            sequence: entry.sequence,
            body: entry.body.to_owned(),
            personal: entry.personal.map(|(personal, _)| personal.to_owned()),
            personal_salt: entry.personal.map(|(_, salt)| hex(salt)),
            personal_hash: hex(entry.personal_hash),
            previous_hash: hex(entry.previous_hash),
            hash: hex(entry.hash),
        }
    }
}

impl ReadLine {
    /// The entry.
    pub(super) fn entry(&self) -> Entry<'_> {
        Entry {
            chain: &self.line.chain,
            sequence: self.line.sequence,
            previous_hash: &self.previous_hash,
            personal_hash: &self.personal_hash,
            hash: &self.hash,
            body: &self.line.body,
            personal: self.line.personal.as_deref().zip(self.salt.as_ref()),
        }
    }
}
