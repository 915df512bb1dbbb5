//! The mapped segment that is being written: the only unsafe code of the project.
//!
//! Why a mapping: an append is a memory copy, a few hundred nanoseconds without a system call, and the bytes belong to
//! the kernel at once, so that they outlive a kill -9 (figures in `docs/decisions/journal.md`).
//!
//! Safety argument:
//! - No Rust reference to mapped memory is ever made: not here (raw pointers only) and not elsewhere (the mapping is
//!   private to this module). So nobody can hold one while the bytes change.
//! - Writing needs `&mut MappedSegment`, and the mapping lives inside the journal's mutex: one writer at a time.
//! - Readers in this process use `pread` on the file, which the kernel serves from the same pages; they read only below
//!   the published length, which is stored with release order after the bytes and loaded with acquire order.
//! - Every write is checked against the mapping's length, which is the file's length when it was mapped.
//! - The file keeps that length while it is mapped: the journal shortens only segments of earlier processes, other
//!   processes are kept out by the lock on the folder, and its blocks are allocated before it is mapped. On ext4, xfs
//!   and tmpfs a write to an allocated block needs no further space, so that a full disk never shows as SIGBUS. Somebody
//!   who truncates the file by hand, or a copy-on-write file system that runs full, still ends the process; what was
//!   appended before is in the file.
#![expect(unsafe_code, reason = "writing to mapped memory; the argument is in the module doc")]

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};

use super::format::RECORD_HEADER_LEN;

/// A record was to be written outside the segment: a fault in our accounting, never a state of the disk.
#[derive(Debug, thiserror::Error)]
#[error("a record at byte {offset} would end outside its segment of {bytes} bytes")]
pub(crate) struct OutsideSegment {
    offset: u64,
    bytes: usize,
}

/// A whole segment file, writable through memory.
pub(crate) struct MappedSegment {
    map: MmapRaw,
}

impl MappedSegment {
    /// Maps a file whose length and blocks are already allocated.
    pub(crate) fn new(file: &File, bytes: u64) -> io::Result<Self> {
        let bytes = usize::try_from(bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
        Ok(Self { map: MmapOptions::new().len(bytes).map_raw(file)? })
    }

    /// Writes a record so that it becomes one in its last store: whenever the process dies, what is in the file is
    /// either the whole record or nothing that looks like one.
    pub(crate) fn write_record(
        &mut self,
        offset: u64,
        header: &[u8; RECORD_HEADER_LEN],
        payload: &[u8],
    ) -> Result<(), OutsideSegment> {
        let outside = OutsideSegment { offset, bytes: self.map.len() };
        let Ok(start) = usize::try_from(offset) else { return Err(outside) };
        let end = start.checked_add(RECORD_HEADER_LEN).and_then(|end| end.checked_add(payload.len()));
        let aligned = start.is_multiple_of(align_of::<AtomicU64>());
        if !aligned || end.is_none_or(|end| end > self.map.len()) {
            return Err(outside);
        }
        let (word, rest) = header.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
        // SAFETY: `start + RECORD_HEADER_LEN + payload.len()` is inside the mapping (checked above), so all three places
        // are; the sources are references, which cannot point into the mapping (no reference to it is ever made), so
        // nothing overlaps; `&mut self` keeps other writers out.
        unsafe {
            let record = self.map.as_mut_ptr().add(start);
            record.add(RECORD_HEADER_LEN).copy_from_nonoverlapping(payload.as_ptr(), payload.len());
            record.add(word.len()).copy_from_nonoverlapping(rest.as_ptr(), rest.len());
        }
        // SAFETY: inside the mapping and aligned (checked above; mappings begin at a page), valid as long as `self`, and
        // every access to it from Rust is this one. Release: the bytes above are in place before the word that makes
        // them a record.
        let first_word = unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().add(start).cast()) };
        first_word.store(u64::from_ne_bytes(*word), Ordering::Release);
        Ok(())
    }
}
