//! Whether entries, one after the other, are a chain as it was written.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::chain::{self, Hash, Link, NO_HASH, Salt, from_hex, hex};

/// An entry of a chain from outside: its number and its hash, as an export, a log line or a message told them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    pub(super) sequence: i64,
    pub(super) hash: Hash,
}

impl FromStr for Anchor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (sequence, hash) = text.trim().split_once(':')?;
            let sequence = sequence.parse().ok().filter(|sequence| *sequence >= 0)?;
            Some(Self { sequence, hash: from_hex(hash)? })
        };
        read().ok_or("must be SEQUENCE:HASH, for example 42:9f86d0.. with 64 hexadecimal digits")
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sequence, hex(&self.hash))
    }
}

/// What is wrong with a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// It is not an entry at all.
    Unreadable,
    /// It belongs to another chain.
    OtherChain,
    /// Entries before it are missing.
    Missing,
    /// It stands behind an entry that came later, or twice.
    OutOfOrder,
    /// It names another entry before it than the one that is there.
    NotLinked,
    /// Its content is not what was written.
    Changed,
    /// What identifies a person is not what was written. (Having been erased is no fault.)
    PersonalChanged,
    /// The columns by which it is found say something else than the entry.
    ColumnsChanged,
    /// The chain ends before an entry that is known from outside.
    Truncated,
    /// The entry of this number is another one than is known from outside.
    OtherHistory,
    /// There are entries behind the head.
    BehindHead,
    /// The head is not that of the last entry.
    HeadChanged,
    /// What is known from outside lies before the first entry that is there, so that nothing can be said.
    NotCovered,
}

impl FaultKind {
    /// What it means, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Unreadable => "it is not an entry",
            Self::OtherChain => "it belongs to another chain",
            Self::Missing => "entries before it are missing",
            Self::OutOfOrder => "it is there twice, or behind one that came later",
            Self::NotLinked => "it does not follow the entry before it",
            Self::Changed => "its content was changed",
            Self::PersonalChanged => "what it says of a person was changed",
            Self::ColumnsChanged => "the columns by which it is found were changed",
            Self::Truncated => "the chain ends before this entry, which is known from outside",
            Self::OtherHistory => "another entry of this number is known from outside",
            Self::BehindHead => "it stands behind the head of the chain",
            Self::HeadChanged => "the head of the chain is not that of its last entry",
            Self::NotCovered => "this entry is known from outside, and lies before the first one here",
        }
    }
}

/// The first thing that is wrong, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The entry.
    pub sequence: i64,
    /// What is wrong with it.
    pub kind: FaultKind,
}

impl Fault {
    pub(super) fn at(sequence: i64, kind: FaultKind) -> Self {
        Self { sequence, kind }
    }
}

/// An entry as it lies in a database or in a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) chain: &'a str,
    pub(super) sequence: i64,
    pub(super) previous_hash: &'a Hash,
    pub(super) personal_hash: &'a Hash,
    pub(super) hash: &'a Hash,
    pub(super) body: &'a str,
    /// With its salt; `None` once it was erased.
    pub(super) personal: Option<(&'a str, &'a Salt)>,
}

/// Walks along a chain.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    chain: String,
    /// The last entry; of a chain that is not read from its beginning it is not known before the first one.
    last: Option<Anchor>,
    /// What is known from outside, and was not met yet.
    anchors: Vec<Anchor>,
    pub(super) entries: u64,
    /// Entries whose personal part was erased.
    pub(super) erased: u64,
}

impl Walk {
    /// From the first entry on.
    pub(super) fn from_beginning(chain: &str, anchors: Vec<Anchor>) -> Self {
        Self::behind(chain, Anchor { sequence: 0, hash: NO_HASH }, anchors)
    }

    /// From behind an entry on that is known.
    pub(super) fn behind(chain: &str, last: Anchor, anchors: Vec<Anchor>) -> Self {
        Self { chain: chain.to_owned(), last: Some(last), anchors, entries: 0, erased: 0 }
    }

    /// From wherever the first entry is.
    pub(super) fn from_anywhere(chain: &str, anchors: Vec<Anchor>) -> Self {
        Self { chain: chain.to_owned(), last: None, anchors, entries: 0, erased: 0 }
    }

    /// The last entry that was found sound.
    pub(super) fn last(&self) -> Option<Anchor> {
        self.last
    }

    /// Takes the next entry.
    pub(super) fn step(&mut self, entry: &Entry<'_>) -> Result<(), Fault> {
        let fault = |kind| Err(Fault::at(entry.sequence, kind));
        if entry.chain != self.chain {
            return fault(FaultKind::OtherChain);
        }
        match self.last {
            Some(last) if entry.sequence > last.sequence.saturating_add(1) => {
                return fault(FaultKind::Missing);
            }
            Some(last) if entry.sequence <= last.sequence => return fault(FaultKind::OutOfOrder),
            Some(last) if *entry.previous_hash != last.hash => return fault(FaultKind::NotLinked),
            None if entry.sequence < 1 => return fault(FaultKind::OutOfOrder),
            None if entry.sequence == 1 && *entry.previous_hash != NO_HASH => {
                return fault(FaultKind::NotLinked);
            }
            None => {
                let before = entry.sequence.saturating_sub(1);
                self.meet(Anchor { sequence: before, hash: *entry.previous_hash })?;
                if let Some(lost) = self.anchors.iter().find(|anchor| anchor.sequence < before) {
                    return Err(Fault::at(lost.sequence, FaultKind::NotCovered));
                }
            }
            Some(_) => {}
        }
        let Entry { chain, sequence, previous_hash, personal_hash, body, .. } = *entry;
        if (Link { chain, sequence, previous_hash, personal_hash, body }).hash() != *entry.hash {
            return fault(FaultKind::Changed);
        }
        match entry.personal {
            None => self.erased = self.erased.saturating_add(1),
            Some((personal, salt)) if chain::personal_hash(salt, personal) != *personal_hash => {
                return fault(FaultKind::PersonalChanged);
            }
            Some(_) => {}
        }
        let here = Anchor { sequence, hash: *entry.hash };
        self.meet(here)?;
        self.last = Some(here);
        self.entries = self.entries.saturating_add(1);
        Ok(())
    }

    /// Compares with what is known of this entry from outside.
    fn meet(&mut self, here: Anchor) -> Result<(), Fault> {
        let differs = |anchor: &Anchor| anchor.sequence == here.sequence && anchor.hash != here.hash;
        if self.anchors.iter().any(differs) {
            return Err(Fault::at(here.sequence, FaultKind::OtherHistory));
        }
        self.anchors.retain(|anchor| anchor.sequence != here.sequence);
        Ok(())
    }

    /// The end: everything that is known from outside must have been met.
    pub(super) fn end(&self) -> Result<(), Fault> {
        let last = self.last.map_or(0, |last| last.sequence);
        match self.anchors.iter().filter(|anchor| anchor.sequence > 0).min_by_key(|anchor| anchor.sequence) {
            Some(anchor) if anchor.sequence > last => Err(Fault::at(anchor.sequence, FaultKind::Truncated)),
            Some(anchor) => Err(Fault::at(anchor.sequence, FaultKind::NotCovered)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
