//! What a decision costs: from the cache, and evaluated, with 1, 10 and 50 policies in force.
//!
//! `cargo bench -p mindweave-policy`. Besides criterion's own figures it prints p50 and p99 of single decisions, which is what the
//! targets are about: cached below 5 us, evaluated below 200 us.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::as_conversions,
    reason = "a bench"
)]

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use mindweave_metering::{OrgId, PolicyId, ProjectId, RequestFacts, RequestedTool};
use mindweave_policy::{
    CompiledPolicies, CredentialKind, Governance, OnError, PolicyInput, PolicyMode, PolicySet, PolicySpec,
    Principal, PrincipalInput, RequestInput, Subject, SubjectKind,
};
use serde_json::json;

/// Single decisions that the percentiles are over.
const SAMPLES: usize = 20_000;

/// The usual needs; a set takes them in turn.
const POLICIES: [&str; 5] = [
    // Models by role, keyed look-ups.
    r#"deny contains {"reason": "model_not_allowed", "message": sprintf("%s may not be used by %s", [input.request.model, input.principal.project_name])} if {
    not allowed
}
allowed if {
    some role in input.principal.roles
    data.models[role][input.request.model]
}"#,
    // A cap.
    r#"deny contains {"reason": "max_tokens", "message": "ask for less"} if input.request.max_tokens > data.cap"#,
    // Working hours.
    r#"deny contains {"reason": "closed", "message": "come back on Monday"} if data.closed[input.time.weekday]
deny contains {"reason": "closed", "message": "come back in the morning"} if input.time.hour < 6"#,
    // Networks.
    r#"deny contains {"reason": "network", "message": "not from here"} if not known
known if {
    some network in data.networks
    net.cidr_contains(network, input.request.client_ip)
}"#,
    // MCP servers.
    r#"deny contains {"reason": "mcp_server", "message": tool.server} if {
    some tool in input.request.mcp_tools
    not data.servers[tool.server]
}"#,
];

fn spec(number: usize) -> PolicySpec {
    PolicySpec {
        id: PolicyId::new(format!("pol_{number:02}")),
        org_id: OrgId::new("org_1"),
        name: format!("policy {number:02}").into(),
        version: 1,
        mode: PolicyMode::Enforce,
        scope: Subject { kind: SubjectKind::Org, id: Some("org_1".into()) },
        rego: format!("package policy\n{}", POLICIES[number % POLICIES.len()]).into(),
        data: json!({
            "models": {"developer": {"claude-sonnet-4-5": true, "claude-haiku-4-5": true}, "batch": {}},
            "cap": 64_000,
            "closed": {"Sunday": true},
            "networks": ["10.0.0.0/8", "192.168.0.0/16", "2001:db8::/32"],
            "servers": {"github": true, "jira": true},
        }),
        on_error: OnError::Deny,
    }
}

struct World {
    principal: Principal,
    facts: RequestFacts,
    set: Arc<PolicySet>,
}

impl World {
    fn with_policies(count: usize) -> Self {
        let policies = (0..count).map(|number| Arc::new(spec(number))).collect();
        let governance = Governance { policies, ..Governance::default() };
        let compiled = CompiledPolicies::compile(&governance, None);
        assert!(compiled.faults().is_empty(), "{:?}", compiled.faults());
        let principal = Principal {
            org_id: OrgId::new("org_1"),
            project_id: ProjectId::new("prj_1"),
            team_id: None,
            user_id: None,
            key_id: None,
            roles: vec!["developer".into()],
            labels: Default::default(),
        };
        let tools = (0..20).map(|number| RequestedTool {
            name: Some(format!("mcp__github__tool_{number}").into()),
            ..RequestedTool::default()
        });
        let facts = RequestFacts {
            model: Some("claude-sonnet-4-5".into()),
            max_tokens: Some(1_024),
            tools: tools.collect(),
            ..RequestFacts::default()
        };
        let set = compiled.in_force(&principal).unwrap();
        Self { principal, facts, set }
    }

    /// Decides; whether it came from the cache.
    fn decide_on(
        &self,
        principal: &Principal,
        facts: &RequestFacts,
        ip: IpAddr,
        now: jiff::Timestamp,
    ) -> bool {
        let evaluated = self.set.decide(&PolicyInput {
            principal: PrincipalInput {
                principal,
                org_name: "Acme",
                project_name: "bot",
                credential: CredentialKind::VirtualKey,
            },
            request: RequestInput {
                method: "POST",
                path: "/v1/messages",
                endpoint: "/v1/messages",
                kind: "messages",
                facts: Some(facts),
                bytes: Some(2_000),
                betas: &[],
                client_ip: ip,
                user_agent: Some("claude-cli/2.0"),
                session_id: None,
                agent_id: None,
                parent_agent_id: None,
                pii: None,
            },
            usage: &[],
            now,
            time_zone: "Europe/Berlin",
        });
        assert!(evaluated.errors.is_empty());
        black_box(evaluated).cached
    }

    fn percentiles(&self, mut once: impl FnMut(&Self, usize) -> bool, cached: bool) -> (Duration, Duration) {
        let mut taken: Vec<Duration> = (0..SAMPLES)
            .filter_map(|number| {
                let start = clock(cached);
                let was_cached = once(self, number);
                let elapsed = clock(cached).saturating_sub(start);
                (was_cached == cached).then_some(elapsed)
            })
            .collect();
        taken.sort();
        assert!(taken.len() > SAMPLES / 2, "only {} of {SAMPLES} were of the kind measured", taken.len());
        (taken[taken.len() / 2], taken[taken.len() * 99 / 100])
    }
}

/// The time, by the wall for what takes less than reading the other clock, and else the processor time of the thread: on a machine
/// with other things to do, a percentile by the wall tells of those.
fn clock(wall: bool) -> Duration {
    static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    if wall {
        return ORIGIN.elapsed();
    }
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// An input that was never there before, in every field that the policies read.
fn fresh(world: &World, facts: &mut RequestFacts, principal: &mut Principal, number: usize) -> bool {
    facts.max_tokens = Some(1_000 + number as u64);
    facts.tools[0].name = Some(format!("mcp__github__t{number}").into());
    principal.roles[0] = "developer".into();
    principal.roles.truncate(1);
    principal.roles.push(format!("r{number}").into());
    let ip = IpAddr::from([10, (number >> 16) as u8, (number >> 8) as u8, number as u8]);
    let now = jiff::Timestamp::from_second(1_763_632_800 + (number as i64 % 7_000) * 3_600).unwrap();
    world.decide_on(principal, facts, ip, now)
}

fn decisions(criterion: &mut Criterion) {
    for count in [1, 10, 50] {
        let world = World::with_policies(count);
        let ip: IpAddr = "10.1.2.3".parse().unwrap();
        let now = "2026-11-20T10:00:00Z".parse().unwrap();
        let same = |world: &World, _: usize| world.decide_on(&world.principal, &world.facts, ip, now);
        same(&world, 0);
        let (mut facts, mut principal) = (world.facts.clone(), world.principal.clone());
        let cached = world.percentiles(same, true);
        let evaluated =
            world.percentiles(|world, number| fresh(world, &mut facts, &mut principal, number), false);
        println!(
            "{count} policies: cached p50 {:?} p99 {:?}, evaluated p50 {:?} p99 {:?}",
            cached.0, cached.1, evaluated.0, evaluated.1
        );
        criterion.bench_with_input(BenchmarkId::new("decision/cached", count), &world, |bencher, world| {
            bencher.iter(|| same(world, 0));
        });
        let mut number = SAMPLES;
        criterion.bench_with_input(
            BenchmarkId::new("decision/evaluated", count),
            &world,
            |bencher, world| {
                bencher.iter_batched(
                    || {
                        number += 1;
                        number
                    },
                    |number| fresh(world, &mut facts, &mut principal, number),
                    BatchSize::SmallInput,
                );
            },
        );
    }
}

criterion_group!(benches, decisions);
criterion_main!(benches);
