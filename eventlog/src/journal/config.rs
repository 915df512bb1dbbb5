//! Settings of a journal and their bounds.

use std::path::PathBuf;
use std::time::Duration;

use super::error::JournalError;
use super::format::{MAX_PAYLOAD_BYTES, SEGMENT_HEADER_BYTES, record_bytes};

/// Default size of a segment: seconds of traffic at full load, and quick to allocate.
pub const DEFAULT_SEGMENT_BYTES: u64 = 64 << 20;
/// Default size of the whole journal: about two million requests while the ledger is away.
pub const DEFAULT_MAX_BYTES: u64 = 4 << 30;
/// Default time between two syncs: what a power cut may take.
pub const DEFAULT_SYNC_EVERY: Duration = Duration::from_millis(50);
/// Default room reserved for the finished record of an admission: a usage event is 1 to 3 KB.
pub const DEFAULT_FINISHED_BUDGET_BYTES: u64 = 8 << 10;

/// Below this, headers and rounding eat the segment.
const MIN_SEGMENT_BYTES: u64 = 4 << 10;
/// Above this, deleting one takes too long to free space in small steps.
const MAX_SEGMENT_BYTES: u64 = 1 << 30;
/// Keeps the number of records below the stride between restarts, see [`super::format::RESTART_STRIDE`].
const MAX_TOTAL_BYTES: u64 = 1 << 38;
/// The one being written and the one prepared.
const MIN_SEGMENTS: u64 = 2;

/// When appended records are forced to disk. All survive the death of the process either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// At most this long after the append: a power cut takes at most this much, plus the time of one sync.
    Group {
        /// The longest that a record waits.
        every: Duration,
    },
    /// As soon as the disk is free: [`crate::Journal::admission_durable`] waits for it, so that a power cut takes nothing promised.
    Always,
}

/// Where a journal lives and how much it may take.
#[derive(Clone, Debug)]
pub struct JournalConfig {
    /// The journal's own folder. Made if missing, readable by its owner only.
    pub dir: PathBuf,
    /// Size of one file, in bytes.
    pub segment_bytes: u64,
    /// The most disk that all files together take, in bytes.
    pub max_bytes: u64,
    /// When records are forced to disk.
    pub sync: SyncPolicy,
    /// Room that every admission reserves for the payload of its finished record, in bytes. A finished record up to
    /// this size never fails for lack of space; a longer one is written where there is room.
    pub finished_budget_bytes: u64,
    /// What tells its metrics from those of another journal of the same process, in the label `journal`. One journal of a
    /// process may do without.
    pub label: Option<&'static str>,
}

impl JournalConfig {
    /// The defaults, in this folder.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: DEFAULT_SEGMENT_BYTES,
            max_bytes: DEFAULT_MAX_BYTES,
            sync: SyncPolicy::Group { every: DEFAULT_SYNC_EVERY },
            finished_budget_bytes: DEFAULT_FINISHED_BUDGET_BYTES,
            label: None,
        }
    }

    pub(crate) fn validated(mut self) -> Result<Self, JournalError> {
        let refuse = |setting, value, rule| Err(JournalError::Config { setting, value, rule });
        if !(MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES).contains(&self.segment_bytes) {
            let rule = format!("from {MIN_SEGMENT_BYTES} to {MAX_SEGMENT_BYTES}");
            return refuse("segment_bytes", self.segment_bytes, rule);
        }
        self.segment_bytes &= !7; // records begin at multiples of eight
        let least = MIN_SEGMENTS * self.segment_bytes;
        if !(least..=MAX_TOTAL_BYTES).contains(&self.max_bytes) {
            return refuse(
                "max_bytes",
                self.max_bytes,
                format!("from {least} (two segments) to {MAX_TOTAL_BYTES}"),
            );
        }
        let longest = u64::try_from(self.max_payload_bytes()).unwrap_or(u64::MAX);
        if self.finished_budget_bytes > longest {
            return refuse("finished_budget_bytes", self.finished_budget_bytes, format!("at most {longest}"));
        }
        Ok(self)
    }

    /// The longest payload of a record: the format's limit, or what a small segment can hold.
    pub(crate) fn max_payload_bytes(&self) -> usize {
        let room = self.segment_bytes.saturating_sub(SEGMENT_HEADER_BYTES + record_bytes(0));
        usize::try_from(room).map_or(MAX_PAYLOAD_BYTES, |room| room.min(MAX_PAYLOAD_BYTES))
    }
}
