//! Answers that took several passes of a model: compaction, an advisor, a fallback model.

use serde_json::json;

use super::Counts;
use super::draft::{Body, Context};
use super::plain;
use crate::dice::Dice;
use crate::message::{Block, ServerToolUse};
use crate::prose;

/// The model that advises: dearer than the one that asks.
const ADVISOR: &str = "claude-opus-4-8";
/// The model that takes over, and the one that takes over from it.
const FALLBACK: &str = "claude-opus-4-8";
const OTHER_FALLBACK: &str = "claude-sonnet-5";
/// Tokens that a compaction pass reads when the steering does not say.
const COMPACTED_TOKENS: u64 = 55_196;

/// A summary of the conversation so far, then the answer. What the summary cost is only told by `iterations`.
pub(super) fn compaction(context: &Context<'_>, dice: &mut Dice) -> Body {
    let summary = prose::prose(dice, 90);
    let text = plain::text_block(context, context.counts.output, dice);
    let mut opening = context.counts;
    // A stream opens with the cache of the uncompacted conversation; it moves to the compaction pass.
    let read = if opening.cache_read > 0 { opening.cache_read } else { COMPACTED_TOKENS };
    opening.cache_read = read;
    let closing = Counts { cache_read: 0, ..context.counts };
    let pass = Counts { input: dice.between(80, 200), cache_read: read, output: 125, ..Counts::default() };
    let mut body = Body::new(vec![Block::Compaction { content: Some(summary) }, text], closing);
    body.opening = opening;
    body.usage.iterations =
        Some(vec![pass.iteration("compaction", None), closing.iteration("message", None)]);
    body.context_management = Some(json!({"applied_edits": []}));
    body
}

/// A question to a stronger model in the middle of the answer.
pub(super) fn advisor(context: &Context<'_>, dice: &mut Dice) -> Body {
    let id = dice.id("srvtoolu_");
    let advice = json!({"type": "advisor_result", "text": prose::prose(dice, 25), "stop_reason": "end_turn"});
    let blocks = vec![
        plain::text_block(context, context.counts.output / 2, dice),
        Block::ServerToolUse { id: id.clone(), name: "advisor", input: json!({}) },
        Block::AdvisorToolResult { tool_use_id: id, content: advice },
        plain::text_block(context, context.counts.output / 2, dice),
    ];
    let first = Counts { output: context.counts.output / 2, ..context.counts };
    let asked = Counts { input: first.input.saturating_add(1_400), output: 38, ..Counts::default() };
    let last = Counts {
        input: first.input.saturating_add(160),
        output: context.counts.output.saturating_sub(first.output),
        ..Counts::default()
    };
    let total = Counts { input: first.input.saturating_add(last.input), ..context.counts };
    let mut body = Body::new(blocks, total);
    body.opening = first;
    body.usage.iterations = Some(vec![
        first.iteration("message", None),
        asked.iteration("advisor_message", Some(ADVISOR)),
        last.iteration("message", None),
    ]);
    body.usage.server_tools = Some(ServerToolUse { web_search_requests: 0, web_fetch_requests: 0 });
    body
}

/// The requested model declines after some output, another model answers.
pub(super) fn fallback(context: &Context<'_>, dice: &mut Dice) -> Body {
    let to = if context.model == FALLBACK { OTHER_FALLBACK } else { FALLBACK };
    let asked = context.inquiry.model.as_deref().unwrap_or(context.model);
    let block = Block::Fallback {
        from: json!({"model": asked}),
        to: json!({"model": to}),
        trigger: json!({"type": "refusal", "category": "cyber"}),
    };
    let declined = Counts { output: dice.between(0, 20), ..context.counts };
    let serving = context.counts;
    let mut body = Body::new(vec![block, plain::text_block(context, serving.output, dice)], serving);
    body.opening = declined;
    body.model = Some(to.to_owned());
    body.usage.iterations = Some(vec![
        declined.iteration("message", Some(context.model)),
        serving.iteration("fallback_message", Some(to)),
    ]);
    body
}
