//! What the journal's mutex guards: the segment being written and the room that is promised.
//!
//! Nothing here makes a system call, apart from waking a thread that said that it sleeps.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::error::AppendError;
use super::format::{JournalId, RecordHeader, RecordKind, SEGMENT_HEADER_BYTES, record_bytes};
use super::mapped::MappedSegment;
use super::open_admissions::{OpenAdmissions, Place, Slot};
use super::segment::{PreparedSegment, Segment};
use super::sequence::Sequence;

/// A record before it has a place. Made outside the mutex, so that the payload's checksum costs nobody else.
pub(crate) struct Draft<'a> {
    pub(crate) kind: RecordKind,
    pub(crate) key: [u8; 16],
    pub(crate) payload: &'a [u8],
    payload_len: u32,
    payload_crc: u32,
    bytes: u64,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(
        kind: RecordKind,
        key: [u8; 16],
        payload: &'a [u8],
        limit: usize,
    ) -> Result<Self, AppendError> {
        let too_large = || AppendError::TooLarge { bytes: payload.len(), limit };
        let payload_len = u32::try_from(payload.len()).map_err(|_| too_large())?;
        if payload.len() > limit {
            return Err(too_large());
        }
        let payload_crc = crc32c::crc32c(payload);
        Ok(Self { kind, key, payload, payload_len, payload_crc, bytes: record_bytes(payload.len()) })
    }
}

/// Which room a record may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// What is left after all promises, and after this many new ones.
    Free { new_promises: u64 },
    /// That of its own admission, and free room if it is longer.
    Promised,
}

/// Why no segment can be prepared at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FullCause {
    /// The journal's own limit.
    Limit,
    /// The disk refused.
    Disk,
}

/// Why appends are refused for good.
#[derive(Clone, Debug)]
pub(crate) enum Stopped {
    Failed(Arc<io::Error>),
    Closed,
}

impl Stopped {
    pub(crate) fn append_error(&self) -> AppendError {
        match self {
            Self::Failed(cause) => AppendError::Failed(Arc::clone(cause)),
            Self::Closed => AppendError::Closed,
        }
    }
}

/// The segment that records go to.
struct Active {
    segment: Arc<Segment>,
    map: MappedSegment,
    /// Where the next record goes.
    position: u64,
}

impl Active {
    fn new(prepared: PreparedSegment) -> Self {
        Self { segment: Arc::new(prepared.segment), map: prepared.map, position: SEGMENT_HEADER_BYTES }
    }

    fn left(&self) -> u64 {
        self.segment.bytes.saturating_sub(self.position)
    }
}

/// A record that now has its place.
pub(crate) struct Written {
    pub(crate) sequence: Sequence,
    pub(crate) offset: u64,
}

/// See the module doc.
pub(crate) struct Writer {
    journal: JournalId,
    seed: u32,
    active: Active,
    /// Prepared segments in order of their number.
    ready: VecDeque<PreparedSegment>,
    /// Segments that are full, oldest first.
    pub(crate) sealed: VecDeque<Arc<Segment>>,
    /// Mappings of sealed segments, for the space thread to unmap.
    pub(crate) retired: Vec<MappedSegment>,
    /// Sealed segments whose content may not be on the disk, for the sync thread.
    pub(crate) unsynced: Vec<Arc<Segment>>,
    next_sequence: Sequence,
    /// The newest event, zero if there never was one.
    last_event: Sequence,
    pub(crate) open: OpenAdmissions,
    /// Largest record that a promise covers.
    promised_bytes: u64,
    /// What a newly prepared segment can hold of them.
    promises_per_segment: u64,
    pub(crate) stopped: Option<Stopped>,
    /// Why the last attempt to prepare a segment came to nothing.
    pub(crate) full: Option<FullCause>,
    /// The highest sequence that the consumer has.
    pub(crate) released: Sequence,
    /// Everything up to here is on the disk.
    pub(crate) synced: Sequence,
    /// The oldest segment's number and the sequence that has to be on the disk before it may be deleted.
    pub(crate) leaving: Option<(u64, Sequence)>,
    /// The highest event in a segment that is deleted.
    pub(crate) deleted_through: Sequence,
    pub(crate) appended_records: u64,
    pub(crate) appended_bytes: u64,
    pub(crate) refused_full: u64,
    /// An append waits for a segment that [`Self::wants_segment`] alone would not ask for.
    pub(crate) room_wanted: bool,
    /// A copy that would free the oldest segment found no room.
    pub(crate) relocation_blocked: bool,
    /// Somebody waits for a sync before its time.
    pub(crate) sync_now: bool,
    /// Set by the sync thread when it has nothing to do, cleared by the append that wakes it.
    pub(crate) sync_sleeps: bool,
    /// Set by the space thread when it has nothing to do.
    pub(crate) space_sleeps: bool,
    /// Set by a tail that waits for an event, cleared by the append that wakes it.
    pub(crate) tail_waits: bool,
}

/// What a writer starts from.
pub(crate) struct WriterStart {
    pub(crate) journal: JournalId,
    pub(crate) active: PreparedSegment,
    pub(crate) sealed: VecDeque<Arc<Segment>>,
    pub(crate) next_sequence: Sequence,
    pub(crate) finished_budget_bytes: u64,
    pub(crate) segment_bytes: u64,
}

impl Writer {
    pub(crate) fn new(start: WriterStart) -> Self {
        let budget = usize::try_from(start.finished_budget_bytes).unwrap_or(usize::MAX);
        let promised_bytes = record_bytes(budget);
        Self {
            journal: start.journal,
            seed: start.journal.seed(),
            active: Active::new(start.active),
            ready: VecDeque::new(),
            last_event: start.sealed.iter().map(|segment| segment.last_event()).max().unwrap_or_default(),
            sealed: start.sealed,
            retired: Vec::new(),
            unsynced: Vec::new(),
            next_sequence: start.next_sequence,
            open: OpenAdmissions::default(),
            promised_bytes,
            promises_per_segment: start.segment_bytes.saturating_sub(SEGMENT_HEADER_BYTES) / promised_bytes,
            stopped: None,
            full: None,
            released: Sequence::ZERO,
            synced: start.next_sequence.previous(),
            leaving: None,
            deleted_through: Sequence::ZERO,
            appended_records: 0,
            appended_bytes: 0,
            refused_full: 0,
            room_wanted: false,
            relocation_blocked: false,
            sync_now: false,
            sync_sleeps: false,
            space_sleeps: false,
            tail_waits: false,
        }
    }

    pub(crate) fn journal(&self) -> JournalId {
        self.journal
    }

    pub(crate) fn next_sequence(&self) -> Sequence {
        self.next_sequence
    }

    pub(crate) fn last_event(&self) -> Sequence {
        self.last_event
    }

    pub(crate) fn active_segment(&self) -> &Arc<Segment> {
        &self.active.segment
    }

    pub(crate) fn segment_count(&self) -> usize {
        self.sealed.len() + 1 + self.ready.len()
    }

    /// The number of the next segment to prepare.
    pub(crate) fn next_number(&self) -> u64 {
        self.ready.back().map_or(self.active.segment.number, |last| last.segment.number) + 1
    }

    pub(crate) fn add_ready(&mut self, prepared: PreparedSegment) {
        self.ready.push_back(prepared);
        self.full = None;
        self.room_wanted = false;
        self.relocation_blocked = false;
    }

    /// What all files together take of the disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        let sealed: u64 = self.sealed.iter().map(|segment| segment.bytes).sum();
        let ready: u64 = self.ready.iter().map(|prepared| prepared.segment.bytes).sum();
        sealed + ready + self.active.segment.bytes
    }

    /// How many promised records fit into what is prepared, however the others are laid out.
    ///
    /// A segment is left only when a record does not fit into its rest, so every segment takes at least
    /// `rest / promised_bytes` records of at most `promised_bytes`. The law that every append keeps: this number never
    /// falls below [`OpenAdmissions::with_ticket`]. So a finished record within its budget always has a place.
    fn promises_held(&self) -> u64 {
        self.active.left() / self.promised_bytes + self.promises_in(self.ready.len())
    }

    fn promises_in(&self, ready: usize) -> u64 {
        self.promises_per_segment * u64::try_from(ready).unwrap_or(u64::MAX)
    }

    /// Whether another segment should be prepared: there is none, or most of what is there is promised.
    pub(crate) fn wants_segment(&self) -> bool {
        let spare = self.promises_per_segment / 2;
        self.room_wanted || self.ready.is_empty() || self.promises_held() < self.open.with_ticket() + spare
    }

    /// Writes a record, or changes nothing.
    pub(crate) fn append(
        &mut self,
        draft: &Draft<'_>,
        admission: Option<Sequence>,
        room: Room,
    ) -> Result<Written, AppendError> {
        if let Some(stopped) = &self.stopped {
            return Err(stopped.append_error());
        }
        if !self.make_place(draft.bytes, room) {
            return Err(AppendError::Full);
        }
        self.write(draft, admission)
    }

    /// Whether all of these would find free room, one after the other. What each leaves of the promises' room only falls, so
    /// that the last one's answer is that of all.
    pub(crate) fn has_room_for(&self, drafts: &[Draft<'_>]) -> Result<bool, AppendError> {
        if let Some(stopped) = &self.stopped {
            return Err(stopped.append_error());
        }
        let (mut left, mut ready) = (self.active.left(), self.ready.iter());
        for draft in drafts {
            left = match left.checked_sub(draft.bytes) {
                Some(left) => left,
                None => {
                    let next = ready.next().map_or(0, |next| next.segment.bytes);
                    let Some(left) = next.checked_sub(SEGMENT_HEADER_BYTES + draft.bytes) else {
                        return Ok(false);
                    };
                    left
                }
            };
        }
        Ok(left / self.promised_bytes + self.promises_in(ready.len()) >= self.open.with_ticket())
    }

    /// Makes the active segment one that this record may go to.
    fn make_place(&mut self, bytes: u64, room: Room) -> bool {
        let owed = match room {
            Room::Promised if bytes <= self.promised_bytes => None,
            Room::Promised => Some(self.open.with_ticket().saturating_sub(1)),
            Room::Free { new_promises } => Some(self.open.with_ticket() + new_promises),
        };
        let keeps = |left: u64, ready: usize| {
            owed.is_none_or(|owed| left / self.promised_bytes + self.promises_in(ready) >= owed)
        };
        if let Some(left) = self.active.left().checked_sub(bytes) {
            return keeps(left, self.ready.len());
        }
        let Some(next) = self.ready.front() else { return false };
        let Some(left) = next.segment.bytes.checked_sub(SEGMENT_HEADER_BYTES + bytes) else { return false };
        if !keeps(left, self.ready.len() - 1) {
            return false;
        }
        self.seal_active();
        true
    }

    fn seal_active(&mut self) {
        let Some(next) = self.ready.pop_front() else { return };
        let full = std::mem::replace(&mut self.active, Active::new(next));
        self.retired.push(full.map);
        self.unsynced.push(Arc::clone(&full.segment));
        self.sealed.push_back(full.segment);
    }

    fn write(&mut self, draft: &Draft<'_>, admission: Option<Sequence>) -> Result<Written, AppendError> {
        let sequence = self.next_sequence;
        let offset = self.active.position;
        let header = RecordHeader {
            kind: draft.kind,
            payload_len: draft.payload_len,
            payload_crc: draft.payload_crc,
            sequence,
            admission: admission.unwrap_or(sequence),
            key: draft.key,
        };
        if let Err(fault) = self.active.map.write_record(offset, &header.encode(self.seed), draft.payload) {
            let stopped = Stopped::Failed(Arc::new(io::Error::other(fault)));
            let error = stopped.append_error();
            self.stopped = Some(stopped);
            return Err(error);
        }
        self.active.position = offset + draft.bytes;
        if draft.kind.is_event() {
            self.active.segment.set_last_event(sequence);
            self.last_event = sequence;
        }
        self.active.segment.publish(self.active.position);
        self.next_sequence = sequence.next();
        self.appended_records += 1;
        self.appended_bytes += draft.bytes;
        Ok(Written { sequence, offset })
    }

    /// Remembers that the record just written is an admission's.
    pub(crate) fn open_admission(&mut self, written: &Written, key: [u8; 16]) -> Slot {
        let place = Place { segment: Arc::clone(&self.active.segment), offset: written.offset };
        self.open.open(written.sequence, key, place)
    }

    /// The first segment that may hold records after the given one.
    pub(crate) fn segment_after(&self, number: Option<u64>) -> Option<Arc<Segment>> {
        let mut all = self.sealed.iter().chain(std::iter::once(&self.active.segment));
        all.find(|segment| number.is_none_or(|number| segment.number > number)).map(Arc::clone)
    }

    /// The oldest segment, if the consumer has all of it and it is not being written.
    pub(crate) fn oldest_released(&self) -> Option<&Arc<Segment>> {
        self.sealed.front().filter(|oldest| oldest.last_event() <= self.released)
    }
}
