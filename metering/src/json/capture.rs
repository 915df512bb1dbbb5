//! What the scanner keeps: the current key and the value being captured, both bounded.

use super::Captured;

/// The longest key, in bytes of JSON text, that a visitor is asked about. The API's own keys stay below this even with
/// every character escaped; keys chosen by clients decide nothing.
pub const MAX_KEY_BYTES: usize = 512;

/// The key of the current member of an entered object, as JSON text.
#[derive(Debug, Default)]
pub(super) struct Key {
    raw: Vec<u8>,
    too_long: bool,
    offset: u64,
}

impl Key {
    /// A key begins at this offset of the document.
    pub(super) fn begin(&mut self, offset: u64) {
        self.raw.clear();
        self.too_long = false;
        self.offset = offset;
    }

    pub(super) fn keep(&mut self, bytes: &[u8]) {
        self.too_long |= self.raw.len() + bytes.len() > MAX_KEY_BYTES;
        if !self.too_long {
            self.raw.extend_from_slice(bytes);
        }
    }

    /// The inside of the key's string; `None` when it is longer than [`MAX_KEY_BYTES`].
    pub(super) fn raw(&self) -> Option<&[u8]> {
        if self.too_long { None } else { Some(&self.raw) }
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }
}

/// The value being captured.
#[derive(Debug)]
pub(super) struct Capture<N> {
    pub(super) node: N,
    limit: usize,
    cut: bool,
    /// What earlier chunks held of it.
    earlier: Vec<u8>,
    /// Where it begins in the current chunk.
    from: usize,
    /// Where it begins in the document.
    offset: u64,
}

impl<N> Capture<N> {
    /// The value begins at `from` in the current chunk, at `offset` in the document. `memory` is a used buffer.
    pub(super) fn begin(node: N, limit: usize, from: usize, offset: u64, mut memory: Vec<u8>) -> Self {
        memory.clear();
        Self { node, limit, cut: false, earlier: memory, from, offset }
    }

    /// The chunk ends inside the value.
    pub(super) fn carry(&mut self, chunk: &[u8]) {
        self.keep(chunk.get(self.from..).unwrap_or_default());
        self.from = 0;
    }

    /// The value ends before `end` in the chunk, at `end_offset` in the document. Copies nothing when the chunk holds all
    /// of it.
    pub(super) fn end<'a>(&'a mut self, chunk: &'a [u8], end: usize, end_offset: u64) -> Captured<'a> {
        let here = chunk.get(self.from..end).unwrap_or_default();
        let (offset, length) = (self.offset, end_offset.saturating_sub(self.offset));
        if self.earlier.is_empty() && !self.cut && here.len() <= self.limit {
            return Captured { raw: here, cut: false, offset, length };
        }
        self.keep(here);
        Captured { raw: &self.earlier, cut: self.cut, offset, length }
    }

    pub(super) fn into_memory(self) -> Vec<u8> {
        self.earlier
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.limit.saturating_sub(self.earlier.len());
        self.cut |= bytes.len() > room;
        self.earlier.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }
}
