//! `/orgs/{org_id}/teams` and `/teams/{team_id}`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use mindweave_metering::TeamId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::store::{self, Team};
use crate::access::{Access, Area, Caller};
use crate::app::App;
use crate::audit::{self, Chain, Change};
use crate::db::{Doing, StoreError};
use crate::http::Page;
use crate::http::body::Fields;
use crate::http::etag::{IfMatch, Tagged};
use crate::http::problem::{Code, Problem};
use crate::http::query::Parameters;
use crate::http::sorting::SortField;
use crate::{clock, entropy};

/// The kind of list in cursors.
const LIST: &str = "teams";
/// Most teams of an organisation: more than any has departments, and a bound for whoever makes them in a loop.
const MAX_TEAMS: i64 = 1_000;

const BY_NAME: SortField = SortField { name: "name", column: "name", is_number: false };
const BY_AGE: SortField = SortField { name: "created_at", column: "created_at", is_number: true };

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(team_list, team_create)).routes(routes!(
        team_view,
        team_change,
        team_delete
    ))
}

/// The teams of an organisation that you may see.
#[utoipa::path(
    get, path = "/orgs/{org_id}/teams", tag = "teams", operation_id = "team_list",
    params(
        ("org_id" = String, Path, description = "`org_..`"),
        ("name" = Option<String>, Query, description = "Only the team of this name"),
        ("sort" = Option<String>, Query, description = "`name` or `created_at`; with a minus before it the reverse", pattern = "^(|-?(name|created_at))$"),
        ("limit" = Option<u64>, Query, description = "Most entries of a page"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, body = Page<Team>)),
    extensions(("x-access" = json!("teams:read"))),
)]
async fn team_list(
    State(app): State<App>,
    caller: Caller,
    Path(org_id): Path<String>,
    mut query: Parameters,
) -> Result<Json<Page<Team>>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let permit = caller.org(&mut tx, &org_id, Access::read(Area::Org)).await?;
    let reach = caller.reach(Access::read(Area::Teams))?;
    let (limit, name) = (query.limit(), query.text("name"));
    let sorting = query.sorting(LIST, BY_NAME, [BY_AGE])?;
    query.finish()?;
    let more = limit.saturating_add(1);
    let rows = store::team_list(&mut tx, (&permit, &reach), name, &sorting, more).await?;
    Ok(Json(Page::of(rows, limit, |team| {
        if sorting.is_by(BY_AGE) {
            sorting.cursor(team.created_at.as_microsecond(), &team.id)
        } else {
            sorting.cursor(team.name.as_str(), &team.id)
        }
    })))
}

/// A team to be made.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `team_create` reads")]
struct TeamCreate {
    /// Unique in its organisation.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
}

/// Makes a team.
#[utoipa::path(
    post, path = "/orgs/{org_id}/teams", tag = "teams", operation_id = "team_create",
    params(("org_id" = String, Path, description = "`org_..`")),
    request_body = TeamCreate,
    responses((status = 201, body = Team)),
    extensions(("x-access" = json!("teams:write"))),
)]
async fn team_create(
    State(app): State<App>,
    caller: Caller,
    Path(org_id): Path<String>,
    mut fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    let mut tx = app.db.begin_write().await?;
    let permit = caller.org(&mut tx, &org_id, Access::write(Area::Teams)).await?;
    let name = fields.required_text("name");
    fields.finish()?;
    if store::team_count(&mut tx, &permit).await? >= MAX_TEAMS {
        return Err(Problem::new(
            Code::TooMany,
            format!("an organisation may have at most {MAX_TEAMS} teams; delete one first"),
        ));
    }
    let now = clock::now();
    let random = entropy::bytes().map_err(|error| Problem::internal(&error))?;
    let id = TeamId::generate(now, random).to_string();
    let team = Team { id, org_id, name, created_at: now, updated_at: now };
    store::team_insert(&mut tx, &permit, &team).await.map_err(name_taken)?;
    let change = Change::new(Chain::Org(permit.org_id()), "team.created", "team", &team.id);
    audit::record(&mut tx, &caller, change.after(&team)).await?;
    tx.commit().await.doing("making a team")?;
    Ok((StatusCode::CREATED, [(LOCATION, format!("/teams/{}", team.id))], Tagged(team)))
}

/// A team.
#[utoipa::path(
    get, path = "/teams/{team_id}", tag = "teams", operation_id = "team_view",
    params(("team_id" = String, Path, description = "`team_..`")),
    responses((status = 200, body = Team)),
    extensions(("x-access" = json!("teams:read"))),
)]
async fn team_view(
    State(app): State<App>,
    caller: Caller,
    Path(team_id): Path<String>,
) -> Result<Tagged<Team>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let permit = caller.team(&mut tx, &team_id, Access::read(Area::Teams)).await?;
    Ok(Tagged(store::team_view(&mut tx, &permit).await?))
}

/// What can be changed of a team. What is not given stays.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `team_change` reads")]
struct TeamChange {
    /// Unique in its organisation.
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
}

/// Changes a team.
#[utoipa::path(
    patch, path = "/teams/{team_id}", tag = "teams", operation_id = "team_change",
    params(("team_id" = String, Path, description = "`team_..`")),
    request_body = TeamChange,
    responses((status = 200, body = Team)),
    extensions(("x-access" = json!("teams:write"))),
)]
async fn team_change(
    State(app): State<App>,
    caller: Caller,
    Path(team_id): Path<String>,
    if_match: IfMatch,
    mut fields: Fields,
) -> Result<Tagged<Team>, Problem> {
    let mut tx = app.db.begin_write().await?;
    let permit = caller.team(&mut tx, &team_id, Access::write(Area::Teams)).await?;
    let before = store::team_view(&mut tx, &permit).await?;
    if_match.check(&before)?;
    let mut team = before.clone();
    if let Some(name) = fields.text("name") {
        team.name = name;
    }
    fields.finish()?;
    if team == before {
        return Ok(Tagged(team));
    }
    team.updated_at = clock::now();
    store::team_update(&mut tx, &permit, &team).await.map_err(name_taken)?;
    let change = Change::new(Chain::Org(permit.org_id()), "team.updated", "team", permit.team_id());
    audit::record(&mut tx, &caller, change.before(&before).after(&team)).await?;
    tx.commit().await.doing("changing a team")?;
    Ok(Tagged(team))
}

/// Deletes a team and the roles in it. Refused while projects belong to it: move them first.
#[utoipa::path(
    delete, path = "/teams/{team_id}", tag = "teams", operation_id = "team_delete",
    params(("team_id" = String, Path, description = "`team_..`")),
    responses((status = 204)),
    extensions(("x-access" = json!("teams:write"))),
)]
async fn team_delete(
    State(app): State<App>,
    caller: Caller,
    Path(team_id): Path<String>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let mut tx = app.db.begin_write().await?;
    let permit = caller.team(&mut tx, &team_id, Access::write(Area::Teams)).await?;
    let before = store::team_view(&mut tx, &permit).await?;
    if_match.check(&before)?;
    let projects = store::team_projects(&mut tx, &permit).await?;
    if projects > 0 {
        let detail =
            format!("{projects} projects belong to this team; move them to another team or to none first");
        return Err(Problem::new(Code::NotEmpty, detail));
    }
    store::team_delete(&mut tx, &permit, clock::now()).await?;
    let change = Change::new(Chain::Org(permit.org_id()), "team.deleted", "team", permit.team_id());
    audit::record(&mut tx, &caller, change.before(&before)).await?;
    tx.commit().await.doing("deleting a team")?;
    Ok(StatusCode::NO_CONTENT)
}

fn name_taken(error: StoreError) -> Problem {
    if error.is_unique_violation() {
        return Problem::new(Code::NameTaken, "name: another team of the organisation has this name");
    }
    error.into()
}
