//! An event for every call of an MCP tool in an answer.

use std::sync::Arc;

use mindweave_metering::{
    Certainty, DecisionRecord, Envelope, EventType, NanoUsd, Outcome, ToolCall, ToolKind, UsageEvent,
};

use super::Ledger;
use crate::metrics;

impl Ledger {
    /// Books the calls of MCP tools that this request's answer asked for: those that its event names, which are bounded.
    pub(super) fn book_mcp_calls(&self, request: &Envelope<UsageEvent>) {
        for call in request.data.tool_calls.iter().filter(|call| is_mcp(call)) {
            let event_id = self.next_event_id(request.timestamp);
            let event = UsageEvent { event_id, ..call_event(&request.data, call) };
            let correlation_id = Arc::clone(&request.correlation_id);
            let envelope = Envelope { correlation_id, ..self.envelope(&self.mcp_tool, event) };
            self.append(&envelope, None);
            metrics::governance().mcp_calls.increment(1);
        }
    }
}

/// Whether a call goes to an MCP server, through the API's connector or through the client.
fn is_mcp(call: &ToolCall) -> bool {
    match call.kind {
        ToolKind::Mcp => true,
        ToolKind::Client => call.server.is_some(),
        ToolKind::Server => false,
    }
}

/// What there is to say about a call: whose it is, in which request, and no figures, for those are the request's.
fn call_event(request: &UsageEvent, call: &ToolCall) -> UsageEvent {
    UsageEvent {
        event_type: EventType::McpTool,
        parent_event_id: Some(request.event_id),
        tool_calls: vec![call.clone()],
        input_tokens: 0,
        output_tokens: 0,
        cache_read_tokens: 0,
        cache_write_5m_tokens: 0,
        cache_write_1h_tokens: 0,
        thinking_tokens: 0,
        web_search_requests: 0,
        buckets: Vec::new(),
        cost_nano_usd: Some(NanoUsd(0)),
        cost_usd: Some(NanoUsd(0).to_string()),
        certainty: Certainty::Exact,
        certainty_reason: None,
        outcome: Outcome::Complete,
        stop_reason: None,
        error_type: None,
        latency_ms: 0,
        ttft_ms: None,
        overhead_us: 0,
        decision: DecisionRecord {
            policy_revision: request.decision.policy_revision,
            ..DecisionRecord::allowed()
        },
        request: None,
        batch: None,
        ..request.clone()
    }
}
