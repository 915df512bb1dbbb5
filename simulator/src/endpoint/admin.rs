//! A few resources of the Admin API: enough to see them pass through.

use http::Method;
use serde_json::json;

use super::wrong_method;
use crate::answer::Answer;
use crate::exchange::Exchange;
use crate::fault::Fault;

pub(super) fn route(exchange: &mut Exchange, rest: &[&str]) -> Result<Answer, Fault> {
    if exchange.parts.method != Method::GET {
        return Err(wrong_method());
    }
    let page = |data| json!({"data": data, "has_more": false, "next_page": null});
    let body = match rest {
        ["me"] => {
            json!({"id": exchange.dice.uuid(), "type": "organization", "name": "Simulated organization"})
        }
        ["users" | "invites" | "workspaces" | "api_keys"] => {
            json!({"data": [], "has_more": false, "first_id": null, "last_id": null})
        }
        ["usage_report", "messages"] => page(json!([{
            "starting_at": "2026-11-21T00:00:00Z", "ending_at": "2026-11-22T00:00:00Z",
            "results": [{
                "uncached_input_tokens": 5_120, "cache_read_input_tokens": 40_960, "output_tokens": 640,
                "cache_creation": {"ephemeral_5m_input_tokens": 2_048, "ephemeral_1h_input_tokens": 0},
                "server_tool_use": {"web_search_requests": 1}, "model": "claude-opus-5-5", "api_key_id": null,
                "workspace_id": null, "service_tier": "standard", "context_window": "0-200k", "inference_geo": "global",
            }],
        }])),
        // Amounts are decimal texts in cents.
        ["cost_report"] => page(json!([{
            "starting_at": "2026-11-21T00:00:00Z", "ending_at": "2026-11-22T00:00:00Z",
            "results": [{
                "amount": "5.3476", "currency": "USD", "cost_type": "tokens", "token_type": "output_tokens",
                "model": "claude-opus-5-5", "workspace_id": null, "description": null, "service_tier": "standard",
                "context_window": "0-200k",
            }],
        }])),
        _ => return Err(Fault::not_found("Not Found")),
    };
    exchange.json(&body)
}
