//! Figures of a journal at one moment.

use std::time::Duration;

use super::sequence::Sequence;
use super::writer::FullCause;

/// See [`crate::Journal::stats`]. Counters are since the journal was opened.
#[derive(Clone, Debug)]
pub struct JournalStats {
    /// What all files take of the disk, in bytes.
    pub disk_bytes: u64,
    /// How many files there are.
    pub segments: usize,
    /// What the next record will get.
    pub next_sequence: Sequence,
    /// Everything up to here is on the disk.
    pub synced: Sequence,
    /// Everything up to here is with the consumer.
    pub released: Sequence,
    /// Requests that are admitted and not finished, as far as somebody still holds their ticket.
    pub open_admissions: u64,
    /// Tickets that were dropped without a finished record.
    pub dropped_admissions: u64,
    /// Records written.
    pub appended_records: u64,
    /// Their size with headers, in bytes.
    pub appended_bytes: u64,
    /// Appends that found no room.
    pub refused_full: u64,
    /// Records that could not be read back, as far as can be told.
    pub damaged_records: u64,
    /// Why no further segment can be had, if so. Appends still work while what is prepared lasts.
    pub full: Option<FullCause>,
    /// Whether a write to disk failed, after which nothing is taken any more.
    pub failed: bool,
    /// Time that the last sync took.
    pub last_sync: Duration,
    /// The longest time that a sync took.
    pub slowest_sync: Duration,
}
