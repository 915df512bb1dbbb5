//! What producers send, in the description of the API. What is refused beyond it says so itself.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::usage::{EventCertainty, EventOutcome};

/// Events: a list, or an object with one.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes what is read without types")]
pub(super) enum EventBatch {
    Listed(Vec<SentEvent>),
    Named {
        #[schema(max_items = 1_000)]
        events: Vec<SentEvent>,
    },
}

/// An event of another producer. Most fields have a default: see the usage event. Names of texts have at most 256 bytes.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct SentEvent {
    /// Any UUID; made if it is left out.
    #[schema(format = "uuid")]
    event_id: Option<String>,
    /// Now by default.
    timestamp: Option<Timestamp>,
    #[schema(min_length = 1, max_length = 256)]
    org_id: Option<String>,
    /// That of the key; without a key it is required, or `key_id`.
    #[schema(min_length = 1, max_length = 256)]
    project_id: Option<String>,
    #[schema(min_length = 1, max_length = 256)]
    team_id: Option<String>,
    #[schema(min_length = 1, max_length = 256)]
    user_id: Option<String>,
    #[schema(min_length = 1, max_length = 256)]
    key_id: Option<String>,
    /// `api_call`, `mcp_tool` or `session`.
    event_type: Option<String>,
    #[schema(min_length = 1, max_length = 256)]
    method: Option<String>,
    #[schema(min_length = 1, max_length = 256)]
    endpoint: Option<String>,
    #[schema(min_length = 1, max_length = 256)]
    model: Option<String>,
    #[schema(min_length = 1, max_length = 256)]
    requested_model: Option<String>,
    /// The object that the API's answer has, in place of all counts.
    #[schema(value_type = Option<Object>)]
    usage: Option<Value>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_tokens: Option<u64>,
    cache_write_5m_tokens: Option<u64>,
    cache_write_1h_tokens: Option<u64>,
    thinking_tokens: Option<u64>,
    web_search_requests: Option<u64>,
    cost_nano_usd: Option<i64>,
    cost_usd: Option<String>,
    certainty: Option<EventCertainty>,
    #[schema(min_length = 1, max_length = 128)]
    certainty_reason: Option<String>,
    outcome: Option<EventOutcome>,
    status: Option<u16>,
    latency_ms: Option<u64>,
    ttft_ms: Option<u64>,
    streamed: Option<bool>,
    #[schema(min_length = 1, max_length = 256)]
    request_id: Option<String>,
    #[schema(min_length = 1, max_length = 256)]
    session_id: Option<String>,
    #[schema(min_length = 1, max_length = 256)]
    agent_id: Option<String>,
    /// At most 32 entries, with names of 128 and values of 256 bytes.
    metadata: Option<BTreeMap<String, String>>,
    /// Names the producer, for people.
    #[schema(min_length = 1, max_length = 256)]
    source: Option<String>,
}
