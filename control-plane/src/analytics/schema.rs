//! What sums look like in the description of the API. Their columns are those of the tables; a test holds the fields to be the same.

use jiff::Timestamp;

/// The length of a bucket.
#[derive(utoipa::ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "describes words of the API")]
pub(super) enum Interval {
    Minute,
    Hour,
    Day,
}

/// What was used.
#[derive(serde::Serialize, utoipa::ToSchema)]
struct UsageFigures {
    /// Refused ones included.
    requests: u64,
    /// Of these, those that were refused.
    denied: u64,
    mcp_tool_calls: u64,
    errors: u64,
    input_tokens: u64,
    output_tokens: u64,
    cache_read_tokens: u64,
    cache_write_5m_tokens: u64,
    cache_write_1h_tokens: u64,
    thinking_tokens: u64,
    web_search_requests: u64,
    /// The known cost.
    cost_nano_usd: i64,
    cost_usd: String,
    /// Events whose cost is not known, and so not in the cost.
    unknown_cost_events: u64,
    estimated_events: u64,
    latency_ms_sum: u64,
    latency_ms_max: u64,
}

/// What was used in a bucket, by a group.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub(super) struct UsageSumsRow {
    /// Its start.
    bucket: Timestamp,
    /// Where it was asked for, as are the ids.
    model: Option<String>,
    project_id: Option<String>,
    team_id: Option<String>,
    user_id: Option<String>,
    key_id: Option<String>,
    #[serde(flatten)]
    figures: UsageFigures,
}

/// What was used in whole days.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub(super) struct UsageSummary {
    from: Timestamp,
    to: Timestamp,
    #[serde(flatten)]
    figures: UsageFigures,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use utoipa::PartialSchema as _;

    use super::*;
    use crate::usage::totals::Totals;

    #[test]
    fn the_description_has_the_figures_that_are_summed() {
        let schema = serde_json::to_value(UsageFigures::schema()).unwrap();
        let described: BTreeSet<_> = schema["properties"].as_object().unwrap().keys().cloned().collect();
        let summed: BTreeSet<_> =
            Totals::COLUMNS.iter().copied().chain(["cost_usd"]).map(str::to_owned).collect();
        assert_eq!(described, summed);
    }
}
