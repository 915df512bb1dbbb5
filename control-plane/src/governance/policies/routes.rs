//! `/governance/policies` and `/governance/policies/{policy_id}`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use mindweave_metering::PolicyId;
use mindweave_policy::{PolicyMode, Subject};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::PolicyAnswer;
use super::making::{checked, in_force, version_add};
use super::noted::Noted;
use super::read::{NewPolicy, PolicyChange, Settings, Writing, read_content, read_settings};
use super::store::{self, KIND, Policy};
use super::version_store::Content;
use crate::access::Caller;
use crate::app::App;
use crate::audit;
use crate::clock;
use crate::entropy;
use crate::governance::bounds::{Bounded, check_room};
use crate::governance::changed::Changed;
use crate::governance::permit::{READ, WRITE, org_for_new, permit_at};
use crate::governance::publish::{commit, name_taken};
use crate::governance::scope::{Scopes, scope_read, scope_warning};
use crate::http::Page;
use crate::http::body::Fields;
use crate::http::cursor;
use crate::http::etag::{IfMatch, Tagged};
use crate::http::problem::{Code, Problem};
use crate::http::query::Parameters;

/// The kind of list in cursors.
const LIST: &str = "policies";

/// The routes of this file.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(policy_page, policy_create)).routes(routes!(
        policy_show,
        policy_change,
        policy_remove
    ))
}

/// Makes a policy, once its text is checked.
#[utoipa::path(
    post, path = "/governance/policies", tag = "governance", operation_id = "policy_create",
    request_body = NewPolicy,
    responses((status = 201, body = PolicyAnswer, headers(("location" = String, description = "Where it is")))),
    extensions(("x-access" = json!("governance:write"))),
)]
async fn policy_create(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    let settings = read_settings(&mut fields, Writing::New);
    let content = read_content(&mut fields, None);
    let named = fields.text("org_id");
    let mut tx = app.db.begin_read().await?;
    let org_id = org_for_new(&mut tx, &caller, app.home.org_id.as_str(), named).await?;
    let scope = scope_read(&mut tx, &org_id, &mut fields, Scopes::Certain, None).await?;
    fields.finish()?;
    // Before the check, which is work: nobody else gets any done here.
    permit_at(&mut tx, &caller, &org_id, &scope, WRITE).await?;
    drop(tx); // a check takes longer than anybody may keep a reader
    let content = content.ok_or_else(|| Problem::new(Code::InvalidField, "rego: is required"))?;
    let now = clock::now();
    let random = entropy::bytes().map_err(|error| Problem::internal(&error))?;
    let policy = Policy {
        id: PolicyId::generate(now, random).to_string(),
        org_id,
        name: settings.name.unwrap_or_default(),
        mode: settings.mode.unwrap_or(PolicyMode::Enforce),
        scope,
        on_error: settings.on_error.unwrap_or_default(),
        version: 1,
        created_at: now,
        updated_at: now,
    };
    let version = checked(&app, &policy.id, 1, content, now).await?;
    let mut tx = app.db.begin_write().await?;
    let permit = permit_at(&mut tx, &caller, &policy.org_id, &policy.scope, WRITE).await?;
    check_room(&mut tx, &permit, Bounded::Policies).await?;
    store::policy_insert(&mut tx, &permit, &policy).await.map_err(|error| name_taken(error, KIND))?;
    version_add(&mut tx, &permit, &version).await?;
    let warning = scope_warning(&mut tx, &policy.org_id, &policy.scope).await?;
    let noted = Noted::of(&policy, &version);
    let change = permit.change("policy.created", "policy", &policy.id).after(&noted);
    audit::record(&mut tx, &caller, change).await?;
    commit(&app, tx).await?;
    let location = [(LOCATION, format!("/governance/policies/{}", policy.id))];
    Ok((StatusCode::CREATED, location, Json(PolicyAnswer::of(policy, version, warning))))
}

/// Changes a policy. A new text is checked first.
#[utoipa::path(
    patch, path = "/governance/policies/{policy_id}", tag = "governance", operation_id = "policy_change",
    params(("policy_id" = String, Path, description = "`pol_..`")),
    request_body = PolicyChange,
    responses((status = 200, body = PolicyAnswer)),
    extensions(("x-access" = json!("governance:write"))),
)]
async fn policy_change(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    if_match: IfMatch,
    mut fields: Fields,
) -> Result<Changed<PolicyAnswer>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let (before, version, permit) = in_force(&mut tx, &caller, &id, WRITE).await?;
    let settings = read_settings(&mut fields, Writing::Change);
    let content =
        read_content(&mut fields, Some(&version.content)).filter(|content| !same(content, &version.content));
    let scope = if fields.given("scope") {
        let scope =
            scope_read(&mut tx, permit.org_id(), &mut fields, Scopes::Certain, Some(&before.scope)).await?;
        permit_at(&mut tx, &caller, permit.org_id(), &scope, WRITE).await?;
        Some(scope)
    } else {
        None
    };
    drop(tx); // a check takes longer than anybody may keep a reader
    fields.finish()?;
    if_match.check(&PolicyAnswer::of(before.clone(), version.clone(), None))?;
    let now = clock::now();
    let next = match content {
        Some(content) => Some(checked(&app, &id, before.version.saturating_add(1), content, now).await?),
        None => None,
    };
    let mut tx = app.db.begin_write().await?;
    let (current, current_version, _) = in_force(&mut tx, &caller, &id, WRITE).await?;
    if_match.check(&PolicyAnswer::of(current.clone(), current_version.clone(), None))?;
    if next.is_some() && current.version != before.version {
        return Err(changed_meanwhile());
    }
    let policy = applied(settings, scope, next.as_ref().map(|next| next.version), &current);
    if policy == current {
        return Ok(Changed::of(PolicyAnswer::of(policy, current_version, None)));
    }
    let policy = Policy { updated_at: now, ..policy };
    let permit = permit_at(&mut tx, &caller, &current.org_id, &policy.scope, WRITE).await?;
    store::policy_update(&mut tx, &permit, &policy).await.map_err(|error| name_taken(error, KIND))?;
    if let Some(next) = &next {
        version_add(&mut tx, &permit, next).await?;
    }
    let warning = scope_warning(&mut tx, &policy.org_id, &policy.scope).await?;
    let noted = Noted::of(&current, &current_version);
    let after = Noted::of(&policy, next.as_ref().unwrap_or(&current_version));
    let change = permit.change("policy.updated", "policy", &id).before(&noted).after(&after);
    audit::record(&mut tx, &caller, change).await?;
    commit(&app, tx).await?;
    let version = next.unwrap_or(current_version);
    let shown = PolicyAnswer::of(policy.clone(), version.clone(), None);
    Ok(Changed { shown, body: PolicyAnswer::of(policy, version, warning) })
}

/// A policy with what was said about it.
fn applied(settings: Settings, scope: Option<Subject>, version: Option<u64>, current: &Policy) -> Policy {
    let Settings { name, mode, on_error } = settings;
    Policy {
        name: name.unwrap_or_else(|| current.name.clone()),
        mode: mode.unwrap_or(current.mode),
        on_error: on_error.unwrap_or(current.on_error),
        scope: scope.unwrap_or_else(|| current.scope.clone()),
        version: version.unwrap_or(current.version),
        ..current.clone()
    }
}

/// The refusal of a change that was made to another version than the one in force by now.
pub(super) fn changed_meanwhile() -> Problem {
    let detail = "somebody else changed this policy's text or data meanwhile; look at it and try again";
    Problem::new(Code::ChangedMeanwhile, detail)
}

/// Whether two contents decide alike. What the text is called does not matter.
fn same(a: &Content, b: &Content) -> bool {
    a.rego == b.rego && a.data == b.data
}

/// Policies without their texts, which may be large, oldest first.
#[utoipa::path(
    get, path = "/governance/policies", tag = "governance", operation_id = "policy_list",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1_000, description = "Most entries of a page"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, body = Page<Policy>)),
    extensions(("x-access" = json!("governance:read"))),
)]
async fn policy_page(
    State(app): State<App>,
    caller: Caller,
    mut query: Parameters,
) -> Result<Json<Page<Policy>>, Problem> {
    let (limit, after) = (query.limit(), query.text("cursor"));
    query.finish()?;
    let reach = caller.reach(READ)?;
    let after = after.map(|text| cursor::read(LIST, &text)).transpose()?.unwrap_or_default();
    let rows = store::policy_list(&app.db, &reach, &after, limit.saturating_add(1)).await?;
    Ok(Json(Page::of(rows, limit, |policy| cursor::write(LIST, &policy.id))))
}

/// A policy with its text.
#[utoipa::path(
    get, path = "/governance/policies/{policy_id}", tag = "governance", operation_id = "policy_view",
    params(("policy_id" = String, Path, description = "`pol_..`")),
    responses((status = 200, body = PolicyAnswer)),
    extensions(("x-access" = json!("governance:read"))),
)]
async fn policy_show(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Tagged<PolicyAnswer>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let (policy, version, _) = in_force(&mut tx, &caller, &id, READ).await?;
    Ok(Tagged(PolicyAnswer::of(policy, version, None)))
}

/// Deletes a policy. Its versions can still be looked at: the decision log names them.
#[utoipa::path(
    delete, path = "/governance/policies/{policy_id}", tag = "governance", operation_id = "policy_delete",
    params(("policy_id" = String, Path, description = "`pol_..`")),
    responses((status = 204, description = "It is not in force any more")),
    extensions(("x-access" = json!("governance:write"))),
)]
async fn policy_remove(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let mut tx = app.db.begin_write().await?;
    let (before, version, permit) = in_force(&mut tx, &caller, &id, WRITE).await?;
    if_match.check(&PolicyAnswer::of(before.clone(), version.clone(), None))?;
    store::policy_delete(&mut tx, &permit, &id, clock::now()).await?;
    let noted = Noted::of(&before, &version);
    audit::record(&mut tx, &caller, permit.change("policy.deleted", "policy", &id).before(&noted)).await?;
    commit(&app, tx).await?;
    Ok(StatusCode::NO_CONTENT)
}
