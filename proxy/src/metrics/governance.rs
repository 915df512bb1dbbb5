//! Policies, limits and budgets at work.

use metrics::{Counter, Gauge, Histogram};
use mindweave_metering::Effect;
use mindweave_policy::{Evaluated, PolicyErrorKind};

use super::{Registry, figure};

pub(super) const DECISION_SECONDS: &str = "mindweave_proxy_decision_seconds";
const POLICY_WAIT_SECONDS: &str = "mindweave_proxy_policy_wait_seconds";
const DECISIONS: &str = "mindweave_proxy_decisions_total";
const DECISION_CACHE: &str = "mindweave_proxy_decision_cache_total";
const POLICY_ERRORS: &str = "mindweave_proxy_policy_errors_total";

/// From a decision found in the cache to the bound of an evaluation, in seconds.
pub(super) const DECISION_BUCKETS: [f64; 13] = [
    0.000_001, 0.000_002, 0.000_005, 0.000_01, 0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.005,
    0.02, 0.1,
];

/// What happens to requests between whose they are and their admission.
#[derive(Debug)]
pub(crate) struct GovernanceMetrics {
    allowed: Counter,
    denied: Counter,
    shadow_verdicts: Counter,
    cache_hits: Counter,
    cache_misses: Counter,
    decision_seconds: Histogram,
    /// How long decisions waited for their turn.
    pub(crate) policy_wait: Histogram,
    policy_errors: [(PolicyErrorKind, Counter); PolicyErrorKind::ALL.len()],
    held_bytes: Gauge,
    held_bodies: Counter,
    pub(crate) reservations_open: Gauge,
    pub(crate) mcp_calls: Counter,
    pub(crate) tool_calls_left_out: Counter,
}

impl GovernanceMetrics {
    pub(super) fn new(registry: &Registry<'_>) -> Self {
        let decisions = |effect| {
            registry.labelled(
                DECISIONS,
                "requests that policies decided on, by what they decided",
                &[("effect", effect)],
            )
        };
        let cache = |result| {
            registry.labelled(
                DECISION_CACHE,
                "decisions looked up in the cache, by result",
                &[("result", result)],
            )
        };
        let errors = |kind: PolicyErrorKind| {
            let help = "policies without a usable result, by what went wrong";
            (kind, registry.labelled(POLICY_ERRORS, help, &[("kind", kind.as_str())]))
        };
        Self {
            allowed: decisions("allow"),
            denied: decisions("deny"),
            shadow_verdicts: registry.counter(
                "mindweave_proxy_shadow_verdicts_total",
                "verdicts of policies in shadow mode, which are recorded only",
            ),
            cache_hits: cache("hit"),
            cache_misses: cache("miss"),
            policy_wait: registry
                .seconds(POLICY_WAIT_SECONDS, "time that decisions of costly policies waited for their turn"),
            decision_seconds: registry.seconds(DECISION_SECONDS, "time that policies took for a decision"),
            policy_errors: PolicyErrorKind::ALL.map(errors),
            held_bytes: registry.gauge(
                "mindweave_proxy_held_bytes",
                "request bodies held until they are decided on, in bytes",
            ),
            held_bodies: registry.counter(
                "mindweave_proxy_held_bodies_total",
                "request bodies held until they were decided on",
            ),
            reservations_open: registry.gauge(
                "mindweave_proxy_reservations_open",
                "open requests that hold something of a limit or a budget",
            ),
            mcp_calls: registry.counter(
                "mindweave_proxy_mcp_calls_total",
                "calls of MCP tools in answers, each with an event",
            ),
            tool_calls_left_out: registry.counter(
                "mindweave_proxy_tool_calls_left_out_total",
                "tool calls that are in no event, because their answer had too many or named them oddly",
            ),
        }
    }

    /// Policies have decided.
    pub(crate) fn decided(&self, evaluated: &Evaluated) {
        let decision = &evaluated.decision;
        let effect = if decision.is_allowed() { Effect::Allow } else { Effect::Deny };
        match effect {
            Effect::Allow => self.allowed.increment(1),
            Effect::Deny => self.denied.increment(1),
        }
        if evaluated.cached { &self.cache_hits } else { &self.cache_misses }.increment(1);
        self.decision_seconds.record(evaluated.elapsed);
        match decision.shadow.len() {
            0 => {}
            verdicts => self.shadow_verdicts.increment(u64::try_from(verdicts).unwrap_or(u64::MAX)),
        }
        for error in &evaluated.errors {
            if let Some((_, counter)) = self.policy_errors.iter().find(|(kind, _)| *kind == error.kind) {
                counter.increment(1);
            }
        }
    }

    /// A body is being held.
    pub(crate) fn body_held(&self) {
        self.held_bodies.increment(1);
    }

    /// So many bytes more are held.
    pub(crate) fn holding(&self, bytes: u64) {
        self.held_bytes.increment(figure(bytes));
    }

    /// So many bytes are held no longer.
    pub(crate) fn let_go(&self, bytes: u64) {
        self.held_bytes.decrement(figure(bytes));
    }
}
