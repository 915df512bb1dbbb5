//! `/teams/{team_id}/members`.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::RoleGiven;
use crate::access::{Access, Area, Caller, Role};
use crate::app::App;
use crate::http::Page;
use crate::http::body::Fields;
use crate::http::etag::{IfMatch, Tagged};
use crate::http::problem::Problem;
use crate::http::query::Parameters;
use crate::members::bind::Seat;
use crate::members::edit;
use crate::members::list::{Member, MemberKind};

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(team_member_list)).routes(routes!(
        team_member_view,
        team_member_set,
        team_member_remove
    ))
}

/// Those who have a role in a team. Roles in its organisation hold in it too, and are listed there.
#[utoipa::path(
    get, path = "/teams/{team_id}/members", tag = "members", operation_id = "team_member_list",
    params(
        ("team_id" = String, Path, description = "`team_..`"),
        ("role" = Option<Role>, Query, description = "Only those with this role"),
        ("kind" = Option<MemberKind>, Query, description = "Only people, or only service accounts"),
        ("q" = Option<String>, Query, description = "Only those with this in their name or e-mail address"),
        ("sort" = Option<String>, Query, description = "`name` or `joined_at`; with a minus before it the reverse", pattern = "^(|-?(name|joined_at))$"),
        ("limit" = Option<u64>, Query, description = "Most entries of a page"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, body = Page<Member>)),
    extensions(("x-access" = json!("members:read"))),
)]
async fn team_member_list(
    State(app): State<App>,
    caller: Caller,
    Path(team_id): Path<String>,
    query: Parameters,
) -> Result<Json<Page<Member>>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let permit = caller.team(&mut tx, &team_id, Access::read(Area::Members)).await?;
    edit::list(&mut tx, &Seat::from(&permit), query).await
}

/// A member of a team, with the roles given in it.
#[utoipa::path(
    get, path = "/teams/{team_id}/members/{principal_id}", tag = "members", operation_id = "team_member_view",
    params(
        ("team_id" = String, Path, description = "`team_..`"),
        ("principal_id" = String, Path, description = "A person or a service account"),
    ),
    responses((status = 200, body = Member)),
    extensions(("x-access" = json!("members:read"))),
)]
async fn team_member_view(
    State(app): State<App>,
    caller: Caller,
    Path((team_id, principal_id)): Path<(String, String)>,
) -> Result<Tagged<Member>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let permit = caller.team(&mut tx, &team_id, Access::read(Area::Members)).await?;
    edit::view(&mut tx, &Seat::from(&permit), &principal_id).await
}

/// Gives a member of the organisation a role in a team, instead of the one given by hand before.
#[utoipa::path(
    put, path = "/teams/{team_id}/members/{principal_id}", tag = "members", operation_id = "team_member_set",
    params(
        ("team_id" = String, Path, description = "`team_..`"),
        ("principal_id" = String, Path, description = "A person or a service account of the organisation"),
    ),
    request_body = RoleGiven,
    responses((status = 200, body = Member)),
    extensions(("x-access" = json!("members:write"))),
)]
async fn team_member_set(
    State(app): State<App>,
    caller: Caller,
    Path((team_id, principal_id)): Path<(String, String)>,
    if_match: IfMatch,
    fields: Fields,
) -> Result<Tagged<Member>, Problem> {
    let mut tx = app.db.begin_write().await?;
    let permit = caller.team(&mut tx, &team_id, Access::write(Area::Members)).await?;
    edit::set(tx, &Seat::from(&permit), &principal_id, &if_match, fields).await
}

/// Takes the role from a member that was given by hand in a team.
#[utoipa::path(
    delete, path = "/teams/{team_id}/members/{principal_id}", tag = "members", operation_id = "team_member_remove",
    params(
        ("team_id" = String, Path, description = "`team_..`"),
        ("principal_id" = String, Path, description = "A person or a service account"),
    ),
    responses(
        (status = 204, description = "No role is left"),
        (status = 200, body = Member, description = "What is left are roles of sign-on groups"),
    ),
    extensions(("x-access" = json!("members:write"))),
)]
async fn team_member_remove(
    State(app): State<App>,
    caller: Caller,
    Path((team_id, principal_id)): Path<(String, String)>,
    if_match: IfMatch,
) -> Result<Response, Problem> {
    let mut tx = app.db.begin_write().await?;
    let permit = caller.team(&mut tx, &team_id, Access::write(Area::Members)).await?;
    edit::remove(tx, &Seat::from(&permit), &principal_id, &if_match).await
}
