//! Whether a request may pass the limits and budgets in force, and what it uses of them.
//!
//! A request's way: [`AdmissionControl::in_force`] finds what counts its principal, [`AdmissionControl::admit`] holds what it may
//! use, [`Reservation::settle`] charges what it did use. The rules behind it, with the bound of every overshoot, are in
//! `docs/limits-and-budgets.md`.

mod admit;
mod counters;
mod demand;
mod feeding;
mod freshness;
mod index;
mod reservation;
mod rules;
mod sharing;
mod state;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use mindweave_metering::{QuotaId, UsageEvent};

pub use demand::{Demand, Settled};
pub use reservation::{BudgetWarning, Reservation};
pub(crate) use rules::Owner;
pub use rules::Rules;

use crate::budget::RecentEvent;
use crate::charge::ChargeParts;
use crate::governance::QuotaSpec;
use crate::model_pattern::AskedModels;
use crate::principal::Principal;
use crate::refusal::{RateLimitHeaders, Refusal};
use crate::shares::{DemandReport, ShareAnswer};
use crate::snapshot::Snapshot;
use crate::usage_feed::UsageFeed;

use counters::MAX_COUNTERS;
use state::State;

/// How long the figures of a window are kept after its end, for exchanges whose clock is a little behind.
const LATE_EVENTS: SignedDuration = SignedDuration::from_mins(10);

/// The counters of one proxy process. They outlive snapshots: see [`Self::apply`].
#[derive(Debug)]
pub struct AdmissionControl {
    state: Arc<State>,
}

impl AdmissionControl {
    /// Without a feed for this long, the ledger's figures are stale: feeds come at least once a second, so that thirty of them
    /// were missed.
    pub const STALE_AFTER: Duration = Duration::from_secs(30);

    /// Starts without any rules. `own_journal` is the id under which feeds name this proxy's journal; `at` is now.
    pub fn new(own_journal: Arc<str>, at: Instant) -> Self {
        Self::with_capacity(own_journal, at, MAX_COUNTERS)
    }

    fn with_capacity(own_journal: Arc<str>, at: Instant, most_counters: usize) -> Self {
        Self { state: Arc::new(State::new(own_journal, at, most_counters)) }
    }

    /// Says that a control plane is expected to feed figures: without any for this long ([`Self::STALE_AFTER`]), and until the
    /// first one, budgets follow their `on_stale`. Not called, figures are never stale.
    pub fn expect_feed(&self, stale_after: Duration) {
        self.state.freshness.expect(stale_after);
    }

    /// Puts the limits and budgets of a snapshot in force. Counters of those that stay are kept, also when their limit,
    /// burst or action changes; those that count something else now (another unit, window, subject, model or time zone) begin anew
    /// with what the ledger says. Requests that are open settle under the new rules. `at` is now.
    pub fn apply(&self, snapshot: &Snapshot, at: Instant) {
        let state = &*self.state;
        let governance = &snapshot.governance;
        let mut applied = state.applying.lock();
        if applied
            .governance
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, governance) || known == governance)
        {
            return;
        }
        let old = state.index.load_full();
        let index = Arc::new(old.following(governance, &mut applied.numbering, state.nanos(at)));
        applied.governance = Some(Arc::clone(governance));
        let mut feeding = state.feeding.lock();
        let recent = {
            let recent = state.recent.lock();
            state.index.store(Arc::clone(&index));
            recent.all()
        };
        for rule in index.budgets.values().filter(|rule| !old.budgets.contains_key(&rule.number)) {
            state.catch_up(rule, &recent);
        }
        state.take_waiting(&mut feeding, &index);
    }

    /// Takes the ledger's figures. Older ones than those it has are ignored. `at` is now.
    pub fn feed(&self, feed: &UsageFeed, at: Instant) {
        let now = self.state.nanos(at);
        self.state.freshness.note(now);
        self.state.take(feed, now);
    }

    /// The last sequence of the own journal that the ledger's figures include: what lies behind it is to be replayed at start.
    pub fn included(&self) -> u64 {
        self.state.included()
    }

    /// Counts an event of the own journal for which there is no reservation: at start, those behind [`Self::included`]; later,
    /// those of requests that were found interrupted, and of requests that nothing counted when they began.
    pub fn replay(&self, sequence: u64, event: &UsageEvent) {
        let charged = ChargeParts::of(event);
        if charged.total().requests == 0 || sequence <= self.included() {
            return;
        }
        let principal = Principal {
            org_id: event.org_id.clone(),
            project_id: event.project_id.clone(),
            team_id: event.team_id.clone(),
            user_id: event.user_id.clone(),
            key_id: event.key_id.clone(),
            roles: Vec::new(),
            labels: std::collections::BTreeMap::new(),
        };
        let owner = Arc::new(Owner { principal });
        let event = RecentEvent { owner, sequence, at: event.timestamp, charged };
        self.state.record(None, &[], &event);
    }

    /// What counts this principal; `None` when nothing does.
    pub fn in_force(&self, principal: &Principal) -> Option<Arc<Rules>> {
        self.state.rules_in(&self.state.index.load(), principal)
    }

    /// Holds what the request may use of every limit and budget, or of none.
    ///
    /// # Errors
    /// Of the limits and budgets that refuse, the one that will do so for the longest time.
    pub fn admit(&self, rules: &Arc<Rules>, demand: &Demand<'_>) -> Result<Reservation, Refusal> {
        self.state.admit(rules, demand)
    }

    /// The budgets of these rules with what is used in the window of `now` and what open requests hold.
    pub fn budget_usage(&self, rules: &Rules, now: Timestamp) -> Vec<(Arc<QuotaSpec>, i64, i64)> {
        let figures = rules.budgets.iter().map(|(rule, cell)| {
            let mut counter = cell.counter.lock();
            let used = counter.figures(now, self.state.included()).used();
            (Arc::clone(&rule.spec), used, counter.reserved())
        });
        figures.collect()
    }

    /// What open requests of this subject hold of a budget, in its unit; nothing of a budget that is not in force.
    pub fn reserved(&self, quota: &QuotaId, subject: &str) -> i64 {
        let index = self.state.index.load();
        let cell = index.budget(quota).map(|rule| self.state.budgets.of(rule.number, subject));
        cell.map_or(0, |cell| cell.counter.lock().reserved())
    }

    /// What is left of the rate limits that count this principal's requests for these models, as the API would tell it.
    pub fn rate_limit_headers(
        &self,
        rules: &Rules,
        models: AskedModels<'_>,
        now: Timestamp,
        at: Instant,
    ) -> RateLimitHeaders {
        RateLimitHeaders::of(&rules.limits, models, self.state.nanos(at), now, self.state.freshness.share())
    }

    /// Forgets what is as good as new: limits that are full again, budgets of past windows, counters of rules that are gone. For a
    /// timer, about once a minute, off the threads that serve requests: with a million counters it takes half a second. Of the
    /// admissions, only those whose rules are not at hand wait for it, some milliseconds at most.
    pub fn sweep(&self, now: Timestamp, at: Instant) {
        let state = &*self.state;
        let index = state.index.load_full();
        index.rules.retain(|_, rules| rules.take_use());
        let nanos = state.nanos(at);
        state.limits.sweep(|key, cell| index.limits.contains_key(&key.number) && !cell.is_as_new(nanos));
        let past = now.saturating_sub(LATE_EVENTS).unwrap_or(Timestamp::MIN);
        state.budgets.sweep(|key, cell| {
            !cell.counter.lock().forget_before(past) && index.budgets.contains_key(&key.number)
        });
        state.sweep_sizes();
    }

    /// How many counters are kept, of limits and of budgets.
    pub fn counters(&self) -> (usize, usize) {
        (self.state.limits.len(), self.state.budgets.len())
    }

    /// The last figures of the ledger, for a file: a proxy that starts while its control plane is away goes on from them
    /// with [`Self::load`] and a replay of its journal behind [`Self::included`].
    pub fn save(&self) -> UsageFeed {
        self.state.ledger_figures()
    }

    /// Takes saved figures. They count as known, but not as heard: see [`Self::expect_feed`].
    pub fn load(&self, saved: &UsageFeed) {
        self.state.take(saved, 0);
    }

    /// What is to be reported of this proxy's use of limits. `number` must rise from report to report, also over restarts; `at` is
    /// now.
    pub fn demand_report(&self, number: u64, at: Instant) -> DemandReport {
        self.state.demand_report(number, at)
    }

    /// Goes by the portions that the answer to a report says. `sent_at` is when the report was made, `at` is now. Returns whether
    /// any portion became smaller: the others get what is free now as soon as the next report says so.
    pub fn take_shares(&self, answer: &ShareAnswer, sent_at: Instant, at: Instant) -> bool {
        self.state.take_shares(answer, sent_at, at)
    }

    /// Gives up portions that nobody has confirmed for too long: for a timer, while reports are not answered. See
    /// [`crate::SHARE_LEASE`].
    pub fn expire_shares(&self, at: Instant) {
        self.state.expire_shares(at);
    }
}

#[cfg(test)]
mod tests;
