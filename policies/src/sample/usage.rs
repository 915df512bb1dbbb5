//! Budgets of a made-up input.

use std::sync::Arc;

use mindweave_metering::{OrgId, QuotaId};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::governance::{OnError, OnStale, QuotaAction, QuotaSpec, QuotaUnit, QuotaWindow, Reserve};
use crate::subject::{Subject, SubjectKind};

/// An entry of `usage` in a made-up input.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SampleBudget {
    /// Id of the budget.
    pub id: Arc<str>,
    /// What it counts; `nano_usd` means `cost`, as policies read it.
    pub unit: SampleUnit,
    /// Its period.
    pub window: QuotaWindow,
    /// How much.
    pub limit: i64,
    /// Settled.
    pub used: i64,
    /// Held by open requests.
    pub reserved: i64,
    /// Follows from the others.
    #[serde(rename = "remaining")]
    _remaining: IgnoredAny,
    /// Follows from the others.
    #[serde(rename = "percent")]
    _percent: IgnoredAny,
}

/// What a budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SampleUnit {
    /// Requests.
    Requests,
    /// Tokens.
    Tokens,
    /// Nano-USD.
    #[serde(alias = "nano_usd")]
    Cost,
}

impl Default for SampleBudget {
    fn default() -> Self {
        Self {
            id: "quo_sample".into(),
            unit: SampleUnit::Cost,
            window: QuotaWindow::Month,
            limit: 50_000_000_000, // $50
            used: 0,
            reserved: 0,
            _remaining: IgnoredAny,
            _percent: IgnoredAny,
        }
    }
}

impl SampleBudget {
    pub(super) fn quota(&self, name: &Arc<str>) -> QuotaSpec {
        QuotaSpec {
            id: QuotaId::new(Arc::clone(&self.id)),
            org_id: OrgId::new("org_acme"),
            name: Arc::clone(name),
            scope: Subject { kind: SubjectKind::Org, id: None },
            unit: match self.unit {
                SampleUnit::Requests => QuotaUnit::Requests,
                SampleUnit::Tokens => QuotaUnit::Tokens,
                SampleUnit::Cost => QuotaUnit::Cost,
            },
            window: self.window,
            limit: self.limit,
            models: Vec::new(),
            action: QuotaAction::Block,
            reserve: Reserve::Expected,
            thresholds: Vec::new(),
            on_unknown_price: OnError::Deny,
            on_stale: OnStale::Open,
        }
    }
}
