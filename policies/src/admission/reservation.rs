//! What an admitted request holds of limits and budgets until it is settled.

use std::sync::Arc;

use smallvec::SmallVec;

use super::demand::Settled;
use super::rules::Rules;
use super::state::State;
use crate::budget::{ModelSizes, NO_SEQUENCE, RecentEvent};
use crate::governance::QuotaSpec;
use crate::limits::Taken;

/// A budget that warns and was over when a request was admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetWarning {
    /// Which budget.
    pub quota: Arc<QuotaSpec>,
    /// Whose use of it: the id under which it is counted.
    pub subject: Arc<str>,
    /// What was used in the current window, in the budget's unit.
    pub used: i64,
    /// What open requests held, this one not included.
    pub reserved: i64,
}

/// What an admitted request holds. Settle it when the exchange has ended; dropped unsettled, all of it is given back and
/// nothing is charged.
#[derive(Debug)]
#[must_use = "dropping a reservation gives it back"]
pub struct Reservation {
    state: Arc<State>,
    rules: Arc<Rules>,
    sizes: Option<Arc<ModelSizes>>,
    /// What was taken of each limit; `None` where it does not count the request.
    pub(super) limits: SmallVec<[Option<Taken>; 4]>,
    /// What is held of each budget.
    pub(super) budgets: SmallVec<[i64; 4]>,
    pub(super) warnings: Vec<BudgetWarning>,
}

impl Reservation {
    pub(super) fn new(state: &Arc<State>, rules: &Arc<Rules>, sizes: Option<Arc<ModelSizes>>) -> Self {
        Self {
            state: Arc::clone(state),
            rules: Arc::clone(rules),
            sizes,
            limits: SmallVec::new(),
            budgets: SmallVec::new(),
            warnings: Vec::new(),
        }
    }

    /// Budgets that only warn and would have refused the request if they were to block.
    pub fn warnings(&self) -> &[BudgetWarning] {
        &self.warnings
    }

    /// Charges what the exchange used in place of what it held. Budgets are charged in the window of `settled.at`. A charge of no
    /// request (it was refused later on) gives everything back.
    pub fn settle(mut self, settled: Settled) {
        let total = settled.charged.total();
        if total.requests == 0 {
            return;
        }
        let now = self.state.nanos(settled.instant);
        for (held, (rule, cell)) in self.limits.drain(..).zip(&self.rules.limits) {
            if let Some(held) = held {
                let charged = settled.use_is_known.then_some(&settled.charged);
                rule.settle(cell, now, held, charged);
            }
        }
        if let Some(sizes) = &self.sizes {
            sizes.record(total.output_tokens);
        }
        let held = std::mem::take(&mut self.budgets);
        let event = RecentEvent {
            owner: Arc::clone(&self.rules.owner),
            sequence: settled.sequence.unwrap_or(NO_SEQUENCE),
            at: settled.at,
            charged: settled.charged,
        };
        self.state.record(Some(&self.rules), &held, &event);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        for (held, (rule, cell)) in self.limits.drain(..).zip(&self.rules.limits) {
            if let Some(held) = held {
                rule.give_back(cell, held);
            }
        }
        self.rules.release(&self.budgets);
    }
}
