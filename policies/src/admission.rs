//! Whether a request may pass the limits and budgets in force, and what it uses of them.

mod demand;
mod reservation;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mindweave_metering::UsageEvent;

pub use demand::{Demand, Settled};
pub use reservation::{BudgetWarning, Reservation};

use crate::governance::QuotaSpec;
use crate::principal::Principal;
use crate::refusal::Refusal;
use crate::snapshot::Snapshot;
use crate::usage_feed::UsageFeed;

/// The counters of one proxy process. They outlive snapshots: see [`Self::apply`].
#[derive(Debug)]
pub struct AdmissionControl {
    journal: Arc<str>,
}

/// The limits and budgets that count one principal.
#[derive(Debug)]
pub struct Rules {
    needs_body: bool,
}

impl AdmissionControl {
    /// Starts without any rules. `own_journal` is the id under which feeds name this proxy's journal; `at` is now.
    pub fn new(own_journal: Arc<str>, at: Instant) -> Self {
        let _ = at;
        Self { journal: own_journal }
    }

    /// Says that a control plane is expected to feed figures: without any for this long, budgets follow their `on_stale`.
    /// Not called, figures are never stale.
    pub fn expect_feed(&self, stale_after: Duration) {
        let _ = stale_after;
    }

    /// Puts the limits and budgets of a snapshot in force. Counters of those that stay are kept, also when their limit,
    /// burst or action changes; those of others are dropped. Requests that are open settle under the new rules.
    pub fn apply(&self, snapshot: &Snapshot) {
        let _ = snapshot;
    }

    /// Takes the ledger's figures. Older ones than those it has are ignored. `at` is now.
    pub fn feed(&self, feed: &UsageFeed, at: Instant) {
        let _ = (feed, at);
    }

    /// The last sequence of the own journal that the ledger's figures include: what lies behind it is to be replayed at start.
    pub fn included(&self) -> u64 {
        let _ = &self.journal;
        0
    }

    /// Counts an event of the own journal for which there is no reservation: at start, those behind [`Self::included`],
    /// those of requests that were found interrupted, and those of requests that nothing counted when they began.
    pub fn replay(&self, sequence: u64, event: &UsageEvent) {
        let _ = (sequence, event);
    }

    /// What counts this principal; `None` when nothing does.
    pub fn in_force(&self, principal: &Principal) -> Option<Arc<Rules>> {
        let _ = principal;
        None
    }

    /// Holds what the request may use of every limit and budget, or of none.
    ///
    /// # Errors
    /// Of the limits and budgets that refuse, the one that will do so for the longest time.
    pub fn admit(&self, rules: &Arc<Rules>, demand: &Demand<'_>) -> Result<Reservation, Refusal> {
        let _ = (rules, demand);
        unreachable!("no rules are ever in force")
    }

    /// The budgets of these rules with what is used in the window of `now` and what open requests hold.
    pub fn budget_usage(&self, rules: &Rules, now: Timestamp) -> Vec<(Arc<QuotaSpec>, i64, i64)> {
        let _ = (rules, now);
        Vec::new()
    }

    /// Forgets what is as good as new: limits that are full again, budgets of past windows. For a timer, once a minute.
    pub fn sweep(&self, now: Timestamp, at: Instant) {
        let _ = (now, at);
    }

    /// The last figures of the ledger, for a file: a proxy that starts while its control plane is away goes on from them
    /// with [`Self::load`] and a replay of its journal behind [`Self::included`].
    pub fn save(&self) -> UsageFeed {
        UsageFeed::default()
    }

    /// Takes saved figures. They count as known, but not as heard: see [`Self::expect_feed`].
    pub fn load(&self, saved: &UsageFeed) {
        let _ = saved;
    }
}

impl Rules {
    /// Whether any of them needs to know what the body asks for: tokens, cost, or the model.
    pub fn needs_body(&self) -> bool {
        self.needs_body
    }
}
