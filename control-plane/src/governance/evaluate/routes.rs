//! The endpoint.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use mindweave_metering::{OrgId, PolicyId};
use mindweave_policy::{
    BudgetUsage, OnError, PolicyInput, PolicyMode, PolicySpec, PrincipalInput, RequestInput, Snapshot,
};
use tokio::time::Instant;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{DecisionAnswer, DraftAnswer, Evaluation, PolicyOutcome, Timing, VerdictAnswer};
use super::budgets::{Budget, budgets, limits};
use super::judge::{Questioned, applicable, on_policies, opinions};
use super::principal::{Asker, PrincipalFields, read_asker};
use super::request::{Asked, RequestFields, read_request};
use super::shown::Shown;
use crate::access::Caller;
use crate::app::App;
use crate::clock;
use crate::governance::permit::READ;
use crate::governance::policies::{Content, policy_check, read_content, version_reads};
use crate::http::body::Fields;
use crate::http::problem::{Code, Problem};
use crate::orgs::{OrgZone, org_zone};

/// The name and id of a draft that replaces nothing.
const DRAFT: &str = "draft";

/// The routes of this module.
pub(in crate::governance) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(evaluate))
}

/// A request that nobody sends.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `evaluate` reads")]
struct EvaluationRequest {
    /// Who asks. Whoever has an unregistered credential, if it is left out by who runs the installation; others must give it.
    principal: Option<PrincipalFields>,
    request: Option<RequestFields>,
    /// When; now by default.
    at: Option<Timestamp>,
    policy: Option<DraftFields>,
}

/// A policy that is not in force. One of `rego` and `bundled` is required.
#[derive(utoipa::ToSchema)]
#[schema(as = EvaluatedDraft)]
#[expect(dead_code, reason = "describes what `read_draft` reads")]
struct DraftFields {
    /// The policy in force, or in shadow mode, whose place it takes.
    #[schema(min_length = 1, max_length = 200)]
    id: Option<String>,
    #[schema(min_length = 1, max_length = 1_048_576)]
    rego: Option<String>,
    bundled: Option<String>,
    #[schema(value_type = Option<Object>)]
    data: Option<serde_json::Value>,
}

/// A policy that is not in force.
struct Draft {
    /// The policy that it is to replace.
    replaces: Option<String>,
    content: Option<Content>,
}

/// What would be decided about a request that nobody sends. Nothing changes, and proxies notice nothing.
#[utoipa::path(
    post, path = "/governance/evaluate", tag = "governance", operation_id = "evaluate",
    request_body = EvaluationRequest,
    responses((status = 200, body = Evaluation)),
    extensions(("x-access" = json!("governance:read"))),
)]
async fn evaluate(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<Json<Evaluation>, Problem> {
    let reach = caller.reach(READ)?;
    let snapshot = app.publisher.snapshots().load();
    let mut tx = app.db.begin_read().await?;
    let asker = read_asker(&mut tx, &caller, &mut fields, &app.home, &snapshot).await?;
    drop(tx); // a check takes longer than anybody may keep a reader
    let asked = read_request(&mut fields);
    let at = fields.time("at").unwrap_or_else(clock::now);
    let org_id = asker.as_ref().map(|asker| &asker.principal.org_id);
    let draft = read_draft(&mut fields, org_id, &snapshot);
    fields.finish()?;
    let asker = asker.ok_or_else(|| Problem::new(Code::InvalidField, "principal: is required"))?;
    let (draft, found) = match draft {
        None => (None, None),
        Some(draft) => {
            let (spec, found) = checked_draft(&app, &asker, &snapshot, draft).await?;
            (Some(spec), Some(found))
        }
    };
    let mut tx = app.db.begin_read().await?;
    let zone = org_zone(&mut tx, &asker.principal.org_id).await?;
    let model = asked.facts.as_ref().and_then(|facts| facts.model.clone());
    let governance = Arc::clone(&snapshot.governance);
    let principal = &asker.principal;
    let mut budgets = budgets(&app, &mut tx, &governance, &zone, principal, model.as_deref(), at).await?;
    let mut policies = Vec::new();
    for policy in applicable(&governance, principal, draft.clone()) {
        let reads = match (&draft, &found) {
            (Some(draft), Some(found)) if draft.id == policy.id => found.reads.clone(),
            _ => version_reads(&mut tx, &asker.permit, policy.id.as_str(), policy.version).await?,
        };
        policies.push((policy, reads));
    }
    let limits = limits(&governance, principal, model.as_deref());
    let shown = Shown::of(&mut tx, &reach, principal, &budgets, &limits).await?;
    if draft.is_some() {
        shown.hide_from_draft(&mut budgets);
    }
    drop(tx);
    let turn = app.checker.turn().await?;
    let judged = move || {
        let _turn = turn; // kept until the end, also when the client has gone
        judge(&snapshot, &asker, &asked, policies, budgets, &zone, at)
    };
    let evaluation = tokio::task::spawn_blocking(judged).await.map_err(|error| Problem::internal(&error))?;
    let limits = limits.iter().map(Into::into).collect();
    Ok(Json(shown.of_evaluation(Evaluation { limits, draft: found, ..evaluation })))
}

/// A policy that it is to replace is one of the same organisation.
fn read_draft(fields: &mut Fields, org_id: Option<&OrgId>, snapshot: &Snapshot) -> Option<Draft> {
    let mut nested = fields.nested("policy")?;
    let replaces = nested.text("id");
    let of_org = |policy: &&Arc<PolicySpec>| Some(&policy.org_id) == org_id;
    let mut policies = snapshot.governance.policies.iter().filter(of_org);
    let mut known = |id: &String| policies.any(|policy| policy.id.as_str() == id);
    if replaces.as_ref().is_some_and(|id| !known(id)) {
        nested
            .refuse("id", "is no policy in force or in shadow mode; leave it out to add the draft to those");
    }
    let content = read_content(&mut nested, None);
    fields.close(nested);
    Some(Draft { replaces, content })
}

async fn checked_draft(
    app: &App,
    asker: &Asker,
    snapshot: &Snapshot,
    draft: Draft,
) -> Result<(Arc<PolicySpec>, DraftAnswer), Problem> {
    let Content { rego, data, .. } =
        draft.content.ok_or_else(|| Problem::new(Code::InvalidField, "policy.rego: is required"))?;
    let checked = policy_check(&app.checker, rego, data).await?;
    let org_id = &asker.principal.org_id;
    let replaced = draft.replaces.as_deref().and_then(|id| {
        snapshot
            .governance
            .policies
            .iter()
            .find(|policy| policy.id.as_str() == id && policy.org_id == *org_id)
    });
    let spec = PolicySpec {
        id: PolicyId::new(draft.replaces.as_deref().unwrap_or(DRAFT)),
        org_id: org_id.clone(),
        name: replaced.map_or_else(|| DRAFT.into(), |policy| Arc::clone(&policy.name)),
        version: 0, // no version yet
        mode: replaced.map_or(PolicyMode::Enforce, |policy| policy.mode),
        scope: mindweave_policy::Subject {
            kind: mindweave_policy::SubjectKind::Org,
            id: Some(org_id.as_str().into()),
        },
        rego: checked.rego,
        data: checked.data,
        on_error: replaced.map_or(OnError::Deny, |policy| policy.on_error),
    };
    let report = checked.report;
    let found = DraftAnswer { package: report.package, reads: report.reads, warnings: report.warnings };
    Ok((Arc::new(spec), found))
}

/// Compiles and asks. Blocks.
fn judge(
    snapshot: &Snapshot,
    asker: &Asker,
    asked: &Asked,
    policies: Vec<Questioned>,
    budgets: Vec<Budget>,
    zone: &OrgZone,
    at: Timestamp,
) -> Evaluation {
    let specs: Vec<_> = policies.iter().map(|(policy, _)| Arc::clone(policy)).collect();
    let started = Instant::now();
    let set = on_policies(&snapshot.governance, &specs, &asker.principal);
    let compilation_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let usage: Vec<BudgetUsage<'_>> =
        budgets.iter().filter(|budget| !budget.hidden).map(Budget::usage).collect();
    let betas: Vec<&str> = asked.betas.iter().map(String::as_str).collect();
    let input = policy_input(snapshot, asker, asked, &betas, &usage, zone, at);
    let (evaluated, opinions) = opinions(set.as_deref(), policies, &input);
    let decision = DecisionAnswer::of(&opinions, &budgets);
    let shown = input.to_json();
    drop(usage);
    Evaluation {
        allowed: decision.is_allowed(),
        decision,
        verdicts: opinions.iter().flat_map(VerdictAnswer::of).collect(),
        policies: opinions.iter().map(PolicyOutcome::from).collect(),
        budgets: budgets.into_iter().map(Into::into).collect(),
        limits: Vec::new(),
        draft: None,
        input: shown,
        at,
        snapshot_revision: snapshot.revision,
        cached: evaluated.cached,
        timing: Timing {
            evaluation_us: u64::try_from(evaluated.elapsed.as_micros()).unwrap_or(u64::MAX),
            evaluated: evaluated.evaluated,
            compilation_us,
        },
    }
}

fn policy_input<'a>(
    snapshot: &'a Snapshot,
    asker: &'a Asker,
    asked: &'a Asked,
    betas: &'a [&'a str],
    usage: &'a [BudgetUsage<'a>],
    zone: &'a OrgZone,
    now: Timestamp,
) -> PolicyInput<'a> {
    let principal = &asker.principal;
    let org = snapshot.governance.orgs.get(&principal.org_id);
    let project = snapshot.projects.get(&principal.project_id);
    PolicyInput {
        principal: PrincipalInput {
            principal,
            org_name: org.map_or("", |org| &org.name),
            project_name: project.map_or("", |project| &project.name),
            credential: asker.credential,
        },
        request: RequestInput {
            method: &asked.method,
            path: &asked.path,
            endpoint: &asked.endpoint.template,
            kind: asked.endpoint.kind.label(),
            facts: asked.facts.as_ref(),
            bytes: asked.bytes,
            betas,
            client_ip: asked.client_ip,
            user_agent: asked.user_agent.as_deref(),
            session_id: asked.session_id.as_deref(),
            agent_id: asked.agent_id.as_deref(),
            parent_agent_id: asked.parent_agent_id.as_deref(),
            pii: Some(&asked.pii),
        },
        usage,
        now,
        time_zone: &zone.name,
    }
}
