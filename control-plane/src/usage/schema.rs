//! What an event looks like in the description of the API. Its type lives where events are made, which knows nothing of it; a test holds the
//! fields to be the same.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// What an event counts.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "describes words of another crate")]
pub(crate) enum EventTypeWord {
    ApiCall,
    McpTool,
    Session,
}

/// How an exchange ended.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "describes words of another crate")]
pub(crate) enum EventOutcome {
    Complete,
    UpstreamError,
    ClientGone,
    UpstreamCut,
    Deadline,
    Denied,
    Interrupted,
}

/// How the figures are known.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "describes words of another crate")]
pub(crate) enum EventCertainty {
    Exact,
    Estimated,
    Unknown,
}

/// One exchange, or one call of a tool. Fields of later versions may come besides.
#[derive(utoipa::ToSchema)]
#[schema(as = UsageEvent)]
#[expect(dead_code, reason = "describes a type of another crate")]
pub(crate) struct EventShown {
    /// Made when the request was admitted.
    #[schema(format = "uuid")]
    event_id: String,
    /// When the exchange ended.
    timestamp: Timestamp,
    org_id: String,
    project_id: String,
    team_id: Option<String>,
    user_id: Option<String>,
    key_id: Option<String>,
    event_type: EventTypeWord,
    method: String,
    /// The path with ids replaced, for example `/v1/messages`.
    endpoint: String,
    /// The model that served.
    model: Option<String>,
    /// The model that was asked for.
    requested_model: Option<String>,
    /// Without cached tokens.
    input_tokens: u64,
    output_tokens: u64,
    cache_read_tokens: u64,
    cache_write_5m_tokens: u64,
    cache_write_1h_tokens: u64,
    /// The part of the output that was thinking.
    thinking_tokens: u64,
    web_search_requests: u64,
    buckets: Vec<EventBucket>,
    cost_nano_usd: Option<i64>,
    cost_usd: Option<String>,
    certainty: EventCertainty,
    certainty_reason: Option<String>,
    outcome: EventOutcome,
    /// What the client saw; 0 when it saw none.
    status: u16,
    stop_reason: Option<String>,
    error_type: Option<String>,
    latency_ms: u64,
    /// Until the first content.
    ttft_ms: Option<u64>,
    /// The part that was ours.
    overhead_us: u64,
    streamed: bool,
    request_id: Option<String>,
    message_id: Option<String>,
    service_tier: Option<String>,
    session_id: Option<String>,
    agent_id: Option<String>,
    parent_agent_id: Option<String>,
    request_class: Option<String>,
    retry_count: u32,
    tool_calls: Vec<EventToolCall>,
    decision: EventDecision,
    price_book: String,
    snapshot_revision: u64,
    proxy_id: String,
    #[schema(required = false)]
    sequence: u64,
    /// The request that it belongs to, if it is none itself.
    #[schema(format = "uuid")]
    parent_event_id: Option<String>,
    #[schema(value_type = Option<Object>)]
    request: Option<()>,
    #[schema(value_type = Option<Object>)]
    batch: Option<()>,
    /// The key's labels.
    #[schema(required = false)]
    metadata: BTreeMap<String, String>,
}

/// A line of an event's bill.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes a type of another crate")]
struct EventBucket {
    /// `message`, `compaction`, `advisor` or `fallback_hop`.
    source: String,
    model: String,
    /// `input`, `output`, `cache_read`, `cache_write_5m`, `cache_write_1h` or `web_search`.
    kind: String,
    quantity: u64,
    unit_price_pico_usd: Option<i64>,
    amount_pico_usd: Option<i64>,
}

/// A tool that an answer called.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes a type of another crate")]
struct EventToolCall {
    name: String,
    /// `client`, `server` or `mcp`.
    kind: String,
    server: Option<String>,
    id: Option<String>,
}

/// What was decided about a request before it was forwarded.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes a type of another crate")]
struct EventDecision {
    /// `allow` or `deny`.
    effect: String,
    reasons: Vec<String>,
    policy_revision: u64,
    shadow: Vec<String>,
    #[schema(required = false, value_type = Vec<Object>)]
    verdicts: Vec<()>,
    /// The limit or budget that refused it.
    refused_by: Option<String>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mindweave_metering::{EventId, KeyId, NanoUsd, TeamId, UserId};
    use serde_json::Value;
    use utoipa::PartialSchema as _;

    use super::*;
    use crate::testing::{NOON, event};

    #[test]
    fn the_description_has_the_fields_that_events_have() {
        let mut full = event(1, NOON, 1);
        (full.team_id, full.user_id) = (Some(TeamId::new("t")), Some(UserId::new("u")));
        full.key_id = Some(KeyId::new("k"));
        (full.cost_nano_usd, full.cost_usd) = (Some(NanoUsd(1)), Some("1".into()));
        let text = Some("x".into());
        (full.certainty_reason, full.stop_reason, full.error_type) =
            (text.clone(), text.clone(), text.clone());
        (full.request_id, full.message_id, full.service_tier) = (text.clone(), text.clone(), text.clone());
        (full.session_id, full.agent_id, full.parent_agent_id) = (text.clone(), text.clone(), text.clone());
        (full.request_class, full.ttft_ms) = (text, Some(1));
        full.parent_event_id = Some(EventId::from_bytes([0; 16]));
        full.request = Some(mindweave_metering::RequestDigest::default());
        full.batch = Some(mindweave_metering::BatchResults { batch_id: "b".into(), items: Vec::new() });
        let shown = serde_json::to_value(&full).unwrap();
        let schema = serde_json::to_value(EventShown::schema()).unwrap();
        let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(names(&schema["properties"]), names(&shown));
    }
}
