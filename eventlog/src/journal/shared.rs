//! What the handles, the tickets, the tails and the two threads of a journal share.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::{Notify, watch};

use super::admission::Admission;
use super::config::JournalConfig;
use super::disk::Disk;
use super::error::AppendError;
use super::format::RecordKind;
use super::sequence::Sequence;
use super::stats::JournalStats;
use super::writer::{Draft, Room, Stopped, Writer, Written};
use crate::error_chain::Chain;
use crate::metrics::JournalMetrics;

/// How long an append waits for a segment that is being prepared, before it counts as full. Only a burst that takes
/// more promises within milliseconds than a segment holds ever waits.
const PREPARE_WAIT: Duration = Duration::from_millis(200);

/// How far the disk is.
#[derive(Clone, Debug)]
pub(crate) struct SyncState {
    pub(crate) synced: Sequence,
    pub(crate) stopped: Option<Stopped>,
}

pub(crate) struct Shared {
    pub(crate) config: JournalConfig,
    pub(crate) id: String,
    pub(crate) disk: Arc<dyn Disk>,
    max_payload_bytes: usize,
    pub(crate) writer: Mutex<Writer>,
    /// Wakes the sync thread.
    pub(crate) sync_wake: Condvar,
    /// Wakes the space thread.
    pub(crate) space_wake: Condvar,
    /// Wakes appends that wait for room.
    pub(crate) room_ready: Condvar,
    /// Wakes tails.
    pub(crate) events: Notify,
    pub(crate) sync_state: watch::Sender<SyncState>,
    /// Held while the journal is open; see [`super::recovery`].
    pub(crate) lock: Mutex<Option<File>>,
    pub(crate) damaged_records: AtomicU64,
    pub(crate) last_sync_micros: AtomicU64,
    pub(crate) slowest_sync_micros: AtomicU64,
    metrics: JournalMetrics,
}

impl Shared {
    pub(crate) fn new(
        config: JournalConfig,
        id: String,
        disk: Arc<dyn Disk>,
        writer: Writer,
        lock: File,
        damaged_records: u64,
    ) -> Self {
        let synced = writer.next_sequence().previous();
        Self {
            max_payload_bytes: config.max_payload_bytes(),
            id,
            disk,
            writer: Mutex::new(writer),
            sync_wake: Condvar::new(),
            space_wake: Condvar::new(),
            room_ready: Condvar::new(),
            events: Notify::new(),
            sync_state: watch::Sender::new(SyncState { synced, stopped: None }),
            lock: Mutex::new(Some(lock)),
            damaged_records: AtomicU64::new(damaged_records),
            last_sync_micros: AtomicU64::new(0),
            slowest_sync_micros: AtomicU64::new(0),
            metrics: JournalMetrics::new(config.label),
            config,
        }
    }

    pub(crate) fn append_admitted(
        self: &Arc<Self>,
        key: [u8; 16],
        payload: &[u8],
    ) -> Result<Admission, AppendError> {
        let draft = Draft::new(RecordKind::Admitted, key, payload, self.max_payload_bytes)?;
        let mut writer = self.writer.lock();
        let written = self.place(&mut writer, &draft, None, Room::Free { new_promises: 1 })?;
        let slot = writer.open_admission(&written, key);
        self.wake_after_append(writer, RecordKind::Admitted);
        Ok(Admission::new(Arc::clone(self), slot, written.sequence, key))
    }

    /// Leaves the admission open where it fails.
    pub(crate) fn append_finished(
        &self,
        admission: &mut Admission,
        payload: &[u8],
    ) -> Result<Sequence, AppendError> {
        let draft = Draft::new(RecordKind::Finished, *admission.key(), payload, self.max_payload_bytes)?;
        let mut writer = self.writer.lock();
        let written = self.place(&mut writer, &draft, Some(admission.sequence()), Room::Promised)?;
        writer.open.close(admission.settled());
        let frees_oldest = writer.oldest_released().is_some_and(|oldest| oldest.open_admissions() == 0);
        self.wake_after_append(writer, RecordKind::Finished);
        if frees_oldest {
            self.space_wake.notify_one();
        }
        Ok(written.sequence)
    }

    pub(crate) fn append_event(&self, payload: &[u8]) -> Result<Sequence, AppendError> {
        let draft = Draft::new(RecordKind::Event, [0; 16], payload, self.max_payload_bytes)?;
        let mut writer = self.writer.lock();
        let written = self.place(&mut writer, &draft, None, Room::Free { new_promises: 0 })?;
        self.wake_after_append(writer, RecordKind::Event);
        Ok(written.sequence)
    }

    /// Appends all of them or none. The last one's sequence; `None` when there are none.
    pub(crate) fn append_events(&self, payloads: &[Vec<u8>]) -> Result<Option<Sequence>, AppendError> {
        let mut drafts = Vec::with_capacity(payloads.len());
        for payload in payloads {
            drafts.push(Draft::new(RecordKind::Event, [0; 16], payload, self.max_payload_bytes)?);
        }
        let mut writer = self.writer.lock();
        while !writer.has_room_for(&drafts)? {
            self.await_room(&mut writer, drafts.len())?;
        }
        let mut last = None;
        for draft in &drafts {
            last = Some(writer.append(draft, None, Room::Free { new_promises: 0 })?.sequence);
        }
        self.wake_after_append(writer, RecordKind::Event);
        Ok(last)
    }

    /// Appends, waiting for a segment that is about to be ready. Where none can be had, it is full at once.
    fn place(
        &self,
        writer: &mut MutexGuard<'_, Writer>,
        draft: &Draft<'_>,
        admission: Option<Sequence>,
        room: Room,
    ) -> Result<Written, AppendError> {
        loop {
            match writer.append(draft, admission, room) {
                Err(AppendError::Full) => self.await_room(writer, 1)?,
                done => return done,
            }
        }
    }

    /// Waits for a segment that is about to be ready. Where none can be had, these many records are refused at once.
    fn await_room(&self, writer: &mut MutexGuard<'_, Writer>, records: usize) -> Result<(), AppendError> {
        if writer.full.is_none() {
            writer.room_wanted = true;
            self.space_wake.notify_one();
            if !self.room_ready.wait_for(writer, PREPARE_WAIT).timed_out() || !writer.room_wanted {
                return Ok(());
            }
        }
        writer.refused_full += u64::try_from(records).unwrap_or(u64::MAX);
        Err(AppendError::Full)
    }

    /// Wakes those who said, under the mutex, that they sleep: no append wakes anybody twice.
    fn wake_after_append(&self, mut writer: MutexGuard<'_, Writer>, kind: RecordKind) {
        let sync = std::mem::take(&mut writer.sync_sleeps);
        let tail = kind.is_event() && std::mem::take(&mut writer.tail_waits);
        let space = writer.space_sleeps && (!writer.retired.is_empty() || writer.wants_segment());
        if space {
            writer.space_sleeps = false;
        }
        drop(writer);
        if sync {
            self.sync_wake.notify_one();
        }
        if space {
            self.space_wake.notify_one();
        }
        if tail {
            self.events.notify_waiters();
        }
    }

    pub(crate) fn release(&self, through: Sequence) {
        let mut writer = self.writer.lock();
        if through > writer.released {
            writer.released = through;
        }
        if writer.oldest_released().is_some() {
            drop(writer);
            self.space_wake.notify_one();
        }
    }

    /// These bytes of the journal are on the disk.
    pub(crate) fn synced(&self, through: Sequence, took: Duration) {
        let mut writer = self.writer.lock();
        writer.synced = through;
        let segment_waits = writer.leaving.is_some();
        drop(writer);
        self.sync_state.send_modify(|state| state.synced = through);
        if segment_waits {
            self.space_wake.notify_one();
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.last_sync_micros.store(micros, Ordering::Relaxed);
        self.slowest_sync_micros.fetch_max(micros, Ordering::Relaxed);
        self.metrics.synced(took);
    }

    /// Refuses everything from now on.
    pub(crate) fn fail(&self, cause: io::Error) {
        tracing::error!(
            folder = %self.config.dir.display(),
            error = %Chain(&cause),
            "journal cannot write to its disk and takes no records until a restart"
        );
        let stopped = Stopped::Failed(Arc::new(cause));
        self.writer.lock().stopped = Some(stopped.clone());
        self.sync_state.send_modify(|state| state.stopped = Some(stopped));
        self.wake_all();
    }

    /// Everybody looks again at what is to do.
    pub(crate) fn wake_all(&self) {
        self.sync_wake.notify_all();
        self.space_wake.notify_all();
        self.room_ready.notify_all();
        self.events.notify_waiters();
    }

    pub(crate) fn stats(&self) -> JournalStats {
        let writer = self.writer.lock();
        JournalStats {
            disk_bytes: writer.disk_bytes(),
            segments: writer.segment_count(),
            next_sequence: writer.next_sequence(),
            synced: writer.synced,
            released: writer.released,
            open_admissions: writer.open.with_ticket(),
            dropped_admissions: writer.open.abandoned(),
            appended_records: writer.appended_records,
            appended_bytes: writer.appended_bytes,
            refused_full: writer.refused_full,
            damaged_records: self.damaged_records.load(Ordering::Relaxed),
            full: writer.full,
            failed: matches!(writer.stopped, Some(Stopped::Failed(_))),
            last_sync: Duration::from_micros(self.last_sync_micros.load(Ordering::Relaxed)),
            slowest_sync: Duration::from_micros(self.slowest_sync_micros.load(Ordering::Relaxed)),
        }
    }

    pub(crate) fn publish_metrics(&self) {
        self.metrics.publish(&self.stats());
    }
}
