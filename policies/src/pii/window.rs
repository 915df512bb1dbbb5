//! A stretch of text under search.

/// How many bytes at the start of a window are there to be looked back at only. A finding must begin behind them, as
/// [`TAIL`] bytes must follow it: what does not fit is found in the window before or after.
pub(super) const LEAD: usize = 2;

/// How many bytes must follow a finding, so that it is known how the text goes on: `) 5` goes on with digits.
pub(super) const TAIL: usize = 3;

/// What a byte can be the start of.
#[expect(clippy::indexing_slicing, reason = "`get_mut` is not const, and the index is below the length")]
const CANDIDATES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(
            byte_of(byte),
            b'@' | b':' | b'+' | b'-' | b'0'..=b'9' | b'A'..=b'Z' | b'g' | b'm' | b's' | b'x'
        );
        byte += 1;
    }
    table
};

#[expect(clippy::as_conversions, reason = "`u8::try_from` is not const, and the caller counts to 255")]
const fn byte_of(index: usize) -> u8 {
    index as u8
}

/// The bytes of a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window<'a> {
    bytes: &'a [u8],
}

impl<'a> Window<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The byte here; `None` beyond the end.
    pub(super) fn at(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    /// So many bytes from here; `None` when there are fewer.
    pub(super) fn slice(&self, at: usize, len: usize) -> Option<&'a [u8]> {
        self.bytes.get(at..at.checked_add(len)?)
    }

    /// The length of the run of such bytes from here, at most `most`.
    pub(super) fn run(&self, at: usize, most: usize, is_in: impl Fn(u8) -> bool) -> usize {
        let rest = self.bytes.get(at..).unwrap_or_default();
        rest.iter().take(most).take_while(|byte| is_in(**byte)).count()
    }

    /// The length of the run of such bytes that ends before here, at most `most`.
    pub(super) fn run_before(&self, at: usize, most: usize, is_in: impl Fn(u8) -> bool) -> usize {
        let before = self.bytes.get(..at).unwrap_or_default();
        before.iter().rev().take(most).take_while(|byte| is_in(**byte)).count()
    }

    /// Whether no word goes on to the left of this place.
    pub(super) fn begins_word(&self, at: usize) -> bool {
        at >= LEAD && at.checked_sub(1).and_then(|before| self.at(before)).is_some_and(|byte| !is_word(byte))
    }

    /// Whether no word goes on to the right of this place, and enough of the text is there to tell what does.
    pub(super) fn ends_word(&self, end: usize) -> bool {
        self.slice(end, TAIL).and_then(<[u8]>::first).is_some_and(|byte| !is_word(*byte))
    }

    /// Where something may begin: letters and digits at the start of a word, marks anywhere.
    pub(super) fn candidates(&self) -> impl Iterator<Item = usize> + use<'a> {
        let bytes = self.bytes;
        let mut in_word = true; // what the window cuts through began before it
        bytes.iter().enumerate().filter_map(move |(at, byte)| {
            let word = is_word(*byte);
            let starts = !(word && in_word);
            in_word = word;
            let is_candidate = CANDIDATES.get(usize::from(*byte)).copied().unwrap_or_default();
            (starts && is_candidate && at >= LEAD).then_some(at)
        })
    }
}

/// Whether a byte belongs to a word. Bytes beyond ASCII do not: Chinese text has no space before a number.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
