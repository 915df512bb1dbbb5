//! Events as proxies write them: one message of a coding session, 500 keys of 50 projects, five models.

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

const MODELS: [&str; 5] =
    ["claude-opus-5", "claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-4-1", "claude-sonnet-4"];

/// A UUIDv7 (RFC 9562, section 5.7): this moment, and the number in place of chance.
fn id(number: u64, at: Timestamp) -> Uuid {
    let millis = u128::try_from(at.as_millisecond()).unwrap_or_default();
    Uuid::from_u128(millis << 80 | 0x7 << 76 | 0b10 << 62 | u128::from(number))
}

/// The payload of the event with this number, which ended at this moment.
pub(crate) fn payload(number: u64, ended: Timestamp) -> Vec<u8> {
    let id = id(number, ended);
    let model = usize::try_from(number % 5).ok().and_then(|place| MODELS.get(place)).unwrap_or(&MODELS[0]);
    let (key, project) = (number % 500, number % 50);
    let (input, output, read) = (100 + number % 900, 50 + number % 450, 2_000 + number % 9_000);
    let bucket = |kind: &str, quantity: u64, price: u64| {
        json!({ "source": "message", "model": model, "kind": kind, "quantity": quantity,
            "unit_price_pico_usd": price, "amount_pico_usd": quantity * price })
    };
    let cost = (input * 5_000_000 + output * 25_000_000 + read * 500_000) / 1_000;
    let event = json!({
        "event_id": id, "timestamp": ended, "org_id": "org_bench", "project_id": format!("prj_{project}"),
        "user_id": format!("usr_{}", number % 100), "key_id": format!("key_{key}"), "event_type": "api_call",
        "method": "POST", "endpoint": "/v1/messages", "model": model, "requested_model": model,
        "input_tokens": input, "output_tokens": output, "cache_read_tokens": read, "cache_write_5m_tokens": 0,
        "cache_write_1h_tokens": 0, "thinking_tokens": 0, "web_search_requests": 0,
        "buckets": [bucket("input", input, 5_000_000), bucket("output", output, 25_000_000), bucket("cache_read", read, 500_000)],
        "cost_nano_usd": cost, "cost_usd": format!("{}.{:09}", cost / 1_000_000_000, cost % 1_000_000_000),
        "certainty": "exact", "outcome": "complete", "status": 200, "stop_reason": "end_turn", "latency_ms": 900 + number % 700,
        "ttft_ms": 300, "overhead_us": 120, "streamed": true, "request_id": format!("req_{number:024}"),
        "message_id": format!("msg_{number:024}"), "session_id": format!("session-{}", number % 1_000), "retry_count": 0,
        "tool_calls": [], "decision": { "effect": "allow", "reasons": [], "policy_revision": 3, "shadow": [] },
        "price_book": "2026-11-21", "snapshot_revision": 12, "proxy_id": "pxy_bench", "sequence": 0, "metadata": {},
    });
    let envelope = json!({
        "id": id, "type": "usage.api_call", "source": "mindweave-proxy/pxy_bench", "timestamp": ended, "version": "1.0",
        "correlation_id": format!("req_{number:024}"), "data": event, "metadata": {},
    });
    envelope.to_string().into_bytes()
}
