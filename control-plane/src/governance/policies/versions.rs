//! `/governance/policies/{id}/versions`, `/versions/{n}`, `/diff` and `/restore`.

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;

use super::answer::{PolicyAnswer, VersionAnswer, VersionSummary};
use super::diff::unified;
use super::routes::{KIND, changed_meanwhile, checked, in_force, version_add};
use super::store::{self, Policy};
use super::version_store::{Version, version_list, version_view};
use crate::app::App;
use crate::clock;
use crate::governance::publish::commit;
use crate::http::Page;
use crate::http::body::Fields;
use crate::http::cursor;
use crate::http::problem::{Code, Fault, Problem};
use crate::http::query::Parameters;

/// The kind of list in cursors.
const LIST: &str = "policy-versions";

/// The routes of this file.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/governance/policies/{id}/versions", get(version_page))
        .route("/governance/policies/{id}/versions/{version}", get(version_show))
        .route("/governance/policies/{id}/diff", get(version_diff))
        .route("/governance/policies/{id}/restore", post(version_restore))
}

/// Newest first.
async fn version_page(
    State(app): State<App>,
    Path(id): Path<String>,
    mut query: Parameters,
) -> Result<Json<Page<VersionSummary>>, Problem> {
    let (limit, below) = (query.limit(), query.text("cursor"));
    query.finish()?;
    let list = format!("{LIST}:{id}");
    let below = below.map(|text| cursor::read(&list, &text)).transpose()?;
    let below = below.map(|text| text.parse().map_err(|_| cursor::invalid())).transpose()?;
    let mut tx = app.db.begin_read().await?;
    if !store::policy_existed(&mut tx, &id).await? {
        return Err(Problem::not_found(KIND, &id));
    }
    let below = below.unwrap_or(u64::MAX);
    let rows = version_list(&mut tx, &id, below, limit.saturating_add(1)).await?;
    let rows: Vec<_> = rows.into_iter().map(VersionSummary::from).collect();
    Ok(Json(Page::of(rows, limit, |entry| cursor::write(&list, &entry.version.to_string()))))
}

async fn version_show(
    State(app): State<App>,
    Path((id, version)): Path<(String, String)>,
) -> Result<Json<VersionAnswer>, Problem> {
    let found = match version.parse() {
        Ok(number) => version_view(&mut *app.db.begin_read().await?, &id, number).await?,
        Err(_) => None,
    };
    found.map(|version| Json(version.into())).ok_or_else(|| no_version(&id, &version))
}

fn no_version(id: &str, version: &str) -> Problem {
    Problem::new(Code::NotFound, format!("there is no version {version:?} of a policy with the id {id:?}"))
}

/// What changed between two versions, as unified diffs; empty texts where nothing did.
#[derive(Serialize)]
struct DiffAnswer {
    policy_id: String,
    from: u64,
    to: u64,
    rego: String,
    data: String,
}

/// Compares with the version before by default.
async fn version_diff(
    State(app): State<App>,
    Path(id): Path<String>,
    mut query: Parameters,
) -> Result<Json<DiffAnswer>, Problem> {
    let (from, to) = (version_parameter(&mut query, "from"), version_parameter(&mut query, "to"));
    query.finish()?;
    let mut tx = app.db.begin_read().await?;
    let newest = version_list(&mut tx, &id, u64::MAX, 1).await?.into_iter().next();
    let newest = newest.ok_or_else(|| Problem::not_found(KIND, &id))?.version;
    let to = to.unwrap_or(newest);
    let from = from.unwrap_or_else(|| to.saturating_sub(1).max(1));
    let mut side = Vec::with_capacity(2);
    for number in [from, to] {
        let found: Option<Version> = version_view(&mut tx, &id, number).await?;
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

/// Puts the content of an old version in force again, as a new version.
async fn version_restore(
    State(app): State<App>,
    Path(id): Path<String>,
    mut fields: Fields,
) -> Result<Json<PolicyAnswer>, Problem> {
    let number = fields.count("version", 1, i64::MAX);
    if number.is_none() {
        fields.require_if_absent("version");
    }
    fields.finish()?;
    let number = number.unwrap_or_default();
    let mut tx = app.db.begin_read().await?;
    let (before, _) = in_force(&mut tx, &id).await?;
    let old = version_view(&mut tx, &id, number).await?;
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
    let (current, _) = in_force(&mut tx, &id).await?;
    if current.version != before.version {
        return Err(changed_meanwhile());
    }
    let policy = Policy { version: next.version, updated_at: now, ..current };
    store::policy_update(&mut tx, &policy).await?;
    version_add(&mut tx, &next).await?;
    commit(&app, tx).await?;
    Ok(Json(PolicyAnswer::of(policy, next, None)))
}
