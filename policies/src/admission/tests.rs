//! A world to admit requests in: one organisation, a project, keys, and whatever rules a test sets.

mod budgets;
mod cluster;
mod feeds;
mod model;
mod rates;
mod shares;
mod stress;

use std::collections::{BTreeMap, HashMap};

use mindweave_metering::{KeyId, LimitId, NanoUsd, OrgId, ProjectId, QuotaId, RequestFacts};

use super::*;
use crate::charge::Charge;
use crate::governance::{
    Governance, LimitMetric, LimitSpec, OnError, OnStale, OrgEntry, QuotaAction, QuotaUnit, QuotaWindow,
    Reserve,
};
use crate::model_pattern::ModelPattern;
use crate::subject::{Subject, SubjectKind};
use crate::usage_feed::CounterUsage;

pub(crate) const JOURNAL: &str = "jnl_own";
pub(crate) const MODEL: &str = "claude-sonnet-4-5";

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn principal(key: &str) -> Principal {
    Principal {
        org_id: OrgId::new("org_1"),
        project_id: ProjectId::new("prj_1"),
        team_id: None,
        user_id: None,
        key_id: Some(KeyId::new(key)),
        roles: vec!["developer".into()],
        labels: BTreeMap::new(),
    }
}

pub(crate) fn project() -> Subject {
    Subject { kind: SubjectKind::Project, id: Some("prj_1".into()) }
}

pub(crate) fn each_key() -> Subject {
    Subject { kind: SubjectKind::Key, id: None }
}

pub(crate) fn quota(id: &str, unit: QuotaUnit, limit: i64) -> QuotaSpec {
    QuotaSpec {
        id: QuotaId::new(id),
        org_id: OrgId::new("org_1"),
        name: id.into(),
        scope: project(),
        unit,
        window: QuotaWindow::Month,
        limit,
        models: Vec::new(),
        action: QuotaAction::Block,
        reserve: Reserve::Max,
        thresholds: Vec::new(),
        on_unknown_price: OnError::Deny,
        on_stale: OnStale::Open,
    }
}

pub(crate) fn limit(id: &str, metric: LimitMetric, limit: u64) -> LimitSpec {
    LimitSpec {
        id: LimitId::new(id),
        org_id: OrgId::new("org_1"),
        name: id.into(),
        scope: each_key(),
        metric,
        limit,
        burst: None,
        models: Vec::new(),
    }
}

pub(crate) fn snapshot(limits: &[LimitSpec], quotas: &[QuotaSpec]) -> Snapshot {
    let org = OrgEntry { name: "Acme".into(), time_zone: "Europe/Berlin".into() };
    let governance = Governance {
        orgs: HashMap::from([(OrgId::new("org_1"), org)]),
        policies: Vec::new(),
        limits: limits.iter().cloned().map(Arc::new).collect(),
        quotas: quotas.iter().cloned().map(Arc::new).collect(),
    };
    Snapshot { governance: Arc::new(governance), ..Snapshot::default() }
}

/// A clock and the control under test.
pub(crate) struct World {
    pub(crate) control: AdmissionControl,
    pub(crate) now: Timestamp,
    pub(crate) at: Instant,
    pub(crate) sequence: u64,
}

/// What one request of a test asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) model: Option<&'static str>,
    /// A further model that may serve.
    pub(crate) fallback: Option<&'static str>,
    pub(crate) input: u64,
    /// How much longer the prompt may be than estimated.
    pub(crate) slack: u64,
    pub(crate) output: Option<u64>,
    pub(crate) billed: bool,
    pub(crate) reports_use: bool,
    pub(crate) nano_per_token: Option<i64>,
    pub(crate) batch: Option<u64>,
}

impl Ask {
    pub(crate) fn tokens(input: u64, output: u64) -> Self {
        Self {
            model: Some(MODEL),
            fallback: None,
            input,
            slack: 0,
            output: Some(output),
            billed: true,
            reports_use: true,
            nano_per_token: Some(1_000),
            batch: None,
        }
    }
}

impl World {
    pub(crate) fn new(limits: &[LimitSpec], quotas: &[QuotaSpec]) -> Self {
        let start = Instant::now();
        let control = AdmissionControl::new(JOURNAL.into(), start);
        control.apply(&snapshot(limits, quotas), start);
        Self { control, now: time("2026-11-21T12:00:00Z"), at: start, sequence: 0 }
    }

    pub(crate) fn apply(&self, limits: &[LimitSpec], quotas: &[QuotaSpec]) {
        self.control.apply(&snapshot(limits, quotas), self.at);
    }

    pub(crate) fn pass(&mut self, seconds: u64) {
        self.at += Duration::from_secs(seconds);
        self.now += Duration::from_secs(seconds);
    }

    pub(crate) fn admit(&self, key: &str, ask: Ask) -> Result<Reservation, Refusal> {
        let rules = self.control.in_force(&principal(key)).unwrap();
        self.admit_by(&rules, key, ask)
    }

    pub(crate) fn admit_by(&self, rules: &Arc<Rules>, key: &str, ask: Ask) -> Result<Reservation, Refusal> {
        let principal = principal(key);
        let price = |input: u64, output: u64| ask.nano_per_token.map(|price| cost(price, input + output));
        let facts = RequestFacts {
            model: ask.model.map(Into::into),
            models: ask.model.into_iter().chain(ask.fallback).map(Into::into).collect(),
            ..RequestFacts::default()
        };
        let demand = Demand {
            principal: &principal,
            models: AskedModels::of(&facts),
            input_tokens: ask.input,
            input_tokens_at_most: ask.input + ask.slack,
            max_output_tokens: ask.output,
            billed: ask.billed,
            reports_use: ask.reports_use,
            price: &price,
            batch: ask.batch,
            now: self.now,
            at: self.at,
        };
        self.control.admit(rules, &demand)
    }

    pub(crate) fn settle(&mut self, reservation: Reservation, input: u64, output: u64) {
        self.settle_for(reservation, ChargeParts::one(charge(input, output), Some(MODEL.into())));
    }

    pub(crate) fn settle_for(&mut self, reservation: Reservation, charged: ChargeParts) {
        self.sequence += 1;
        let (at, instant, sequence) = (self.now, self.at, Some(self.sequence));
        reservation.settle(Settled { charged, use_is_known: true, at, instant, sequence });
    }

    /// Used and reserved of the budget.
    pub(crate) fn usage(&self, key: &str, quota: &str) -> (i64, i64) {
        let rules = self.control.in_force(&principal(key)).unwrap();
        let usage = self.control.budget_usage(&rules, self.now);
        let (_, used, reserved) = usage.into_iter().find(|(spec, ..)| &*spec.name == quota).unwrap();
        (used, reserved)
    }

    pub(crate) fn feed(&self, full: bool, included: u64, counters: &[(&str, &str, Timestamp, i64)]) {
        let feed = feed(full, included, self.now, counters);
        self.control.feed(&feed, self.at);
    }
}

pub(crate) fn feed(
    full: bool,
    included: u64,
    as_of: Timestamp,
    counters: &[(&str, &str, Timestamp, i64)],
) -> UsageFeed {
    let counter = |(quota, subject, window_start, used): &(&str, &str, Timestamp, i64)| CounterUsage {
        quota_id: QuotaId::new(*quota),
        subject: (*subject).into(),
        window_start: *window_start,
        used: *used,
        definition: 0,
    };
    UsageFeed {
        full,
        counters: counters.iter().map(counter).collect(),
        included: BTreeMap::from([(JOURNAL.into(), included)]),
        as_of,
        through: None,
        live_proxies: 2,
    }
}

pub(crate) fn cost(nano_per_token: i64, tokens: u64) -> NanoUsd {
    NanoUsd(nano_per_token * i64::try_from(tokens).unwrap())
}

pub(crate) fn charge(input: u64, output: u64) -> Charge {
    Charge {
        requests: 1,
        limited_input_tokens: input,
        output_tokens: output,
        tokens: input + output,
        cost: cost(1_000, input + output),
    }
}

/// The start of November in Berlin.
pub(crate) fn november() -> Timestamp {
    time("2026-10-31T23:00:00Z")
}

#[test]
fn a_principal_that_nothing_counts_has_no_rules() {
    let mut other = quota("quo_1", QuotaUnit::Requests, 1);
    other.scope = Subject { kind: SubjectKind::Project, id: Some("prj_2".into()) };
    let world = World::new(&[], &[other]);
    assert!(world.control.in_force(&principal("key_1")).is_none());
    let mut stranger = principal("key_1");
    stranger.org_id = OrgId::new("org_2");
    let world = World::new(&[], &[quota("quo_1", QuotaUnit::Requests, 1)]);
    assert!(world.control.in_force(&stranger).is_none(), "another organisation's rules");
    assert!(world.control.in_force(&principal("key_1")).is_some());
}

#[test]
fn only_tokens_cost_and_models_need_the_body() {
    let needs = |limits: &[LimitSpec], quotas: &[QuotaSpec]| {
        World::new(limits, quotas).control.in_force(&principal("key_1")).unwrap().needs_body()
    };
    assert!(!needs(
        &[limit("lim_1", LimitMetric::RequestsPerMinute, 1)],
        &[quota("quo_1", QuotaUnit::Requests, 1)]
    ));
    assert!(needs(&[], &[quota("quo_1", QuotaUnit::Cost, 1)]));
    assert!(needs(&[limit("lim_1", LimitMetric::InputTokensPerMinute, 1)], &[]));
    let mut filtered = limit("lim_1", LimitMetric::ConcurrentRequests, 1);
    filtered.models = vec![ModelPattern::new("claude-opus-*")];
    assert!(needs(&[filtered], &[]));
}

#[test]
fn idle_counters_are_swept_and_those_that_matter_stay() {
    let mut world = World::new(
        &[limit("lim_1", LimitMetric::RequestsPerMinute, 60)],
        &[QuotaSpec {
            scope: each_key(),
            window: QuotaWindow::Minute,
            ..quota("quo_1", QuotaUnit::Requests, 100)
        }],
    );
    let open = world.admit("key_open", Ask::tokens(1, 1)).unwrap();
    for number in 0..100 {
        let done = world.admit(&format!("key_{number}"), Ask::tokens(1, 1)).unwrap();
        world.settle(done, 1, 1);
    }
    assert_eq!(world.control.counters(), (101, 101));
    world.control.sweep(world.now, world.at); // takes notice of who asked
    world.control.sweep(world.now, world.at);
    assert_eq!(world.control.counters(), (101, 101), "all of them still say something");
    world.pass(15 * 60);
    world.control.sweep(world.now, world.at);
    assert_eq!(world.control.counters(), (1, 1), "only the open request's own");
    drop(open);
    world.control.sweep(world.now, world.at);
    world.control.sweep(world.now, world.at);
    assert_eq!(world.control.counters(), (0, 0));
}

#[test]
fn beyond_the_most_counters_further_subjects_are_counted_together() {
    let start = Instant::now();
    let control = AdmissionControl::with_capacity(JOURNAL.into(), start, 3);
    control.apply(&snapshot(&[limit("lim_1", LimitMetric::RequestsPerMinute, 2)], &[]), start);
    let world = World { control, now: time("2026-11-21T12:00:00Z"), at: start, sequence: 0 };
    let ask = |key: usize| world.admit(&format!("key_{key}"), Ask::tokens(1, 1)).ok();
    let first: Vec<_> = [0, 1, 2, 0, 1, 2].into_iter().filter_map(ask).collect();
    let further: Vec<_> = (10..20).filter_map(ask).collect();
    assert_eq!((first.len(), further.len()), (6, 2), "ten more keys share one limit of two");
    assert_eq!(world.control.counters().0, 4);
}
