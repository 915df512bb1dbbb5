//! `/governance/policies/{id}/versions`, `/versions/{n}`, `/diff` and `/restore`.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{PolicyAnswer, VersionAnswer, VersionSummary};
use super::diff::unified;
use super::making::{checked, in_force, version_add};
use super::noted::Noted;
use super::routes::changed_meanwhile;
use super::store::{self, Policy};
use super::version_store::{Version, version_list, version_view};
use crate::access::Caller;
use crate::app::App;
use crate::audit;
use crate::clock;
use crate::governance::changed::Changed;
use crate::governance::permit::{READ, WRITE};
use crate::governance::publish::commit;
use crate::http::Page;
use crate::http::body::Fields;
use crate::http::cursor;
use crate::http::etag::IfMatch;
use crate::http::problem::{Code, Fault, Problem};
use crate::http::query::Parameters;

/// The kind of list in cursors.
const LIST: &str = "policy-versions";

/// The routes of this file.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(version_page))
        .routes(routes!(version_show))
        .routes(routes!(version_diff))
        .routes(routes!(version_restore))
}

/// The versions of a policy, newest first; also of one that was deleted.
#[utoipa::path(
    get, path = "/governance/policies/{policy_id}/versions", tag = "governance", operation_id = "policy_version_list",
    params(
        ("policy_id" = String, Path, description = "`pol_..`"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1_000, description = "Most entries of a page"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, body = Page<VersionSummary>)),
    extensions(("x-access" = json!("governance:read"))),
)]
async fn version_page(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    mut query: Parameters,
) -> Result<Json<Page<VersionSummary>>, Problem> {
    let (limit, below) = (query.limit(), query.text("cursor"));
    query.finish()?;
    let list = format!("{LIST}:{id}");
    let below = below.map(|text| cursor::read(&list, &text)).transpose()?;
    let below = below.map(|text| text.parse().map_err(|_| cursor::invalid())).transpose()?;
    let mut tx = app.db.begin_read().await?;
    let (_, permit) = store::policy_open_ever(&mut tx, &caller, &id, READ).await?;
    let below = below.unwrap_or(u64::MAX);
    let rows = version_list(&mut tx, &permit, &id, below, limit.saturating_add(1)).await?;
    let rows: Vec<_> = rows.into_iter().map(VersionSummary::from).collect();
    Ok(Json(Page::of(rows, limit, |entry| cursor::write(&list, &entry.version.to_string()))))
}

/// A version of a policy, with its text.
#[utoipa::path(
    get, path = "/governance/policies/{policy_id}/versions/{version}", tag = "governance", operation_id = "policy_version_view",
    params(
        ("policy_id" = String, Path, description = "`pol_..`"),
        ("version" = String, Path, description = "Its number, from 1"),
    ),
    responses((status = 200, body = VersionAnswer)),
    extensions(("x-access" = json!("governance:read"))),
)]
async fn version_show(
    State(app): State<App>,
    caller: Caller,
    Path((id, version)): Path<(String, String)>,
) -> Result<Json<VersionAnswer>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let (_, permit) = store::policy_open_ever(&mut tx, &caller, &id, READ).await?;
    let found = match version.parse() {
        Ok(number) => version_view(&mut tx, &permit, &id, number).await?,
        Err(_) => None,
    };
    found.map(|version| Json(version.into())).ok_or_else(|| no_version(&id, &version))
}

fn no_version(id: &str, version: &str) -> Problem {
    Problem::new(Code::NotFound, format!("there is no version {version:?} of a policy with the id {id:?}"))
}

/// What changed between two versions, as unified diffs; empty texts where nothing did.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = PolicyDiff)]
struct DiffAnswer {
    policy_id: String,
    from: u64,
    to: u64,
    rego: String,
    data: String,
}

/// What changed between two versions of a policy, by default with the last change.
#[utoipa::path(
    get, path = "/governance/policies/{policy_id}/diff", tag = "governance", operation_id = "policy_diff",
    params(
        ("policy_id" = String, Path, description = "`pol_..`"),
        ("from" = Option<u64>, Query, minimum = 1, description = "A version; the one before `to` by default"),
        ("to" = Option<u64>, Query, minimum = 1, description = "A version; the newest by default"),
    ),
    responses((status = 200, body = DiffAnswer)),
    extensions(("x-access" = json!("governance:read"))),
)]
async fn version_diff(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    mut query: Parameters,
) -> Result<Json<DiffAnswer>, Problem> {
    let (from, to) = (version_parameter(&mut query, "from"), version_parameter(&mut query, "to"));
    query.finish()?;
    let mut tx = app.db.begin_read().await?;
    let (policy, permit) = store::policy_open_ever(&mut tx, &caller, &id, READ).await?;
    let to = to.unwrap_or(policy.version);
    let from = from.unwrap_or_else(|| to.saturating_sub(1).max(1));
    let mut side = Vec::with_capacity(2);
    for number in [from, to] {
        let found: Option<Version> = version_view(&mut tx, &permit, &id, number).await?;
        side.push(found.ok_or_else(|| no_version(&id, &number.to_string()))?.content);
    }
    drop(tx);
    let compare = move || {
        let [old, new] = side.as_slice() else { return (String::new(), String::new()) };
        let pretty = |data| serde_json::to_string_pretty(data).unwrap_or_default() + "\n";
        let headers = |what: &str| (format!("{what} version {from}"), format!("{what} version {to}"));
        let rego = unified(&old.rego, &new.rego, &headers("rego"));
        (rego, unified(&pretty(&old.data), &pretty(&new.data), &headers("data")))
    };
    // Texts of a megabyte that have little in common take a while.
    let (rego, data) =
        tokio::task::spawn_blocking(compare).await.map_err(|error| Problem::internal(&error))?;
    Ok(Json(DiffAnswer { policy_id: id, from, to, rego, data }))
}

fn version_parameter(query: &mut Parameters, name: &'static str) -> Option<u64> {
    let text = query.text(name)?;
    let number = text.parse().ok().filter(|number| *number > 0);
    if number.is_none() {
        query.refuse(name, "must be the number of a version, from 1");
    }
    number
}

/// Which version is to be in force again.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `version_restore` reads")]
struct PolicyRestore {
    #[schema(minimum = 1)]
    version: u64,
}

/// Puts the content of an old version in force again, as a new version.
#[utoipa::path(
    post, path = "/governance/policies/{policy_id}/restore", tag = "governance", operation_id = "policy_restore",
    params(("policy_id" = String, Path, description = "`pol_..`")),
    request_body = PolicyRestore,
    responses((status = 200, body = PolicyAnswer)),
    extensions(("x-access" = json!("governance:write"))),
)]
async fn version_restore(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    if_match: IfMatch,
    mut fields: Fields,
) -> Result<Changed<PolicyAnswer>, Problem> {
    let number = fields.count("version", 1, i64::MAX);
    if number.is_none() {
        fields.require_if_absent("version");
    }
    let mut tx = app.db.begin_read().await?;
    let (before, _, permit) = in_force(&mut tx, &caller, &id, WRITE).await?;
    fields.finish()?;
    let number = number.unwrap_or_default();
    let old = version_view(&mut tx, &permit, &id, number).await?;
    drop(tx);
    let old = old.ok_or_else(|| {
        let fault = Fault::new("version", "this policy has no such version");
        Problem::faults(Code::InvalidField, vec![fault])
    })?;
    let now = clock::now();
    // Checked again: a later compiler may refuse what an earlier one took.
    let next = checked(&app, &id, before.version.saturating_add(1), old.content, now).await?;
    let next = Version { restored_from: Some(number), ..next };
    let mut tx = app.db.begin_write().await?;
    let (current, current_version, permit) = in_force(&mut tx, &caller, &id, WRITE).await?;
    if_match.check(&PolicyAnswer::of(current.clone(), current_version.clone(), None))?;
    if current.version != before.version {
        return Err(changed_meanwhile());
    }
    let policy = Policy { version: next.version, updated_at: now, ..current.clone() };
    store::policy_update(&mut tx, &permit, &policy).await?;
    version_add(&mut tx, &permit, &next).await?;
    let (noted, after) = (Noted::of(&current, &current_version), Noted::of(&policy, &next));
    let change = permit.change("policy.restored", "policy", &id).before(&noted).after(&after);
    audit::record(&mut tx, &caller, change).await?;
    commit(&app, tx).await?;
    Ok(Changed::of(PolicyAnswer::of(policy, next, None)))
}
