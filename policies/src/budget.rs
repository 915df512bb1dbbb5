//! Budgets: what is used of one in each calendar window, and what open requests hold.
//!
//! What is used is the ledger's figure and those own events that the figure does not include yet, told apart by their place in the
//! own journal. What open requests hold belongs to no window: an open request will be charged to the window in which it ends, so it
//! holds its part of whichever window is the current one. A request that is admitted just before a window ends can therefore not make
//! the next one overshoot.

mod counter;
mod definition;
mod needed;
mod output_sizes;
mod pending;
mod recent;

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use parking_lot::Mutex;

use crate::governance::{QuotaSpec, QuotaUnit, QuotaWindow};
use crate::window::window_bounds;

pub(crate) use counter::{Counter, Own};
pub(crate) use needed::{Estimates, Needed, PriceUnknown};
pub(crate) use output_sizes::{FIRST_EXPECTED_OUTPUT, ModelSizes, ProjectSizes};
pub(crate) use pending::NO_SEQUENCE;
pub(crate) use recent::{RecentEvent, RecentEvents};

/// The state of one budget for one subject.
#[derive(Debug, Default)]
pub(crate) struct BudgetCell {
    pub(crate) counter: Mutex<Counter>,
}

/// A budget in force.
#[derive(Debug)]
pub(crate) struct BudgetRule {
    pub(crate) spec: Arc<QuotaSpec>,
    /// Names its cells; another one when it counts something else under the same id.
    pub(crate) number: u32,
    pub(crate) calendar: Calendar,
    /// See [`QuotaSpec::definition`].
    pub(crate) definition: u64,
}

/// Which moments belong together.
#[derive(Clone, Debug)]
pub(crate) struct Calendar {
    pub(crate) window: QuotaWindow,
    pub(crate) zone: TimeZone,
}

impl Calendar {
    /// The window that holds this moment.
    pub(crate) fn bounds(&self, at: Timestamp) -> (Timestamp, Timestamp) {
        window_bounds(self.window, &self.zone, at)
    }
}

impl BudgetRule {
    /// Whether it counts tokens or money, and not requests.
    pub(crate) fn counts_use(&self) -> bool {
        self.spec.unit != QuotaUnit::Requests
    }
}

#[cfg(test)]
mod tests;
