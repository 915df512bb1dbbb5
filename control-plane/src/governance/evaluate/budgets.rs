//! The budgets and limits that count who asks.

use std::sync::Arc;

use jiff::Timestamp;
use mindweave_policy::{
    BudgetUsage, Governance, LimitSpec, Principal, QuotaAction, QuotaSpec, window_bounds,
};

use crate::app::App;
use crate::db::{Connection, StoreError};
use crate::governance::quotas::{QuotaState, quota_state};
use crate::orgs::OrgZone;
use crate::usage::counters::counter_used;

/// A budget with its state for who asks.
pub(super) struct Budget {
    pub(super) quota: Arc<QuotaSpec>,
    pub(super) state: QuotaState,
    /// Whether it counts requests for this model.
    counts_model: bool,
    /// Whether policies are not told of it: a draft says what it likes of what it sees.
    pub(super) hidden: bool,
}

impl Budget {
    /// What policies see of it.
    pub(super) fn usage(&self) -> BudgetUsage<'_> {
        BudgetUsage {
            quota: &self.quota,
            used: self.state.used,
            reserved: self.state.reserved.unwrap_or_default(),
        }
    }

    /// Whether it has nothing left. What is left may still be too little: how much a request holds is for a proxy to say.
    pub(super) fn would_refuse(&self) -> bool {
        self.counts_model && self.quota.action == QuotaAction::Block && self.state.remaining <= 0
    }
}

/// The budgets that count a principal, as they stand in the windows of `at`.
pub(super) async fn budgets(
    app: &App,
    tx: &mut Connection,
    governance: &Governance,
    zone: &OrgZone,
    principal: &Principal,
    model: Option<&str>,
    at: Timestamp,
) -> Result<Vec<Budget>, StoreError> {
    let mut budgets = Vec::new();
    for quota in governance.quotas.iter().filter(|quota| quota.org_id == principal.org_id) {
        let Some(subject) = quota.scope.counted(principal) else { continue };
        let (start, _) = window_bounds(quota.window, &zone.zone, at);
        let used = counter_used(tx, &quota.id, start, subject).await?;
        let reserved = app.reserved(&quota.id, subject);
        let state = quota_state(quota, &zone.zone, at, subject, used, reserved);
        let counts_model = quota.counts_model(model);
        budgets.push(Budget { quota: Arc::clone(quota), state, counts_model, hidden: false });
    }
    Ok(budgets)
}

/// The limits that count a principal's requests for this model. How full they are is known to proxies only.
pub(super) fn limits(
    governance: &Governance,
    principal: &Principal,
    model: Option<&str>,
) -> Vec<Arc<LimitSpec>> {
    let counts = |limit: &&Arc<LimitSpec>| {
        limit.org_id == principal.org_id
            && limit.scope.counted(principal).is_some()
            && mindweave_policy::ModelPattern::any_covers(&limit.models, model)
    };
    governance.limits.iter().filter(counts).cloned().collect()
}
