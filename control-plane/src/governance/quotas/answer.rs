//! A budget as the API shows it.

use std::sync::Arc;

use jiff::Timestamp;
use mindweave_metering::{NanoUsd, OrgId, QuotaId};
use mindweave_policy::{
    ModelPattern, OnError, OnStale, QuotaAction, QuotaSpec, QuotaUnit, QuotaWindow, Reserve, Subject,
};
use serde::Serialize;

use super::state::QuotaState;
use super::store::Quota;

/// A budget, and what was used of it.
#[derive(Serialize)]
pub(super) struct QuotaAnswer {
    pub(super) id: QuotaId,
    org_id: OrgId,
    name: Arc<str>,
    scope: Subject,
    unit: QuotaUnit,
    window: QuotaWindow,
    limit: i64,
    /// The limit in dollars, for budgets of the unit `cost`.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_usd: Option<String>,
    action: QuotaAction,
    reserve: Reserve,
    models: Vec<ModelPattern>,
    thresholds: Vec<u8>,
    on_unknown_price: OnError,
    on_stale: OnStale,
    /// The zone in which its windows begin.
    time_zone: Arc<str>,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// `null` when each of many subjects has a state of its own.
    state: Option<QuotaState>,
    /// What the admin should look at; in answers to changes only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

impl QuotaAnswer {
    pub(super) fn of(quota: Quota, time_zone: Arc<str>, state: Option<QuotaState>) -> Self {
        let Quota { spec, created_at, updated_at } = quota;
        let QuotaSpec {
            id,
            org_id,
            name,
            scope,
            unit,
            window,
            limit,
            models,
            action,
            reserve,
            thresholds,
            on_unknown_price,
            on_stale,
        } = spec;
        Self {
            id,
            org_id,
            name,
            scope,
            unit,
            window,
            limit,
            limit_usd: (unit == QuotaUnit::Cost).then(|| NanoUsd(limit).to_string()),
            action,
            reserve,
            models,
            thresholds,
            on_unknown_price,
            on_stale,
            time_zone,
            created_at,
            updated_at,
            state,
            warnings: Vec::new(),
        }
    }

    pub(super) fn warn(mut self, warning: Option<String>) -> Self {
        self.warnings.extend(warning);
        self
    }
}
