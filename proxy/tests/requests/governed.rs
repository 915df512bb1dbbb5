//! Snapshots with policies, limits and budgets, and requests that they are about.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use mindweave_metering::{KeyId, LimitId, OrgId, PolicyId, ProjectId, QuotaId, UsageEvent};
use mindweave_policy::{
    AdmissionControl, CompiledPolicies, Fingerprint, Governance, KeyEntry, LimitMetric, LimitSpec, OnError,
    OnStale, OrgEntry, PolicyMode, PolicySpec, Principal, ProjectEntry, QuotaAction, QuotaSpec, QuotaUnit,
    QuotaWindow, Reserve, Secret, Snapshot, Subject, SubjectKind,
};

use crate::proxy::{TestProxy, open_snapshot, principal};
use crate::wire::Message;

/// A virtual key of `prj_default`.
pub(crate) const VIRTUAL_KEY: &str = "mw_governed";
/// Later than any snapshot that `TestProxy` starts with.
pub(crate) const REVISION: u64 = 100;

/// Denies every request whose model is `forbidden`.
pub(crate) const FORBIDS_A_MODEL: &str = r#"package models
deny contains {"reason": "model_forbidden", "message": "The model forbidden is not for you."} if {
    input.request.model == "forbidden"
}"#;

/// Puts these in force for the organisation of every test.
pub(crate) fn snapshot(revision: u64, governance: Governance) -> Snapshot {
    let mut snapshot = open_snapshot();
    snapshot.revision = revision;
    let org = OrgEntry { name: "Acme".into(), time_zone: "UTC".into() };
    let governance = Governance { orgs: [(OrgId::new("org_test"), org)].into(), ..governance };
    snapshot.policies = Arc::new(CompiledPolicies::compile(&governance, None));
    snapshot.governance = Arc::new(governance);
    let keyed = Principal { key_id: Some(KeyId::new("key_1")), ..(*principal("prj_default")).clone() };
    let entry = KeyEntry { principal: Arc::new(keyed), expires_at: None };
    snapshot.keys.insert(Fingerprint::of(VIRTUAL_KEY.as_bytes()), entry);
    let upstream_key = Some(Secret::new("sk-ant-api03-upstream".into()));
    let project = ProjectEntry { name: "checkout-bot".into(), upstream_key };
    snapshot.projects.insert(ProjectId::new("prj_default"), project);
    snapshot
}

pub(crate) fn policy(rego: &str) -> Arc<PolicySpec> {
    policy_with(rego, PolicyMode::Enforce)
}

pub(crate) fn policy_with(rego: &str, mode: PolicyMode) -> Arc<PolicySpec> {
    let id = Fingerprint::of(rego.as_bytes()).as_bytes().map(|byte| format!("{byte:02x}")).concat();
    Arc::new(PolicySpec {
        id: PolicyId::new(format!("pol_{id}")),
        org_id: OrgId::new("org_test"),
        name: "policy".into(),
        version: 2,
        mode,
        scope: Subject { kind: SubjectKind::Org, id: Some("org_test".into()) },
        rego: rego.into(),
        data: serde_json::Value::Null,
        on_error: OnError::Deny,
    })
}

pub(crate) fn policies(policies: &[Arc<PolicySpec>]) -> Governance {
    Governance { policies: policies.to_vec(), ..Governance::default() }
}

pub(crate) fn limit(metric: LimitMetric, limit: u64) -> Governance {
    let limit = LimitSpec {
        id: LimitId::new("lim_1"),
        org_id: OrgId::new("org_test"),
        name: "team limit".into(),
        scope: Subject { kind: SubjectKind::Project, id: None },
        metric,
        limit,
        burst: None,
        models: Vec::new(),
    };
    Governance { limits: vec![Arc::new(limit)], ..Governance::default() }
}

/// A monthly budget of the project that reserves the most that a request can use.
pub(crate) fn budget(unit: QuotaUnit, limit: i64) -> QuotaSpec {
    QuotaSpec {
        id: QuotaId::new("quo_1"),
        org_id: OrgId::new("org_test"),
        name: "monthly".into(),
        scope: Subject { kind: SubjectKind::Project, id: None },
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

pub(crate) fn budgets(quotas: Vec<QuotaSpec>) -> Governance {
    Governance { quotas: quotas.into_iter().map(Arc::new).collect(), ..Governance::default() }
}

impl TestProxy {
    /// A proxy with these in force.
    pub(crate) async fn governed(upstream: std::net::SocketAddr, governance: Governance) -> Self {
        let proxy = Self::start(upstream).await;
        proxy.govern(REVISION, governance);
        proxy
    }

    pub(crate) fn govern(&self, revision: u64, governance: Governance) {
        assert!(self.snapshots.publish(snapshot(revision, governance)));
    }

    /// What is used and what is reserved of the one budget of the default project.
    pub(crate) fn budget_usage(&self) -> (i64, i64) {
        let rules = self.admission.in_force(&principal("prj_default")).expect("a budget is in force");
        let usage = self.admission.budget_usage(&rules, Timestamp::now());
        let [(_, used, reserved)] = usage.as_slice() else { panic!("one budget, not {usage:?}") };
        (*used, *reserved)
    }
}

/// An admission control for this journal.
pub(crate) fn admission(journal: &str) -> Arc<AdmissionControl> {
    Arc::new(AdmissionControl::new(journal.into(), Instant::now()))
}

/// A message request with this body on a credential that nobody registered.
pub(crate) fn post(body: &str) -> String {
    format!(
        "POST /v1/messages HTTP/1.1\r\nHost: h\r\nX-Api-Key: sk-ant-x\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The same on a virtual key.
pub(crate) fn post_on_virtual_key(body: &str) -> String {
    post(body).replace("sk-ant-x", VIRTUAL_KEY)
}

pub(crate) fn body_for(model: &str, max_tokens: u64) -> String {
    format!(
        r#"{{"model":"{model}","max_tokens":{max_tokens},"messages":[{{"role":"user","content":"Hello"}}]}}"#
    )
}

/// An answer that used so many tokens.
pub(crate) fn message(input_tokens: u64, output_tokens: u64) -> String {
    let body = format!(
        r#"{{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-4-6","content":[{{"type":"text","text":"Hi"}}],"stop_reason":"end_turn","usage":{{"input_tokens":{input_tokens},"output_tokens":{output_tokens}}}}}"#
    );
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nrequest-id: req_1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Status, every header in order, and the body of an answer of our own.
pub(crate) fn whole(answer: &Message) -> (String, Vec<String>, serde_json::Value) {
    let headers = answer.headers.iter().map(|(name, value)| {
        format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
    });
    (answer.line(), headers.collect(), serde_json::from_slice(&answer.body).unwrap())
}

pub(crate) fn reasons(event: &UsageEvent) -> Vec<&str> {
    event.decision.reasons.iter().map(|reason| &**reason).collect()
}
