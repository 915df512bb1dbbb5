//! `/v1/models`.

use http::Method;
use serde::Serialize;
use serde_json::{Value, json};

use super::wrong_method;
use crate::answer::Answer;
use crate::exchange::Exchange;
use crate::fault::Fault;
use crate::models::{MODELS, Model, find};

/// Entries of a page unless the request says otherwise.
const DEFAULT_PAGE: usize = 20;

#[derive(Serialize)]
struct Page {
    data: Vec<Value>,
    has_more: bool,
    first_id: Option<&'static str>,
    last_id: Option<&'static str>,
}

pub(super) fn route(exchange: &mut Exchange, rest: &[&str]) -> Result<Answer, Fault> {
    if exchange.parts.method != Method::GET {
        return Err(wrong_method());
    }
    match rest {
        [] => list(exchange),
        [id] => {
            let model = find(id).ok_or_else(|| Fault::not_found(format!("model: {id}")))?;
            exchange.json(&entry(model))
        }
        _ => Err(Fault::not_found("Not Found")),
    }
}

fn list(exchange: &mut Exchange) -> Result<Answer, Fault> {
    let limit = exchange.query("limit").and_then(|limit| limit.parse().ok()).unwrap_or(DEFAULT_PAGE);
    let place = |id: Option<&str>| id.and_then(|id| MODELS.iter().position(|model| model.id == id));
    let start = place(exchange.query("after_id")).map_or(0, |at| at.saturating_add(1));
    let end = place(exchange.query("before_id")).unwrap_or(MODELS.len());
    let page: Vec<&Model> = MODELS.iter().take(end).skip(start).take(limit).collect();
    let body = Page {
        has_more: start.saturating_add(page.len()) < end,
        first_id: page.first().map(|model| model.id),
        last_id: page.last().map(|model| model.id),
        data: page.into_iter().map(entry).collect(),
    };
    exchange.json(&body)
}

fn entry(model: &Model) -> Value {
    let yes = json!({"supported": true});
    json!({
        "type": "model",
        "id": model.id,
        "display_name": model.name,
        "created_at": format!("{}T00:00:00Z", model.created),
        "max_input_tokens": model.max_input_tokens,
        "max_tokens": model.max_tokens,
        "line": model.line,
        "lifecycle": "active",
        "deprecated_at": null,
        "retires_at": null,
        "capabilities": {
            "batch": yes, "citations": yes, "code_execution": yes, "image_input": yes, "pdf_input": yes,
            "structured_outputs": yes,
            "context_management": {
                "supported": true, "clear_tool_uses_20250919": yes, "clear_thinking_20251015": yes,
                "compact_20260112": yes,
            },
            "effort": {"supported": true, "low": yes, "medium": yes, "high": yes, "xhigh": yes, "max": yes},
            "thinking": {"supported": true, "types": {"enabled": {"supported": false}, "adaptive": yes}},
        },
    })
}
