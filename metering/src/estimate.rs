//! How many output tokens were generated, when a stream was cut before it said so.
//!
//! The estimate is linear in what was delivered: bytes of text, of tool input and of thinking, tool calls, and a small
//! constant. The weights and the bound were fitted to the 174 complete recorded streams (18 models, English, code,
//! JSON, four other scripts), each estimated from its content and compared with the count the API reported.
//! `tests/recordings/estimate.rs` derives the bound again and fails if it no longer holds.
//!
//! What the API generated but never sent (thinking that it omits, text on its way when the stream broke) is invisible
//! here, so the true figure can be higher; it is never less than the count reported before the cut.

use memchr::memmem;

/// The stated bound: on every recorded stream the estimate is within so many percent of the true count, plus
/// [`OUTPUT_ESTIMATE_SLACK`] tokens.
pub const OUTPUT_ESTIMATE_BOUND: u64 = 45;
/// Tokens added to the bound; for short answers, where one word more is a large part.
pub const OUTPUT_ESTIMATE_SLACK: u64 = 10;

/// Thousandths of a token for a byte of text: one token for 3.85 bytes.
const TEXT_MILLITOKENS: u64 = 260;
/// For a byte of tool input.
const TOOL_INPUT_MILLITOKENS: u64 = 246;
/// For a byte of thinking, which reaches the client shortened.
const THINKING_MILLITOKENS: u64 = 376;
/// For a tool call: its name, id and frame.
const TOOL_CALL_TOKENS: u64 = 33;
/// For an answer: its turn markers.
const ANSWER_TOKENS: u64 = 5;

/// How much of a delta's data is looked at to tell its kind; the longest known head has 92 bytes.
const MAX_HEAD_BYTES: usize = 128;

/// What the deltas of a stream delivered. Fed with their data in any pieces; only sizes are kept of finished ones.
/// Without `Debug`: it holds the head of the delta being read.
pub(crate) struct Delivered {
    text: u64,
    tool_input: u64,
    thinking: u64,
    delta: Delta,
}

/// The delta being read.
struct Delta {
    head: [u8; MAX_HEAD_BYTES],
    head_len: usize,
    len: u64,
    /// Length of the run of spaces and closing braces at its end: padding and frame, never content, because content
    /// ends in a quote.
    tail: u64,
}

impl Delivered {
    pub(crate) fn new() -> Self {
        let delta = Delta { head: [0; MAX_HEAD_BYTES], head_len: 0, len: 0, tail: 0 };
        Self { text: 0, tool_input: 0, thinking: 0, delta }
    }

    /// The next bytes of a `content_block_delta`'s data.
    #[inline]
    pub(crate) fn data(&mut self, bytes: &[u8]) {
        let delta = &mut self.delta;
        if delta.head_len < MAX_HEAD_BYTES {
            let now = bytes.len().min(MAX_HEAD_BYTES - delta.head_len);
            if let (Some(free), Some(now)) =
                (delta.head.get_mut(delta.head_len..delta.head_len + now), bytes.get(..now))
            {
                free.copy_from_slice(now);
            }
            delta.head_len += now;
        }
        let frame = bytes.iter().rev().take_while(|&&byte| byte == b' ' || byte == b'}').count();
        let before = if frame == bytes.len() { delta.tail } else { 0 };
        delta.tail = before.saturating_add(length(frame));
        delta.len = delta.len.saturating_add(length(bytes.len()));
    }

    /// The `content_block_delta` is complete.
    #[inline]
    pub(crate) fn end_delta(&mut self) {
        let delta = &mut self.delta;
        let head = delta.head.get(..delta.head_len).unwrap_or_default();
        let (kind, start) = kind_of(head);
        // The closing quote is no content either.
        let content = delta.len.saturating_sub(delta.tail).saturating_sub(start).saturating_sub(1);
        let sum = match kind {
            DeltaKind::Text => &mut self.text,
            DeltaKind::ToolInput => &mut self.tool_input,
            DeltaKind::Thinking => &mut self.thinking,
            DeltaKind::NotGenerated => &mut 0,
        };
        *sum = sum.saturating_add(content);
        delta.head_len = 0;
        delta.len = 0;
        delta.tail = 0;
    }

    /// The estimate for an answer of so many content blocks and tool calls; zero when no block had begun.
    pub(crate) fn output_tokens(&self, blocks: u64, tool_calls: u64) -> u64 {
        if blocks == 0 {
            return 0;
        }
        let milli = self
            .text
            .saturating_mul(TEXT_MILLITOKENS)
            .saturating_add(self.tool_input.saturating_mul(TOOL_INPUT_MILLITOKENS))
            .saturating_add(self.thinking.saturating_mul(THINKING_MILLITOKENS));
        (milli / 1_000)
            .saturating_add(tool_calls.saturating_mul(TOOL_CALL_TOKENS))
            .saturating_add(ANSWER_TOKENS)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DeltaKind {
    Text,
    ToolInput,
    Thinking,
    /// Signatures, and citations, whose text is the cited document's.
    NotGenerated,
}

/// What a delta delivers and where, in its data, its content starts.
#[inline]
fn kind_of(head: &[u8]) -> (DeltaKind, u64) {
    as_written_today(head).unwrap_or_else(|| by_its_words(head))
}

/// The exact form that the API writes: `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"`.
#[inline]
fn as_written_today(head: &[u8]) -> Option<(DeltaKind, u64)> {
    const CONTENTS: [(&[u8], DeltaKind); 4] = [
        (b"text_delta\",\"text\":\"", DeltaKind::Text),
        (b"input_json_delta\",\"partial_json\":\"", DeltaKind::ToolInput),
        (b"thinking_delta\",\"thinking\":\"", DeltaKind::Thinking),
        (b"signature_delta\",\"signature\":\"", DeltaKind::NotGenerated),
    ];
    let behind_index = head.strip_prefix(b"{\"type\":\"content_block_delta\",\"index\":".as_slice())?;
    let digits = behind_index.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let kind = behind_index.get(digits..)?.strip_prefix(b",\"delta\":{\"type\":\"".as_slice())?;
    let (content, delta) = CONTENTS
        .iter()
        .find_map(|(start, delta)| kind.strip_prefix(*start).map(|content| (content, *delta)))?;
    Some((delta, length(head.len() - content.len())))
}

/// Any other order or spacing. A delta of a kind that we do not know counts as text, frame included, rather than not
/// at all.
#[cold]
fn by_its_words(head: &[u8]) -> (DeltaKind, u64) {
    const WORDS: [(&[u8], DeltaKind); 5] = [
        (b"\"signature\":", DeltaKind::NotGenerated),
        (b"\"citation\":", DeltaKind::NotGenerated),
        (b"\"partial_json\":", DeltaKind::ToolInput),
        (b"\"thinking\":", DeltaKind::Thinking),
        (b"\"text\":", DeltaKind::Text),
    ];
    let find = |(word, delta): &(&[u8], DeltaKind)| {
        memmem::find(head, word).map(|at| (*delta, length(at + word.len() + 1))) // and the opening quote
    };
    WORDS.iter().find_map(find).unwrap_or((DeltaKind::Text, 0))
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
