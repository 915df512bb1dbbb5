//! The API's own rate-limit headers, with our figures in them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::governance::LimitMetric;
use crate::limits::{LimitCell, LimitRule, RateState, Share};
use crate::model_pattern::AskedModels;

/// One second less a nanosecond: added before cutting to whole seconds, so that a reset is never told too early.
const ALMOST_A_SECOND: i64 = 999_999_999;

/// The names of one family of headers (<https://platform.claude.com/docs/en/api/rate-limits#response-headers>).
struct Family {
    metric: LimitMetric,
    limit: &'static str,
    remaining: &'static str,
    reset: &'static str,
}

const FAMILIES: [Family; 4] = [
    Family {
        metric: LimitMetric::RequestsPerMinute,
        limit: "anthropic-ratelimit-requests-limit",
        remaining: "anthropic-ratelimit-requests-remaining",
        reset: "anthropic-ratelimit-requests-reset",
    },
    Family {
        metric: LimitMetric::TokensPerMinute,
        limit: "anthropic-ratelimit-tokens-limit",
        remaining: "anthropic-ratelimit-tokens-remaining",
        reset: "anthropic-ratelimit-tokens-reset",
    },
    Family {
        metric: LimitMetric::InputTokensPerMinute,
        limit: "anthropic-ratelimit-input-tokens-limit",
        remaining: "anthropic-ratelimit-input-tokens-remaining",
        reset: "anthropic-ratelimit-input-tokens-reset",
    },
    Family {
        metric: LimitMetric::OutputTokensPerMinute,
        limit: "anthropic-ratelimit-output-tokens-limit",
        remaining: "anthropic-ratelimit-output-tokens-remaining",
        reset: "anthropic-ratelimit-output-tokens-reset",
    },
];

/// Values of the API's own rate-limit headers, for traffic on MindWeave keys: of each family the limit with the least left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLimitHeaders {
    values: Box<[(&'static str, String)]>,
}

impl RateLimitHeaders {
    /// Header names in lower case, with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.values.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// Of the limits that count these models. `nanos` is now, in nanoseconds of the process.
    pub(crate) fn of(
        limits: &[(Arc<LimitRule>, Arc<LimitCell>)],
        models: AskedModels<'_>,
        nanos: i64,
        now: Timestamp,
        share: Share,
    ) -> Self {
        let mut values = Vec::new();
        for family in &FAMILIES {
            let of_family =
                limits.iter().filter(|(rule, _)| rule.spec.metric == family.metric && rule.counts(models));
            let states =
                of_family.filter_map(|(rule, cell)| Some((rule.spec.limit, rule.state(cell, nanos, share)?)));
            let Some((limit, state)) = states.min_by_key(|(_, state)| state.remaining) else { continue };
            values.push((family.limit, limit.to_string()));
            values.push((family.remaining, state.remaining.to_string()));
            values.push((family.reset, reset(state, now)));
        }
        Self { values: values.into() }
    }
}

/// When all of it is left again: RFC 3339 in whole seconds, as the API writes it.
fn reset(state: RateState, now: Timestamp) -> String {
    let wait = SignedDuration::from_nanos(state.full_in.saturating_add(ALMOST_A_SECOND));
    let at = now.saturating_add(wait).unwrap_or(Timestamp::MAX);
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}
