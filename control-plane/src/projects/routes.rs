//! `/projects` and `/projects/{project_id}`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use mindweave_metering::ProjectId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::change::{self, NewProject, ProjectChange};
use super::store::{self, Filter, Project};
use super::upstream::Upstream;
use crate::access::{Access, Area, Caller};
use crate::app::App;
use crate::audit::{self, Chain, Change};
use crate::governance::commit;
use crate::http::Page;
use crate::http::body::{Fields, MAX_TEXT_CHARS};
use crate::http::etag::{IfMatch, Tagged};
use crate::http::problem::{Code, Problem};
use crate::http::query::Parameters;
use crate::http::sorting::SortField;
use crate::{clock, entropy};

/// The kind of list in cursors.
const LIST: &str = "projects";
/// What it can be sorted by.
const BY_ID: SortField = SortField { name: "id", column: "p.id", is_number: false };
const BY_NAME: SortField = SortField { name: "name", column: "p.name", is_number: false };
const BY_CREATION: SortField = SortField { name: "created_at", column: "p.created_at", is_number: true };

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(project_list, project_create)).routes(routes!(
        project_view,
        project_change,
        project_delete
    ))
}

/// Makes a project.
///
/// In a team, whoever may change the team's projects may make one; else it takes the organisation.
#[utoipa::path(
    post, path = "/projects", tag = "projects", operation_id = "project_create",
    request_body = NewProject,
    responses((status = 201, body = Project)),
    extensions(("x-access" = json!("projects:write"))),
)]
async fn project_create(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    let (name, org_id, team_id) =
        (fields.required_text("name"), fields.text("org_id"), fields.text("team_id"));
    let random = entropy::bytes().map_err(|error| Problem::internal(&error))?;
    let mut tx = app.db.begin_write().await?;
    let owner = change::owner(&mut tx, &caller, org_id, team_id, &app.home, &mut fields).await?;
    fields.finish()?;
    let Some(owner) = owner else {
        return Err(Problem::new(Code::InvalidField, "team_id: there is no such team"));
    };
    let now = clock::now();
    let project = Project {
        id: ProjectId::generate(now, random).to_string(),
        org_id: owner.org_id().to_owned(),
        team_id: owner.team_id().map(str::to_owned),
        name,
        created_at: now,
        updated_at: now,
        upstream: Upstream::default(),
    };
    store::project_insert(&mut tx, &owner, &project).await?;
    let change = Change::new(Chain::Org(owner.org_id()), "project.created", "project", &project.id);
    audit::record(&mut tx, &caller, change.in_project(&project.id).after(&project)).await?;
    commit(&app, tx).await?;
    Ok((StatusCode::CREATED, [(LOCATION, format!("/projects/{}", project.id))], Json(project)))
}

/// Projects in which you may see anything, oldest first unless sorted otherwise.
#[utoipa::path(
    get, path = "/projects", tag = "projects", operation_id = "project_list",
    params(
        ("org_id" = Option<String>, Query, description = "Only of this organisation"),
        ("team_id" = Option<String>, Query, description = "Only of this team"),
        ("q" = Option<String>, Query, description = "Only with this somewhere in the name", max_length = 200),
        ("sort" = Option<String>, Query, description = "`id`, `name` or `created_at`, with a minus before it for the reverse", pattern = "^(|-?(id|name|created_at))$"),
        ("limit" = Option<u64>, Query, description = "Most entries of a page", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, body = Page<Project>)),
    extensions(("x-access" = json!("projects:read"))),
)]
async fn project_list(
    State(app): State<App>,
    caller: Caller,
    mut query: Parameters,
) -> Result<Json<Page<Project>>, Problem> {
    let limit = query.limit();
    let filter = Filter { org_id: query.text("org_id"), team_id: query.text("team_id"), q: query.text("q") };
    if filter.q.as_ref().is_some_and(|text| text.chars().count() > MAX_TEXT_CHARS) {
        query.refuse("q", &format!("must have at most {MAX_TEXT_CHARS} characters"));
    }
    let sorting = query.sorting(LIST, BY_ID, [BY_NAME, BY_CREATION]);
    query.finish()?;
    let (sorting, reach) = (sorting?, caller.reach(Access::read(Area::Projects))?);
    let rows = store::project_list(&app.db, &reach, &filter, &sorting, limit.saturating_add(1)).await?;
    Ok(Json(Page::of(rows, limit, |last| {
        if sorting.is_by(BY_NAME) {
            sorting.cursor(&*last.name, &last.id)
        } else if sorting.is_by(BY_CREATION) {
            sorting.cursor(last.created_at.as_microsecond(), &last.id)
        } else {
            sorting.cursor(&*last.id, &last.id)
        }
    })))
}

/// A project.
#[utoipa::path(
    get, path = "/projects/{project_id}", tag = "projects", operation_id = "project_view",
    params(("project_id" = String, Path, description = "`prj_..`")),
    responses((status = 200, body = Project)),
    extensions(("x-access" = json!("projects:read"))),
)]
async fn project_view(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Tagged<Project>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let permit = caller.project(&mut tx, &id, Access::read(Area::Projects)).await?;
    Ok(Tagged(store::project_view(&mut tx, &permit).await?))
}

/// Changes a project's name or team.
///
/// To a team it is given by whoever may change that team's projects as well, and out of any team by whoever may change all of the
/// organisation's: a project's team decides who else has a role in it.
#[utoipa::path(
    patch, path = "/projects/{project_id}", tag = "projects", operation_id = "project_change",
    params(("project_id" = String, Path, description = "`prj_..`")),
    request_body = ProjectChange,
    responses((status = 200, body = Project)),
    extensions(("x-access" = json!("projects:write"))),
)]
async fn project_change(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    if_match: IfMatch,
    mut fields: Fields,
) -> Result<Tagged<Project>, Problem> {
    let mut tx = app.db.begin_write().await?;
    let permit = caller.project(&mut tx, &id, Access::write(Area::Projects)).await?;
    let before = store::project_view(&mut tx, &permit).await?;
    if_match.check(&before)?;
    let mut project = before.clone();
    if fields.given("name") {
        project.name = fields.required_text("name");
    }
    if fields.given("team_id") {
        project.team_id = fields.text("team_id");
        if project.team_id != before.team_id {
            let teams = [before.team_id.as_deref(), project.team_id.as_deref()];
            change::check_move(&mut tx, &caller, &permit, teams, &mut fields).await?;
        }
    }
    fields.finish()?;
    if project == before {
        return Ok(Tagged(project));
    }
    project.updated_at = clock::now();
    store::project_update(&mut tx, &permit, &project).await?;
    let change = Change::new(Chain::Org(permit.org_id()), "project.updated", "project", permit.project_id());
    let change = change.in_project(permit.project_id()).before(&before).after(&project);
    audit::record(&mut tx, &caller, change).await?;
    commit(&app, tx).await?;
    Ok(Tagged(project))
}

/// Ends a project: its keys and credentials are refused from then on. What it used stays visible.
#[utoipa::path(
    delete, path = "/projects/{project_id}", tag = "projects", operation_id = "project_delete",
    params(("project_id" = String, Path, description = "`prj_..`")),
    responses((status = 204)),
    extensions(("x-access" = json!("projects:write"))),
)]
async fn project_delete(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let mut tx = app.db.begin_write().await?;
    let permit = caller.project(&mut tx, &id, Access::write(Area::Projects)).await?;
    let before = store::project_view(&mut tx, &permit).await?;
    if_match.check(&before)?;
    if permit.project_id() == app.home.default_project_id.as_str() {
        let detail = "this is the project that requests without one are booked on; it cannot be deleted";
        return Err(Problem::new(Code::DefaultProject, detail));
    }
    store::project_delete(&mut tx, &permit, clock::now()).await?;
    let change = Change::new(Chain::Org(permit.org_id()), "project.deleted", "project", permit.project_id());
    audit::record(&mut tx, &caller, change.in_project(permit.project_id()).before(&before)).await?;
    commit(&app, tx).await?;
    Ok(StatusCode::NO_CONTENT)
}
