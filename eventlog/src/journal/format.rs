//! The bytes of a segment. The specification is in [`super`].

use super::sequence::Sequence;

/// The format that this build writes and reads.
pub(crate) const VERSION: u32 = 1;
/// Where a segment's first record begins.
pub(crate) const SEGMENT_HEADER_BYTES: u64 = 64;
/// The longest payload of a record, in bytes. A batch event with its thousand items is below half of it.
pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;
/// Added to the highest sequence found when a journal is opened. A power cut may take the newest records, numbers and
/// all, after a consumer had seen them; were the numbers used again, that consumer would take new records for old ones.
/// There cannot be as many records as this: [`super::config`] bounds the journal's size.
pub(crate) const RESTART_STRIDE: u64 = 1 << 32;
/// Records begin at multiples of this, so that the word that publishes one is written in one store.
pub(crate) const ALIGNMENT: u64 = 8;

pub(crate) const RECORD_HEADER_LEN: usize = 56;
const SEGMENT_MAGIC: [u8; 8] = *b"MWJRNSEG";
const RECORD_MAGIC: [u8; 4] = *b"MWr1";

/// A record's size in the segment: header, payload, padding.
pub(crate) fn record_bytes(payload: usize) -> u64 {
    let bytes = u64::try_from(RECORD_HEADER_LEN.saturating_add(payload)).unwrap_or(u64::MAX);
    bytes.checked_next_multiple_of(ALIGNMENT).unwrap_or(u64::MAX)
}

/// The identity of a journal: what its checksums are seeded with, so that a record of another one never counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JournalId(pub(crate) [u8; 16]);

impl JournalId {
    pub(crate) fn seed(self) -> u32 {
        crc32c::crc32c(&self.0)
    }
}

/// What a segment says of itself. Written once, before the segment is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) journal: JournalId,
    /// Rises by one with every segment.
    pub(crate) number: u64,
    /// The size it was allocated with.
    pub(crate) bytes: u64,
    /// Every record in it has at least this sequence.
    pub(crate) floor: Sequence,
}

/// A segment header that could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadSegmentHeader {
    /// An intact header of another format.
    Version(u32),
    /// Not a header, or one with changed bytes.
    Damaged,
}

impl SegmentHeader {
    pub(crate) const LEN: usize = 64;

    pub(crate) fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[0..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.journal.0);
        bytes[32..40].copy_from_slice(&self.number.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.floor.get().to_le_bytes());
        let crc = Self::checksum(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; Self::LEN]) -> Result<Self, BadSegmentHeader> {
        // The checksum comes first: a flipped bit in the version must not look like another version.
        if bytes[0..8] != SEGMENT_MAGIC || u32_at(bytes, 12) != Self::checksum(bytes) {
            return Err(BadSegmentHeader::Damaged);
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(BadSegmentHeader::Version(version));
        }
        Ok(Self {
            journal: JournalId(array_at(bytes, 16)),
            number: u64_at(bytes, 32),
            bytes: u64_at(bytes, 40),
            floor: Sequence::new(u64_at(bytes, 48)),
        })
    }

    fn checksum(bytes: &[u8; Self::LEN]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&bytes[0..12]), &bytes[16..])
    }
}

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordKind {
    /// A request was let in.
    Admitted,
    /// The event of an admitted request.
    Finished,
    /// An event of its own.
    Event,
}

impl RecordKind {
    fn code(self) -> u8 {
        match self {
            Self::Admitted => 1,
            Self::Finished => 2,
            Self::Event => 3,
        }
    }

    fn of(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Admitted),
            2 => Some(Self::Finished),
            3 => Some(Self::Event),
            _ => None,
        }
    }

    /// Whether consumers get it.
    pub(crate) fn is_event(self) -> bool {
        matches!(self, Self::Finished | Self::Event)
    }
}

/// What precedes a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) kind: RecordKind,
    pub(crate) payload_len: u32,
    pub(crate) payload_crc: u32,
    pub(crate) sequence: Sequence,
    /// The sequence that the admission got first. Equal in an admitted record, its copies and its finished record.
    pub(crate) admission: Sequence,
    pub(crate) key: [u8; 16],
}

impl RecordHeader {
    pub(crate) fn encode(&self, seed: u32) -> [u8; RECORD_HEADER_LEN] {
        let mut bytes = [0; RECORD_HEADER_LEN];
        bytes[0..4].copy_from_slice(&RECORD_MAGIC);
        bytes[8] = self.kind.code();
        bytes[12..16].copy_from_slice(&self.payload_len.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.payload_crc.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.sequence.get().to_le_bytes());
        bytes[32..40].copy_from_slice(&self.admission.get().to_le_bytes());
        bytes[40..56].copy_from_slice(&self.key);
        let crc = crc32c::crc32c_append(seed, &bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header in these bytes, unless a single bit of it is wrong.
    pub(crate) fn decode(bytes: &[u8; RECORD_HEADER_LEN], seed: u32) -> Option<Self> {
        if !begins_record(bytes) || u32_at(bytes, 4) != crc32c::crc32c_append(seed, &bytes[8..]) {
            return None;
        }
        let payload_len = u32_at(bytes, 12);
        if usize::try_from(payload_len).map_or(true, |len| len > MAX_PAYLOAD_BYTES) {
            return None;
        }
        Some(Self {
            kind: RecordKind::of(bytes[8])?,
            payload_len,
            payload_crc: u32_at(bytes, 16),
            sequence: Sequence::new(u64_at(bytes, 24)),
            admission: Sequence::new(u64_at(bytes, 32)),
            key: array_at(bytes, 40),
        })
    }

    /// Size of the whole record in the segment.
    pub(crate) fn record_bytes(&self) -> u64 {
        record_bytes(usize::try_from(self.payload_len).unwrap_or(usize::MAX))
    }

    pub(crate) fn fits_payload(&self, payload: &[u8]) -> bool {
        u32::try_from(payload.len()).is_ok_and(|len| len == self.payload_len)
            && crc32c::crc32c(payload) == self.payload_crc
    }
}

/// Whether a record could begin with these bytes. Cheap: for looking at every place of a damaged segment.
pub(crate) fn begins_record(bytes: &[u8]) -> bool {
    bytes.starts_with(&RECORD_MAGIC)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

#[cfg(test)]
mod tests;
