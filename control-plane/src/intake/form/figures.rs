//! How much was used: token by token, or as the API's answer said it.

use std::sync::Arc;

use mindweave_metering::{
    CertaintyReason, Endpoint, EventType, MeteredResponse, Outcome, ResponseHead, ResponseTap, TokenCounts,
    UsageEvent,
};
use serde_json::{Value, json};

use crate::intake::reader::Reader;
use crate::usage::MAX_FIGURE;

/// Counts of the message itself.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::intake) struct Counts {
    pub(in crate::intake) tokens: TokenCounts,
    pub(in crate::intake) thinking_tokens: u64,
    pub(in crate::intake) web_search_requests: u64,
}

/// What was used.
#[derive(Debug)]
pub(in crate::intake) enum Figures {
    /// Nobody knows.
    Unknown,
    /// Counts.
    Counts(Counts),
    /// The API's own `usage`, read as the proxy reads it.
    Metered(Box<MeteredResponse>),
}

/// On which terms.
#[derive(Clone, Debug, Default)]
pub(in crate::intake) struct Terms {
    pub(in crate::intake) service_tier: Option<Arc<str>>,
    pub(in crate::intake) inference_geo: Option<Arc<str>>,
    pub(in crate::intake) speed: Option<Arc<str>>,
}

impl Terms {
    /// Reads them. What was asked for stands in for what was served.
    pub(super) fn read(fields: &mut Reader<'_>, draft: &UsageEvent) -> Self {
        let asked = || draft.request.as_ref().and_then(|request| request.inference_geo.clone());
        Self {
            service_tier: fields.text(&["service_tier"]),
            inference_geo: fields.text(&["inference_geo"]).or_else(asked),
            speed: fields.text(&["speed"]),
        }
    }
}

impl Figures {
    /// Reads them. Calls need a model, and how much they read and wrote, unless nothing came of them.
    pub(super) fn read(fields: &mut Reader<'_>, draft: &UsageEvent) -> Self {
        let is_call = draft.event_type == EventType::ApiCall;
        let is_unknown = fields.says("certainty", "unknown");
        let is_billed = is_call && draft.outcome != Outcome::UpstreamError && !is_unknown;
        let usage = fields.take("usage");
        let (input, output) = (fields.count(&["input_tokens"]), fields.count(&["output_tokens"]));
        let counts = Counts {
            tokens: TokenCounts {
                input: input.unwrap_or(0),
                output: output.unwrap_or(0),
                cache_read: fields.count(&["cache_read_tokens", "cache_read_input_tokens"]).unwrap_or(0),
                cache_write_5m: fields
                    .count(&["cache_write_5m_tokens", "cache_creation_input_tokens"])
                    .unwrap_or(0),
                cache_write_1h: fields.count(&["cache_write_1h_tokens"]).unwrap_or(0),
            },
            thinking_tokens: fields.count(&["thinking_tokens"]).unwrap_or(0),
            web_search_requests: fields.count(&["web_search_requests"]).unwrap_or(0),
        };
        let nothing_counted =
            counts.tokens.is_zero() && counts.thinking_tokens == 0 && counts.web_search_requests == 0;
        // Calls that count as nothing have no model: counting tokens, listing models.
        let is_nothing = usage.is_none() && nothing_counted && input.is_some() && output.is_some();
        let is_named = draft.model.is_some() || draft.requested_model.is_some();
        if is_billed && !is_named && !is_nothing && !fields.was_refused("model") {
            fields.fault("model", "is required");
        }
        if let Some(usage) = usage {
            if !nothing_counted {
                fields.fault("usage", "says it all: leave out the counts beside it");
            }
            return Self::of_usage(fields, &usage, draft);
        }
        if counts.thinking_tokens > counts.tokens.output {
            fields.fault("thinking_tokens", "must not be more than output_tokens, of which they are a part");
        }
        if is_unknown && nothing_counted {
            return Self::Unknown;
        }
        if is_billed {
            for (name, given) in [("input_tokens", input), ("output_tokens", output)] {
                if given.is_none() && !fields.was_refused(name) {
                    fields.fault(name, "is required");
                }
            }
        }
        Self::Counts(counts)
    }

    /// Reads the API's `usage` as the proxy does: as a part of the answer that it came in.
    fn of_usage(fields: &mut Reader<'_>, usage: &Value, draft: &UsageEvent) -> Self {
        let is_count =
            |name| usage.get(name).and_then(Value::as_u64).is_some_and(|count| count <= MAX_FIGURE);
        if !is_count("input_tokens") || !is_count("output_tokens") {
            fields.fault("usage", "must be the usage object of an answer of the API");
            return Self::Unknown;
        }
        let mut answer = json!({
            "type": "message", "role": "assistant", "content": [{ "type": "text", "text": "" }], "usage": usage,
        });
        if let (Some(answer), Some(model)) = (answer.as_object_mut(), &draft.model) {
            answer.insert("model".to_owned(), (&**model).into());
        }
        let endpoint = Endpoint::of("POST", "/v1/messages");
        let head = ResponseHead {
            endpoint: &endpoint,
            status: 200,
            content_type: Some("application/json"),
            content_encoding: None,
        };
        let mut tap = ResponseTap::new(&head);
        tap.feed(answer.to_string().as_bytes());
        let metered = tap.finish(Outcome::Complete);
        match metered.certainty_reason {
            Some(
                CertaintyReason::UsageImplausible
                | CertaintyReason::NoUsage
                | CertaintyReason::BodyUnreadable,
            ) => {
                fields.fault("usage", "holds a figure that cannot be one");
                Self::Unknown
            }
            _ => Self::Metered(Box::new(metered)),
        }
    }
}
