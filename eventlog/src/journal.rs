//! The journal: an append-only log of records in local files that outlives the death of the process.
//!
//! This is its specification; the code follows it.
//!
//! # Promises
//! - When an append returns, its record outlives the process, however that ends: it lies in the kernel's page cache.
//! - Loss window: a power cut takes at most the records of the last [`JournalConfig::sync`] interval (50 ms by default)
//!   and of the one sync that was running. With [`SyncPolicy::Always`], nothing that [`Journal::admission_durable`] or
//!   [`Journal::synced`] has returned for.
//! - An admission that was appended is, after any crash, either finished or handed out as interrupted. Each finished and
//!   event record is read by a tail at least once, in order; twice only after a crash, so consumers keep their position
//!   together with what they store.
//! - A finished record within [`JournalConfig::finished_budget_bytes`] never fails for lack of space.
//! - An append makes no system call, except to wake a thread that said it sleeps: at most once per sync interval and once
//!   per read of each tail. 0.1 us for a 400 byte payload at the median (`docs/decisions/journal.md`).
//!
//! # Folder
//! | File | Content |
//! |---|---|
//! | `journal.id` | the journal's identity, 16 random bytes in hexadecimal |
//! | `journal.lock` | empty; the process that has the journal open holds `flock` on it |
//! | `NNNNNNNNNNNNNNNN.segment` | records; the name is the segment's number in hexadecimal |
//! | `*.unreadable` | a segment in which nothing could be read, kept for inspection; never read again |
//! | `dead-letter.jsonl` | events that the sink refused for good; written by the shipper |
//!
//! # Format, version 1
//! All numbers are little-endian. CRC is CRC32C. A segment begins with 64 bytes, written before it is used and never changed:
//!
//! | Bytes | Field |
//! |---|---|
//! | 0..8 | magic `MWJRNSEG` |
//! | 8..12 | version; magic, version and CRC stay where they are in every version |
//! | 12..16 | CRC of bytes 0..12 and 16..64 |
//! | 16..32 | identity of the journal |
//! | 32..40 | number of the segment: one more than that of the segment before |
//! | 40..48 | size it was allocated with |
//! | 48..56 | floor: no record in it has a smaller sequence |
//! | 56..64 | zero |
//!
//! Records follow without gaps, each at a multiple of 8 bytes; the rest of the segment is zero:
//!
//! | Bytes | Field |
//! |---|---|
//! | 0..4 | magic `MWr1` |
//! | 4..8 | CRC of bytes 8..56, continued from the CRC of the journal's identity |
//! | 8 | kind: 1 admitted, 2 finished, 3 event |
//! | 9..12 | zero |
//! | 12..16 | length of the payload, at most [`MAX_PAYLOAD_BYTES`] |
//! | 16..20 | CRC of the payload |
//! | 20..24 | zero |
//! | 24..32 | sequence |
//! | 32..40 | sequence of the admission, as it was first appended; the record's own where there is none |
//! | 40..56 | key of the request; zero for events |
//! | 56.. | payload, then zeros up to a multiple of 8 |
//!
//! The header has a CRC of its own, so that a damaged payload costs one record whose size is still known. No payload can
//! smuggle in a header that a resync would take for one: headers hold zero bytes, which JSON text never does. The identity
//! in the CRC keeps records of other journals out.
//!
//! Sequences rise by one within a process. Every open adds 2^32 to the highest one found: a power cut may take records that
//! a consumer has already seen, and their numbers must not come again.
//!
//! # Writing
//! One mutex orders all appends. Under it the record is copied into the mapped segment; the eight bytes with magic and CRC
//! are stored last. Segments are allocated in full (`fallocate`), synced with their folder and mapped before they are used,
//! by a thread of its own and ahead of need, so that a full disk shows there and never as SIGBUS in a request.
//!
//! # Syncing
//! A second thread calls `fdatasync` on what was written, for all records of an interval at once, and sleeps while there
//! are none. If it fails the journal stops: appends fail with [`AppendError::Failed`], waiting syncs fail, there is no second
//! try. The kernel reports a write error once and may drop the pages, so that only a restart, which reads what is there,
//! knows the truth.
//!
//! # Space
//! - All files together take at most [`JournalConfig::max_bytes`]; by one segment more while that frees older ones, and
//!   after a restart of a full journal by what its open admissions need.
//! - Every admission reserves the space of one finished record in segments that are already allocated. Admissions and
//!   events get what is left. [`AppendError::Full`] means that there is none and no segment can be added, be it for the
//!   limit or for the disk (asked again every second).
//! - The oldest segment is deleted when the consumer has released all its events, no admission in it is open, and what
//!   finished them is on the disk. Segments go strictly in order, so that no finished record goes before its admission.
//! - Admissions that keep a released segment, when there are two full ones, are copied to the end, and the segment goes.
//!
//! # Recovery
//! 1. Take the lock, or fail: the folder is in use.
//! 2. Read the identity; restore it from a segment header if the file is missing. No segments: a new identity. Segments but
//!    no identity anywhere: fail and change nothing. An intact header of another version: fail and change nothing.
//! 3. Read all segments in the order of the numbers in their headers, whatever their names are. Segments of other journals
//!    and second copies of a number are left alone and counted, as are numbers that are missing.
//! 4. Where no intact record is, look for the next header at every multiple of 8 (magic, CRC, rising sequence). If one
//!    follows, in this or a later segment, the bytes between are damage: counted, logged as an error, passed over. If none
//!    follows anywhere they are a torn tail and cut off.
//! 5. Cut every segment behind its last record, which gives preallocated space back, and sync it.
//! 6. An admission without an intact finished record is open. Its latest copy counts. All are handed out with fresh tickets;
//!    those that are finished then do not come back after the next crash, all others do.
//! 7. Go on in a new segment.

mod admission;
mod config;
mod disk;
mod error;
mod format;
mod identity;
mod inventory;
mod mapped;
mod open_admissions;
mod recovery;
mod scan;
mod segment;
mod sequence;
mod shared;
mod space;
mod stats;
mod sync;
mod tail;
mod writer;

use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;

pub use admission::Admission;
pub use config::{
    DEFAULT_FINISHED_BUDGET_BYTES, DEFAULT_MAX_BYTES, DEFAULT_SEGMENT_BYTES, DEFAULT_SYNC_EVERY,
    JournalConfig, SyncPolicy,
};
pub use error::{AppendError, JournalError};
pub use format::MAX_PAYLOAD_BYTES;
pub use recovery::{Interrupted, Recovery};
pub use scan::{SegmentSummary, inspect_segment};
pub use sequence::Sequence;
pub use stats::JournalStats;
pub use tail::{Events, Gap, ReadLimits, Tail};
pub use writer::FullCause;

use disk::{Disk, OsDisk};
use shared::{Shared, SyncState};
use writer::Stopped;

/// A handle of an open journal; clones share it. Dropping the last one closes the journal.
#[derive(Clone)]
pub struct Journal {
    shared: Arc<Shared>,
    threads: Arc<Threads>,
}

impl Journal {
    /// Opens the journal in a folder, or begins one there, and starts its two threads. Reads every segment: about a
    /// second per GB.
    ///
    /// # Errors
    /// When the folder is in use, of another format, unreadable, or has no room for even a small segment.
    pub fn open(config: JournalConfig) -> Result<(Self, Recovery), JournalError> {
        Self::open_on(config, Arc::new(OsDisk))
    }

    pub(crate) fn open_on(
        config: JournalConfig,
        disk: Arc<dyn Disk>,
    ) -> Result<(Self, Recovery), JournalError> {
        let (shared, recovery) = recovery::open(config, disk)?;
        let threads = Arc::new(Threads { shared: Arc::clone(&shared), running: Mutex::new(Vec::new()) });
        threads.start("journal-sync", sync::run)?;
        threads.start("journal-space", space::run)?;
        shared.publish_metrics();
        Ok((Self { shared, threads }, recovery))
    }

    /// What names this journal to its consumers: random, made with the folder, kept in it.
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// The longest payload that an append takes, in bytes.
    pub fn max_payload_bytes(&self) -> usize {
        self.shared.config.max_payload_bytes()
    }

    /// Records that a request is let in, and reserves room for its finished record. Survives a kill -9 from the return
    /// on; a power cut from [`Self::admission_durable`] on. Makes no system call.
    ///
    /// # Errors
    /// [`AppendError::Full`] when the record or the reservation has no room.
    pub fn append_admitted(&self, key: [u8; 16], payload: &[u8]) -> Result<Admission, AppendError> {
        self.shared.append_admitted(key, payload)
    }

    /// Records how a request ended. Never fails for lack of space while the payload is within
    /// [`JournalConfig::finished_budget_bytes`]. Goes to the journal that the ticket is from.
    ///
    /// # Errors
    /// On any error the admission stays open and the next start hands it out as interrupted.
    pub fn append_finished(&self, mut admission: Admission, payload: &[u8]) -> Result<Sequence, AppendError> {
        admission.journal().append_finished(&mut admission, payload)
    }

    /// Records an event that no admission announced.
    ///
    /// # Errors
    /// [`AppendError::Full`] when it has no room beside what is reserved.
    pub fn append_event(&self, payload: &[u8]) -> Result<Sequence, AppendError> {
        self.shared.append_event(payload)
    }

    /// Records several events, all or none: one for which there is no room keeps the others out. Returns the last one's
    /// sequence; `None` without any. A crash in the middle may leave the first ones.
    ///
    /// # Errors
    /// As for [`Self::append_event`]. [`AppendError::Full`] also when all files together could never hold them.
    pub fn append_events(&self, payloads: &[Vec<u8>]) -> Result<Option<Sequence>, AppendError> {
        self.shared.append_events(payloads)
    }

    /// Returns once everything up to `sequence` is on the disk, which is when the sync policy says.
    ///
    /// # Errors
    /// When a write to disk failed, or the journal was closed before.
    pub async fn synced(&self, sequence: Sequence) -> Result<(), JournalError> {
        let mut state = self.shared.sync_state.subscribe();
        let done = |state: &SyncState| state.synced >= sequence || state.stopped.is_some();
        let Ok(state) = state.wait_for(done).await else { return Err(JournalError::Closed) };
        match &state.stopped {
            _ if state.synced >= sequence => Ok(()),
            Some(Stopped::Failed(cause)) => Err(JournalError::Failed(Arc::clone(cause))),
            Some(Stopped::Closed) | None => Err(JournalError::Closed),
        }
    }

    /// Returns once an admission is as durable as the sync policy promises before anything is forwarded: at once with
    /// [`SyncPolicy::Group`], after the sync with [`SyncPolicy::Always`].
    ///
    /// # Errors
    /// See [`Self::synced`].
    pub async fn admission_durable(&self, sequence: Sequence) -> Result<(), JournalError> {
        match self.shared.config.sync {
            SyncPolicy::Group { .. } => Ok(()),
            SyncPolicy::Always => self.synced(sequence).await,
        }
    }

    /// Forces everything appended so far to disk, now.
    ///
    /// # Errors
    /// See [`Self::synced`].
    pub async fn flush(&self) -> Result<(), JournalError> {
        let newest = {
            let mut writer = self.shared.writer.lock();
            writer.sync_now = true;
            writer.next_sequence().previous()
        };
        self.shared.sync_wake.notify_one();
        self.synced(newest).await
    }

    /// Reads the events after a sequence, from the oldest that is left.
    pub fn tail(&self, after: Sequence) -> Tail {
        Tail::new(Arc::clone(&self.shared), after)
    }

    /// The consumer has every event up to `through` durably. Segments that hold nothing else are deleted soon after.
    pub fn release(&self, through: Sequence) {
        self.shared.release(through);
    }

    /// Figures of this moment.
    pub fn stats(&self) -> JournalStats {
        self.shared.stats()
    }

    /// Refuses further appends, forces everything to disk, stops the threads and gives up the folder.
    ///
    /// # Errors
    /// When not all is on the disk.
    pub async fn close(&self) -> Result<(), JournalError> {
        let threads = Arc::clone(&self.threads);
        let newest = self.shared.writer.lock().next_sequence().previous();
        if tokio::task::spawn_blocking(move || threads.stop()).await.is_err() {
            return Err(JournalError::Closed);
        }
        self.synced(newest).await
    }

    pub(crate) fn label(&self) -> Option<&'static str> {
        self.shared.config.label
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        &self.shared.config.dir
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// The journal's own threads. They are threads because what they do blocks for milliseconds at a time.
struct Threads {
    shared: Arc<Shared>,
    running: Mutex<Vec<JoinHandle<()>>>,
}

impl Threads {
    fn start(&self, name: &str, run: fn(&Shared)) -> Result<(), JournalError> {
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(&shared))
            .map_err(JournalError::io("start a thread for", &self.shared.config.dir))?;
        self.running.lock().push(thread);
        Ok(())
    }

    /// Waits until everything is on the disk and the folder is free for the next process.
    fn stop(&self) {
        {
            let mut writer = self.shared.writer.lock();
            writer.stopped.get_or_insert(Stopped::Closed);
        }
        self.shared.wake_all();
        for thread in self.running.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!(folder = %self.shared.config.dir.display(), "a thread of the journal panicked");
            }
        }
        drop(self.shared.lock.lock().take());
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests;
