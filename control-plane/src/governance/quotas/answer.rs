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
use crate::governance::schema::{
    OnErrorWord, OnStaleWord, QuotaActionWord, QuotaUnitWord, QuotaWindowWord, ReserveWord, Scope,
};

/// A budget, and what was used of it.
#[derive(Clone, Serialize, utoipa::ToSchema)]
#[schema(as = Budget)]
pub(super) struct QuotaAnswer {
    #[schema(value_type = String)]
    pub(super) id: QuotaId,
    #[schema(value_type = String)]
    org_id: OrgId,
    #[schema(value_type = String)]
    name: Arc<str>,
    #[schema(value_type = Scope)]
    scope: Subject,
    #[schema(value_type = QuotaUnitWord)]
    unit: QuotaUnit,
    #[schema(value_type = QuotaWindowWord)]
    window: QuotaWindow,
    /// Requests, tokens or nano-dollars.
    limit: i64,
    /// The limit in dollars, for budgets of the unit `cost`.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_usd: Option<String>,
    #[schema(value_type = QuotaActionWord)]
    action: QuotaAction,
    #[schema(value_type = ReserveWord)]
    reserve: Reserve,
    #[schema(value_type = Vec<String>)]
    models: Vec<ModelPattern>,
    /// Percentages worth telling.
    thresholds: Vec<u8>,
    #[schema(value_type = OnErrorWord)]
    on_unknown_price: OnError,
    #[schema(value_type = OnStaleWord)]
    on_stale: OnStale,
    /// The zone in which its windows begin.
    #[schema(value_type = String)]
    time_zone: Arc<str>,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// `null` when each of many subjects has a state of its own.
    state: Option<QuotaState>,
    /// What the admin should look at; in answers to changes only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
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
