//! `/governance/policies` and `/governance/policies/{id}`.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use mindweave_metering::PolicyId;
use mindweave_policy::{PolicyMode, Subject};

use super::answer::{PolicyAnswer, example_warning};
use super::check::policy_check;
use super::read::{Settings, Writing, read_content, read_settings};
use super::store::{self, Policy};
use super::version_store::{Content, Version, version_insert, version_view};
use crate::app::App;
use crate::db::{Connection, StoreError};
use crate::governance::bounds::{Bounded, check_policy_bytes, check_room};
use crate::governance::publish::{commit, name_taken};
use crate::governance::scope::{Scopes, scope_read, scope_warning};
use crate::http::Page;
use crate::http::body::Fields;
use crate::http::cursor;
use crate::http::problem::{Code, Problem};
use crate::http::query::Parameters;
use crate::{clock, entropy};

/// The kind of list in cursors.
const LIST: &str = "policies";
/// What a policy is called in messages.
pub(super) const KIND: &str = "policy";

/// The routes of this file.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/governance/policies", get(policy_page).post(policy_create))
        .route("/governance/policies/{id}", get(policy_show).patch(policy_change).delete(policy_remove))
}

async fn policy_create(State(app): State<App>, mut fields: Fields) -> Result<impl IntoResponse, Problem> {
    let settings = read_settings(&mut fields, Writing::New);
    let content = read_content(&mut fields, None);
    let scope = read_scope(&app, &mut fields, None).await?;
    fields.finish()?;
    let content = content.ok_or_else(|| Problem::new(Code::InvalidField, "rego: is required"))?;
    let now = clock::now();
    let random = entropy::bytes().map_err(|error| Problem::internal(&error))?;
    let policy = Policy {
        id: PolicyId::generate(now, random).to_string(),
        org_id: app.home.org_id.to_string(),
        name: settings.name.unwrap_or_default(),
        mode: settings.mode.unwrap_or(PolicyMode::Enforce),
        scope: scope.unwrap_or_else(|| whole_org(&app)),
        on_error: settings.on_error.unwrap_or_default(),
        version: 1,
        created_at: now,
        updated_at: now,
    };
    let version = checked(&app, &policy.id, 1, content, now).await?;
    let mut tx = app.db.begin_write().await?;
    check_room(&mut tx, Bounded::Policies).await?;
    store::policy_insert(&mut tx, &policy).await.map_err(|error| name_taken(error, KIND))?;
    version_add(&mut tx, &version).await?;
    let warning = scope_warning(&mut tx, &policy.scope).await?;
    commit(&app, tx).await?;
    let location = [(LOCATION, format!("/governance/policies/{}", policy.id))];
    Ok((StatusCode::CREATED, location, Json(PolicyAnswer::of(policy, version, warning))))
}

async fn policy_change(
    State(app): State<App>,
    Path(id): Path<String>,
    mut fields: Fields,
) -> Result<Json<PolicyAnswer>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let (before, version) = in_force(&mut tx, &id).await?;
    drop(tx); // a check takes longer than anybody may keep a reader
    let settings = read_settings(&mut fields, Writing::Change);
    let content =
        read_content(&mut fields, Some(&version.content)).filter(|content| !same(content, &version.content));
    let scope = read_scope(&app, &mut fields, Some(&before.scope)).await?;
    fields.finish()?;
    let now = clock::now();
    let next = match content {
        Some(content) => Some(checked(&app, &id, before.version.saturating_add(1), content, now).await?),
        None => None,
    };
    let mut tx = app.db.begin_write().await?;
    let (current, current_version) = in_force(&mut tx, &id).await?;
    if next.is_some() && current.version != before.version {
        return Err(changed_meanwhile());
    }
    let Settings { name, mode, on_error } = settings;
    let policy = Policy {
        name: name.unwrap_or_else(|| current.name.clone()),
        mode: mode.unwrap_or(current.mode),
        on_error: on_error.unwrap_or(current.on_error),
        scope: scope.unwrap_or_else(|| current.scope.clone()),
        version: next.as_ref().map_or(current.version, |next| next.version),
        ..current.clone()
    };
    if policy == current {
        return Ok(Json(PolicyAnswer::of(policy, current_version, None)));
    }
    let policy = Policy { updated_at: now, ..policy };
    store::policy_update(&mut tx, &policy).await.map_err(|error| name_taken(error, KIND))?;
    if let Some(next) = &next {
        version_add(&mut tx, next).await?;
    }
    let warning = scope_warning(&mut tx, &policy.scope).await?;
    commit(&app, tx).await?;
    Ok(Json(PolicyAnswer::of(policy, next.unwrap_or(current_version), warning)))
}

/// The refusal of a change that was made to another version than the one in force by now.
pub(super) fn changed_meanwhile() -> Problem {
    let detail = "somebody else changed this policy's text or data meanwhile; look at it and try again";
    Problem::new(Code::ChangedMeanwhile, detail)
}

/// A policy with its version in force.
pub(super) async fn in_force(tx: &mut Connection, id: &str) -> Result<(Policy, Version), Problem> {
    let policy = store::policy_view(tx, id).await?.ok_or_else(|| Problem::not_found(KIND, id))?;
    let version = version_view(tx, id, policy.version).await?;
    let version = version.ok_or(StoreError::Corrupt { what: "a policy without its version" })?;
    Ok((policy, version))
}

/// Checks content, and makes it a version.
pub(super) async fn checked(
    app: &App,
    policy_id: &str,
    version: u64,
    content: Content,
    now: Timestamp,
) -> Result<Version, Problem> {
    let mut report = policy_check(&app.checker, content.rego.clone(), content.data.clone()).await?.report;
    report.warnings.extend(example_warning(&content));
    Ok(Version {
        policy_id: policy_id.to_owned(),
        version,
        content,
        restored_from: None,
        report,
        created_at: now,
    })
}

/// Stores a version, if there is room for it.
pub(super) async fn version_add(tx: &mut Connection, version: &Version) -> Result<(), Problem> {
    let Content { rego, data, .. } = &version.content;
    check_policy_bytes(tx, &version.policy_id, (rego, data)).await?;
    Ok(version_insert(tx, version).await?)
}

/// Whether two contents decide alike. What the text is called does not matter.
fn same(a: &Content, b: &Content) -> bool {
    a.rego == b.rego && a.data == b.data
}

fn whole_org(app: &App) -> Subject {
    Subject { kind: mindweave_policy::SubjectKind::Org, id: Some(app.home.org_id.as_str().into()) }
}

async fn read_scope(
    app: &App,
    fields: &mut Fields,
    before: Option<&Subject>,
) -> Result<Option<Subject>, Problem> {
    if !fields.given("scope") {
        return Ok(None);
    }
    let mut tx = app.db.begin_read().await?;
    Ok(Some(scope_read(&mut tx, &app.home, fields, Scopes::Certain, before).await?))
}

/// Policies without their texts, which may be large.
async fn policy_page(State(app): State<App>, mut query: Parameters) -> Result<Json<Page<Policy>>, Problem> {
    let (limit, after) = (query.limit(), query.text("cursor"));
    query.finish()?;
    let after = after.map(|text| cursor::read(LIST, &text)).transpose()?.unwrap_or_default();
    let mut tx = app.db.begin_read().await?;
    let rows = store::policy_list(&mut tx, &after, limit.saturating_add(1)).await?;
    Ok(Json(Page::of(rows, limit, |policy| cursor::write(LIST, &policy.id))))
}

async fn policy_show(State(app): State<App>, Path(id): Path<String>) -> Result<Json<PolicyAnswer>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let (policy, version) = in_force(&mut tx, &id).await?;
    Ok(Json(PolicyAnswer::of(policy, version, None)))
}

async fn policy_remove(State(app): State<App>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let mut tx = app.db.begin_write().await?;
    if !store::policy_delete(&mut tx, &id, clock::now()).await? {
        return Err(Problem::not_found(KIND, &id));
    }
    commit(&app, tx).await?;
    Ok(StatusCode::NO_CONTENT)
}
