//! `/governance/limits` and `/governance/limits/{id}`.

use crate::db::Connection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use mindweave_metering::{LimitId, OrgId};
use mindweave_policy::{LimitMetric, LimitSpec, ModelPattern, Subject};
use serde::Serialize;

use super::store::{self, Limit};
use crate::app::App;
use crate::governance::bounds::{Bounded, check_room};
use crate::governance::models::models_read;
use crate::governance::publish::{commit, name_taken};
use crate::governance::scope::{Scopes, scope_read, scope_warning};
use crate::http::Page;
use crate::http::body::Fields;
use crate::http::cursor;
use crate::http::problem::Problem;
use crate::http::query::Parameters;
use crate::{clock, entropy};

/// The kind of list in cursors.
const LIST: &str = "limits";
/// What a limit is called in messages.
const KIND: &str = "rate limit";
/// Greatest limit and burst: beyond any traffic, and small enough for a limiter's arithmetic in nanoseconds.
const MAX_LIMIT: i64 = 1_000_000_000_000;

/// What a limit may count.
const METRICS: [(&str, LimitMetric); 5] = [
    ("requests_per_minute", LimitMetric::RequestsPerMinute),
    ("input_tokens_per_minute", LimitMetric::InputTokensPerMinute),
    ("output_tokens_per_minute", LimitMetric::OutputTokensPerMinute),
    ("tokens_per_minute", LimitMetric::TokensPerMinute),
    ("concurrent_requests", LimitMetric::ConcurrentRequests),
];

/// The routes of this module.
pub(in crate::governance) fn routes() -> Router<App> {
    Router::new()
        .route("/governance/limits", get(limit_list).post(limit_create))
        .route("/governance/limits/{id}", get(limit_view).patch(limit_change).delete(limit_delete))
}

/// A limit as the API shows it.
#[derive(Serialize)]
struct LimitAnswer {
    id: LimitId,
    org_id: OrgId,
    name: std::sync::Arc<str>,
    scope: Subject,
    metric: LimitMetric,
    limit: u64,
    burst: Option<u64>,
    models: Vec<ModelPattern>,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// What the admin should look at; in answers to changes only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

impl From<Limit> for LimitAnswer {
    fn from(Limit { spec, created_at, updated_at }: Limit) -> Self {
        let LimitSpec { id, org_id, name, scope, metric, limit, burst, models } = spec;
        let warnings = Vec::new();
        Self { id, org_id, name, scope, metric, limit, burst, models, created_at, updated_at, warnings }
    }
}

async fn limit_create(State(app): State<App>, fields: Fields) -> Result<impl IntoResponse, Problem> {
    let now = clock::now();
    let id = LimitId::generate(now, entropy::bytes().map_err(|error| Problem::internal(&error))?);
    let mut tx = app.db.begin_write().await?;
    let spec = read_limit(&app, &mut tx, fields, id, None).await?;
    check_room(&mut tx, Bounded::Limits).await?;
    let warnings = scope_warning(&mut tx, &spec.scope).await?;
    let limit = Limit { spec, created_at: now, updated_at: now };
    store::limit_insert(&mut tx, &limit).await.map_err(|error| name_taken(error, KIND))?;
    commit(&app, tx).await?;
    let location = [(LOCATION, format!("/governance/limits/{}", limit.spec.id))];
    let answer = LimitAnswer { warnings: warnings.into_iter().collect(), ..limit.into() };
    Ok((StatusCode::CREATED, location, Json(answer)))
}

async fn limit_change(
    State(app): State<App>,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Json<LimitAnswer>, Problem> {
    let mut tx = app.db.begin_write().await?;
    let before = store::limit_view(&mut tx, &id).await?;
    let before = before.ok_or_else(|| Problem::not_found(KIND, &id))?;
    let spec = read_limit(&app, &mut tx, fields, before.spec.id.clone(), Some(&before.spec)).await?;
    if spec == before.spec {
        return Ok(Json(before.into()));
    }
    let warnings = scope_warning(&mut tx, &spec.scope).await?;
    let limit = Limit { spec, created_at: before.created_at, updated_at: clock::now() };
    store::limit_update(&mut tx, &limit).await.map_err(|error| name_taken(error, KIND))?;
    commit(&app, tx).await?;
    Ok(Json(LimitAnswer { warnings: warnings.into_iter().collect(), ..limit.into() }))
}

/// What the client says about a limit. In a change, what is not given stays.
async fn read_limit(
    app: &App,
    tx: &mut Connection,
    mut fields: Fields,
    id: LimitId,
    before: Option<&LimitSpec>,
) -> Result<LimitSpec, Problem> {
    let name = match before {
        Some(before) if !fields.given("name") => before.name.clone(),
        _ => fields.required_text("name").into(),
    };
    let scope =
        scope_read(tx, &app.home, &mut fields, Scopes::Counted, before.map(|before| &before.scope)).await?;
    let metric = match before {
        Some(before) if !fields.given("metric") => before.metric,
        _ => fields.choice("metric", &METRICS).unwrap_or_else(|| {
            fields.require_if_absent("metric");
            LimitMetric::RequestsPerMinute
        }),
    };
    let limit = match before {
        Some(before) if !fields.given("limit") => before.limit,
        _ => fields.count("limit", 1, MAX_LIMIT).unwrap_or_else(|| {
            fields.require_if_absent("limit");
            1
        }),
    };
    let burst = match before {
        Some(before) if !fields.given("burst") => before.burst,
        _ => fields.count("burst", 1, MAX_LIMIT),
    };
    if metric == LimitMetric::ConcurrentRequests && burst.is_some() {
        fields.refuse(
            "burst",
            "is not for concurrent_requests: the limit itself is how many may be open at once",
        );
    }
    let models = models_read(&mut fields, before.map(|before| before.models.as_slice()));
    fields.finish()?;
    Ok(LimitSpec { id, org_id: app.home.org_id.clone(), name, scope, metric, limit, burst, models })
}

async fn limit_list(
    State(app): State<App>,
    mut query: Parameters,
) -> Result<Json<Page<LimitAnswer>>, Problem> {
    let (limit, after) = (query.limit(), query.text("cursor"));
    query.finish()?;
    let after = after.map(|text| cursor::read(LIST, &text)).transpose()?.unwrap_or_default();
    let rows = store::limit_list(&app.db, &after, limit.saturating_add(1)).await?;
    let rows: Vec<_> = rows.into_iter().map(LimitAnswer::from).collect();
    Ok(Json(Page::of(rows, limit, |entry| cursor::write(LIST, entry.id.as_str()))))
}

async fn limit_view(State(app): State<App>, Path(id): Path<String>) -> Result<Json<LimitAnswer>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let limit = store::limit_view(&mut tx, &id).await?;
    limit.map(|limit| Json(limit.into())).ok_or_else(|| Problem::not_found(KIND, &id))
}

async fn limit_delete(State(app): State<App>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let mut tx = app.db.begin_write().await?;
    if !store::limit_delete(&mut tx, &id, clock::now()).await? {
        return Err(Problem::not_found(KIND, &id));
    }
    commit(&app, tx).await?;
    Ok(StatusCode::NO_CONTENT)
}
