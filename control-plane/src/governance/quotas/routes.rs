//! `/governance/quotas`, `/governance/quotas/{quota_id}` and `/governance/quotas/{quota_id}/usage`.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use mindweave_metering::{OrgId, QuotaId};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::QuotaAnswer;
use super::read::{BudgetChange, NewBudget, read_quota};
use super::state::{QuotaState, quota_state};
use super::store::{self, KIND, Quota};
use crate::access::Caller;
use crate::app::App;
use crate::audit;
use crate::db::Connection;
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
use crate::orgs::{OrgZone, org_zone};
use crate::usage::counters::{CounterRow, counter_delete, counter_list, counter_seed, counter_used};
use crate::{clock, entropy};

/// The kind of list in cursors.
const LIST: &str = "quotas";
/// The kind of list in cursors of a budget's subjects.
const USAGE_LIST: &str = "quota-usage";

/// The routes of this module.
pub(in crate::governance) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(quota_list, quota_create))
        .routes(routes!(quota_view, quota_change, quota_delete))
        .routes(routes!(quota_usage))
}

/// Makes a budget. It counts what was used in its current window before it was made.
#[utoipa::path(
    post, path = "/governance/quotas", tag = "governance", operation_id = "quota_create",
    request_body = NewBudget,
    responses((status = 201, body = QuotaAnswer, headers(("location" = String, description = "Where it is")))),
    extensions(("x-access" = json!("governance:write"))),
)]
async fn quota_create(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    let now = clock::now();
    let id = QuotaId::generate(now, entropy::bytes().map_err(|error| Problem::internal(&error))?);
    let mut tx = app.db.begin_write().await?;
    let named = fields.text("org_id");
    let org_id = org_for_new(&mut tx, &caller, app.home.org_id.as_str(), named).await?;
    let spec = read_quota(&mut tx, &org_id, fields, id, None).await?;
    let permit = permit_at(&mut tx, &caller, &org_id, &spec.scope, WRITE).await?;
    check_room(&mut tx, &permit, Bounded::Quotas).await?;
    let quota = Quota { spec, created_at: now, updated_at: now };
    store::quota_insert(&mut tx, &permit, &quota).await.map_err(|error| name_taken(error, KIND))?;
    let id = quota.spec.id.clone();
    audit::record(&mut tx, &caller, permit.change("quota.created", "quota", id.as_str()).after(&quota.spec))
        .await?;
    let (answer, warning) = seeded(&app, &mut tx, quota).await?;
    commit(&app, tx).await?;
    let location = [(LOCATION, format!("/governance/quotas/{id}"))];
    Ok((StatusCode::CREATED, location, Json(answer.warn(warning))))
}

/// Changes a budget.
#[utoipa::path(
    patch, path = "/governance/quotas/{quota_id}", tag = "governance", operation_id = "quota_change",
    params(("quota_id" = String, Path, description = "`quo_..`")),
    request_body = BudgetChange,
    responses((status = 200, body = QuotaAnswer)),
    extensions(("x-access" = json!("governance:write"))),
)]
async fn quota_change(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    if_match: IfMatch,
    fields: Fields,
) -> Result<Changed<QuotaAnswer>, Problem> {
    let mut tx = app.db.begin_write().await?;
    let (before, permit) = store::quota_open(&mut tx, &caller, &id, WRITE).await?;
    let org_id = permit.org_id();
    let zone = org_zone(&mut tx, &OrgId::new(org_id)).await?;
    let shown = answer(&app, &mut tx, before.clone(), &zone).await?;
    if_match.check(&shown)?;
    let spec = read_quota(&mut tx, org_id, fields, before.spec.id.clone(), Some(&before.spec)).await?;
    if spec == before.spec {
        return Ok(Changed::of(shown));
    }
    let permit_there = permit_at(&mut tx, &caller, org_id, &spec.scope, WRITE).await?;
    let quota = Quota { spec, created_at: before.created_at, updated_at: clock::now() };
    store::quota_update(&mut tx, &permit_there, &quota).await.map_err(|error| name_taken(error, KIND))?;
    let change = permit_there.change("quota.updated", "quota", &id).before(&before.spec).after(&quota.spec);
    audit::record(&mut tx, &caller, change).await?;
    let (after, warning) = seeded(&app, &mut tx, quota).await?;
    commit(&app, tx).await?;
    Ok(Changed { body: after.clone().warn(warning), shown: after })
}

/// Counts what the ledger holds already, so that a budget made in the middle of a month knows of the month's use.
async fn seeded(
    app: &App,
    tx: &mut Connection,
    quota: Quota,
) -> Result<(QuotaAnswer, Option<String>), Problem> {
    counter_seed(tx, &quota.spec, clock::now()).await?;
    let warning = scope_warning(tx, quota.spec.org_id.as_str(), &quota.spec.scope).await?;
    let zone = org_zone(tx, &quota.spec.org_id).await?;
    Ok((answer(app, tx, quota, &zone).await?, warning))
}

async fn answer(
    app: &App,
    tx: &mut Connection,
    quota: Quota,
    zone: &OrgZone,
) -> Result<QuotaAnswer, Problem> {
    let state = match quota.spec.scope.id.clone() {
        None => None,
        Some(subject) => {
            let now = clock::now();
            let (start, _) = mindweave_policy::window_bounds(quota.spec.window, &zone.zone, now);
            let used = counter_used(tx, &quota.spec.id, start, &subject).await?;
            let reserved = app.reserved(&quota.spec.id, &subject);
            Some(quota_state(&quota.spec, &zone.zone, now, &subject, used, reserved))
        }
    };
    Ok(QuotaAnswer::of(quota, zone.name.clone(), state))
}

/// Budgets, oldest first.
#[utoipa::path(
    get, path = "/governance/quotas", tag = "governance", operation_id = "quota_list",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1_000, description = "Most entries of a page"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, body = Page<QuotaAnswer>)),
    extensions(("x-access" = json!("governance:read"))),
)]
async fn quota_list(
    State(app): State<App>,
    caller: Caller,
    mut query: Parameters,
) -> Result<Json<Page<QuotaAnswer>>, Problem> {
    let (limit, after) = (query.limit(), query.text("cursor"));
    query.finish()?;
    let reach = caller.reach(READ)?;
    let after = after.map(|text| cursor::read(LIST, &text)).transpose()?.unwrap_or_default();
    let rows = store::quota_list(&app.db, &reach, &after, limit.saturating_add(1)).await?;
    let mut tx = app.db.begin_read().await?;
    let mut zones: HashMap<OrgId, OrgZone> = HashMap::new();
    let mut answers = Vec::with_capacity(rows.len());
    for quota in rows {
        let org_id = quota.spec.org_id.clone();
        let zone = match zones.get(&org_id) {
            Some(zone) => zone.clone(),
            None => org_zone(&mut tx, &org_id).await?,
        };
        answers.push(answer(&app, &mut tx, quota, &zone).await?);
        zones.insert(org_id, zone);
    }
    Ok(Json(Page::of(answers, limit, |quota| cursor::write(LIST, quota.id.as_str()))))
}

/// A budget with what was used of it.
#[utoipa::path(
    get, path = "/governance/quotas/{quota_id}", tag = "governance", operation_id = "quota_view",
    params(("quota_id" = String, Path, description = "`quo_..`")),
    responses((status = 200, body = QuotaAnswer)),
    extensions(("x-access" = json!("governance:read"))),
)]
async fn quota_view(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Tagged<QuotaAnswer>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let (quota, _) = store::quota_open(&mut tx, &caller, &id, READ).await?;
    let zone = org_zone(&mut tx, &quota.spec.org_id).await?;
    Ok(Tagged(answer(&app, &mut tx, quota, &zone).await?))
}

/// The subjects that used anything of a budget in its current window.
#[utoipa::path(
    get, path = "/governance/quotas/{quota_id}/usage", tag = "governance", operation_id = "quota_usage",
    params(
        ("quota_id" = String, Path, description = "`quo_..`"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1_000, description = "Most entries of a page"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, body = Page<QuotaState>)),
    extensions(("x-access" = json!("governance:read"))),
)]
async fn quota_usage(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    mut query: Parameters,
) -> Result<Json<Page<QuotaState>>, Problem> {
    let (limit, after) = (query.limit(), query.text("cursor"));
    query.finish()?;
    let list = format!("{USAGE_LIST}:{id}");
    let after = after.map(|text| cursor::read(&list, &text)).transpose()?.unwrap_or_default();
    let mut tx = app.db.begin_read().await?;
    let (quota, _) = store::quota_open(&mut tx, &caller, &id, READ).await?;
    let spec = quota.spec;
    let zone = org_zone(&mut tx, &spec.org_id).await?.zone;
    let now = clock::now();
    let (start, _) = mindweave_policy::window_bounds(spec.window, &zone, now);
    let rows = counter_list(&mut tx, &spec.id, start, &after, limit.saturating_add(1)).await?;
    let state = |row: CounterRow| {
        let reserved = app.reserved(&spec.id, &row.subject);
        quota_state(&spec, &zone, now, &row.subject, row.used, reserved)
    };
    let states: Vec<_> = rows.into_iter().map(state).collect();
    Ok(Json(Page::of(states, limit, |state| cursor::write(&list, &state.subject))))
}

/// Deletes a budget, and what was counted of it.
#[utoipa::path(
    delete, path = "/governance/quotas/{quota_id}", tag = "governance", operation_id = "quota_delete",
    params(("quota_id" = String, Path, description = "`quo_..`")),
    responses((status = 204, description = "It is not in force any more")),
    extensions(("x-access" = json!("governance:write"))),
)]
async fn quota_delete(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let mut tx = app.db.begin_write().await?;
    let (before, permit) = store::quota_open(&mut tx, &caller, &id, WRITE).await?;
    let zone = org_zone(&mut tx, &before.spec.org_id).await?;
    if_match.check(&answer(&app, &mut tx, before.clone(), &zone).await?)?;
    store::quota_delete(&mut tx, &permit, &id, clock::now()).await?;
    counter_delete(&mut tx, &before.spec.id).await?;
    let change = permit.change("quota.deleted", "quota", &id).before(&before.spec);
    audit::record(&mut tx, &caller, change).await?;
    commit(&app, tx).await?;
    Ok(StatusCode::NO_CONTENT)
}
