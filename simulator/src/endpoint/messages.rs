//! `POST /v1/messages` and `POST /v1/messages/count_tokens`.

use bytes::Bytes;
use serde::Serialize;

use crate::answer::Answer;
use crate::dice::Dice;
use crate::exchange::{Exchange, internal};
use crate::fault::Fault;
use crate::heads::{self, Content};
use crate::inquiry::{Inquiry, estimated_tokens};
use crate::intake::RawBody;
use crate::message::Block;
use crate::prose;
use crate::shape::{Draft, draft};
use crate::sse;
use crate::steering::Steering;

#[derive(Serialize)]
struct StreamError<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    error: StreamErrorDetail<'a>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct StreamErrorDetail<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct CountedTokens {
    input_tokens: u64,
}

pub(super) fn create(exchange: &mut Exchange, body: &RawBody) -> Result<Answer, Fault> {
    let body = body.decoded()?;
    let inquiry = Inquiry::read(&body, exchange.version)?;
    if inquiry.max_tokens.is_none() {
        return Err(Fault::missing("max_tokens"));
    }
    let draft = draft(&inquiry, &exchange.steering, &mut exchange.dice);
    let content = if inquiry.stream { Content::EventStream } else { Content::Json };
    let mut headers = exchange.head(content);
    let tokens = draft.message.usage.input_tokens.unwrap_or(0);
    heads::add_limits(&mut headers, tokens, &mut exchange.dice);
    let pieces = if inquiry.stream {
        let events = sse::events(&draft, &exchange.steering, &mut exchange.dice);
        failing_midway(events, &exchange.steering, &exchange.request_id, &mut exchange.dice)
    } else {
        vec![json(draft)?]
    };
    exchange.pieces(headers, pieces, inquiry.stream)
}

/// Counting is free, and an estimate here as there.
pub(super) fn count_tokens(exchange: &mut Exchange, body: &RawBody) -> Result<Answer, Fault> {
    let body = body.decoded()?;
    let inquiry = Inquiry::read(&body, exchange.version)?;
    let estimate = estimated_tokens(inquiry.body.len());
    let input_tokens = exchange.steering.input_tokens.unwrap_or(estimate);
    exchange.json(&CountedTokens { input_tokens })
}

/// The JSON form; a size that was asked for is reached to the byte by adding text.
fn json(mut draft: Draft) -> Result<Bytes, Fault> {
    let write = |draft: &Draft| serde_json::to_vec(&draft.message).map_err(|_| internal());
    let Some(wanted) = draft.response_bytes else { return write(&draft).map(Bytes::from) };
    if let Some(Block::Text { text, .. }) = last_text(&mut draft) {
        text.clear();
    }
    let missing = wanted.saturating_sub(write(&draft)?.len());
    if let Some(Block::Text { text, .. }) = last_text(&mut draft) {
        *text = prose::filler(missing);
    }
    write(&draft).map(Bytes::from)
}

fn last_text(draft: &mut Draft) -> Option<&mut Block> {
    draft.message.content.iter_mut().rfind(|block| matches!(block, Block::Text { .. }))
}

/// Replaces what follows the steered event by an `error` event, which ends the stream.
fn failing_midway(
    mut events: Vec<Bytes>,
    steering: &Steering,
    request_id: &str,
    dice: &mut Dice,
) -> Vec<Bytes> {
    let Some(after) = steering.error_after_events else { return events };
    events.truncate(usize::try_from(after).unwrap_or(usize::MAX));
    let kind = steering.error_type.as_deref().unwrap_or("overloaded_error");
    let message = steering.message.as_deref().unwrap_or("Overloaded");
    let mut writer = sse::EventWriter::new(dice);
    let error = StreamErrorDetail { kind, message };
    writer.event("error", &StreamError { kind: "error", error, request_id });
    events.extend(writer.finish());
    events
}
