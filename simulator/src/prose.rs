//! Plausible text: what the simulated model says, and how a stream cuts it into deltas.

use crate::dice::Dice;

/// Sentences that read like an assistant at work. Some hold multi-byte characters: streams are cut inside them.
const SENTENCES: &[&str] = &[
    "I looked at the request and broke it into smaller steps.",
    "The first thing to check is whether the configuration is read before the server starts.",
    "That explains why the totals differ by a few cents between the two reports.",
    "Here is a short summary of what changed and why it matters.",
    "The cache is warm after the first call, so later calls are considerably cheaper.",
    "You can verify this yourself by running the tests again with a fixed seed.",
    "In São Paulo and Zürich the café opens at 7:30, which the schedule already covers.",
    "The naïve approach works, but it reads every row twice → we can do better.",
    "A simple index on the customer column removes the slow scan entirely.",
    "Note that retries are counted separately, because each one is billed on its own.",
    "The result is stable: three runs gave the same answer to the last digit ✅.",
    "If the budget is nearly spent, the next call is refused before it costs anything.",
    "Both values agree, so the ledger and the invoice can be reconciled.",
    "I would start with the smallest change and measure again afterwards.",
    "The error came from a missing header rather than from the body.",
    "Everything else stays exactly as it was before.",
];

/// The plain ASCII sentence that fills answers of an exact size.
const FILLER: &str = "The quick brown fox jumps over the lazy dog and writes it all down. ";

/// About three words carry four tokens.
pub(crate) fn words_for(tokens: u64) -> usize {
    usize::try_from(tokens.saturating_mul(3).div_ceil(4)).unwrap_or(usize::MAX)
}

/// A text of exactly `words` words.
pub(crate) fn prose(dice: &mut Dice, words: usize) -> String {
    let mut text = String::new();
    let mut missing = words;
    let mut at = dice.index(SENTENCES.len());
    while missing > 0 {
        let sentence = SENTENCES.get(at).copied().unwrap_or(FILLER);
        for word in sentence.split(' ').take(missing) {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push(' ');
            }
            text.push_str(word);
            missing = missing.saturating_sub(1);
        }
        // Every seventh sentence or so ends a paragraph, as in real answers.
        if missing > 0 && dice.below(7) == 0 {
            text.push_str("\n\n");
        }
        at = at.wrapping_add(1).wrapping_add(dice.index(3)).checked_rem(SENTENCES.len()).unwrap_or(0);
    }
    text
}

/// `bytes` bytes of text that need no escaping in JSON.
pub(crate) fn filler(bytes: usize) -> String {
    FILLER.chars().cycle().take(bytes).collect()
}

/// Cuts a text before spaces into exactly `count` pieces, or fewer when it has not that many words.
pub(crate) fn cut_evenly(text: &str, count: usize) -> Vec<&str> {
    let starts: Vec<usize> = word_starts(text).collect();
    let words = starts.len();
    let count = count.clamp(1, words.max(1));
    let piece = |number: usize| {
        let first = number.saturating_mul(words).checked_div(count).unwrap_or(0);
        starts.get(first).copied().unwrap_or(text.len())
    };
    (0..count).filter_map(|number| text.get(piece(number)..piece(number.saturating_add(1)))).collect()
}

/// Cuts a text as the real service does: one short piece first, then pieces of a few words.
pub(crate) fn cut_naturally<'a>(text: &'a str, dice: &mut Dice) -> Vec<&'a str> {
    let mut pieces = Vec::new();
    let (mut from, mut words_left) = (0, 1);
    for start in word_starts(text).skip(1) {
        if words_left > 1 {
            words_left -= 1;
            continue;
        }
        pieces.extend(text.get(from..start));
        from = start;
        words_left = dice.between(1, 9);
    }
    pieces.extend(text.get(from..).filter(|rest| !rest.is_empty()));
    pieces
}

/// Cuts JSON text into fragments that respect nothing but character boundaries, as tool inputs arrive.
pub(crate) fn cut_anywhere<'a>(text: &'a str, dice: &mut Dice) -> Vec<&'a str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let wanted = usize::try_from(dice.between(1, 14)).unwrap_or(1);
        let at = rest.char_indices().nth(wanted).map_or(rest.len(), |(at, _)| at);
        let (piece, after) = rest.split_at(at);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Where words start, counting the space or the line break before a word as part of it.
fn word_starts(text: &str) -> impl Iterator<Item = usize> {
    let breaks = text.match_indices([' ', '\n']).map(|(at, _)| at);
    let inner = breaks.filter(|at| *at > 0 && text.as_bytes().get(at - 1) != Some(&b'\n'));
    (!text.is_empty()).then_some(0).into_iter().chain(inner)
}
