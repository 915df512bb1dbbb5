//! `/projects`, `/projects/{id}` and `/projects/{id}/upstream`.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use mindweave_metering::ProjectId;

use super::store::{self, Project, Upstream};
use crate::app::App;
use crate::http::Page;
use crate::http::body::Fields;
use crate::http::cursor;
use crate::http::problem::Problem;
use crate::http::query::Parameters;
use crate::keys::SECRET_PREFIX;
use crate::{clock, entropy, stored};

/// The kind of list in cursors.
const LIST: &str = "projects";

/// The routes of this module.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/projects", get(project_list).post(project_create))
        .route("/projects/{id}", get(project_view))
        .route("/projects/{id}/upstream", get(upstream_view).put(upstream_set).delete(upstream_delete))
}

async fn project_create(State(app): State<App>, mut fields: Fields) -> Result<impl IntoResponse, Problem> {
    let name = fields.required_text("name");
    fields.finish()?;
    let now = clock::now();
    let random = entropy::bytes().map_err(|error| Problem::internal(&error))?;
    let project = Project {
        id: ProjectId::generate(now, random).to_string(),
        org_id: app.home.org_id.to_string(),
        name,
        created_at: now,
        upstream: Upstream { configured: false, hint: None, updated_at: None },
    };
    let revision = store::project_insert(&app.db, &project).await?;
    app.publisher.publish_through(revision).await;
    Ok((StatusCode::CREATED, [(LOCATION, format!("/projects/{}", project.id))], Json(project)))
}

async fn project_list(State(app): State<App>, mut query: Parameters) -> Result<Json<Page<Project>>, Problem> {
    let (limit, after) = (query.limit(), query.text("cursor"));
    query.finish()?;
    let after = after.map(|text| cursor::read(LIST, &text)).transpose()?.unwrap_or_default();
    let rows = store::project_list(&app.db, &after, limit.saturating_add(1)).await?;
    Ok(Json(Page::of(rows, limit, |project| cursor::write(LIST, &project.id))))
}

async fn project_view(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Project>, Problem> {
    let project = store::project_view(&app.db, &id).await?;
    project.map(Json).ok_or_else(|| Problem::not_found("project", &id))
}

async fn upstream_view(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Upstream>, Problem> {
    let project = store::project_view(&app.db, &id).await?;
    project.map(|project| Json(project.upstream)).ok_or_else(|| Problem::not_found("project", &id))
}

async fn upstream_set(
    State(app): State<App>,
    Path(id): Path<String>,
    mut fields: Fields,
) -> Result<Json<Upstream>, Problem> {
    let api_key = fields.required_secret("api_key");
    if api_key.expose_secret().starts_with(SECRET_PREFIX) {
        fields.refuse("api_key", "is a MindWeave key; give the project's own Claude API key");
    }
    fields.finish()?;
    let owner = store::upstream_owner(&id);
    let sealed = app.master_key.seal(&owner, &api_key).map_err(|error| Problem::internal(&error))?;
    let (hint, now) = (stored::hint(api_key.expose_secret()), clock::now());
    let revision = store::upstream_upsert(&app.db, &id, &sealed, &hint, now).await?;
    let revision = revision.ok_or_else(|| Problem::not_found("project", &id))?;
    app.publisher.publish_through(revision).await;
    Ok(Json(Upstream { configured: true, hint: Some(hint), updated_at: Some(now) }))
}

async fn upstream_delete(State(app): State<App>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    if !store::project_exists(&app.db, &id).await? {
        return Err(Problem::not_found("project", &id));
    }
    let revision = store::upstream_delete(&app.db, &id).await?;
    app.publisher.publish_through(revision).await;
    Ok(StatusCode::NO_CONTENT)
}
