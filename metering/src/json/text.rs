//! Strings: crossing them fast, decoding the few that matter.

use std::borrow::Cow;

const ONES: u64 = u64::MAX / 255;
const HIGH_BITS: u64 = ONES << 7;
/// Bytes tested at once while no end is in sight; the compiler turns the test into vector instructions.
const BLOCK: usize = 64;
const WORD: usize = 8;

/// How many bytes at the start of `bytes` are neither a quote, a backslash nor a control character.
///
/// Strings are most of every body, base64 images above all: one pass finds their end and proves them free of control
/// characters.
pub(super) fn plain_len(bytes: &[u8]) -> usize {
    // Most strings are short: look for the end word by word first.
    let head = bytes.get(..BLOCK).unwrap_or(bytes);
    let found = plain_words(head);
    if found < head.len() || head.len() == bytes.len() {
        return found;
    }
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    let plain = blocks.iter().take_while(|block| is_plain(block)).count() * BLOCK;
    plain + plain_words(bytes.get(plain..).unwrap_or_default())
}

fn is_plain(block: &[u8; BLOCK]) -> bool {
    // No early exit: a branch for each byte would keep the loop from being vectorised.
    !block.iter().fold(false, |special, &byte| special | (byte < 0x20) | (byte == b'"') | (byte == b'\\'))
}

/// [`plain_len`] eight bytes at a time: Mycroft's test for a zero byte, on three differences.
fn plain_words(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<WORD>();
    let mut crossed = 0;
    for word in words {
        let chars = u64::from_le_bytes(*word);
        let control = chars.wrapping_sub(ONES * 0x20) & !chars;
        let quote = chars ^ (ONES * u64::from(b'"'));
        let quote = quote.wrapping_sub(ONES) & !quote;
        let backslash = chars ^ (ONES * u64::from(b'\\'));
        let backslash = backslash.wrapping_sub(ONES) & !backslash;
        let special = (control | quote | backslash) & HIGH_BITS;
        if special != 0 {
            // False hits of the test stand only above a true one, and little-endian order puts the first byte lowest.
            let bit = usize::try_from(special.trailing_zeros()).unwrap_or(0);
            return crossed + bit / WORD;
        }
        crossed += WORD;
    }
    crossed + tail.iter().take_while(|&&byte| byte >= 0x20 && byte != b'"' && byte != b'\\').count()
}

/// Decodes the inside of a string whose grammar is known to be good; `None` when it is not Unicode.
pub(super) fn decode(inside: &[u8]) -> Option<Cow<'_, str>> {
    // Keys are short: a vector search would cost more to start than the whole of them.
    let escaped =
        if inside.len() <= BLOCK { inside.contains(&b'\\') } else { memchr::memchr(b'\\', inside).is_some() };
    if !escaped {
        return std::str::from_utf8(inside).ok().map(Cow::Borrowed);
    }
    let mut quoted = Vec::with_capacity(inside.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(inside);
    quoted.push(b'"');
    serde_json::from_slice(&quoted).ok().map(Cow::Owned)
}
