//! Shapes without tools: text, thinking, refusals and the ways to stop early.

use super::draft::{Body, Context, Stop};
use super::schema;
use crate::dice::Dice;
use crate::message::Block;
use crate::prose;

/// Size of a simulated signature or of redacted thinking, as recorded ones have.
const OPAQUE_BYTES: usize = 300;

/// A text of about `tokens` tokens, with at least as many words as deltas were asked for.
pub(super) fn text_block(context: &Context<'_>, tokens: u64, dice: &mut Dice) -> Block {
    let deltas = context.steering.events.and_then(|events| usize::try_from(events).ok()).unwrap_or(0);
    let deltas = if context.steering.shape == super::Shape::Stream { deltas.max(100) } else { deltas };
    let words = prose::words_for(tokens).max(deltas).max(1);
    Block::Text { text: prose::prose(dice, words), citations: None }
}

pub(super) fn text(context: &Context<'_>, dice: &mut Dice) -> Body {
    let structured = context.inquiry.schema().and_then(schema::conforming_text);
    let block = match structured {
        Some(text) => Block::Text { text, citations: None },
        None => text_block(context, spoken_tokens(context), dice),
    };
    Body::new(vec![block], context.counts)
}

pub(super) fn thinking(context: &Context<'_>, dice: &mut Dice) -> Body {
    let thought = context.steering.thinking_tokens.unwrap_or(context.counts.output / 2);
    let mut counts = context.counts;
    counts.thinking = thought;
    counts.output = counts.output.max(thought);
    let block = Block::Thinking {
        thinking: prose::prose(dice, prose::words_for(thought)),
        signature: dice.opaque(OPAQUE_BYTES),
    };
    let spoken = counts.output.saturating_sub(thought);
    Body::new(vec![block, text_block(context, spoken, dice)], counts)
}

pub(super) fn redacted_thinking(context: &Context<'_>, dice: &mut Dice) -> Body {
    let block = Block::RedactedThinking { data: dice.opaque(OPAQUE_BYTES) };
    let text = text_block(context, context.counts.output, dice);
    Body::new(vec![block, text], context.counts)
}

/// A refusal before anything was said: counted in usage, but free.
pub(super) fn refusal(context: &Context<'_>) -> Body {
    let mut counts = context.counts;
    counts.output = context.steering.output_tokens.unwrap_or(1);
    Body { stop: Stop::Refusal, ..Body::new(Vec::new(), counts) }
}

/// A refusal after a part of the answer: billed for what was said.
pub(super) fn refusal_midstream(context: &Context<'_>, dice: &mut Dice) -> Body {
    Body { stop: Stop::Refusal, ..text(context, dice) }
}

pub(super) fn stop_sequence(context: &Context<'_>, dice: &mut Dice) -> Body {
    let asked = context.inquiry.stop_sequences.as_deref().and_then(<[_]>::first).cloned();
    let sequence = context.steering.stop_sequence.clone().or(asked).unwrap_or_else(|| "STOP".to_owned());
    Body { stop: Stop::Sequence(sequence), ..text(context, dice) }
}

pub(super) fn max_tokens(context: &Context<'_>, dice: &mut Dice) -> Body {
    let mut counts = context.counts;
    counts.output = context.inquiry.max_tokens.unwrap_or(counts.output);
    // The words of a very long answer would only make the test slow; the figure is what counts.
    let block = text_block(context, counts.output.min(4_096), dice);
    Body { stop: Stop::MaxTokens, ..Body::new(vec![block], counts) }
}

/// The tokens to speak: never more than the request allows.
fn spoken_tokens(context: &Context<'_>) -> u64 {
    let limit = context.inquiry.max_tokens.unwrap_or(u64::MAX);
    context.counts.output.min(limit)
}
