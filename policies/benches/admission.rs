//! What limits and budgets cost a request, and what a counter costs in memory.
//!
//! `cargo bench -p mindweave-policy --bench admission`. `MINDWEAVE_KEYS=1000000` also measures bytes per key and the time of a sweep.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench"
)]

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use mindweave_metering::{KeyId, LimitId, NanoUsd, OrgId, ProjectId, QuotaId};
use mindweave_policy::{
    AdmissionControl, AskedModels, Charge, ChargeParts, Demand, Governance, LimitMetric, LimitSpec, OnError,
    OnStale, OrgEntry, Principal, QuotaAction, QuotaSpec, QuotaUnit, QuotaWindow, Reserve, Settled, Snapshot,
    Subject, SubjectKind,
};

const MODEL: &str = "claude-sonnet-4-5";

fn subject(kind: SubjectKind) -> Subject {
    Subject { kind, id: None }
}

fn limit(number: usize, metric: LimitMetric, kind: SubjectKind) -> LimitSpec {
    LimitSpec {
        id: LimitId::new(format!("lim_{number}")),
        org_id: OrgId::new("org_1"),
        name: "limit".into(),
        scope: subject(kind),
        metric,
        limit: 1_000_000_000,
        burst: None,
        models: Vec::new(),
    }
}

fn quota(number: usize, window: QuotaWindow, kind: SubjectKind) -> QuotaSpec {
    QuotaSpec {
        id: QuotaId::new(format!("quo_{number}")),
        org_id: OrgId::new("org_1"),
        name: format!("budget {number}").into(),
        scope: subject(kind),
        unit: QuotaUnit::Cost,
        window,
        limit: i64::MAX / 2,
        models: Vec::new(),
        action: QuotaAction::Block,
        reserve: Reserve::Expected,
        thresholds: Vec::new(),
        on_unknown_price: OnError::Deny,
        on_stale: OnStale::Open,
    }
}

/// Requests, tokens and open requests of each key, tokens of each project.
fn limits() -> Vec<LimitSpec> {
    vec![
        limit(1, LimitMetric::RequestsPerMinute, SubjectKind::Key),
        limit(2, LimitMetric::TokensPerMinute, SubjectKind::Key),
        limit(3, LimitMetric::ConcurrentRequests, SubjectKind::Key),
        limit(4, LimitMetric::OutputTokensPerMinute, SubjectKind::Project),
    ]
}

/// A day of each key, a month of each project and of the organisation.
fn quotas() -> Vec<QuotaSpec> {
    vec![
        quota(1, QuotaWindow::Day, SubjectKind::Key),
        quota(2, QuotaWindow::Month, SubjectKind::Project),
        quota(3, QuotaWindow::Month, SubjectKind::Org),
    ]
}

fn control(limits: Vec<LimitSpec>, quotas: Vec<QuotaSpec>) -> AdmissionControl {
    let org = OrgEntry { name: "Acme".into(), time_zone: "Europe/Berlin".into() };
    let governance = Governance {
        orgs: HashMap::from([(OrgId::new("org_1"), org)]),
        policies: Vec::new(),
        limits: limits.into_iter().map(Arc::new).collect(),
        quotas: quotas.into_iter().map(Arc::new).collect(),
    };
    let control = AdmissionControl::new("jnl_1".into(), Instant::now());
    control.apply(&Snapshot { governance: Arc::new(governance), ..Snapshot::default() }, Instant::now());
    control
}

fn principal(key: usize) -> Principal {
    Principal {
        org_id: OrgId::new("org_0190b5a000007000800000000000000a"),
        project_id: ProjectId::new("prj_0190b5a000007000800000000000000b"),
        team_id: None,
        user_id: None,
        key_id: Some(KeyId::new(format!("key_0190b5a00000700080000000{key:08x}"))),
        roles: Vec::new(),
        labels: BTreeMap::new(),
    }
}

fn in_org(key: usize) -> Principal {
    Principal { org_id: OrgId::new("org_1"), ..principal(key) }
}

/// One whole way: look up, admit, settle.
fn request(control: &AdmissionControl, principal: &Principal, now: Timestamp, at: Instant, sequence: u64) {
    let rules = control.in_force(principal).unwrap();
    let price =
        |_: u64, output: u64| i64::try_from(output).ok().map(|output| NanoUsd(output.saturating_mul(15_000)));
    let demand = Demand {
        principal,
        models: AskedModels::one(Some(MODEL)),
        input_tokens: 1_000,
        input_tokens_at_most: 1_200,
        max_output_tokens: Some(4_096),
        billed: true,
        reports_use: true,
        price: &price,
        batch: None,
        now,
        at,
    };
    let reservation = control.admit(&rules, black_box(&demand)).unwrap();
    let charge = Charge {
        requests: 1,
        limited_input_tokens: 900,
        output_tokens: 300,
        tokens: 1_200,
        cost: NanoUsd(7_200_000),
    };
    reservation.settle(Settled {
        charged: ChargeParts::one(charge, Some(MODEL.into())),
        use_is_known: true,
        at: now,
        instant: at,
        sequence: Some(sequence),
    });
}

fn per_request(criterion: &mut Criterion) {
    let sets = [
        ("4 limits", limits(), Vec::new()),
        ("3 budgets", Vec::new(), quotas()),
        ("4 limits and 3 budgets", limits(), quotas()),
    ];
    let now = Timestamp::now();
    let mut group = criterion.benchmark_group("admission");
    for (name, limits, quotas) in sets {
        let control = control(limits, quotas);
        let keys: Vec<_> = (0..1_000).map(in_org).collect();
        let start = Instant::now();
        let (mut sequence, mut key) = (0_u64, keys.iter().cycle());
        group.bench_function(BenchmarkId::new("look up, admit, settle", name), |bencher| {
            bencher.iter(|| {
                sequence += 1;
                let at = start + Duration::from_millis(sequence);
                request(&control, key.next().unwrap(), now, at, sequence);
            });
        });
        group.bench_function(BenchmarkId::new("look up, admit, drop", name), |bencher| {
            let principal = in_org(1);
            let price = |_: u64, output: u64| i64::try_from(output).ok().map(NanoUsd);
            let demand = Demand {
                principal: &principal,
                models: AskedModels::one(Some(MODEL)),
                input_tokens: 1_000,
                input_tokens_at_most: 1_200,
                max_output_tokens: Some(4_096),
                billed: true,
                reports_use: true,
                price: &price,
                batch: None,
                now,
                at: start + Duration::from_secs(1_000_000), // after all that the settled ones took
            };
            bencher.iter(|| {
                let rules = control.in_force(&principal).unwrap();
                drop(control.admit(&rules, black_box(&demand)).unwrap());
            });
        });
        group.bench_function(BenchmarkId::new("look up", name), |bencher| {
            bencher.iter(|| control.in_force(black_box(keys.first().unwrap())).is_some());
        });
    }
    group.finish();
    if let Some(keys) = std::env::var("MINDWEAVE_KEYS").ok().and_then(|keys| keys.parse().ok()) {
        memory(keys);
    }
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Resident bytes per key with one rule per key, after its rules are no longer at hand, and how long a sweep takes.
fn memory(keys: usize) {
    let one_limit = vec![limit(1, LimitMetric::RequestsPerMinute, SubjectKind::Key)];
    let one_budget = vec![quota(1, QuotaWindow::Day, SubjectKind::Key)];
    for (name, limits, quotas) in [("limit", one_limit, Vec::new()), ("budget", Vec::new(), one_budget)] {
        let control = control(limits, quotas);
        let (now, at) = (Timestamp::now(), Instant::now());
        let before = resident_kib();
        for key in 0..keys {
            request(&control, &in_org(key), now, at, 1);
        }
        let at_hand = resident_kib();
        control.feed(
            &mindweave_policy::UsageFeed {
                included: BTreeMap::from([("jnl_1".into(), 1)]),
                as_of: now,
                ..Default::default()
            },
            at,
        );
        control.sweep(now, at);
        let started = Instant::now();
        control.sweep(now, at);
        let sweep = started.elapsed();
        let after = resident_kib();
        println!(
            "{name}: {keys} keys, {} B each ({} B with rules at hand), a sweep that keeps them takes {sweep:?}, {:?}",
            (after - before) * 1_024 / keys,
            (at_hand - before) * 1_024 / keys,
            control.counters()
        );
        let started = Instant::now();
        control.sweep(now + Duration::from_secs(200_000), at + Duration::from_secs(7_200));
        println!("{name}: a sweep that forgets them takes {:?}, {:?}", started.elapsed(), control.counters());
    }
}

criterion_group!(benches, per_request);
criterion_main!(benches);
