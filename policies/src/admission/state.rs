//! What all admissions of a process share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use dashmap::DashMap;
use foldhash::fast::RandomState;
use mindweave_metering::ProjectId;
use parking_lot::Mutex;

use super::counters::{BudgetCounters, LimitCounters, MAX_COUNTERS};
use super::feeding::Feeding;
use super::freshness::Freshness;
use super::index::{Index, Numbering};
use super::rules::{Ids, Owner, OwnerKey, Rules};
use super::sharing::Sharing;
use crate::budget::{BudgetCell, BudgetRule, Own, ProjectSizes, RecentEvent, RecentEvents};
use crate::governance::Governance;
use crate::principal::Principal;

/// Principals whose rules are kept at hand. Those beyond pay for a search, some microseconds, each time.
const MAX_RULES_AT_HAND: usize = 200_000;

/// Projects whose answers' sizes are remembered while none of their requests is at hand.
const MAX_PROJECTS_MEASURED: usize = 100_000;

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) journal: Arc<str>,
    started: Instant,
    pub(crate) index: ArcSwap<Index>,
    pub(crate) limits: LimitCounters,
    pub(crate) budgets: BudgetCounters,
    sizes: DashMap<ProjectId, Arc<ProjectSizes>, RandomState>,
    /// The last own event that the ledger's figures of all counters include.
    included: AtomicU64,
    pub(crate) freshness: Freshness,
    pub(crate) sharing: Sharing,
    // Locked in this order, where more than one is.
    pub(crate) applying: Mutex<Applied>,
    pub(crate) feeding: Mutex<Feeding>,
    pub(crate) recent: Mutex<RecentEvents>,
}

/// What was applied last.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    pub(crate) governance: Option<Arc<Governance>>,
    pub(crate) numbering: Numbering,
}

impl State {
    pub(crate) fn new(journal: Arc<str>, started: Instant, most_counters: usize) -> Self {
        let most = most_counters.min(MAX_COUNTERS);
        Self {
            journal,
            started,
            index: ArcSwap::default(),
            limits: LimitCounters::new(most),
            budgets: BudgetCounters::new(most),
            sizes: DashMap::default(),
            included: AtomicU64::new(0),
            freshness: Freshness::default(),
            sharing: Sharing::default(),
            applying: Mutex::default(),
            feeding: Mutex::default(),
            recent: Mutex::default(),
        }
    }

    /// Nanoseconds of the process, from 1.
    pub(crate) fn nanos(&self, at: Instant) -> i64 {
        let nanos = at.saturating_duration_since(self.started).as_nanos();
        i64::try_from(nanos).unwrap_or(i64::MAX).saturating_add(1)
    }

    pub(crate) fn included(&self) -> u64 {
        self.included.load(Ordering::Acquire)
    }

    pub(crate) fn set_included(&self, included: u64) {
        self.included.store(included, Ordering::Release);
    }

    /// What counts this principal in this index.
    pub(crate) fn rules_in(&self, index: &Index, principal: &Principal) -> Option<Arc<Rules>> {
        if index.is_empty() {
            return None;
        }
        let ids: &dyn Ids = principal;
        if let Some(rules) = index.rules.get(ids) {
            rules.note_use();
            return Some(Arc::clone(&rules));
        }
        let rules = self.gather(index, principal)?;
        if index.rules.len() < MAX_RULES_AT_HAND {
            index.rules.insert(OwnerKey(Arc::clone(&rules.owner)), Arc::clone(&rules));
        }
        Some(rules)
    }

    fn gather(&self, index: &Index, principal: &Principal) -> Option<Arc<Rules>> {
        let (mut limits, mut budgets) = (Vec::new(), Vec::new());
        for (found, subject) in index.rules_of(principal) {
            for rule in &found.limits {
                let cell = self.limits.of(rule.number, subject);
                let own = || {
                    let own = self.limits.get(rule.number, &subject.into());
                    own.is_some_and(|own| Arc::ptr_eq(&own, &cell))
                };
                self.sharing.introduce(rule, &cell, subject, self.freshness.share(), own);
                limits.push((Arc::clone(rule), cell));
            }
            for rule in &found.budgets {
                budgets.push((Arc::clone(rule), self.budgets.of(rule.number, subject)));
            }
        }
        let sizes = || Arc::clone(&self.sizes.entry(principal.project_id.clone()).or_default());
        let owner = Arc::new(Owner::of(principal));
        let rules = Rules::new(index.generation, owner, limits, budgets, sizes);
        (!rules.is_empty()).then(|| Arc::new(rules))
    }

    /// Counts an own event against the budgets that are in force now. `held` is what its request held of the budgets of
    /// `rules`; it leaves in the same moment, where the rules are still the same.
    pub(crate) fn record(&self, rules: Option<&Rules>, held: &[i64], event: &RecentEvent) {
        // Under the lock: whoever puts other rules in force counts the events before this moment, and this event counts itself
        // under those rules after it.
        let index = {
            let mut recent = self.recent.lock();
            recent.push(event.clone());
            self.index.load_full()
        };
        let charge = |rule: &BudgetRule, cell: &BudgetCell, held: i64| {
            let amount = event.charged.amount(&rule.spec);
            let own = Own { at: event.at, sequence: event.sequence, amount };
            let mut counter = cell.counter.lock();
            counter.charge(&rule.calendar, own, self.included());
            counter.release(held);
        };
        if let Some(rules) = rules.filter(|rules| rules.generation == index.generation) {
            for (place, (rule, cell)) in rules.budgets.iter().enumerate() {
                charge(rule, cell, held.get(place).copied().unwrap_or(0));
            }
            return;
        }
        if let Some(current) = self.rules_in(&index, &event.owner.principal) {
            for (rule, cell) in &current.budgets {
                charge(rule, cell, 0);
            }
        }
        if let Some(rules) = rules {
            rules.release(held);
        }
    }

    /// Counts recent events against a budget that was not in force when they ended.
    pub(crate) fn catch_up(&self, rule: &BudgetRule, events: &[RecentEvent]) {
        for event in events.iter().filter(|event| event.owner.principal.org_id == rule.spec.org_id) {
            let Some(subject) = rule.spec.scope.counted(&event.owner.principal) else { continue };
            let amount = event.charged.amount(&rule.spec);
            let own = Own { at: event.at, sequence: event.sequence, amount };
            let cell = self.budgets.of(rule.number, subject);
            cell.counter.lock().charge(&rule.calendar, own, self.included());
        }
    }

    /// Forgets what is not at hand any more, beyond a bound.
    pub(crate) fn sweep_sizes(&self) {
        if self.sizes.len() > MAX_PROJECTS_MEASURED {
            self.sizes.retain(|_, sizes| Arc::strong_count(sizes) > 1);
        }
    }
}
