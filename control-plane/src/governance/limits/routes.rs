//! `/governance/limits` and `/governance/limits/{limit_id}`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use mindweave_metering::LimitId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::LimitAnswer;
use super::read::{NewRateLimit, RateLimitChange, limit_read};
use super::store::{self, KIND, Limit};
use crate::access::Caller;
use crate::app::App;
use crate::audit;
use crate::governance::bounds::{Bounded, check_room};
use crate::governance::changed::Changed;
use crate::governance::permit::{READ, WRITE, org_for_new, permit_at};
use crate::governance::publish::{commit, name_taken};
use crate::governance::scope::scope_warning;
use crate::http::Page;
use crate::http::body::Fields;
use crate::http::cursor;
use crate::http::etag::{IfMatch, Tagged};
use crate::http::problem::Problem;
use crate::http::query::Parameters;
use crate::{clock, entropy};

/// The kind of list in cursors.
const LIST: &str = "limits";

/// The routes of this module.
pub(in crate::governance) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(limit_list, limit_create)).routes(routes!(
        limit_view,
        limit_change,
        limit_delete
    ))
}

/// Makes a rate limit.
#[utoipa::path(
    post, path = "/governance/limits", tag = "governance", operation_id = "limit_create",
    request_body = NewRateLimit,
    responses((status = 201, body = LimitAnswer, headers(("location" = String, description = "Where it is")))),
    extensions(("x-access" = json!("governance:write"))),
)]
async fn limit_create(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    let now = clock::now();
    let id = LimitId::generate(now, entropy::bytes().map_err(|error| Problem::internal(&error))?);
    let mut tx = app.db.begin_write().await?;
    let named = fields.text("org_id");
    let org_id = org_for_new(&mut tx, &caller, app.home.org_id.as_str(), named).await?;
    let spec = limit_read(&mut tx, &org_id, fields, id, None).await?;
    let permit = permit_at(&mut tx, &caller, &org_id, &spec.scope, WRITE).await?;
    check_room(&mut tx, &permit, Bounded::Limits).await?;
    let warning = scope_warning(&mut tx, &org_id, &spec.scope).await?;
    let limit = Limit { spec, created_at: now, updated_at: now };
    store::limit_insert(&mut tx, &permit, &limit).await.map_err(|error| name_taken(error, KIND))?;
    let answer = LimitAnswer::from(limit);
    let change = permit.change("limit.created", "limit", answer.id.as_str()).after(&answer);
    audit::record(&mut tx, &caller, change).await?;
    commit(&app, tx).await?;
    let location = [(LOCATION, format!("/governance/limits/{}", answer.id))];
    Ok((StatusCode::CREATED, location, Json(answer.warn(warning))))
}

/// Changes a rate limit.
#[utoipa::path(
    patch, path = "/governance/limits/{limit_id}", tag = "governance", operation_id = "limit_change",
    params(("limit_id" = String, Path, description = "`lim_..`")),
    request_body = RateLimitChange,
    responses((status = 200, body = LimitAnswer)),
    extensions(("x-access" = json!("governance:write"))),
)]
async fn limit_change(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    if_match: IfMatch,
    fields: Fields,
) -> Result<Changed<LimitAnswer>, Problem> {
    let mut tx = app.db.begin_write().await?;
    let (before, permit) = store::limit_open(&mut tx, &caller, &id, WRITE).await?;
    let shown = LimitAnswer::from(before.clone());
    if_match.check(&shown)?;
    let org_id = permit.org_id();
    let spec = limit_read(&mut tx, org_id, fields, before.spec.id.clone(), Some(&before.spec)).await?;
    if spec == before.spec {
        return Ok(Changed::of(shown));
    }
    let permit_there = permit_at(&mut tx, &caller, org_id, &spec.scope, WRITE).await?;
    let warning = scope_warning(&mut tx, org_id, &spec.scope).await?;
    let limit = Limit { spec, created_at: before.created_at, updated_at: clock::now() };
    store::limit_update(&mut tx, &permit_there, &limit).await.map_err(|error| name_taken(error, KIND))?;
    let after = LimitAnswer::from(limit);
    let change = permit_there.change("limit.updated", "limit", &id).before(&shown).after(&after);
    audit::record(&mut tx, &caller, change).await?;
    commit(&app, tx).await?;
    Ok(Changed { body: after.clone().warn(warning), shown: after })
}

/// Rate limits, oldest first.
#[utoipa::path(
    get, path = "/governance/limits", tag = "governance", operation_id = "limit_list",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1_000, description = "Most entries of a page"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, body = Page<LimitAnswer>)),
    extensions(("x-access" = json!("governance:read"))),
)]
async fn limit_list(
    State(app): State<App>,
    caller: Caller,
    mut query: Parameters,
) -> Result<Json<Page<LimitAnswer>>, Problem> {
    let (limit, after) = (query.limit(), query.text("cursor"));
    query.finish()?;
    let reach = caller.reach(READ)?;
    let after = after.map(|text| cursor::read(LIST, &text)).transpose()?.unwrap_or_default();
    let rows = store::limit_list(&app.db, &reach, &after, limit.saturating_add(1)).await?;
    let rows: Vec<_> = rows.into_iter().map(LimitAnswer::from).collect();
    Ok(Json(Page::of(rows, limit, |entry| cursor::write(LIST, entry.id.as_str()))))
}

/// A rate limit.
#[utoipa::path(
    get, path = "/governance/limits/{limit_id}", tag = "governance", operation_id = "limit_view",
    params(("limit_id" = String, Path, description = "`lim_..`")),
    responses((status = 200, body = LimitAnswer)),
    extensions(("x-access" = json!("governance:read"))),
)]
async fn limit_view(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Tagged<LimitAnswer>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let (limit, _) = store::limit_open(&mut tx, &caller, &id, READ).await?;
    Ok(Tagged(limit.into()))
}

/// Deletes a rate limit.
#[utoipa::path(
    delete, path = "/governance/limits/{limit_id}", tag = "governance", operation_id = "limit_delete",
    params(("limit_id" = String, Path, description = "`lim_..`")),
    responses((status = 204, description = "It is not in force any more")),
    extensions(("x-access" = json!("governance:write"))),
)]
async fn limit_delete(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let mut tx = app.db.begin_write().await?;
    let (before, permit) = store::limit_open(&mut tx, &caller, &id, WRITE).await?;
    let shown = LimitAnswer::from(before);
    if_match.check(&shown)?;
    store::limit_delete(&mut tx, &permit, &id, clock::now()).await?;
    audit::record(&mut tx, &caller, permit.change("limit.deleted", "limit", &id).before(&shown)).await?;
    commit(&app, tx).await?;
    Ok(StatusCode::NO_CONTENT)
}
