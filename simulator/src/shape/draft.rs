//! From a request to a message: picks the shape, fills in what all shapes share.

use serde_json::Value;

use super::{Counts, Shape, passes, plain, server_tools, tools};
use crate::dice::Dice;
use crate::inquiry::Inquiry;
use crate::message::{Block, Message, StopDetails, Usage};
use crate::models;
use crate::steering::{Steering, UsageFields};

/// Deltas of `shape=stream` without `events`.
const STREAM_EVENTS: u64 = 100;
/// Bytes of `shape=json` without `response_bytes`.
const JSON_BYTES: u64 = 1024;

/// A whole answer before it is written as JSON or as a stream.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) message: Message,
    /// The model that `message_start` names: a fallback model is only told by its own block.
    pub(crate) opening_model: String,
    /// The usage that `message_start` reports; the message itself holds the final one.
    pub(crate) opening_usage: Usage,
    /// Into how many deltas the last text goes, if that is asked for.
    pub(crate) events: Option<usize>,
    /// The size the JSON form has to have, if that is asked for.
    pub(crate) response_bytes: Option<usize>,
}

/// What a shape makes of the request: the blocks and how the answer stops.
pub(super) struct Body {
    pub(super) blocks: Vec<Block>,
    pub(super) stop: Stop,
    /// The figures of the finished answer, and those that a stream opens with.
    pub(super) closing: Counts,
    pub(super) opening: Counts,
    pub(super) usage: UsageExtras,
    pub(super) container: Option<Value>,
    pub(super) context_management: Option<Value>,
    /// The model that answered, where it is not the requested one.
    pub(super) model: Option<String>,
}

impl Body {
    pub(super) fn new(blocks: Vec<Block>, counts: Counts) -> Self {
        Self {
            blocks,
            stop: Stop::EndTurn,
            closing: counts,
            opening: counts,
            usage: UsageExtras::default(),
            container: None,
            context_management: None,
            model: None,
        }
    }
}

/// The parts of usage that only some shapes have.
#[derive(Default)]
pub(super) struct UsageExtras {
    pub(super) server_tools: Option<crate::message::ServerToolUse>,
    pub(super) iterations: Option<Vec<crate::message::Iteration>>,
}

/// How an answer stops.
pub(super) enum Stop {
    EndTurn,
    MaxTokens,
    ToolUse,
    PauseTurn,
    Refusal,
    Sequence(String),
}

/// Everything a shape may look at.
pub(super) struct Context<'a> {
    pub(super) inquiry: &'a Inquiry<'a>,
    pub(super) steering: &'a Steering,
    pub(super) model: &'a str,
    pub(super) counts: Counts,
}

/// Drafts the answer to a request.
pub(crate) fn draft(inquiry: &Inquiry<'_>, steering: &Steering, dice: &mut Dice) -> Draft {
    let requested = inquiry.model.as_deref().unwrap_or_default();
    let served = steering.model.clone().unwrap_or_else(|| models::served_id(requested).to_owned());
    let id = dice.id("msg_");
    let counts = Counts::of(inquiry, steering, dice);
    let context = Context { inquiry, steering, model: &served, counts };
    let mut body = shaped(&context, dice);
    limit_to_max_tokens(&mut body, inquiry.max_tokens);

    let mut usage = body.closing.usage(steering.usage);
    usage.server_tool_use = body.usage.server_tools;
    if body.closing.thinking == 0 && models::is_before_4_6(&served) {
        usage.output_tokens_details = None;
    }
    let mut opening_usage = body.opening.usage(steering.usage);
    opening_usage.output_tokens = body.closing.output.min(dice.between(1, 8));
    opening_usage.output_tokens_details = None;
    for each in [&mut usage, &mut opening_usage] {
        add_labels(each, inquiry, steering, &served);
    }
    usage.iterations = body.usage.iterations;

    let (stop_reason, stop_sequence, stop_details) = stop_fields(body.stop);
    let with_details = steering.usage == UsageFields::Current;
    let message = Message {
        model: body.model.unwrap_or_else(|| served.clone()),
        id,
        kind: "message",
        role: "assistant",
        container: body.container,
        content: body.blocks,
        stop_reason: Some(stop_reason),
        stop_sequence,
        stop_details: with_details.then_some(stop_details),
        context_management: body.context_management,
        usage,
    };
    let size = |wanted: Option<u64>| wanted.and_then(|wanted| usize::try_from(wanted).ok());
    let is = |shape| steering.shape == shape;
    Draft {
        message,
        opening_model: served,
        opening_usage,
        events: size(steering.events.or_else(|| is(Shape::Stream).then_some(STREAM_EVENTS))),
        response_bytes: size(steering.response_bytes.or_else(|| is(Shape::Json).then_some(JSON_BYTES))),
    }
}

fn shaped(context: &Context<'_>, dice: &mut Dice) -> Body {
    match context.steering.shape {
        Shape::Auto if tools::is_forced(context.inquiry) => tools::client_tools(context, dice),
        Shape::Auto | Shape::Text | Shape::Json | Shape::Stream => plain::text(context, dice),
        Shape::Thinking => plain::thinking(context, dice),
        Shape::RedactedThinking => plain::redacted_thinking(context, dice),
        // An agent loop ends: after a tool's result comes the final text.
        Shape::Tools if context.inquiry.brings_tool_result() => plain::text(context, dice),
        Shape::Tools => tools::client_tools(context, dice),
        Shape::Mcp => server_tools::mcp(context, dice),
        Shape::WebSearch => server_tools::web_search(context, dice),
        Shape::WebFetch => server_tools::web_fetch(context, dice),
        Shape::CodeExecution => server_tools::code_execution(context, dice),
        Shape::PauseTurn => server_tools::pause_turn(context, dice),
        Shape::Compaction => passes::compaction(context, dice),
        Shape::Advisor => passes::advisor(context, dice),
        Shape::Fallback => passes::fallback(context, dice),
        Shape::Refusal => plain::refusal(context),
        Shape::RefusalMidstream => plain::refusal_midstream(context, dice),
        Shape::StopSequence => plain::stop_sequence(context, dice),
        Shape::MaxTokens => plain::max_tokens(context, dice),
    }
}

/// An answer never exceeds `max_tokens`; 0 warms the cache and gives an empty answer.
fn limit_to_max_tokens(body: &mut Body, max_tokens: Option<u64>) {
    let Some(limit) = max_tokens else { return };
    if limit == 0 {
        body.blocks.clear();
    }
    if body.closing.output > limit && matches!(body.stop, Stop::EndTurn) {
        body.stop = Stop::MaxTokens;
    }
    body.closing.output = body.closing.output.min(limit);
    body.closing.thinking = body.closing.thinking.min(limit);
}

/// Tier, geography and speed: what the request asked for, unless steered otherwise.
fn add_labels(usage: &mut Usage, inquiry: &Inquiry<'_>, steering: &Steering, model: &str) {
    if steering.usage == UsageFields::Old {
        return;
    }
    let tier = steering.service_tier.clone().unwrap_or_else(|| "standard".to_owned());
    usage.service_tier = Some(tier).filter(|tier| tier != "none");
    let geo = steering.geo.clone().or_else(|| inquiry.inference_geo.clone());
    usage.inference_geo = Some(geo.unwrap_or_else(|| models::default_geo(model).to_owned()));
    usage.speed = steering.speed.clone().or_else(|| inquiry.speed.clone());
}

fn stop_fields(stop: Stop) -> (&'static str, Option<String>, Option<StopDetails>) {
    match stop {
        Stop::EndTurn => ("end_turn", None, None),
        Stop::MaxTokens => ("max_tokens", None, None),
        Stop::ToolUse => ("tool_use", None, None),
        Stop::PauseTurn => ("pause_turn", None, None),
        Stop::Sequence(sequence) => ("stop_sequence", Some(sequence), None),
        Stop::Refusal => {
            let explanation = Some("The request could enable harm.");
            ("refusal", None, Some(StopDetails { kind: "refusal", category: Some("cyber"), explanation }))
        }
    }
}
