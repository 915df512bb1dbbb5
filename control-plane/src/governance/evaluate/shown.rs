//! What of an evaluation its caller may see. All budgets of the organisation that count the request decide about it; who has a role in a
//! project or a team only is told of those that they may look at.

use std::collections::HashSet;
use std::sync::Arc;

use mindweave_policy::{LimitSpec, Principal};

use super::answer::Evaluation;
use super::budgets::Budget;
use crate::access::Reach;
use crate::db::Connection;
use crate::governance::permit::is_seen;
use crate::http::problem::Problem;

/// The budgets and limits that may be shown.
pub(super) enum Shown {
    /// Everything of the organisation.
    Everything,
    /// Those with these ids.
    Only(HashSet<String>),
}

impl Shown {
    pub(super) async fn of(
        tx: &mut Connection,
        reach: &Reach,
        principal: &Principal,
        budgets: &[Budget],
        limits: &[Arc<LimitSpec>],
    ) -> Result<Self, Problem> {
        let org_id = principal.org_id.as_str();
        if reach.has_org(org_id) {
            return Ok(Self::Everything);
        }
        let budgets = budgets.iter().map(|budget| (budget.quota.id.as_str(), &budget.quota.scope));
        let limits = limits.iter().map(|limit| (limit.id.as_str(), &limit.scope));
        let mut seen = HashSet::new();
        for (id, scope) in budgets.chain(limits) {
            if is_seen(tx, reach.caller(), org_id, scope).await? {
                seen.insert(id.to_owned());
            }
        }
        Ok(Self::Only(seen))
    }

    /// Keeps what may not be shown from a draft, whose author writes what it answers.
    pub(super) fn hide_from_draft(&self, budgets: &mut [Budget]) {
        if let Self::Only(seen) = self {
            for budget in budgets {
                budget.hidden = !seen.contains(budget.quota.id.as_str());
            }
        }
    }

    /// The evaluation without what may not be shown. What policies saw of budgets has them all, so it is left out.
    pub(super) fn of_evaluation(&self, mut evaluation: Evaluation) -> Evaluation {
        if let Self::Only(seen) = self {
            evaluation.budgets.retain(|budget| seen.contains(budget.id.as_str()));
            evaluation.limits.retain(|limit| seen.contains(limit.id.as_str()));
            if let Some(input) = evaluation.input.as_object_mut() {
                input.remove("usage");
            }
        }
        evaluation
    }
}
