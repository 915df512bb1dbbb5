//! The event stream of a message: the real service's events, order, spacing and padding.

use bytes::Bytes;
use serde::Serialize;

use crate::dice::Dice;
use crate::message::{Block, Message, StopDetails, Usage};
use crate::prose;
use crate::shape::Draft;
use crate::steering::{Steering, UsageFields};

/// Longest run of spaces before an event's last brace.
const MAX_PADDING: u64 = 15;
/// A ping has spacing of its own and no padding.
pub(crate) const PING: &str = "event: ping\ndata: {\"type\": \"ping\"}\n\n";
const COMMENT: &str = ": keep-alive\n\n";

/// Collects events in one buffer, so that a stream is one allocation however many events it has.
pub(crate) struct EventWriter<'a> {
    out: Vec<u8>,
    ends: Vec<usize>,
    dice: &'a mut Dice,
    line_end: &'static str,
}

impl<'a> EventWriter<'a> {
    pub(crate) fn new(dice: &'a mut Dice) -> Self {
        Self { out: Vec::new(), ends: Vec::new(), dice, line_end: "\n" }
    }

    /// Lines end as those of the legacy endpoint do.
    pub(crate) fn with_crlf(mut self) -> Self {
        self.line_end = "\r\n";
        self
    }

    /// Writes one event with padded data.
    pub(crate) fn event(&mut self, name: &str, data: &impl Serialize) {
        self.out.extend_from_slice(b"event: ");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(self.line_end.as_bytes());
        self.out.extend_from_slice(b"data: ");
        let start = self.out.len();
        if serde_json::to_writer(&mut self.out, data).is_err() {
            self.out.truncate(start); // writing to memory cannot fail; an event without data is dropped by clients
        }
        if self.out.last() == Some(&b'}') {
            self.out.pop();
            let padding = usize::try_from(self.dice.below(MAX_PADDING + 1)).unwrap_or(0);
            self.out.resize(self.out.len().saturating_add(padding), b' ');
            self.out.push(b'}');
        }
        self.end();
    }

    /// Writes a line of data without an event name, as the OpenAI-compatible endpoint does.
    pub(crate) fn unnamed(&mut self, data: &str) {
        self.out.extend_from_slice(b"data: ");
        self.out.extend_from_slice(data.as_bytes());
        self.end();
    }

    /// Writes finished text as it is.
    pub(crate) fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
        self.ends.push(self.out.len());
    }

    pub(crate) fn ping(&mut self) {
        if self.line_end == "\n" {
            self.raw(PING);
        } else {
            self.raw("event: ping\r\ndata: {\"type\": \"ping\"}\r\n\r\n");
        }
    }

    fn end(&mut self) {
        self.out.extend_from_slice(self.line_end.as_bytes());
        self.out.extend_from_slice(self.line_end.as_bytes());
        self.ends.push(self.out.len());
    }

    /// The events, each a view into the one buffer.
    pub(crate) fn finish(self) -> Vec<Bytes> {
        let mut rest = Bytes::from(self.out);
        let mut from = 0;
        let mut events = Vec::with_capacity(self.ends.len());
        for end in self.ends {
            events.push(rest.split_to(end.saturating_sub(from).min(rest.len())));
            from = end;
        }
        events
    }
}

#[derive(Serialize)]
struct MessageStart<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: &'a Message,
}

#[derive(Serialize)]
struct OldMessageStart<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: OldMessage<'a>,
}

/// The message object of the older generation: other order, fewer fields.
#[derive(Serialize)]
struct OldMessage<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    role: &'static str,
    model: &'a str,
    content: [(); 0],
    stop_reason: Option<()>,
    stop_sequence: Option<()>,
    usage: &'a Usage,
}

#[derive(Serialize)]
struct BlockStart<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    index: usize,
    content_block: &'a Block,
}

#[derive(Serialize)]
struct BlockDelta<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    index: usize,
    delta: Delta<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Delta<'a> {
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: &'a str },
    #[serde(rename = "citations_delta")]
    Citation { citation: &'a serde_json::Value },
    #[serde(rename = "input_json_delta")]
    Input { partial_json: &'a str },
    #[serde(rename = "compaction_delta")]
    Compaction { content: &'a str },
}

#[derive(Serialize)]
struct BlockStop {
    #[serde(rename = "type")]
    kind: &'static str,
    index: usize,
}

#[derive(Serialize)]
struct MessageDelta<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    delta: StopDelta<'a>,
    usage: &'a Usage,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_management: Option<&'a serde_json::Value>,
}

#[derive(Serialize)]
struct StopDelta<'a> {
    stop_reason: Option<&'static str>,
    stop_sequence: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_details: Option<&'a Option<StopDetails>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<&'a serde_json::Value>,
}

#[derive(Serialize)]
struct MessageStop {
    #[serde(rename = "type")]
    kind: &'static str,
}

/// Writes the whole stream of a draft.
pub(crate) fn events(draft: &Draft, steering: &Steering, dice: &mut Dice) -> Vec<Bytes> {
    let mut cutter = Dice::new(dice.next());
    let mut writer = EventWriter::new(dice);
    write_start(draft, steering, &mut writer);
    let last_text = draft.message.content.iter().rposition(|block| matches!(block, Block::Text { .. }));
    for (index, block) in draft.message.content.iter().enumerate() {
        writer.event(
            "content_block_start",
            &BlockStart { kind: "content_block_start", index, content_block: &block.opening() },
        );
        if index == 0 {
            writer.ping(); // the third event of nearly every recorded stream
        }
        let pieces = draft.events.filter(|_| Some(index) == last_text);
        write_deltas(&mut writer, index, block, pieces, &mut cutter);
        writer.event("content_block_stop", &BlockStop { kind: "content_block_stop", index });
    }
    let message = &draft.message;
    let usage = match steering.usage {
        UsageFields::Current => message.usage.for_delta(),
        UsageFields::Old => Usage { output_tokens: message.usage.output_tokens, ..Usage::default() },
    };
    writer.event(
        "message_delta",
        &MessageDelta {
            kind: "message_delta",
            delta: StopDelta {
                stop_reason: message.stop_reason,
                stop_sequence: message.stop_sequence.as_deref(),
                stop_details: message.stop_details.as_ref(),
                container: message.container.as_ref(),
            },
            usage: &usage,
            context_management: message.context_management.as_ref(),
        },
    );
    writer.event("message_stop", &MessageStop { kind: "message_stop" });
    interleave(writer.finish(), steering)
}

fn write_start(draft: &Draft, steering: &Steering, writer: &mut EventWriter<'_>) {
    let kind = "message_start";
    if steering.usage == UsageFields::Old {
        let message = OldMessage {
            id: &draft.message.id,
            kind: "message",
            role: "assistant",
            model: &draft.opening_model,
            content: [],
            stop_reason: None,
            stop_sequence: None,
            usage: &draft.opening_usage,
        };
        writer.event(kind, &OldMessageStart { kind, message });
        return;
    }
    let message = Message {
        model: draft.opening_model.clone(),
        container: None,
        content: Vec::new(),
        stop_reason: None,
        stop_sequence: None,
        stop_details: Some(None),
        context_management: None,
        usage: draft.opening_usage.clone(),
        ..draft.message.clone()
    };
    writer.event(kind, &MessageStart { kind, message: &message });
}

/// Writes the deltas of one block, the text in `pieces` pieces if that is asked for.
fn write_deltas(
    writer: &mut EventWriter<'_>,
    index: usize,
    block: &Block,
    pieces: Option<usize>,
    cutter: &mut Dice,
) {
    let mut write = |delta: Delta<'_>| {
        let kind = "content_block_delta";
        writer.event(kind, &BlockDelta { kind, index, delta });
    };
    match block {
        Block::Text { text, citations } => {
            for citation in citations.iter().flatten() {
                write(Delta::Citation { citation });
            }
            let texts = match pieces {
                Some(count) => prose::cut_evenly(text, count),
                None => prose::cut_naturally(text, cutter),
            };
            texts.into_iter().for_each(|text| write(Delta::Text { text }));
        }
        Block::Thinking { thinking, signature } => {
            let thoughts = prose::cut_naturally(thinking, cutter);
            thoughts.into_iter().for_each(|thinking| write(Delta::Thinking { thinking }));
            write(Delta::Signature { signature });
        }
        Block::ToolUse { input, .. }
        | Block::ServerToolUse { input, .. }
        | Block::McpToolUse { input, .. } => {
            write(Delta::Input { partial_json: "" });
            let text = input.to_string();
            let fragments = prose::cut_anywhere(&text, cutter);
            fragments.into_iter().for_each(|partial_json| write(Delta::Input { partial_json }));
        }
        Block::Compaction { content: Some(content) } => write(Delta::Compaction { content }),
        Block::Compaction { content: None }
        | Block::RedactedThinking { .. }
        | Block::McpToolResult { .. }
        | Block::WebSearchToolResult { .. }
        | Block::WebFetchToolResult { .. }
        | Block::BashCodeExecutionToolResult { .. }
        | Block::AdvisorToolResult { .. }
        | Block::Fallback { .. } => {}
    }
}

/// Adds the pings and comments that were asked for, counted in events of the message.
fn interleave(events: Vec<Bytes>, steering: &Steering) -> Vec<Bytes> {
    if steering.ping_every.is_none() && steering.comment_every.is_none() {
        return events;
    }
    let due = |every: Option<u64>, number: usize| {
        let every = every.and_then(|every| usize::try_from(every).ok()).unwrap_or(0);
        number.checked_rem(every) == Some(0)
    };
    let last = events.len();
    let mut mixed = Vec::with_capacity(last.saturating_mul(2));
    for (number, event) in (1_usize..).zip(events) {
        mixed.push(event);
        if number < last && due(steering.ping_every, number) {
            mixed.push(Bytes::from_static(PING.as_bytes()));
        }
        if number < last && due(steering.comment_every, number) {
            mixed.push(Bytes::from_static(COMMENT.as_bytes()));
        }
    }
    mixed
}
