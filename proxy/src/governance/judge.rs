//! The decision on one request: policies first, then limits and budgets.

use std::sync::Arc;

use mindweave_metering::PolicyId;
use mindweave_metering::{
    BatchCall, EndpointKind, NanoUsd, RequestFacts, VerdictKind, VerdictMode, VerdictRecord,
};
use mindweave_policy::{
    AskedModels, BudgetUsage, BudgetWarning, CredentialKind, Demand, PolicyInput, PolicySet, PrincipalInput,
    QuotaSpec, RequestInput, Reservation, Rules,
};
use tokio::time::Instant;

use super::origin::{betas, declared_length, user_agent};
use super::{Asked, Governance, InForce, Known, OpenReservation, record};
use crate::error::{PolicyDenial, ProxyError, RuleRefusal};
use crate::exchange::Awaiting;
use crate::metrics;
use crate::settle::AdmittedRecord;

/// The zone of organisations that nothing is known of.
const DEFAULT_TIME_ZONE: &str = "UTC";
/// The reason under which an event says that a budget which only warns was over.
const BUDGET_OVER: &str = "budget_over";

impl Governance {
    /// Decides; `admitted` gets what was decided.
    pub(super) async fn judge(
        &self,
        in_force: &InForce,
        asked: &Asked<'_>,
        known: &Known,
        admitted: &mut AdmittedRecord,
    ) -> Result<Option<OpenReservation>, ProxyError> {
        if let Some(policies) = &in_force.policies {
            self.decide(policies, in_force.rules.as_deref(), asked, known, admitted).await?;
        }
        let Some(rules) = &in_force.rules else { return Ok(None) };
        let reservation = self.reserve(rules, asked, known, admitted)?;
        admitted.decision.verdicts.extend(reservation.warnings().iter().map(warning));
        Ok(Some(OpenReservation::new(reservation)))
    }

    async fn decide(
        &self,
        policies: &PolicySet,
        rules: Option<&Rules>,
        asked: &Asked<'_>,
        known: &Known,
        admitted: &mut AdmittedRecord,
    ) -> Result<(), ProxyError> {
        let Asked { head, endpoint, snapshot, credential, client_ip, .. } = asked;
        let principal = &admitted.principal;
        let budgets = match rules.filter(|_| policies.reads().usage) {
            Some(rules) => self.admission.budget_usage(rules, admitted.timestamp),
            None => Vec::new(),
        };
        let usage: Vec<BudgetUsage<'_>> = budgets.iter().map(budget).collect();
        let betas: Vec<&str> = betas(&head.headers).collect();
        let org = snapshot.governance.orgs.get(&principal.org_id);
        let project = snapshot.projects.get(&principal.project_id);
        let bytes = declared_length(&head.headers).or(known.reading.as_ref().map(|reading| reading.bytes));
        let input = PolicyInput {
            principal: PrincipalInput {
                principal,
                org_name: org.map_or("", |org| &org.name),
                project_name: project.map_or("", |project| &project.name),
                credential: *credential,
            },
            request: RequestInput {
                method: head.method.as_str(),
                path: head.uri.path(),
                endpoint: &endpoint.template,
                kind: endpoint.kind.label(),
                facts: known.facts(),
                bytes,
                betas: &betas,
                client_ip: *client_ip,
                user_agent: user_agent(&head.headers),
                session_id: admitted.attribution.session_id.as_deref(),
                agent_id: admitted.attribution.agent_id.as_deref(),
                parent_agent_id: admitted.attribution.parent_agent_id.as_deref(),
                pii: known.personal.as_deref(),
            },
            usage: &usage,
            now: admitted.timestamp,
            time_zone: org.map_or(DEFAULT_TIME_ZONE, |org| &org.time_zone),
        };
        let awaiting = Awaiting::new(asked.unadmitted(&self.ledger, admitted));
        let evaluated = self.turns.decide(policies, &input).await;
        awaiting.over();
        metrics::governance().decided(&evaluated);
        for error in &evaluated.errors {
            tracing::debug!(policy = %error.policy_id, kind = error.kind.as_str(), "policy without a usable result");
        }
        let decision = &evaluated.decision;
        admitted.decision = record::record(decision, snapshot.revision);
        match decision.denials.first() {
            None => Ok(()),
            Some(first) => Err(ProxyError::PolicyDenied(Box::new(PolicyDenial {
                reason: Arc::clone(&first.reason),
                message: record::message(&decision.denials),
            }))),
        }
    }

    fn reserve(
        &self,
        rules: &Arc<Rules>,
        asked: &Asked<'_>,
        known: &Known,
        admitted: &AdmittedRecord,
    ) -> Result<Reservation, ProxyError> {
        let now = admitted.timestamp;
        let facts = known.facts();
        let price = |input_tokens: u64, output_tokens: u64| -> Option<NanoUsd> {
            self.ledger.prices().ceiling(facts?, input_tokens, output_tokens, now)
        };
        let creates_batch = asked.endpoint.kind == EndpointKind::Batches(BatchCall::Create);
        let batch = facts.filter(|_| creates_batch).map(|facts| facts.batch_requests);
        let demand = Demand {
            principal: &admitted.principal,
            models: facts.map(AskedModels::of).unwrap_or_default(),
            input_tokens: facts.and_then(|facts| facts.estimated_input_tokens).unwrap_or(0),
            input_tokens_at_most: facts.and_then(RequestFacts::input_tokens_at_most).unwrap_or(0),
            max_output_tokens: facts.and_then(|facts| facts.max_tokens_sum.or(facts.max_tokens)),
            billed: is_billed(asked.endpoint.kind),
            reports_use: reports_use(asked.endpoint.kind),
            price: &price,
            batch,
            now,
            at: Instant::now().into_std(),
        };
        self.admission.admit(rules, &demand).map_err(|refusal| {
            let message = refusal.message(&asked.snapshot);
            // The client's own Claude key has limits of its own, and their headers: ours would contradict them.
            let shows_limits = asked.credential == CredentialKind::VirtualKey;
            ProxyError::RuleRefused(Box::new(RuleRefusal { refusal, message, shows_limits }))
        })
    }
}

impl Known {
    fn facts(&self) -> Option<&RequestFacts> {
        self.reading.as_ref().map(|reading| &reading.facts)
    }
}

/// Whether the API bills by tokens what this endpoint is asked for, at once or later.
fn is_billed(kind: EndpointKind) -> bool {
    matches!(
        kind,
        EndpointKind::Messages
            | EndpointKind::Complete
            | EndpointKind::ChatCompletions
            | EndpointKind::Batches(BatchCall::Create)
    )
}

/// Whether answers of this endpoint, or a batch's results, say what was used. The older completions do not, and of chat
/// completions it is not read.
fn reports_use(kind: EndpointKind) -> bool {
    !matches!(kind, EndpointKind::Complete | EndpointKind::ChatCompletions)
}

fn budget((quota, used, reserved): &(Arc<QuotaSpec>, i64, i64)) -> BudgetUsage<'_> {
    BudgetUsage { quota, used: *used, reserved: *reserved }
}

/// How an event says that a budget was over which lets requests pass: like the warning of a policy, under the budget's id.
fn warning(warning: &BudgetWarning) -> VerdictRecord {
    let BudgetWarning { quota, subject, used, reserved } = warning;
    let message = format!(
        "budget {} of {subject} was over: {used} used and {reserved} reserved of {}",
        quota.name, quota.limit
    );
    VerdictRecord {
        policy_id: PolicyId::new(quota.id.as_str()),
        version: 0,
        mode: VerdictMode::Enforce,
        kind: VerdictKind::Warn,
        reason: BUDGET_OVER.into(),
        message: message.into(),
    }
}
