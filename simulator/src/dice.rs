//! Repeatable randomness: everything a simulated answer makes up (ids, text, padding) is drawn from one seed.

/// The letters of the identifiers of the real service: base 58, without the look-alikes `0OIl`.
const BASE58: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const HEX: &[u8] = b"0123456789abcdef";

/// A SplitMix64 generator: the same seed always gives the same sequence, on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 when `limit` is 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next().checked_rem(limit).unwrap_or(0)
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low.saturating_add(self.below(high.saturating_sub(low).saturating_add(1)))
    }

    /// An index into something of `length` elements.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        let limit = u64::try_from(length).unwrap_or(u64::MAX);
        usize::try_from(self.below(limit)).unwrap_or(0)
    }

    /// An identifier such as `msg_01JkSf...`: the prefix, the version digits `01` and 22 letters.
    pub(crate) fn id(&mut self, prefix: &str) -> String {
        let mut id = format!("{prefix}01");
        self.letters(BASE58, 22, &mut id);
        id
    }

    /// `length` lower-case hexadecimal digits.
    pub(crate) fn hex(&mut self, length: usize) -> String {
        let mut text = String::with_capacity(length);
        self.letters(HEX, length, &mut text);
        text
    }

    /// A UUID-shaped text.
    pub(crate) fn uuid(&mut self) -> String {
        let parts = [8, 4, 4, 4, 12].map(|length| self.hex(length));
        parts.join("-")
    }

    /// Opaque base64, as signatures and encrypted contents look; `bytes` is the size before encoding.
    pub(crate) fn opaque(&mut self, bytes: usize) -> String {
        use base64::Engine as _;
        let mut raw = Vec::with_capacity(bytes);
        self.fill(bytes, &mut raw);
        base64::engine::general_purpose::STANDARD.encode(raw)
    }

    /// Appends `count` random bytes.
    pub(crate) fn fill(&mut self, count: usize, into: &mut Vec<u8>) {
        let end = into.len().saturating_add(count);
        while into.len() < end {
            let word = self.next().to_le_bytes();
            let wanted = end.saturating_sub(into.len()).min(word.len());
            into.extend(word.into_iter().take(wanted));
        }
    }

    fn letters(&mut self, alphabet: &[u8], count: usize, into: &mut String) {
        for _ in 0..count {
            let at = self.index(alphabet.len());
            into.push(alphabet.get(at).copied().map_or('x', char::from));
        }
    }
}
