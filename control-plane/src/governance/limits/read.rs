//! Reads a limit from a request's fields.

use mindweave_metering::{LimitId, OrgId};
use mindweave_policy::{LimitMetric, LimitSpec};

use crate::db::Connection;
use crate::governance::models::models_read;
use crate::governance::schema::{LimitMetricWord, ModelWord, Scope};
use crate::governance::scope::{Scopes, scope_read};
use crate::http::body::Fields;
use crate::http::problem::Problem;

/// Greatest limit and burst: beyond any traffic, and small enough for a limiter's arithmetic in nanoseconds.
const MAX_LIMIT: i64 = 1_000_000_000_000;

/// What a limit may count.
const METRICS: [(&str, LimitMetric); 5] = [
    ("requests_per_minute", LimitMetric::RequestsPerMinute),
    ("input_tokens_per_minute", LimitMetric::InputTokensPerMinute),
    ("output_tokens_per_minute", LimitMetric::OutputTokensPerMinute),
    ("tokens_per_minute", LimitMetric::TokensPerMinute),
    ("concurrent_requests", LimitMetric::ConcurrentRequests),
];

/// A new rate limit.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `limit_read` reads")]
pub(super) struct NewRateLimit {
    /// Whose; can be left out by who belongs to one organisation.
    #[schema(min_length = 1, max_length = 200)]
    org_id: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    scope: Option<Scope>,
    metric: LimitMetricWord,
    #[schema(minimum = 1, maximum = 1_000_000_000_000_u64)]
    limit: u64,
    /// Not for `concurrent_requests`.
    #[schema(minimum = 1, maximum = 1_000_000_000_000_u64)]
    burst: Option<u64>,
    #[schema(max_items = 64)]
    models: Option<Vec<ModelWord>>,
}

/// What can be changed of a rate limit. What is not given stays, `null` stands for the default.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `limit_read` reads")]
pub(super) struct RateLimitChange {
    #[schema(min_length = 1, max_length = 200, required = false)]
    name: String,
    scope: Option<Scope>,
    #[schema(required = false)]
    metric: LimitMetricWord,
    #[schema(minimum = 1, maximum = 1_000_000_000_000_u64, required = false)]
    limit: u64,
    /// Not for `concurrent_requests`.
    #[schema(minimum = 1, maximum = 1_000_000_000_000_u64)]
    burst: Option<u64>,
    #[schema(max_items = 64)]
    models: Option<Vec<ModelWord>>,
}

/// What the client says about a limit of this organisation. In a change, what is not given stays.
pub(super) async fn limit_read(
    tx: &mut Connection,
    org_id: &str,
    mut fields: Fields,
    id: LimitId,
    before: Option<&LimitSpec>,
) -> Result<LimitSpec, Problem> {
    let name = match before {
        Some(before) if !fields.given("name") => before.name.clone(),
        _ => fields.required_text("name").into(),
    };
    let scope =
        scope_read(tx, org_id, &mut fields, Scopes::Counted, before.map(|before| &before.scope)).await?;
    let metric = match before {
        Some(before) if !fields.given("metric") => before.metric,
        _ => fields.choice("metric", &METRICS).unwrap_or_else(|| {
            fields.require_if_absent("metric");
            LimitMetric::RequestsPerMinute
        }),
    };
    let limit = match before {
        Some(before) if !fields.given("limit") => before.limit,
        _ => fields.count("limit", 1, MAX_LIMIT).unwrap_or_else(|| {
            fields.require_if_absent("limit");
            1
        }),
    };
    let burst = match before {
        Some(before) if !fields.given("burst") => before.burst,
        _ => fields.count("burst", 1, MAX_LIMIT),
    };
    if metric == LimitMetric::ConcurrentRequests && burst.is_some() {
        fields.refuse(
            "burst",
            "is not for concurrent_requests: the limit itself is how many may be open at once",
        );
    }
    let models = models_read(&mut fields, before.map(|before| before.models.as_slice()));
    fields.finish()?;
    Ok(LimitSpec { id, org_id: OrgId::new(org_id), name, scope, metric, limit, burst, models })
}
