//! The thread that takes space from the disk ahead of need and gives back what the consumer has.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::error::{AppendError, JournalError};
use super::format::{RecordKind, SegmentHeader};
use super::mapped::MappedSegment;
use super::open_admissions::{Place, Slot};
use super::scan::{Found, Scanner};
use super::segment::{PreparedSegment, Segment};
use super::sequence::Sequence;
use super::shared::Shared;
use super::writer::{Draft, FullCause, Room, Writer};
use crate::error_chain::Chain;

/// How long after the disk was full it is asked again.
const DISK_RETRY: Duration = Duration::from_secs(1);
/// An oldest segment that only open admissions keep is emptied once this many full segments exist: most requests end
/// before that by themselves.
const RELOCATE_AT_SEALED: usize = 2;

/// One step, decided under the mutex, done without it.
enum Work {
    Unmap(Vec<MappedSegment>),
    Delete(Arc<Segment>),
    Relocate(Arc<Segment>),
    Prepare(SegmentHeader),
}

/// Runs until the journal stops.
pub(crate) fn run(shared: &Shared) {
    while let Some(work) = next_work(shared) {
        match work {
            Work::Unmap(maps) => drop(maps),
            Work::Delete(segment) => delete(shared, &segment),
            Work::Relocate(segment) => relocate(shared, &segment),
            Work::Prepare(header) => prepare(shared, &header),
        }
        shared.publish_metrics();
    }
}

fn next_work(shared: &Shared) -> Option<Work> {
    let mut writer = shared.writer.lock();
    loop {
        if writer.stopped.is_some() {
            return None;
        }
        if let Some(work) = choose(shared, &mut writer) {
            return Some(work);
        }
        // While full, appends do not wake this thread: only a release, an end of an admission, or time can help.
        writer.space_sleeps = writer.full.is_none();
        if writer.full == Some(FullCause::Disk) {
            if shared.space_wake.wait_for(&mut writer, DISK_RETRY).timed_out() {
                writer.full = None;
            }
        } else {
            shared.space_wake.wait(&mut writer);
        }
        writer.space_sleeps = false;
        writer.relocation_blocked = false; // what woke this thread may have made room
    }
}

fn choose(shared: &Shared, writer: &mut Writer) -> Option<Work> {
    if !writer.retired.is_empty() {
        return Some(Work::Unmap(std::mem::take(&mut writer.retired)));
    }
    if let Some(oldest) = writer.oldest_released().map(Arc::clone) {
        if oldest.open_admissions() == 0 && may_go(writer, &oldest) {
            return Some(Work::Delete(oldest));
        }
        if oldest.open_admissions() > 0
            && writer.sealed.len() >= RELOCATE_AT_SEALED
            && !writer.relocation_blocked
        {
            return Some(Work::Relocate(oldest));
        }
    }
    if writer.full == Some(FullCause::Disk) || !(writer.wants_segment() || writer.relocation_blocked) {
        return None;
    }
    // One segment more than the limit, where that lets the oldest and all that it holds back go.
    let bytes = shared.config.segment_bytes;
    let over = if writer.relocation_blocked { bytes } else { 0 };
    if writer.disk_bytes() + bytes > shared.config.max_bytes + over {
        full(shared, writer, FullCause::Limit);
        return None;
    }
    let floor = writer.next_sequence();
    Some(Work::Prepare(SegmentHeader {
        journal: writer.journal(),
        number: writer.next_number(),
        bytes,
        floor,
    }))
}

/// Whether all that was written until the segment's last admission ended is on the disk: the finished records of its
/// admissions, and the copies of those that are open, must not be lost by a power cut after it is gone.
fn may_go(writer: &mut Writer, oldest: &Segment) -> bool {
    let needs = match writer.leaving {
        Some((number, needs)) if number == oldest.number => needs,
        _ => writer.next_sequence().previous(),
    };
    writer.leaving = Some((oldest.number, needs));
    writer.synced >= needs
}

fn full(shared: &Shared, writer: &mut Writer, cause: FullCause) {
    if writer.full.replace(cause) != Some(cause) {
        let folder = shared.config.dir.display();
        tracing::warn!(%folder, ?cause, bytes = writer.disk_bytes(), "journal cannot grow and will refuse records soon");
    }
    writer.room_wanted = false;
    shared.room_ready.notify_all();
}

fn prepare(shared: &Shared, header: &SegmentHeader) {
    match PreparedSegment::create(&*shared.disk, &shared.config.dir, header) {
        Ok(prepared) => shared.writer.lock().add_ready(prepared),
        Err(error) => {
            let full_disk = matches!(&error, JournalError::Io { cause, .. } if is_full(cause));
            if !full_disk {
                tracing::error!(
                    error = %Chain(&error),
                    "journal segment cannot be prepared"
                );
            }
            full(shared, &mut shared.writer.lock(), FullCause::Disk);
        }
    }
    shared.room_ready.notify_all();
}

pub(crate) fn is_full(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// Removes the oldest segment.
fn delete(shared: &Shared, oldest: &Arc<Segment>) {
    if let Err(error) = shared.disk.remove(&oldest.path) {
        // It is let go all the same: found at the next start, it is released and removed again.
        let path = oldest.path.display();
        tracing::error!(%path, error = %Chain(&error), "released journal segment cannot be removed");
    }
    let mut writer = shared.writer.lock();
    writer.sealed.pop_front();
    writer.deleted_through = writer.deleted_through.max(oldest.last_event());
    writer.full = None;
}

/// Copies the open admissions of the oldest segment to the end of the journal, so that a request which lasts an hour
/// does not keep an hour of traffic on the disk.
fn relocate(shared: &Shared, oldest: &Arc<Segment>) {
    let open = shared.writer.lock().open.in_segment(oldest);
    for (slot, admission, offset) in open {
        if relocate_one(shared, oldest, slot, admission, offset).is_err() {
            return;
        }
    }
}

fn relocate_one(
    shared: &Shared,
    oldest: &Arc<Segment>,
    slot: Slot,
    admission: Sequence,
    offset: u64,
) -> Result<(), AppendError> {
    let mut scanner = Scanner::at(shared.writer.lock().journal(), offset);
    let record = scanner.next(&oldest.file, oldest.published());
    let mut writer = shared.writer.lock();
    let Some(entry) = writer.open.get(slot, admission) else { return Ok(()) }; // finished in the meantime
    let key = entry.key;
    let Some(Found::Record { payload, .. }) = record.filter(|found| found.is_at(offset)) else {
        writer.open.relocate(slot, None);
        shared.damaged_records.fetch_add(1, Ordering::Relaxed);
        tracing::error!(path = %oldest.path.display(), offset, "record of an open request is damaged on the disk");
        return Ok(());
    };
    let draft = Draft::new(RecordKind::Admitted, key, payload, payload.len())?;
    match writer.append(&draft, Some(admission), Room::Free { new_promises: 0 }) {
        Ok(written) => {
            let segment = Arc::clone(writer.active_segment());
            writer.open.relocate(slot, Some(Place { segment, offset: written.offset }));
            if std::mem::take(&mut writer.sync_sleeps) {
                shared.sync_wake.notify_one();
            }
            Ok(())
        }
        Err(error) => {
            writer.relocation_blocked = true;
            Err(error)
        }
    }
}
