//! A limit as the API shows it.

use std::sync::Arc;

use jiff::Timestamp;
use mindweave_metering::{LimitId, OrgId};
use mindweave_policy::{LimitMetric, LimitSpec, ModelPattern, Subject};
use serde::Serialize;

use super::store::Limit;
use crate::governance::schema::{LimitMetricWord, Scope};

/// A rate limit.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = RateLimit)]
pub(super) struct LimitAnswer {
    #[schema(value_type = String)]
    pub(super) id: LimitId,
    #[schema(value_type = String)]
    org_id: OrgId,
    #[schema(value_type = String)]
    name: Arc<str>,
    #[schema(value_type = Scope)]
    scope: Subject,
    #[schema(value_type = LimitMetricWord)]
    metric: LimitMetric,
    limit: u64,
    /// How much may come at once after a quiet minute; a minute's worth unless given.
    burst: Option<u64>,
    /// Model ids, or prefixes that end in `*`; none means all.
    #[schema(value_type = Vec<String>)]
    models: Vec<ModelPattern>,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// What the admin should look at; in answers to changes only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    warnings: Vec<String>,
}

impl From<Limit> for LimitAnswer {
    fn from(Limit { spec, created_at, updated_at }: Limit) -> Self {
        let LimitSpec { id, org_id, name, scope, metric, limit, burst, models } = spec;
        let warnings = Vec::new();
        Self { id, org_id, name, scope, metric, limit, burst, models, created_at, updated_at, warnings }
    }
}

impl LimitAnswer {
    /// With what the admin should look at.
    pub(super) fn warn(mut self, warning: Option<String>) -> Self {
        self.warnings.extend(warning);
        self
    }
}
