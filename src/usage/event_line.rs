//! One call as one line: the table that grows, and the CSV of calls.

use mindweave_metering::{Certainty, EventType, NanoUsd, Outcome, UsageEvent};

use crate::table::{Align, count, cut, dollars, pad};

/// Titles and widths of the table's columns. A line has to be laid out before the next is known, so widths are fixed:
/// as wide as the longest model name and as numbers usually get.
const COLUMNS: [(&str, usize, Align); 9] = [
    ("TIME", 8, Align::Left),
    ("PROJECT", 16, Align::Left),
    ("MODEL", 25, Align::Left),
    ("INPUT", 9, Align::Right),
    ("CACHE READ", 10, Align::Right),
    ("CACHE WRITE", 11, Align::Right),
    ("OUTPUT", 7, Align::Right),
    ("COST", 11, Align::Right),
    ("TOTAL", 12, Align::Right),
];

/// What a CSV of calls has.
pub(super) const CSV_COLUMNS: [&str; 20] = [
    "timestamp",
    "event_id",
    "project",
    "user_id",
    "key_id",
    "method",
    "endpoint",
    "model",
    "status",
    "outcome",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "cost_usd",
    "certainty",
    "request_id",
    "event_type",
    "tool",
];

/// The sum of what was printed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Running {
    /// Calls.
    pub(crate) calls: u64,
    /// Their known cost.
    pub(crate) cost: NanoUsd,
    /// Calls whose cost is not known, and so not in `cost`.
    pub(crate) unknown: u64,
}

impl Running {
    /// The sum in words.
    pub(crate) fn summary(&self) -> String {
        let calls = if self.calls == 1 { "call" } else { "calls" };
        let known = format!("{} {calls}, {}", count(self.calls), dollars(self.cost));
        match self.unknown {
            0 => known,
            unknown => format!("{known}, and {} of unknown cost", count(unknown)),
        }
    }

    /// Adds a call. Calls of tools are shown, but are none of their own: what they cost is in the calls around them.
    pub(super) fn add(&mut self, event: &UsageEvent) {
        if event.event_type == EventType::McpTool {
            return;
        }
        self.calls = self.calls.saturating_add(1);
        match event.cost_nano_usd {
            Some(cost) => self.cost = NanoUsd(self.cost.0.saturating_add(cost.0)),
            None => self.unknown = self.unknown.saturating_add(1),
        }
    }
}

/// The titles.
pub(super) fn titles() -> String {
    line(&COLUMNS.map(|(title, _, _)| title.to_owned()), "")
}

/// One call, with the running total that includes it.
pub(super) fn row(event: &UsageEvent, project: &str, running: &Running) -> String {
    let written = event.cache_write_5m_tokens.saturating_add(event.cache_write_1h_tokens);
    let cells = [
        event.timestamp.strftime("%H:%M:%S").to_string(),
        project.to_owned(),
        subject(event),
        count(event.input_tokens),
        count(event.cache_read_tokens),
        count(written),
        count(event.output_tokens),
        cost(event),
        dollars(running.cost),
    ];
    line(&cells, &note(event))
}

/// The fields of a call in a CSV.
pub(super) fn csv_fields(event: &UsageEvent, project: &str) -> [String; 20] {
    let text = |field: &Option<std::sync::Arc<str>>| field.as_deref().unwrap_or_default().to_owned();
    [
        event.timestamp.to_string(),
        event.event_id.to_string(),
        project.to_owned(),
        event.user_id.as_ref().map_or_else(String::new, ToString::to_string),
        event.key_id.as_ref().map_or_else(String::new, ToString::to_string),
        event.method.to_string(),
        event.endpoint.to_string(),
        text(&event.model),
        event.status.to_string(),
        outcome(event.outcome).to_owned(),
        event.input_tokens.to_string(),
        event.output_tokens.to_string(),
        event.cache_read_tokens.to_string(),
        event.cache_write_5m_tokens.to_string(),
        event.cache_write_1h_tokens.to_string(),
        event.cost_nano_usd.map_or_else(String::new, |cost| cost.to_string()),
        certainty(event.certainty).to_owned(),
        text(&event.request_id),
        event_type(event.event_type).to_owned(),
        tool(event).unwrap_or_default(),
    ]
}

fn line(cells: &[String; COLUMNS.len()], note: &str) -> String {
    let padded = COLUMNS.iter().zip(cells).map(|((_, width, align), cell)| match align {
        Align::Left => pad(&cut(cell, *width), *width, *align),
        Align::Right => pad(cell, *width, *align), // a number is never cut
    });
    let line = padded.collect::<Vec<_>>().join("  ");
    format!("{line}  {note}").trim_end().to_owned()
}

/// The model, or what was called where no model is involved.
fn subject(event: &UsageEvent) -> String {
    if let Some(tool) = tool(event) {
        return tool;
    }
    let model = event.model.as_ref().or(event.requested_model.as_ref());
    model.map_or_else(|| format!("{} {}", event.method, event.endpoint), ToString::to_string)
}

/// The MCP tool that was called, with its server.
fn tool(event: &UsageEvent) -> Option<String> {
    let call = event.tool_calls.first().filter(|_| event.event_type == EventType::McpTool)?;
    Some(match &call.server {
        Some(server) => format!("{server}/{}", call.name),
        None => call.name.to_string(),
    })
}

fn event_type(event_type: EventType) -> &'static str {
    match event_type {
        EventType::ApiCall => "api_call",
        EventType::McpTool => "mcp_tool",
        EventType::Session => "session",
    }
}

/// The cost; never zero for one that is not known, and marked where it is estimated.
fn cost(event: &UsageEvent) -> String {
    match (event.cost_nano_usd, event.certainty) {
        _ if event.event_type == EventType::McpTool => "-".to_owned(),
        (None, _) => "unknown".to_owned(),
        (Some(cost), Certainty::Estimated) => format!("~{}", dollars(cost)),
        (Some(cost), Certainty::Exact | Certainty::Unknown) => dollars(cost),
    }
}

/// What is out of the ordinary about a call.
fn note(event: &UsageEvent) -> String {
    let mut notes = Vec::new();
    if event.event_type == EventType::McpTool {
        notes.push("tool call".to_owned());
    }
    if event.status >= 400 || event.error_type.is_some() {
        let kind = event.error_type.as_deref().unwrap_or_default();
        notes.push(format!("{} {kind}", event.status).trim().to_owned());
    } else if event.outcome != Outcome::Complete {
        notes.push(outcome(event.outcome).to_owned());
    }
    if let (Certainty::Estimated | Certainty::Unknown, Some(reason)) =
        (event.certainty, &event.certainty_reason)
    {
        notes.push(format!("{}: {reason}", certainty(event.certainty)));
    }
    notes.join(", ")
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Complete => "complete",
        Outcome::UpstreamError => "upstream_error",
        Outcome::ClientGone => "client_gone",
        Outcome::UpstreamCut => "upstream_cut",
        Outcome::Deadline => "deadline",
        Outcome::Denied => "denied",
        Outcome::Interrupted => "interrupted",
    }
}

fn certainty(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Exact => "exact",
        Certainty::Estimated => "estimated",
        Certainty::Unknown => "unknown",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    /// A call as the ledger tells it.
    pub(in crate::usage) fn event(changes: serde_json::Value) -> UsageEvent {
        let mut event = json!({
            "event_id": "0199a0b0-0000-7000-8000-000000000001", "timestamp": "2026-11-21T12:30:05.123Z",
            "org_id": "org_1", "project_id": "prj_1", "event_type": "api_call", "method": "POST",
            "endpoint": "/v1/messages", "model": "claude-haiku-4-5-20251001", "requested_model": "claude-haiku-4-5",
            "input_tokens": 12, "output_tokens": 345, "cache_read_tokens": 12345, "cache_write_5m_tokens": 60,
            "cache_write_1h_tokens": 7, "thinking_tokens": 0, "web_search_requests": 0, "buckets": [],
            "cost_nano_usd": 1234500, "certainty": "exact", "outcome": "complete", "status": 200, "latency_ms": 5,
            "overhead_us": 9, "streamed": true, "retry_count": 0, "tool_calls": [], "price_book": "1",
            "decision": { "effect": "allow", "reasons": [], "policy_revision": 0, "shadow": [] },
            "snapshot_revision": 1, "proxy_id": "pxy_1",
        });
        let serde_json::Value::Object(changes) = changes else { panic!("changes are an object") };
        for (key, value) in changes {
            event[key] = value;
        }
        serde_json::from_value(event).unwrap()
    }

    fn shown(changes: serde_json::Value) -> String {
        let event = event(changes);
        let mut running = Running::default();
        running.add(&event);
        row(&event, "checkout", &running)
    }

    #[test]
    fn a_row_stands_under_its_titles() {
        assert_eq!(
            titles(),
            "TIME      PROJECT           MODEL                          INPUT  CACHE READ  CACHE WRITE   OUTPUT         COST         TOTAL"
        );
        assert_eq!(
            shown(json!({})),
            "12:30:05  checkout          claude-haiku-4-5-20251001         12      12,345           67      345    $0.001235     $0.001235"
        );
    }

    #[test]
    fn an_unknown_cost_is_never_a_number() {
        let row = shown(
            json!({ "cost_nano_usd": null, "certainty": "unknown", "certainty_reason": "model_without_price" }),
        );
        assert!(row.contains("  unknown  "), "{row}");
        assert!(row.ends_with("$0.000000  unknown: model_without_price"), "{row}");
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_noted() {
        assert!(
            shown(json!({ "status": 429, "error_type": "rate_limit_error" }))
                .ends_with("  429 rate_limit_error")
        );
        let cut = shown(
            json!({ "outcome": "client_gone", "certainty": "estimated", "certainty_reason": "no_final_usage" }),
        );
        assert!(cut.contains("~$0.001235"), "{cut}");
        assert!(cut.ends_with("client_gone, estimated: no_final_usage"), "{cut}");
    }

    #[test]
    fn a_call_without_model_is_named_by_its_endpoint() {
        let row = shown(
            json!({ "model": null, "requested_model": null, "method": "GET", "endpoint": "/v1/models" }),
        );
        assert!(row.contains("  GET /v1/models  "), "{row}");
    }

    #[test]
    fn a_tool_call_is_shown_by_its_tool_and_is_no_call_of_its_own() {
        let call = json!({ "event_type": "mcp_tool", "cost_nano_usd": 0,
            "tool_calls": [{ "name": "search", "kind": "mcp", "server": "linear" }] });
        let row = shown(call.clone());
        assert!(row.contains("  linear/search  ") && row.ends_with("-     $0.000000  tool call"), "{row}");
        let mut running = Running::default();
        running.add(&event(call.clone()));
        assert_eq!(running.summary(), "0 calls, $0.000000");
        assert!(csv_fields(&event(call), "checkout").ends_with(&["mcp_tool".into(), "linear/search".into()]));
    }

    #[test]
    fn the_sum_names_what_it_leaves_out() {
        let mut running = Running::default();
        running.add(&event(json!({})));
        assert_eq!(running.summary(), "1 call, $0.001235");
        running.add(&event(json!({ "cost_nano_usd": null })));
        assert_eq!(running.summary(), "2 calls, $0.001235, and 1 of unknown cost");
    }

    #[test]
    fn csv_has_a_field_for_every_column() {
        assert_eq!(csv_fields(&event(json!({})), "checkout").len(), CSV_COLUMNS.len());
    }
}
