//! One file of the journal.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::disk::{Disk, OpenMode, open_file};
use super::error::JournalError;
use super::format::{SEGMENT_HEADER_BYTES, SegmentHeader};
use super::mapped::MappedSegment;
use super::sequence::Sequence;
use crate::error_chain::Chain;

/// Ending of every segment's file name.
const SUFFIX: &str = ".segment";

/// A segment as everybody sees it. Only the holder of the writer's mutex stores into it.
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    /// What it takes of the disk.
    pub(crate) bytes: u64,
    /// End of the last whole record. Stored with release, loaded with acquire: what lies below never changes again.
    published: AtomicU64,
    /// The last event in it, zero if there is none.
    last_event: AtomicU64,
    /// Admissions whose record is here and whose finished record is not written.
    open: AtomicU64,
}

impl Segment {
    pub(crate) fn recovered(number: u64, path: PathBuf, file: File, end: u64, last_event: Sequence) -> Self {
        Self {
            number,
            path,
            file,
            bytes: end,
            published: AtomicU64::new(end),
            last_event: AtomicU64::new(last_event.get()),
            open: AtomicU64::new(0),
        }
    }

    /// Where a reader has to stop.
    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    pub(crate) fn publish(&self, end: u64) {
        self.published.store(end, Ordering::Release);
    }

    pub(crate) fn last_event(&self) -> Sequence {
        Sequence::new(self.last_event.load(Ordering::Relaxed)) // written and read under the writer's mutex
    }

    pub(crate) fn set_last_event(&self, sequence: Sequence) {
        self.last_event.store(sequence.get(), Ordering::Relaxed);
    }

    pub(crate) fn open_admissions(&self) -> u64 {
        self.open.load(Ordering::Relaxed) // written and read under the writer's mutex
    }

    pub(crate) fn admission_opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn admission_closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A segment that exists on disk in full size and is mapped, ready to be written.
pub(crate) struct PreparedSegment {
    pub(crate) segment: Segment,
    pub(crate) map: MappedSegment,
}

impl PreparedSegment {
    /// Makes a segment: all of its blocks taken, its header and its name on the disk before anything relies on it.
    /// Leaves nothing behind when it fails.
    pub(crate) fn create(
        disk: &dyn Disk,
        folder: &Path,
        header: &SegmentHeader,
    ) -> Result<Self, JournalError> {
        let path = folder.join(file_name(header.number));
        let file = open_file(&path, OpenMode::CreateNew).map_err(JournalError::io("create", &path))?;
        let made = Self::fill(disk, folder, path.clone(), file, header);
        if made.is_err()
            && let Err(cause) = disk.remove(&path)
        {
            tracing::warn!(path = %path.display(), error = %Chain(&cause), "unused segment stays");
        }
        made
    }

    fn fill(
        disk: &dyn Disk,
        folder: &Path,
        path: PathBuf,
        file: File,
        header: &SegmentHeader,
    ) -> Result<Self, JournalError> {
        disk.allocate(&file, header.bytes).map_err(JournalError::io("allocate", &path))?;
        file.write_all_at(&header.encode(), 0).map_err(JournalError::io("write the header of", &path))?;
        disk.sync(&file).map_err(JournalError::io("sync", &path))?;
        disk.sync_folder(folder).map_err(JournalError::io("sync", folder))?;
        let map = MappedSegment::new(&file, header.bytes).map_err(JournalError::io("map", &path))?;
        let mut segment = Segment::recovered(header.number, path, file, SEGMENT_HEADER_BYTES, Sequence::ZERO);
        segment.bytes = header.bytes;
        Ok(Self { segment, map })
    }
}

/// The name that a segment is created with: sorts by number.
pub(crate) fn file_name(number: u64) -> String {
    format!("{number:016x}{SUFFIX}")
}

/// Whether a file of this name is a segment.
pub(crate) fn is_segment(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with(SUFFIX))
}

/// The number in a segment's name, for when its header cannot be read.
pub(crate) fn number_in_name(path: &Path) -> Option<u64> {
    let stem = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
    u64::from_str_radix(stem, 16).ok()
}
