//! The decision: everything that a request needs is held, or nothing.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::demand::Demand;
use super::reservation::{BudgetWarning, Reservation};
use super::rules::Rules;
use super::state::State;
use crate::budget::{
    BudgetCell, BudgetRule, Counter, Estimates, FIRST_EXPECTED_OUTPUT, Needed, PriceUnknown,
};
use crate::governance::{LimitMetric, OnError, OnStale, QuotaAction};
use crate::limits::{ExpectedTokens, Taken};
use crate::model_pattern::AskedModels;
use crate::refusal::{RateLimitHeaders, Refusal, RefusalKind};

/// When to ask again while the ledger is out of reach.
const STALE_RETRY: Duration = Duration::from_secs(10);

/// Why a request cannot pass, and for how long.
struct Obstacle {
    kind: RefusalKind,
    id: Arc<str>,
    subject: Arc<str>,
    retry_after: Option<Duration>,
    /// Nanoseconds, to compare by.
    lasts: i128,
}

/// One decision under way.
struct Admission<'a> {
    state: &'a State,
    demand: &'a Demand<'a>,
    /// Of each budget, what the request needs of it.
    needs: SmallVec<[Option<Needed>; 4]>,
    stale: bool,
    warnings: Vec<BudgetWarning>,
    obstacle: Option<Obstacle>,
}

impl State {
    /// What counts the principal now, where that has changed since `rules` were looked up: while a body was read, say.
    fn renewed(&self, rules: &Rules, demand: &Demand<'_>) -> Option<Arc<Rules>> {
        let index = self.index.load();
        if rules.generation == index.generation {
            return None;
        }
        self.rules_in(&index, demand.principal)
    }

    pub(crate) fn admit(
        self: &Arc<Self>,
        rules: &Arc<Rules>,
        demand: &Demand<'_>,
    ) -> Result<Reservation, Refusal> {
        let now = self.nanos(demand.at);
        let renewed = self.renewed(rules, demand);
        let rules = renewed.as_ref().unwrap_or(rules);
        let sizes = rules.sizes.as_ref().filter(|_| demand.billed);
        let sizes = sizes.map(|sizes| sizes.of(demand.models.named().unwrap_or_default()));
        let expected_output = sizes.as_ref().map_or(FIRST_EXPECTED_OUTPUT, |sizes| sizes.expected());
        let mut admission = Admission {
            state: self,
            demand,
            needs: SmallVec::new(),
            stale: self.freshness.is_stale(now),
            warnings: Vec::new(),
            obstacle: None,
        };
        let mut reservation = Reservation::new(self, rules, sizes.filter(|_| demand.batch.is_none()));
        let output = demand.max_output_tokens.map_or(expected_output, |most| most.min(expected_output));
        let tokens = ExpectedTokens { input: demand.input_tokens, output };
        reservation.limits =
            admission.take_limits(rules, now, (demand.billed && demand.batch.is_none()).then_some(tokens));
        admission.find_needs(rules, &Estimates::new(demand, expected_output));
        admission.reserve(&rules.budgets, 0);
        match admission.obstacle {
            None => {
                reservation.budgets =
                    admission.needs.iter().map(|need| need.map_or(0, |need| need.held)).collect();
                reservation.warnings = admission.warnings;
                Ok(reservation)
            }
            Some(obstacle) => Err(Refusal {
                kind: obstacle.kind,
                id: obstacle.id,
                subject: obstacle.subject,
                retry_after: obstacle.retry_after,
                headers: RateLimitHeaders::of(
                    &rules.limits,
                    demand.models,
                    now,
                    demand.now,
                    self.freshness.share(),
                ),
            }), // dropping the reservation gives the limits back
        }
    }
}

impl Admission<'_> {
    fn take_limits(
        &mut self,
        rules: &Rules,
        now: i64,
        tokens: Option<ExpectedTokens>,
    ) -> SmallVec<[Option<Taken>; 4]> {
        let mut taken = SmallVec::new();
        let named = AskedModels::one(self.demand.models.named());
        let share = self.state.freshness.share();
        for (rule, cell) in &rules.limits {
            let counted = rule.counts(self.demand.models);
            let outcome = match &self.obstacle {
                _ if !counted => Ok(None),
                Some(_) => rule.wait(cell, now, tokens, share).map_or(Ok(None), Err),
                None => rule.take(cell, now, tokens, share),
            };
            let by_name = rule.counts(named);
            taken.push(outcome.unwrap_or_default().map(|taken| Taken { by_name, ..taken }));
            if cell.presses() {
                self.state.sharing.notice(rule, cell, self.demand.principal);
            }
            if let Err(wait) = outcome {
                let limit = Arc::clone(&rule.spec);
                let kind = match limit.metric {
                    LimitMetric::ConcurrentRequests => RefusalKind::Concurrent { limit },
                    LimitMetric::RequestsPerMinute
                    | LimitMetric::InputTokensPerMinute
                    | LimitMetric::OutputTokensPerMinute
                    | LimitMetric::TokensPerMinute => RefusalKind::RateLimited { limit },
                };
                let subject = rule.spec.scope.counted(self.demand.principal).unwrap_or_default();
                self.meet(Obstacle {
                    kind,
                    id: rule.spec.id.as_str().into(),
                    subject: subject.into(),
                    retry_after: Some(wait),
                    lasts: i128::try_from(wait.as_nanos()).unwrap_or(i128::MAX),
                });
            }
        }
        taken
    }

    /// Works out what every budget must have left, before any of them is locked.
    fn find_needs(&mut self, rules: &Rules, estimates: &Estimates<'_>) {
        for (rule, _) in &rules.budgets {
            let need = match estimates.needed(&rule.spec) {
                Ok(need) => need,
                Err(PriceUnknown) => {
                    let model = self.demand.models.named().map(Into::into);
                    let quota = Arc::clone(&rule.spec);
                    self.meet_unknown(rule, RefusalKind::PriceUnknown { quota, model });
                    Some(Needed { amount: 0, held: 0 })
                }
            };
            if estimates.stay_unknown(rule) {
                self.meet_unknown(rule, RefusalKind::UseUnknown { quota: Arc::clone(&rule.spec) });
            }
            self.needs.push(need);
        }
    }

    /// Holds what the request needs of each of these budgets, or of none. All of them are locked before the first one changes, in
    /// the order of their addresses: two requests cannot wait for each other, and neither sees a part of what the other holds.
    fn reserve(&mut self, budgets: &[(Arc<BudgetRule>, Arc<BudgetCell>)], place: usize) {
        let Some(((rule, cell), others)) = budgets.split_first() else { return };
        let next = place.saturating_add(1);
        let Some(need) = self.needs.get(place).copied().flatten() else { return self.reserve(others, next) };
        let mut counter = cell.counter.lock();
        self.check(rule, &mut counter, need);
        self.reserve(others, next);
        if self.obstacle.is_none() {
            counter.reserve(need.held);
        }
    }

    fn check(&mut self, rule: &BudgetRule, counter: &mut Counter, need: Needed) {
        let spec = &rule.spec;
        let figures = counter.figures(self.demand.now, self.state.included());
        let (used, reserved) = (figures.used(), counter.reserved());
        let after = used.saturating_add(reserved).saturating_add(need.amount);
        let over = used >= spec.limit || after > spec.limit;
        match spec.action {
            QuotaAction::Warn if over => self.warnings.push(BudgetWarning {
                quota: Arc::clone(spec),
                subject: self.subject_of(rule),
                used,
                reserved,
            }),
            QuotaAction::Warn => {}
            QuotaAction::Block if over => {
                let resets_at = rule.calendar.bounds(self.demand.now).1;
                let (quota, needed) = (Arc::clone(spec), need.amount);
                let kind = RefusalKind::BudgetExhausted { quota, used, reserved, needed, resets_at };
                let lasts = resets_at.duration_since(self.demand.now).as_nanos();
                self.meet_budget(rule, kind, None, lasts);
            }
            QuotaAction::Block if self.stale => {
                let own = figures.own.saturating_add(reserved).saturating_add(need.amount);
                let proxies = i64::from(self.state.freshness.live_proxies());
                let share = spec.limit.saturating_sub(figures.ledger).checked_div(proxies).unwrap_or(0);
                let refused = match spec.on_stale {
                    OnStale::Open => false,
                    OnStale::Closed => true,
                    OnStale::Capped => own > share,
                };
                if refused {
                    let kind = RefusalKind::BudgetStale { quota: Arc::clone(spec) };
                    self.meet_budget(rule, kind, Some(STALE_RETRY), nanos(STALE_RETRY));
                }
            }
            QuotaAction::Block => {}
        }
    }

    fn meet_unknown(&mut self, rule: &BudgetRule, kind: RefusalKind) {
        if rule.spec.action == QuotaAction::Block && rule.spec.on_unknown_price == OnError::Deny {
            self.meet_budget(rule, kind, None, i128::MAX);
        }
    }

    fn meet_budget(
        &mut self,
        rule: &BudgetRule,
        kind: RefusalKind,
        retry_after: Option<Duration>,
        lasts: i128,
    ) {
        let (id, subject) = (rule.spec.id.as_str().into(), self.subject_of(rule));
        self.meet(Obstacle { kind, id, subject, retry_after, lasts });
    }

    /// Of several obstacles the one that lasts longest is told: else its sender would wait for one, only to meet the next.
    fn meet(&mut self, obstacle: Obstacle) {
        if self.obstacle.as_ref().is_none_or(|known| obstacle.lasts > known.lasts) {
            self.obstacle = Some(obstacle);
        }
    }

    fn subject_of(&self, rule: &BudgetRule) -> Arc<str> {
        rule.spec.scope.counted(self.demand.principal).unwrap_or_default().into()
    }
}

fn nanos(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}
