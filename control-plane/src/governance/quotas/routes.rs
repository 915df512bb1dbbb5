//! `/governance/quotas`, `/governance/quotas/{id}` and `/governance/quotas/{id}/usage`.

use crate::db::Connection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use mindweave_metering::QuotaId;

use super::answer::QuotaAnswer;
use super::read::read_quota;
use super::state::{QuotaState, quota_state};
use super::store::{self, Quota};
use crate::app::App;
use crate::governance::bounds::{Bounded, check_room};
use crate::governance::publish::{commit, name_taken};
use crate::governance::scope::scope_warning;
use crate::http::Page;
use crate::http::body::Fields;
use crate::http::cursor;
use crate::http::problem::Problem;
use crate::http::query::Parameters;
use crate::orgs::{OrgZone, org_zone};
use crate::usage::counters::{CounterRow, counter_delete, counter_list, counter_seed, counter_used};
use crate::{clock, entropy};

/// The kind of list in cursors.
const LIST: &str = "quotas";
/// The kind of list in cursors of a budget's subjects.
const USAGE_LIST: &str = "quota-usage";
/// What a budget is called in messages.
const KIND: &str = "budget";

/// The routes of this module.
pub(in crate::governance) fn routes() -> Router<App> {
    Router::new()
        .route("/governance/quotas", get(quota_list).post(quota_create))
        .route("/governance/quotas/{id}", get(quota_view).patch(quota_change).delete(quota_delete))
        .route("/governance/quotas/{id}/usage", get(quota_usage))
}

async fn quota_create(State(app): State<App>, fields: Fields) -> Result<impl IntoResponse, Problem> {
    let now = clock::now();
    let id = QuotaId::generate(now, entropy::bytes().map_err(|error| Problem::internal(&error))?);
    let mut tx = app.db.begin_write().await?;
    let spec = read_quota(&app, &mut tx, fields, id, None).await?;
    check_room(&mut tx, Bounded::Quotas).await?;
    let quota = Quota { spec, created_at: now, updated_at: now };
    store::quota_insert(&mut tx, &quota).await.map_err(|error| name_taken(error, KIND))?;
    let location = [(LOCATION, format!("/governance/quotas/{}", quota.spec.id))];
    let answer = seeded(&app, &mut tx, quota).await?;
    commit(&app, tx).await?;
    Ok((StatusCode::CREATED, location, Json(answer)))
}

async fn quota_change(
    State(app): State<App>,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Json<QuotaAnswer>, Problem> {
    let mut tx = app.db.begin_write().await?;
    let before = store::quota_view(&mut tx, &id).await?;
    let before = before.ok_or_else(|| Problem::not_found(KIND, &id))?;
    let spec = read_quota(&app, &mut tx, fields, before.spec.id.clone(), Some(&before.spec)).await?;
    if spec == before.spec {
        let zone = org_zone(&mut tx, &app.home.org_id).await?;
        return Ok(Json(answer(&app, &mut tx, before, &zone).await?));
    }
    let quota = Quota { spec, created_at: before.created_at, updated_at: clock::now() };
    store::quota_update(&mut tx, &quota).await.map_err(|error| name_taken(error, KIND))?;
    let answer = seeded(&app, &mut tx, quota).await?;
    commit(&app, tx).await?;
    Ok(Json(answer))
}

/// Counts what the ledger holds already, so that a budget made in the middle of a month knows of the month's use.
async fn seeded(app: &App, tx: &mut Connection, quota: Quota) -> Result<QuotaAnswer, Problem> {
    counter_seed(tx, &quota.spec, clock::now()).await?;
    let warning = scope_warning(tx, &quota.spec.scope).await?;
    let zone = org_zone(tx, &app.home.org_id).await?;
    Ok(answer(app, tx, quota, &zone).await?.warn(warning))
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

async fn quota_list(
    State(app): State<App>,
    mut query: Parameters,
) -> Result<Json<Page<QuotaAnswer>>, Problem> {
    let (limit, after) = (query.limit(), query.text("cursor"));
    query.finish()?;
    let after = after.map(|text| cursor::read(LIST, &text)).transpose()?.unwrap_or_default();
    let mut tx = app.db.begin_read().await?;
    let zone = org_zone(&mut tx, &app.home.org_id).await?;
    let rows = store::quota_list(&mut tx, &after, limit.saturating_add(1)).await?;
    let mut answers = Vec::with_capacity(rows.len());
    for quota in rows {
        answers.push(answer(&app, &mut tx, quota, &zone).await?);
    }
    Ok(Json(Page::of(answers, limit, |quota| cursor::write(LIST, quota.id.as_str()))))
}

async fn quota_view(State(app): State<App>, Path(id): Path<String>) -> Result<Json<QuotaAnswer>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let quota = store::quota_view(&mut tx, &id).await?.ok_or_else(|| Problem::not_found(KIND, &id))?;
    let zone = org_zone(&mut tx, &app.home.org_id).await?;
    Ok(Json(answer(&app, &mut tx, quota, &zone).await?))
}

/// The subjects that used anything of a budget in its current window.
async fn quota_usage(
    State(app): State<App>,
    Path(id): Path<String>,
    mut query: Parameters,
) -> Result<Json<Page<QuotaState>>, Problem> {
    let (limit, after) = (query.limit(), query.text("cursor"));
    query.finish()?;
    let list = format!("{USAGE_LIST}:{id}");
    let after = after.map(|text| cursor::read(&list, &text)).transpose()?.unwrap_or_default();
    let mut tx = app.db.begin_read().await?;
    let spec = store::quota_view(&mut tx, &id).await?.ok_or_else(|| Problem::not_found(KIND, &id))?.spec;
    let zone = org_zone(&mut tx, &app.home.org_id).await?.zone;
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

async fn quota_delete(State(app): State<App>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let mut tx = app.db.begin_write().await?;
    if !store::quota_delete(&mut tx, &id, clock::now()).await? {
        return Err(Problem::not_found(KIND, &id));
    }
    counter_delete(&mut tx, &QuotaId::new(id)).await?;
    commit(&app, tx).await?;
    Ok(StatusCode::NO_CONTENT)
}
