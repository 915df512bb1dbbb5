//! An append-only log of records in local files. (Specification below.)

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
