//! What is summed, once for ingest, rollups and queries.

use mindweave_metering::{Certainty, EventType, Outcome};
use mindweave_policy::EventPart;
use sqlx::FromRow;

use super::decode::Fields;
use crate::rollup::Level;

/// Sums over events. Also the columns of the rollup tables, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromRow)]
pub(crate) struct Totals {
    /// HTTP exchanges: events of the type `api_call`, refused ones included.
    pub(crate) requests: i64,
    /// Of these, those that were refused: by policy, a limit, a budget, or because they could not be taken.
    pub(crate) denied: i64,
    /// Calls of MCP tools: events of the type `mcp_tool`.
    pub(crate) mcp_tool_calls: i64,
    /// Exchanges that failed: outcome `upstream_error`, or a status of 400 and above.
    pub(crate) errors: i64,
    pub(crate) input_tokens: i64,
    pub(crate) output_tokens: i64,
    pub(crate) cache_read_tokens: i64,
    pub(crate) cache_write_5m_tokens: i64,
    pub(crate) cache_write_1h_tokens: i64,
    pub(crate) thinking_tokens: i64,
    pub(crate) web_search_requests: i64,
    /// The known cost; see `unknown_cost_events`.
    pub(crate) cost_nano_usd: i64,
    /// Events whose cost is not known and so not in `cost_nano_usd`.
    pub(crate) unknown_cost_events: i64,
    /// Events with an estimated figure.
    pub(crate) estimated_events: i64,
    pub(crate) latency_ms_sum: i64,
    /// The only column that is not a sum.
    pub(crate) latency_ms_max: i64,
}

impl Totals {
    /// The columns, in the order of [`Self::values`].
    pub(crate) const COLUMNS: [&str; 16] = [
        "requests",
        "denied",
        "mcp_tool_calls",
        "errors",
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "cache_write_5m_tokens",
        "cache_write_1h_tokens",
        "thinking_tokens",
        "web_search_requests",
        "cost_nano_usd",
        "unknown_cost_events",
        "estimated_events",
        "latency_ms_sum",
        "latency_ms_max",
    ];

    /// The figures of one event.
    pub(crate) fn of(event: &Fields<'_>) -> Self {
        let is_request = event.event_type == EventType::ApiCall;
        let denied = is_request && event.outcome == Outcome::Denied;
        let failed = event.outcome == Outcome::UpstreamError || event.status >= 400;
        // A tool call's time is a part of its request's, or passes after it at the client.
        let latency_ms = if is_request { count(event.latency_ms) } else { 0 };
        let figures = Self {
            requests: i64::from(is_request),
            denied: i64::from(denied),
            mcp_tool_calls: i64::from(event.event_type == EventType::McpTool),
            errors: i64::from(is_request && failed),
            latency_ms_sum: latency_ms,
            latency_ms_max: latency_ms,
            ..Self::default()
        };
        if denied {
            return figures; // nothing was sent to the API: it used nothing, as budgets count it
        }
        Self {
            input_tokens: count(event.input_tokens),
            output_tokens: count(event.output_tokens),
            cache_read_tokens: count(event.cache_read_tokens),
            cache_write_5m_tokens: count(event.cache_write_5m_tokens),
            cache_write_1h_tokens: count(event.cache_write_1h_tokens),
            thinking_tokens: count(event.thinking_tokens),
            web_search_requests: count(event.web_search_requests),
            cost_nano_usd: event.cost_nano_usd.map_or(0, |cost| cost.0),
            // A tool call costs nothing of its own; what it adds is in the tokens of the requests around it.
            unknown_cost_events: i64::from(is_request && event.cost_nano_usd.is_none()),
            estimated_events: i64::from(event.certainty == Certainty::Estimated),
            ..figures
        }
    }

    /// These with the figures of a part of the event in place of the whole event's.
    #[must_use]
    pub(crate) fn with_figures_of(self, part: &EventPart) -> Self {
        Self {
            input_tokens: count(part.input_tokens),
            output_tokens: count(part.output_tokens),
            cache_read_tokens: count(part.cache_read_tokens),
            cache_write_5m_tokens: count(part.cache_write_5m_tokens),
            cache_write_1h_tokens: count(part.cache_write_1h_tokens),
            thinking_tokens: count(part.thinking_tokens),
            web_search_requests: count(part.web_search_requests),
            cost_nano_usd: part.cost.map_or(0, |cost| cost.0),
            ..self
        }
    }

    /// Adds another sum. Cannot saturate: [`super::decode`] bounds each event's figures.
    pub(crate) fn add(&mut self, other: &Self) {
        let sum = |a: &mut i64, b: i64| *a = a.saturating_add(b);
        sum(&mut self.requests, other.requests);
        sum(&mut self.denied, other.denied);
        sum(&mut self.mcp_tool_calls, other.mcp_tool_calls);
        sum(&mut self.errors, other.errors);
        sum(&mut self.input_tokens, other.input_tokens);
        sum(&mut self.output_tokens, other.output_tokens);
        sum(&mut self.cache_read_tokens, other.cache_read_tokens);
        sum(&mut self.cache_write_5m_tokens, other.cache_write_5m_tokens);
        sum(&mut self.cache_write_1h_tokens, other.cache_write_1h_tokens);
        sum(&mut self.thinking_tokens, other.thinking_tokens);
        sum(&mut self.web_search_requests, other.web_search_requests);
        sum(&mut self.cost_nano_usd, other.cost_nano_usd);
        sum(&mut self.unknown_cost_events, other.unknown_cost_events);
        sum(&mut self.estimated_events, other.estimated_events);
        sum(&mut self.latency_ms_sum, other.latency_ms_sum);
        self.latency_ms_max = self.latency_ms_max.max(other.latency_ms_max);
    }

    /// The figures in the order of [`Self::COLUMNS`].
    pub(crate) fn values(&self) -> [i64; 16] {
        [
            self.requests,
            self.denied,
            self.mcp_tool_calls,
            self.errors,
            self.input_tokens,
            self.output_tokens,
            self.cache_read_tokens,
            self.cache_write_5m_tokens,
            self.cache_write_1h_tokens,
            self.thinking_tokens,
            self.web_search_requests,
            self.cost_nano_usd,
            self.unknown_cost_events,
            self.estimated_events,
            self.latency_ms_sum,
            self.latency_ms_max,
        ]
    }
}

fn count(figure: u64) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}

/// A select list that sums every column of a rollup table, under the columns' own names.
pub(crate) fn sums_sql() -> String {
    let sum = |column: &&str| match *column {
        "latency_ms_max" => "CAST(coalesce(max(latency_ms_max), 0) AS BIGINT) AS latency_ms_max".to_owned(),
        column => format!("CAST(coalesce(sum({column}), 0) AS BIGINT) AS {column}"),
    };
    Totals::COLUMNS.iter().map(sum).collect::<Vec<_>>().join(", ")
}

/// What an upsert does with a row that is there already.
pub(crate) fn merge_sql(table: &str) -> String {
    let merge = |column: &&str| match *column {
        "latency_ms_max" => {
            format!(
                "latency_ms_max = CASE WHEN excluded.latency_ms_max > {table}.latency_ms_max
                     THEN excluded.latency_ms_max ELSE {table}.latency_ms_max END"
            )
        }
        column => format!("{column} = {table}.{column} + excluded.{column}"),
    };
    Totals::COLUMNS.iter().map(merge).collect::<Vec<_>>().join(", ")
}

/// The start of the bucket of `level` that holds `bucket`; right for times before 1970 too, where `%` is negative.
pub(crate) fn floor_sql(level: Level) -> String {
    let micros = level.micros();
    format!("bucket - ((bucket % {micros}) + {micros}) % {micros}")
}
