//! Opens a folder: takes its lock, reads what earlier processes left, and begins a new segment behind it.
//!
//! The rules are in the specification in [`super`]; the functions follow their order.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::FlockOperation;

use super::admission::Admission;
use super::config::JournalConfig;
use super::disk::{Disk, OpenMode, open_file};
use super::error::JournalError;
use super::format::{JournalId, RESTART_STRIDE, SEGMENT_HEADER_BYTES, SegmentHeader, record_bytes};
use super::identity;
use super::inventory::{self, Inventory};
use super::open_admissions::Place;
use super::segment::PreparedSegment;
use super::sequence::Sequence;
use super::shared::Shared;
use super::space::is_full;
use super::writer::{Writer, WriterStart};

/// Keeps a second process out.
const LOCK_FILE: &str = "journal.lock";
/// The folder is its owner's business only.
const FOLDER_MODE: u32 = 0o700;
/// The least that a first segment holds when the limit or the disk leaves no room for a whole one.
const RESCUE_BYTES: u64 = 64 << 10;

/// What opening a journal found.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Requests that were admitted and never finished, oldest first. Each comes with a ticket: append its finished
    /// record, and the next start does not find it again.
    pub interrupted: Vec<Interrupted>,
    /// Records that are lost to damage in the middle of a segment, as far as can be told. Anything but zero is an alarm:
    /// a power cut does not do this to records that were synced.
    pub damaged_records: u64,
    /// Bytes cut off behind the last whole records: what was being written when the machine died.
    pub torn_tail_bytes: u64,
    /// Segments that are missing between those that are there, or belong to another journal, or hold nothing readable.
    pub missing_segments: u64,
    /// Records read back.
    pub records: u64,
    /// Segments that hold them.
    pub segments: u64,
}

/// A request that was open when the process died.
pub struct Interrupted {
    /// The key it was admitted with.
    pub key: [u8; 16],
    /// The payload of its admitted record.
    pub payload: Vec<u8>,
    /// The right to finish it now.
    pub admission: Admission,
}

impl fmt::Debug for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let payload_bytes = self.payload.len(); // the content belongs into no log
        f.debug_struct("Interrupted")
            .field("payload_bytes", &payload_bytes)
            .field("admission", &self.admission)
            .finish_non_exhaustive()
    }
}

pub(crate) fn open(
    config: JournalConfig,
    disk: Arc<dyn Disk>,
) -> Result<(Arc<Shared>, Recovery), JournalError> {
    let config = config.validated()?;
    let folder = config.dir.as_path();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(folder)
        .map_err(JournalError::io("create", folder))?;
    let lock = lock(folder)?;
    let files = inventory::segment_files(folder)?;
    let journal =
        identity::establish(&*disk, folder, files.iter().filter_map(|file| file.header), files.len())?;

    let mut found = Inventory::take(&*disk, journal, files)?;
    disk.sync_folder(folder).map_err(JournalError::io("sync", folder))?;
    let mut recovery = Recovery {
        interrupted: Vec::new(),
        damaged_records: found.damaged_records,
        torn_tail_bytes: found.torn_tail_bytes,
        missing_segments: found.missing_segments,
        records: found.records,
        segments: u64::try_from(found.segments.len()).unwrap_or(u64::MAX),
    };
    report(folder, &recovery);

    let first = Sequence::new(found.highest.get().saturating_add(RESTART_STRIDE));
    let active = first_segment(&config, &*disk, journal, &found, first)?;
    let mut writer = Writer::new(WriterStart {
        journal,
        active,
        sealed: found.segments.clone(),
        next_sequence: first,
        finished_budget_bytes: config.finished_budget_bytes,
        segment_bytes: config.segment_bytes,
    });
    let unfinished: Vec<_> = std::mem::take(&mut found.unfinished)
        .into_iter()
        .filter_map(|(sequence, open)| {
            let segment = Arc::clone(found.segments.get(open.segment)?);
            let slot = writer.open.open(sequence, open.key, Place { segment, offset: open.offset });
            Some((slot, sequence, open.key, open.payload))
        })
        .collect();
    let shared =
        Arc::new(Shared::new(config, identity::text(journal), disk, writer, lock, recovery.damaged_records));
    recovery.interrupted = unfinished
        .into_iter()
        .map(|(slot, sequence, key, payload)| {
            let admission = Admission::new(Arc::clone(&shared), slot, sequence, key);
            Interrupted { key, payload, admission }
        })
        .collect();
    Ok((shared, recovery))
}

fn lock(folder: &Path) -> Result<File, JournalError> {
    let path = folder.join(LOCK_FILE);
    let file = open_file(&path, OpenMode::CreateIfMissing).map_err(JournalError::io("open", &path))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(JournalError::Locked { folder: folder.to_owned() }),
        Err(errno) => Err(JournalError::io("lock", path)(errno.into())),
    }
}

fn report(folder: &Path, recovery: &Recovery) {
    let folder = folder.display();
    if recovery.damaged_records > 0 || recovery.missing_segments > 0 {
        tracing::error!(
            %folder,
            damaged_records = recovery.damaged_records,
            missing_segments = recovery.missing_segments,
            "journal has lost records; what follows them was kept"
        );
    }
    if recovery.torn_tail_bytes > 0 {
        tracing::warn!(%folder, bytes = recovery.torn_tail_bytes, "journal ended in the middle of a record, which was cut");
    }
}

/// The segment that this process begins with: a whole one, or in a full journal just enough to finish what is open.
fn first_segment(
    config: &JournalConfig,
    disk: &dyn Disk,
    journal: JournalId,
    found: &Inventory,
    floor: Sequence,
) -> Result<PreparedSegment, JournalError> {
    let used: u64 = found.segments.iter().map(|segment| segment.bytes).sum();
    let open = u64::try_from(found.unfinished.len()).unwrap_or(u64::MAX);
    let promised = usize::try_from(config.finished_budget_bytes).map_or(u64::MAX, record_bytes);
    let promises = SEGMENT_HEADER_BYTES.saturating_add(open.saturating_mul(promised));
    let least = promises.max(RESCUE_BYTES.min(config.segment_bytes));
    let allowed = config.max_bytes.saturating_sub(used).min(config.segment_bytes) & !7;
    let header = |bytes| SegmentHeader { journal, number: found.highest_number + 1, bytes, floor };
    match PreparedSegment::create(disk, &config.dir, &header(least.max(allowed))) {
        Err(JournalError::Io { cause, .. }) if is_full(&cause) && least < allowed => {
            PreparedSegment::create(disk, &config.dir, &header(least))
        }
        made => made,
    }
}
