//! The endpoint.

use axum::Json;
use axum::extract::{Path, State};
use jiff::{SignedDuration, Timestamp};
use mindweave_metering::{OrgId, PolicyId};
use mindweave_policy::{PolicyFault, PolicyReport, PolicySpec, SubjectKind};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::recorded::{Approximated, approximated, not_recorded};
use super::run::{StoppedBy, replay};
use super::store::Span;
use super::tally::Tally;
use crate::access::Caller;
use crate::app::App;
use crate::clock;
use crate::db::StoreError;
use crate::governance::permit::{Permit, READ};
use crate::governance::policies::{Content, Policy, policy_check, policy_open, read_content, version_view};
use crate::governance::schema::PolicyNote;
use crate::http::body::Fields;
use crate::http::problem::{Code, Fault, Problem};

/// How far back a replay goes when nobody says: as long as raw events are kept by default.
const DEFAULT_SPAN: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Events looked at when nobody says.
const DEFAULT_EVENTS: u64 = 10_000;
/// Most events looked at.
const MAX_EVENTS: i64 = 100_000;

/// The routes of this module.
pub(in crate::governance) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(policy_replay))
}

/// What shall be replayed: a version, the one in force by default, or a draft.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `policy_replay` reads")]
struct ReplayRequest {
    /// Seven days before `to` by default.
    from: Option<Timestamp>,
    /// Now by default.
    to: Option<Timestamp>,
    /// Not beside a draft.
    #[schema(minimum = 1)]
    version: Option<u64>,
    #[schema(min_length = 1, max_length = 1_048_576)]
    rego: Option<String>,
    bundled: Option<String>,
    #[schema(value_type = Option<Object>)]
    data: Option<serde_json::Value>,
    /// Most requests to look at; 10 000 by default.
    #[schema(minimum = 1, maximum = 100_000)]
    limit: Option<u64>,
}

/// What a policy would have done to past traffic.
#[derive(Serialize, utoipa::ToSchema)]
struct Replay {
    policy_id: String,
    /// The version that was replayed; `null` for a draft.
    version: Option<u64>,
    from: Timestamp,
    to: Timestamp,
    #[serde(flatten)]
    tally: Tally,
    /// Requests looked at, those that the policy's scope leaves out included.
    read: u64,
    /// Whether everything in that time was looked at; else only what is newer than `seen_from`.
    complete: bool,
    stopped_by: Option<StoppedBy>,
    seen_from: Timestamp,
    /// Input paths that the policy reads and events do not keep: it saw nothing there.
    #[schema(value_type = Vec<String>)]
    not_recorded: Vec<&'static str>,
    /// Input paths that the policy reads and that are told from something else.
    approximated: Vec<Approximated>,
    #[schema(value_type = Vec<PolicyNote>)]
    warnings: Vec<PolicyFault>,
}

/// What shall be replayed.
enum Wanted {
    Version(u64),
    Draft(Content),
}

/// What a policy would have done to past traffic, as far as it is in your reach.
#[utoipa::path(
    post, path = "/governance/policies/{policy_id}/replay", tag = "governance", operation_id = "policy_replay",
    params(("policy_id" = String, Path, description = "`pol_..`")),
    request_body = ReplayRequest,
    responses((status = 200, body = Replay)),
    extensions(("x-access" = json!("governance:read"))),
)]
async fn policy_replay(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    mut fields: Fields,
) -> Result<Json<Replay>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let (policy, permit) = policy_open(&mut tx, &caller, &id, READ).await?;
    let version = version_view(&mut tx, &permit, &id, policy.version).await?;
    let current = version.ok_or(StoreError::Corrupt { what: "a policy without its version" })?.content;
    drop(tx);
    let reach = caller.reach(READ)?;
    let now = clock::now();
    let to = fields.time("to").unwrap_or(now);
    let from = fields.time("from").unwrap_or_else(|| to.saturating_sub(DEFAULT_SPAN).unwrap_or(to));
    if from >= to {
        fields.refuse("from", "must be before to");
    }
    let limit = fields.count("limit", 1, MAX_EVENTS).unwrap_or(DEFAULT_EVENTS);
    let wanted = read_wanted(&mut fields, &policy, &current);
    fields.finish()?;
    let (version, content, report) = resolved(&app, &permit, &id, wanted).await?;
    let span = Span { from, to, project_id: only_project(&policy) };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let replayed = replay(&app, &reach, spec(policy, version, content), &span, limit).await?;
    Ok(Json(Replay {
        policy_id: id,
        version,
        from,
        to,
        tally: replayed.tally,
        read: replayed.read,
        complete: replayed.stopped_by.is_none(),
        stopped_by: replayed.stopped_by,
        seen_from: replayed.seen_from,
        not_recorded: not_recorded(&report.reads),
        approximated: approximated(&report.reads),
        warnings: report.warnings,
    }))
}

/// A version, or a draft: what of it is not given is as in the version in force.
fn read_wanted(fields: &mut Fields, policy: &Policy, current: &Content) -> Wanted {
    let version = fields.count("version", 1, i64::MAX);
    match (version, read_content(fields, Some(current))) {
        (Some(_), Some(draft)) => {
            fields.refuse("version", "is a text that is stored; give it or a draft, not both");
            Wanted::Draft(draft)
        }
        (Some(version), None) => Wanted::Version(version),
        (None, Some(draft)) => Wanted::Draft(draft),
        (None, None) => Wanted::Version(policy.version),
    }
}

async fn resolved(
    app: &App,
    permit: &Permit,
    id: &str,
    wanted: Wanted,
) -> Result<(Option<u64>, Content, PolicyReport), Problem> {
    match wanted {
        Wanted::Version(number) => {
            let version = version_view(&mut *app.db.begin_read().await?, permit, id, number).await?;
            let version = version.ok_or_else(|| {
                let fault = Fault::new("version", "this policy has no such version");
                Problem::faults(Code::InvalidField, vec![fault])
            })?;
            Ok((Some(number), version.content, version.report))
        }
        Wanted::Draft(content) => {
            let checked = policy_check(&app.checker, content.rego.clone(), content.data.clone()).await?;
            Ok((None, content, checked.report))
        }
    }
}

fn spec(policy: Policy, version: Option<u64>, content: Content) -> PolicySpec {
    PolicySpec {
        id: PolicyId::new(policy.id),
        org_id: OrgId::new(policy.org_id),
        name: policy.name,
        version: version.unwrap_or(0),
        mode: policy.mode,
        scope: policy.scope,
        rego: content.rego,
        data: content.data,
        on_error: policy.on_error,
    }
}

fn only_project(policy: &Policy) -> Option<String> {
    let id = policy.scope.id.as_deref().filter(|_| policy.scope.kind == SubjectKind::Project);
    id.map(str::to_owned)
}
