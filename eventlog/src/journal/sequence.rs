//! The position of a record in the journal.

use std::fmt;

/// Numbers the records of one journal. Rises with every record and across restarts; every restart leaves a gap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sequence(u64);

impl Sequence {
    /// Before every record: a consumer that has nothing yet.
    pub const ZERO: Self = Self(0);

    /// The sequence with this number, for example one that a consumer stored.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number, to be stored.
    pub const fn get(self) -> u64 {
        self.0
    }

    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    pub(crate) const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// How many sequence numbers lie from `earlier` to this one.
    pub(crate) const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
