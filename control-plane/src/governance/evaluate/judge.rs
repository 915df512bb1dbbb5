//! Asks policies, and only them, about a request.

use std::sync::Arc;

use mindweave_metering::PolicyId;
use mindweave_policy::{
    CompiledPolicies, Evaluated, Governance, PolicyInput, PolicyMode, PolicySet, PolicySpec, Principal,
    Subject, SubjectKind,
};

/// Compiles these policies to be asked together, each as if it were enforced for everybody: then what each says stands in the
/// denials and warnings, and who asks does not decide whom. Blocks: 5 to 20 ms a policy.
///
/// `None` when there is none.
pub(in crate::governance) fn on_policies(
    governance: &Governance,
    policies: &[Arc<PolicySpec>],
    principal: &Principal,
) -> Option<Arc<PolicySet>> {
    let org = Subject { kind: SubjectKind::Org, id: Some(principal.org_id.as_str().into()) };
    let enforced = |policy: &Arc<PolicySpec>| {
        Arc::new(PolicySpec { mode: PolicyMode::Enforce, scope: org.clone(), ..PolicySpec::clone(policy) })
    };
    let alone = Governance {
        orgs: governance.orgs.clone(),
        policies: policies.iter().map(enforced).collect(),
        ..Governance::default()
    };
    CompiledPolicies::compile(&alone, None).in_force(principal)
}

/// The policies that judge a principal in the order in which proxies ask them, a draft among them: in the place of the policy
/// that it is to replace, or by its own name.
pub(super) fn applicable(
    governance: &Governance,
    principal: &Principal,
    draft: Option<Arc<PolicySpec>>,
) -> Vec<Arc<PolicySpec>> {
    let judges = |policy: &&Arc<PolicySpec>| {
        policy.org_id == principal.org_id && policy.scope.counted(principal).is_some()
    };
    let mut policies: Vec<_> = governance.policies.iter().filter(judges).cloned().collect();
    if let Some(draft) = draft {
        match policies.iter_mut().find(|policy| policy.id == draft.id) {
            Some(replaced) => *replaced = draft,
            None => policies.push(draft),
        }
    }
    policies.sort_by(|a, b| (a.scope.kind, &a.name, &a.id).cmp(&(b.scope.kind, &b.name, &b.id)));
    policies
}

/// What one policy said.
pub(super) struct Opinion {
    pub(super) policy: Arc<PolicySpec>,
    /// The input paths that it reads.
    pub(super) reads: Vec<String>,
    pub(super) denials: Vec<(Arc<str>, Arc<str>)>,
    pub(super) warnings: Vec<(Arc<str>, Arc<str>)>,
    /// Why it has no usable result, if it has none.
    pub(super) error: Option<&'static str>,
}

/// A policy to be asked, with the input paths that it reads.
pub(super) type Questioned = (Arc<PolicySpec>, Vec<String>);

/// Asks a set, and sorts what it said by policy.
pub(super) fn opinions(
    set: Option<&PolicySet>,
    policies: Vec<Questioned>,
    input: &PolicyInput<'_>,
) -> (Evaluated, Vec<Opinion>) {
    let evaluated = set.map(|set| set.decide(input)).unwrap_or_default();
    let said = |verdicts: &[mindweave_policy::Verdict], id: &PolicyId| {
        let own = verdicts.iter().filter(|verdict| verdict.policy_id == *id);
        own.map(|verdict| (Arc::clone(&verdict.reason), Arc::clone(&verdict.message))).collect()
    };
    let opinion = |(policy, reads): Questioned| Opinion {
        denials: said(&evaluated.decision.denials, &policy.id),
        warnings: said(&evaluated.decision.warnings, &policy.id),
        error: evaluated
            .errors
            .iter()
            .find(|error| error.policy_id == policy.id)
            .map(|error| error.kind.as_str()),
        policy,
        reads,
    };
    let opinions = policies.into_iter().map(opinion).collect();
    (evaluated, opinions)
}
