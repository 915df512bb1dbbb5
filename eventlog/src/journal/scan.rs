//! Reads the records of a segment in order, past damage.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::format::{
    ALIGNMENT, JournalId, RECORD_HEADER_LEN, RecordHeader, SEGMENT_HEADER_BYTES, begins_record, record_bytes,
};
use super::sequence::Sequence;
use crate::error_chain::Chain;

/// How much is read at once: enough that system calls do not matter, little enough to hold per reader.
const WINDOW_BYTES: u64 = 256 << 10;
/// Around an unreadable place, what is given up at once: a disk's unit.
const UNREADABLE_BLOCK: usize = 4 << 10;

/// Bytes that can be read at any place: a segment's file, or bytes in memory.
pub(crate) trait ReadAt {
    /// Like `pread`: may return less than asked for; nothing means the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|start| self.get(start..)).unwrap_or(&[]);
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }
}

/// What lies at one place of a segment.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// A whole record.
    Record { header: RecordHeader, offset: u64, payload: &'a [u8] },
    /// Bytes that are no record, followed by one or, where the header was intact, exactly one record's size.
    Damage { records: u64 },
    /// No record follows. `bytes` are up to the end; `blank` says that they are all zero, as they were allocated.
    Rest { bytes: u64, blank: bool },
}

impl Found<'_> {
    /// Whether this is the record that begins at `place`.
    pub(crate) fn is_at(&self, place: u64) -> bool {
        matches!(self, Self::Record { offset, .. } if *offset == place)
    }
}

/// A position in a segment.
#[derive(Debug)]
pub(crate) struct Scanner {
    seed: u32,
    offset: u64,
    /// The sequence of the record before `offset`, if one was read.
    last: Option<Sequence>,
    window: Vec<u8>,
    window_start: u64,
}

impl Scanner {
    /// At the first record of a segment.
    pub(crate) fn new(journal: JournalId) -> Self {
        Self {
            seed: journal.seed(),
            offset: SEGMENT_HEADER_BYTES,
            last: None,
            window: Vec::new(),
            window_start: SEGMENT_HEADER_BYTES,
        }
    }

    /// At a place where a record is known to begin.
    pub(crate) fn at(journal: JournalId, offset: u64) -> Self {
        Self { offset, ..Self::new(journal) }
    }

    /// Where the next record is looked for.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// What comes next below `end`; nothing at the end itself.
    pub(crate) fn next(&mut self, source: &(impl ReadAt + ?Sized), end: u64) -> Option<Found<'_>> {
        if self.offset >= end {
            return None;
        }
        let offset = self.offset;
        let Some(header) = self.header_at(source, offset, end) else { return Some(self.resync(source, end)) };
        let before = self.last.replace(header.sequence);
        self.offset = offset + header.record_bytes();
        let payload_at = offset + record_bytes(0);
        self.fill(source, payload_at, u64::from(header.payload_len), end);
        let payload_len = usize::try_from(header.payload_len).unwrap_or(usize::MAX);
        if header.fits_payload(self.bytes_at(payload_at, payload_len)) {
            return Some(Found::Record { header, offset, payload: self.bytes_at(payload_at, payload_len) });
        }
        // The header is whole, so this is one record and the next one's place is known. In a torn tail it is the last
        // one and counts as unwritten.
        if self.find(source, self.offset, end).is_none() {
            self.last = before;
            self.offset = offset;
            return Some(self.rest(source, end));
        }
        Some(Found::Damage { records: 1 })
    }

    /// Looks for the next record after a place where there is none.
    fn resync(&mut self, source: &(impl ReadAt + ?Sized), end: u64) -> Found<'_> {
        let Some((offset, header)) = self.find(source, self.offset + ALIGNMENT, end) else {
            return self.rest(source, end);
        };
        self.offset = offset;
        // The numbers between tell how many are gone; without a number before, it was at least one.
        let gone = self.last.map_or(1, |last| header.sequence.since(last.next()));
        Found::Damage { records: gone.max(1) }
    }

    fn rest(&mut self, source: &(impl ReadAt + ?Sized), end: u64) -> Found<'_> {
        let start = self.offset;
        let mut blank = true;
        while self.offset < end {
            self.fill(source, self.offset, 1, end);
            let part = self.bytes_at(self.offset, usize::MAX);
            blank &= part.iter().all(|byte| *byte == 0);
            self.offset += u64::try_from(part.len()).unwrap_or(u64::MAX).max(1);
        }
        self.offset = end;
        Found::Rest { bytes: end - start, blank }
    }

    /// The first place from `from` on where a record's header is.
    fn find(&mut self, source: &(impl ReadAt + ?Sized), from: u64, end: u64) -> Option<(u64, RecordHeader)> {
        let mut offset = from;
        while offset + record_bytes(0) <= end {
            self.fill(source, offset, record_bytes(0), end);
            let step = usize::try_from(ALIGNMENT).unwrap_or(usize::MAX);
            let near = self.bytes_at(offset, usize::MAX);
            let places = near.len().saturating_sub(RECORD_HEADER_LEN) / step + 1;
            let candidate = near.chunks(step).take(places).position(begins_record);
            let Some(steps) = candidate else {
                offset += ALIGNMENT * u64::try_from(places).unwrap_or(u64::MAX);
                continue;
            };
            offset += ALIGNMENT * u64::try_from(steps).unwrap_or(u64::MAX);
            if let Some(header) = self.header_at(source, offset, end) {
                return Some((offset, header));
            }
            offset += ALIGNMENT;
        }
        None
    }

    /// The record header at this place, if there is one and its record ends before `end`.
    fn header_at(&mut self, source: &(impl ReadAt + ?Sized), offset: u64, end: u64) -> Option<RecordHeader> {
        self.fill(source, offset, record_bytes(0), end);
        let header =
            RecordHeader::decode(self.bytes_at(offset, RECORD_HEADER_LEN).first_chunk()?, self.seed)?;
        let rises = self.last.is_none_or(|last| header.sequence > last);
        // Padding that is cut off is no loss.
        let ends_inside = offset + record_bytes(0) + u64::from(header.payload_len) <= end;
        (rises && ends_inside).then_some(header)
    }

    /// At most `len` bytes of the window from `offset` on.
    fn bytes_at(&self, offset: u64, len: usize) -> &[u8] {
        let start = usize::try_from(offset.saturating_sub(self.window_start)).unwrap_or(usize::MAX);
        let rest = self.window.get(start..).unwrap_or(&[]);
        rest.get(..len).unwrap_or(rest)
    }

    /// Makes sure that `len` bytes from `offset` on are in the window, as far as `end` allows.
    fn fill(&mut self, source: &(impl ReadAt + ?Sized), offset: u64, len: u64, end: u64) {
        let wanted_end = offset.saturating_add(len).min(end);
        let window_end = self.window_start + u64::try_from(self.window.len()).unwrap_or(u64::MAX);
        if offset >= self.window_start && wanted_end <= window_end {
            return;
        }
        let bytes = len.max(WINDOW_BYTES).min(end.saturating_sub(offset));
        self.window.clear();
        self.window.resize(usize::try_from(bytes).unwrap_or(0), 0);
        self.window_start = offset;
        read_past_faults(source, &mut self.window, offset);
    }
}

/// Fills the buffer. What the disk cannot read stays zero, which no checksum takes for a record: the rest of the segment
/// is worth more than an error.
fn read_past_faults(source: &(impl ReadAt + ?Sized), buffer: &mut [u8], offset: u64) {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let at = offset + u64::try_from(done).unwrap_or(u64::MAX);
        match source.read_at(rest, at) {
            Ok(0) => return,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::error!(
                    offset = at,
                    error = %Chain(&error),
                    "journal segment is unreadable here"
                );
                done += UNREADABLE_BLOCK;
            }
        }
    }
}

/// What a run over a segment's bytes found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentSummary {
    /// Whole records.
    pub records: u64,
    /// Records that are damaged, as far as can be told.
    pub damaged_records: u64,
    /// Bytes after the last record that are not blank.
    pub torn_bytes: u64,
}

/// Reads a segment's bytes as recovery does, for tools and fuzzing: any bytes are fine, nothing panics.
pub fn inspect_segment(journal_id: [u8; 16], bytes: &[u8]) -> SegmentSummary {
    let mut scanner = Scanner::new(JournalId(journal_id));
    let mut summary = SegmentSummary::default();
    let end = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    while let Some(found) = scanner.next(bytes, end) {
        match found {
            Found::Record { .. } => summary.records += 1,
            Found::Damage { records } => {
                summary.damaged_records = summary.damaged_records.saturating_add(records);
            }
            Found::Rest { bytes, blank } => summary.torn_bytes += if blank { 0 } else { bytes },
        }
    }
    summary
}
