//! The parts of an event that are no plain fields.

use std::sync::Arc;

use mindweave_metering::{Bucket, BucketSource, EventId, PicoUsd, RequestDigest, ToolCall};
use serde_json::Value;

use crate::intake::bounds::{MAX_BUCKETS, MAX_DIGEST_NAMES};
use crate::intake::fault::Faults;
use crate::intake::reader::Reader;
use crate::usage::{MAX_COST, MAX_FIGURE};

const SOURCES: [&str; 4] = ["message", "compaction", "advisor", "fallback_hop"];
const KINDS: [&str; 6] = ["input", "output", "cache_read", "cache_write_5m", "cache_write_1h", "web_search"];
const TOOL_KINDS: [&str; 3] = ["client", "server", "mcp"];
/// Pico-dollars in a nano-dollar.
const PICO_PER_NANO: u64 = 1_000;

/// A UUID. The two that stand for nothing are refused: many programs send them for an id that they forgot to make, and all
/// such events would be taken for one.
pub(super) fn event_id(fields: &mut Reader<'_>, name: &'static str) -> Option<EventId> {
    let value = fields.take(name)?;
    let id: Option<EventId> = value.as_str().and_then(|text| text.parse().ok());
    let id = id.filter(|id| !matches!(id.as_bytes(), [0, rest @ ..] if rest.iter().all(|byte| *byte == 0)));
    let id = id.filter(|id| id.as_bytes().iter().any(|byte| *byte != u8::MAX));
    if id.is_none() {
        fields.fault(name, "must be a UUID of this event alone, best of version 7");
    }
    id
}

/// The lines of a bill; each with its price or without.
pub(super) fn buckets(fields: &mut Reader<'_>, model: Option<&Arc<str>>) -> Vec<Bucket> {
    let each = |value: Value, place: String, faults: &mut Faults| {
        let Value::Object(object) = value else {
            faults.add(place, "must be an object");
            return None;
        };
        bucket(Reader::new(object, place, faults), model)
    };
    fields.array("buckets", MAX_BUCKETS, each).unwrap_or_default()
}

fn bucket(mut fields: Reader<'_>, event_model: Option<&Arc<str>>) -> Option<Bucket> {
    let source = fields.word("source", &SOURCES).unwrap_or(BucketSource::Message);
    let model = fields.text(&["model"]).or_else(|| event_model.cloned());
    let (kind, quantity) = (fields.word("kind", &KINDS), fields.count(&["quantity"]));
    let most = MAX_COST.saturating_mul(PICO_PER_NANO);
    let unit: Option<i64> = fields.small("unit_price_pico_usd", most);
    let amount: Option<i64> = fields.small("amount_pico_usd", most);
    if model.is_none() && !fields.was_refused("model") {
        fields.fault("model", "is required");
    }
    let (Some(kind), Some(quantity)) = (kind, quantity) else {
        fields.fault_here("needs a kind and a quantity");
        return None;
    };
    let product = unit.and_then(|unit| PicoUsd(unit).checked_mul(quantity));
    if amount.is_some() && amount.map(PicoUsd) != product {
        fields.fault("amount_pico_usd", "must be quantity times unit_price_pico_usd");
    }
    fields.finish();
    let unit = product.and(unit).map(PicoUsd);
    Some(Bucket {
        source,
        model: model?,
        kind,
        quantity,
        unit_price_pico_usd: unit,
        amount_pico_usd: product,
    })
}

/// A tool call.
pub(super) fn tool_call(value: Value, place: String, faults: &mut Faults) -> Option<ToolCall> {
    let Value::Object(object) = value else {
        faults.add(place, "must be an object");
        return None;
    };
    let mut fields = Reader::new(object, place, faults);
    let (name, kind) = (fields.text(&["name"]), fields.word("kind", &TOOL_KINDS));
    let (server, id) = (fields.text(&["server"]), fields.text(&["id"]));
    if name.is_none() || kind.is_none() {
        fields.fault_here("needs a name and a kind");
    }
    fields.finish();
    Some(ToolCall { name: name?, kind: kind?, server, id })
}

/// What was asked for.
pub(super) fn digest(fields: &mut Reader<'_>) -> Option<RequestDigest> {
    let mut digest = fields.object("request")?;
    let read = RequestDigest {
        bytes: digest.count(&["bytes"]),
        stream: digest.flag("stream").unwrap_or(false),
        max_tokens: digest.count(&["max_tokens"]),
        message_count: digest.count(&["message_count"]).unwrap_or(0),
        estimated_input_tokens: digest.small("estimated_input_tokens", MAX_FIGURE),
        mcp_servers: digest.texts("mcp_servers", MAX_DIGEST_NAMES),
        inference_geo: digest.text(&["inference_geo"]),
        betas: digest.texts("betas", MAX_DIGEST_NAMES),
        client_ip: digest.address("client_ip"),
        user_agent: digest.text(&["user_agent"]),
    };
    digest.finish();
    Some(read)
}
