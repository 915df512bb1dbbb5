//! What an evaluation answers.

use std::sync::Arc;

use jiff::Timestamp;
use mindweave_metering::{Effect, LimitId, QuotaId, VerdictKind};
use mindweave_policy::{
    LimitMetric, LimitSpec, PolicyFault, PolicyMode, PolicySpec, QuotaAction, QuotaUnit, QuotaWindow,
};
use serde::Serialize;
use serde_json::Value;

use super::budgets::Budget;
use super::judge::Opinion;
use crate::governance::quotas::QuotaState;
use crate::governance::schema::{
    EffectWord, LimitMetricWord, PolicyModeWord, PolicyNote, QuotaActionWord, QuotaUnitWord, QuotaWindowWord,
    VerdictKindWord,
};

/// Why a budget refuses, in the words of proxies.
const BUDGET_EXHAUSTED: &str = "budget_exhausted";

/// What would be decided.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Evaluation)]
pub(super) struct Evaluation {
    /// Whether policies and budgets would let the request pass. Rate limits are not asked: they live in the proxies.
    pub(super) allowed: bool,
    pub(super) decision: DecisionAnswer,
    /// What policies said, those of shadow mode included, in the order of the policies.
    pub(super) verdicts: Vec<VerdictAnswer>,
    /// Every policy that was asked.
    pub(super) policies: Vec<PolicyOutcome>,
    pub(super) budgets: Vec<BudgetAnswer>,
    /// Rate limits that count the request.
    pub(super) limits: Vec<LimitAnswer>,
    /// What the check of the draft found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) draft: Option<DraftAnswer>,
    /// The input as the policies saw it.
    #[schema(value_type = Object)]
    pub(super) input: Value,
    pub(super) at: Timestamp,
    pub(super) snapshot_revision: u64,
    /// Never: an evaluation is always made.
    pub(super) cached: bool,
    pub(super) timing: Timing,
}

/// The decision in short.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = EvaluatedDecision)]
pub(super) struct DecisionAnswer {
    #[schema(value_type = EffectWord)]
    effect: Effect,
    /// Of the refusal.
    #[schema(value_type = Vec<String>)]
    reasons: Vec<Arc<str>>,
    /// What the developer would read.
    #[schema(value_type = Option<String>)]
    message: Option<Arc<str>>,
    /// Reasons of policies that only warn.
    #[schema(value_type = Vec<String>)]
    warnings: Vec<Arc<str>>,
    /// Reasons of policies in shadow mode.
    #[schema(value_type = Vec<String>)]
    shadow: Vec<Arc<str>>,
}

/// Something that a policy said.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = EvaluatedVerdict)]
pub(super) struct VerdictAnswer {
    policy_id: String,
    #[schema(value_type = String)]
    policy: Arc<str>,
    version: u64,
    #[schema(value_type = PolicyModeWord)]
    mode: PolicyMode,
    #[schema(value_type = VerdictKindWord)]
    kind: VerdictKind,
    #[schema(value_type = String)]
    reason: Arc<str>,
    #[schema(value_type = String)]
    message: Arc<str>,
}

/// What one policy came to.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = EvaluatedPolicy)]
pub(super) struct PolicyOutcome {
    policy_id: String,
    #[schema(value_type = String)]
    policy: Arc<str>,
    version: u64,
    #[schema(value_type = PolicyModeWord)]
    mode: PolicyMode,
    /// `deny`, `warn`, `pass` or `error`.
    outcome: &'static str,
    /// The input paths that it reads; `*` for all. Nothing else can change what it says.
    reads: Vec<String>,
    /// Why it has no usable result.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

/// A budget that counts the request.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = EvaluatedBudget)]
pub(super) struct BudgetAnswer {
    #[schema(value_type = String)]
    pub(super) id: QuotaId,
    #[schema(value_type = String)]
    name: Arc<str>,
    #[schema(value_type = QuotaUnitWord)]
    unit: QuotaUnit,
    #[schema(value_type = QuotaWindowWord)]
    window: QuotaWindow,
    limit: i64,
    #[schema(value_type = QuotaActionWord)]
    action: QuotaAction,
    #[serde(flatten)]
    state: QuotaState,
    would_refuse: bool,
}

/// A rate limit that counts the request. How full it is is known to proxies only.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = EvaluatedLimit)]
pub(super) struct LimitAnswer {
    #[schema(value_type = String)]
    pub(super) id: LimitId,
    #[schema(value_type = String)]
    name: Arc<str>,
    #[schema(value_type = LimitMetricWord)]
    metric: LimitMetric,
    limit: u64,
    burst: Option<u64>,
}

/// What the check of a draft found.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = EvaluatedDraftCheck)]
pub(super) struct DraftAnswer {
    pub(super) package: String,
    pub(super) reads: Vec<String>,
    #[schema(value_type = Vec<PolicyNote>)]
    pub(super) warnings: Vec<PolicyFault>,
}

/// What it took.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = EvaluationTiming)]
pub(super) struct Timing {
    /// Of all policies together.
    pub(super) evaluation_us: u64,
    /// How many were evaluated.
    pub(super) evaluated: u32,
    /// Of compiling them, which proxies do once for each version.
    pub(super) compilation_us: u64,
}

impl DecisionAnswer {
    /// The decision that these opinions and budgets come to.
    pub(super) fn of(opinions: &[Opinion], budgets: &[Budget]) -> Self {
        let said = |mode: PolicyMode| opinions.iter().filter(move |opinion| opinion.policy.mode == mode);
        let denials: Vec<_> = said(PolicyMode::Enforce).flat_map(|opinion| &opinion.denials).collect();
        let exhausted = budgets.iter().any(Budget::would_refuse);
        let mut reasons: Vec<Arc<str>> = Vec::new();
        for (reason, _) in &denials {
            if !reasons.contains(reason) {
                reasons.push(Arc::clone(reason));
            }
        }
        if exhausted {
            reasons.push(BUDGET_EXHAUSTED.into());
        }
        let shadow =
            said(PolicyMode::Shadow).flat_map(|opinion| opinion.denials.iter().chain(&opinion.warnings));
        let warnings = said(PolicyMode::Enforce).flat_map(|opinion| &opinion.warnings);
        Self {
            effect: if reasons.is_empty() { Effect::Allow } else { Effect::Deny },
            message: denials.first().map(|(_, message)| Arc::clone(message)),
            reasons,
            warnings: warnings.map(|(reason, _)| Arc::clone(reason)).collect(),
            shadow: shadow.map(|(reason, _)| Arc::clone(reason)).collect(),
        }
    }

    /// Whether the request would pass.
    pub(super) fn is_allowed(&self) -> bool {
        self.effect == Effect::Allow
    }
}

impl VerdictAnswer {
    /// Everything that one policy said.
    pub(super) fn of(opinion: &Opinion) -> impl Iterator<Item = Self> {
        let denials = opinion.denials.iter().map(|said| (VerdictKind::Deny, said));
        let warnings = opinion.warnings.iter().map(|said| (VerdictKind::Warn, said));
        denials.chain(warnings).map(|(kind, (reason, message))| {
            let PolicySpec { id, name, version, mode, .. } = &*opinion.policy;
            let (reason, message) = (Arc::clone(reason), Arc::clone(message));
            let (policy_id, policy) = (id.to_string(), Arc::clone(name));
            Self { policy_id, policy, version: *version, mode: *mode, kind, reason, message }
        })
    }
}

impl From<&Opinion> for PolicyOutcome {
    fn from(opinion: &Opinion) -> Self {
        let PolicySpec { id, name, version, mode, .. } = &*opinion.policy;
        let outcome = match opinion {
            Opinion { error: Some(_), .. } => "error",
            Opinion { denials, .. } if !denials.is_empty() => "deny",
            Opinion { warnings, .. } if !warnings.is_empty() => "warn",
            Opinion { .. } => "pass",
        };
        Self {
            policy_id: id.to_string(),
            policy: Arc::clone(name),
            version: *version,
            mode: *mode,
            outcome,
            reads: opinion.reads.clone(),
            error: opinion.error,
        }
    }
}

impl From<Budget> for BudgetAnswer {
    fn from(budget: Budget) -> Self {
        let would_refuse = budget.would_refuse();
        let quota = budget.quota;
        Self {
            id: quota.id.clone(),
            name: Arc::clone(&quota.name),
            unit: quota.unit,
            window: quota.window,
            limit: quota.limit,
            action: quota.action,
            state: budget.state,
            would_refuse,
        }
    }
}

impl From<&Arc<LimitSpec>> for LimitAnswer {
    fn from(limit: &Arc<LimitSpec>) -> Self {
        Self {
            id: limit.id.clone(),
            name: Arc::clone(&limit.name),
            metric: limit.metric,
            limit: limit.limit,
            burst: limit.burst,
        }
    }
}
