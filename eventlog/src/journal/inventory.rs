//! What the segments of a folder hold, found by reading all of them.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, OpenMode, open_file};
use super::error::JournalError;
use super::format::{
    BadSegmentHeader, JournalId, RESTART_STRIDE, RecordHeader, RecordKind, SEGMENT_HEADER_BYTES,
    SegmentHeader, VERSION,
};
use super::identity;
use super::scan::{Found, Scanner};
use super::segment::{Segment, is_segment, number_in_name};
use super::sequence::Sequence;

/// The ending that a segment gets in which nothing could be read, so that somebody can look at it.
const UNREADABLE_SUFFIX: &str = "unreadable";

/// An admission whose finished record was not found.
pub(crate) struct Unfinished {
    pub(crate) key: [u8; 16],
    pub(crate) payload: Vec<u8>,
    /// Index in [`Inventory::segments`].
    pub(crate) segment: usize,
    pub(crate) offset: u64,
}

/// See the module doc.
#[derive(Default)]
pub(crate) struct Inventory {
    /// What stays, oldest first, cut behind the last record.
    pub(crate) segments: VecDeque<Arc<Segment>>,
    pub(crate) unfinished: BTreeMap<Sequence, Unfinished>,
    pub(crate) records: u64,
    pub(crate) damaged_records: u64,
    /// Behind the last record that was found so far.
    pub(crate) torn_tail_bytes: u64,
    pub(crate) missing_segments: u64,
    /// No sequence up to here may be given out again.
    pub(crate) highest: Sequence,
    /// No file with a number up to here may be made.
    pub(crate) highest_number: u64,
    last_number: Option<u64>,
    last_record: Option<Sequence>,
}

/// A segment file that was found.
pub(crate) struct SegmentFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    pub(crate) header: Option<SegmentHeader>,
    number: u64,
}

/// All segments in the order in which they were written. The number in a header counts, and the one in the name only
/// where there is no header, so that renamed files are read in their place.
pub(crate) fn segment_files(folder: &Path) -> Result<Vec<SegmentFile>, JournalError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(JournalError::io("list", folder))? {
        let path = entry.map_err(JournalError::io("list", folder))?.path();
        if is_segment(&path) {
            files.push(segment_file(path)?);
        }
    }
    files.sort_by(|a, b| a.number.cmp(&b.number).then_with(|| a.path.cmp(&b.path)));
    Ok(files)
}

fn segment_file(path: PathBuf) -> Result<SegmentFile, JournalError> {
    let file = open_file(&path, OpenMode::Existing).map_err(JournalError::io("open", &path))?;
    let bytes = file.metadata().map_err(JournalError::io("look at", &path))?.len();
    let mut start = [0; SegmentHeader::LEN];
    let header = match file
        .read_exact_at(&mut start, 0)
        .map_or(Err(BadSegmentHeader::Damaged), |()| SegmentHeader::decode(&start))
    {
        Ok(header) => Some(header),
        Err(BadSegmentHeader::Damaged) => None,
        Err(BadSegmentHeader::Version(found)) => {
            return Err(JournalError::Version { path, found, supported: VERSION });
        }
    };
    let number = header.map(|header| header.number).or_else(|| number_in_name(&path)).unwrap_or(0);
    Ok(SegmentFile { path, file, bytes, header, number })
}

/// Where the records of a segment end and what is behind them.
struct Extent {
    records: u64,
    end: u64,
    torn_bytes: u64,
    last_event: Sequence,
}

impl Inventory {
    /// Reads all segments, cuts them behind their last records, and removes those at the end that hold none.
    pub(crate) fn take(
        disk: &dyn Disk,
        journal: JournalId,
        files: Vec<SegmentFile>,
    ) -> Result<Self, JournalError> {
        let mut inventory = Self::default();
        for file in files {
            inventory.read(disk, journal, file)?;
        }
        inventory.drop_empty_end(disk)?;
        for segment in &inventory.segments {
            inventory.highest_number = inventory.highest_number.max(segment.number);
            inventory.highest_number =
                inventory.highest_number.max(number_in_name(&segment.path).unwrap_or(0));
        }
        Ok(inventory)
    }

    fn read(&mut self, disk: &dyn Disk, journal: JournalId, file: SegmentFile) -> Result<(), JournalError> {
        let path = file.path.display();
        let foreign = file.header.filter(|header| header.journal != journal);
        if foreign.is_some() || self.last_number == Some(file.number) {
            let of = foreign.map(|header| identity::text(header.journal));
            tracing::error!(%path, number = file.number, of, "segment of another journal, or second one of its number, is left alone");
            self.missing_segments += 1;
            self.highest_number = self.highest_number.max(number_in_name(&file.path).unwrap_or(0));
            return Ok(());
        }
        let expected = self.last_number.map_or(file.number, |before| before + 1);
        self.missing_segments += file.number.saturating_sub(expected);
        self.last_number = Some(file.number);
        self.highest = self.highest.max(file.header.map_or(Sequence::ZERO, |header| header.floor));

        let extent = self.read_records(journal, &file);
        self.torn_tail_bytes += extent.torn_bytes;
        if extent.records == 0 && extent.torn_bytes > 0 && file.header.is_none() {
            let aside = file.path.with_extension(UNREADABLE_SUFFIX);
            tracing::error!(path = %aside.display(), "nothing in this segment is readable; it is put aside");
            self.missing_segments += 1;
            return fs::rename(&file.path, &aside).map_err(JournalError::io("rename", &file.path));
        }
        // What lies behind the last record is given back; what was read is on the disk before anybody is told of it.
        file.file.set_len(extent.end).map_err(JournalError::io("cut", &file.path))?;
        disk.sync(&file.file).map_err(JournalError::io("sync", &file.path))?;
        let segment = Segment::recovered(file.number, file.path, file.file, extent.end, extent.last_event);
        self.segments.push_back(Arc::new(segment));
        Ok(())
    }

    fn read_records(&mut self, journal: JournalId, file: &SegmentFile) -> Extent {
        let mut extent =
            Extent { records: 0, end: SEGMENT_HEADER_BYTES, torn_bytes: 0, last_event: Sequence::ZERO };
        let mut scanner = Scanner::new(journal);
        while let Some(item) = scanner.next(&file.file, file.bytes) {
            match item {
                Found::Record { header, offset, payload } => {
                    extent.records += 1;
                    extent.end = offset + header.record_bytes();
                    if header.kind.is_event() {
                        extent.last_event = header.sequence;
                    }
                    self.record(&header, offset, payload);
                }
                Found::Damage { records } => {
                    self.damaged_records = self.damaged_records.saturating_add(records);
                }
                Found::Rest { blank: true, .. } => {}
                Found::Rest { bytes, blank: false } => extent.torn_bytes = bytes,
            }
        }
        extent
    }

    /// A whole record: who was admitted, who has finished.
    fn record(&mut self, header: &RecordHeader, offset: u64, payload: &[u8]) {
        if std::mem::take(&mut self.torn_tail_bytes) > 0 {
            // The end of an earlier segment was not the end of the journal, so what is torn there is lost.
            let gone = self.last_record.map_or(1, |last| header.sequence.since(last.next()));
            self.damaged_records += if gone < RESTART_STRIDE { gone.max(1) } else { 1 };
        }
        self.records += 1;
        self.highest = self.highest.max(header.sequence);
        self.last_record = Some(header.sequence);
        match header.kind {
            RecordKind::Admitted => {
                let segment = self.segments.len(); // it is added when it has been read
                let open = Unfinished { key: header.key, payload: payload.to_vec(), segment, offset };
                self.unfinished.insert(header.admission, open); // a copy takes the place of the first
            }
            RecordKind::Finished => {
                self.unfinished.remove(&header.admission);
            }
            RecordKind::Event => {}
        }
    }

    /// Segments at the end that hold nothing were prepared, or all of them is torn. Between others an empty one stays until
    /// its turn, so that it is not missed at every start.
    fn drop_empty_end(&mut self, disk: &dyn Disk) -> Result<(), JournalError> {
        while let Some(last) = self.segments.pop_back_if(|last| last.published() <= SEGMENT_HEADER_BYTES) {
            disk.remove(&last.path).map_err(JournalError::io("remove", &last.path))?;
        }
        Ok(())
    }
}
