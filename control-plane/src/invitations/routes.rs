//! `/orgs/{org_id}/invitations`, `/invitations` and `/invitations/{invitation_id}`.

mod answer;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::invite::{self, Sent};
use super::store::{self, Filter, Invitation, Status};
use crate::access::{Access, Area, Caller, Place, PlacePermit};
use crate::app::App;
use crate::audit::{self, Chain, Change};
use crate::clock;
use crate::db::{Connection, Doing};
use crate::http::Page;
use crate::http::body::Fields;
use crate::http::etag::{IfMatch, Tagged};
use crate::http::problem::{Code, Problem};
use crate::http::query::Parameters;
use crate::http::sorting::SortField;
use crate::members::read_role;

/// The kind of list in cursors.
const LIST: &str = "invitations";

const BY_AGE: SortField = SortField { name: "created_at", column: "i.created_at", is_number: true };
const BY_EXPIRY: SortField = SortField { name: "expires_at", column: "i.expires_at", is_number: true };
const BY_EMAIL: SortField = SortField { name: "email", column: "i.email", is_number: false };

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(invitation_list, invitation_create))
        .routes(routes!(invitation_view, invitation_revoke))
        .routes(routes!(invitation_resend))
        .merge(answer::routes())
}

/// The invitations of an organisation, its teams and its projects.
#[utoipa::path(
    get, path = "/orgs/{org_id}/invitations", tag = "invitations", operation_id = "invitation_list",
    params(
        ("org_id" = String, Path, description = "`org_..`"),
        ("status" = Option<Status>, Query, description = "Only those that are this now"),
        ("email" = Option<String>, Query, description = "Only those to this address"),
        ("sort" = Option<String>, Query, description = "`created_at`, `expires_at` or `email`; with a minus before it the reverse", pattern = "^(|-?(created_at|expires_at|email))$"),
        ("limit" = Option<u64>, Query, description = "Most entries of a page"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, body = Page<Invitation>)),
    extensions(("x-access" = json!("members:read"))),
)]
async fn invitation_list(
    State(app): State<App>,
    caller: Caller,
    Path(org_id): Path<String>,
    mut query: Parameters,
) -> Result<Json<Page<Invitation>>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let permit = caller.org(&mut tx, &org_id, Access::read(Area::Members)).await?;
    let limit = query.limit();
    let words = Status::ALL.map(|status| (status.as_str(), Some(status)));
    let filter = Filter {
        status: query.choice("status", &words, None),
        email: query.text("email"),
        now: clock::now(),
    };
    let sorting = query.sorting(LIST, BY_AGE, [BY_EXPIRY, BY_EMAIL])?;
    query.finish()?;
    let rows = store::invitation_list(&mut tx, &permit, &filter, &sorting, limit.saturating_add(1)).await?;
    Ok(Json(Page::of(rows, limit, |last| {
        if sorting.is_by(BY_EMAIL) {
            return sorting.cursor(last.email.as_str(), &last.id);
        }
        let time = if sorting.is_by(BY_EXPIRY) { last.expires_at } else { last.created_at };
        sorting.cursor(time.as_microsecond(), &last.id)
    })))
}

/// Somebody to be invited, to the organisation unless a team or a project is named.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `invitation_create` reads")]
struct InvitationCreate {
    #[schema(format = "email", min_length = 1, max_length = 200)]
    email: String,
    /// Not more than your own.
    role: crate::access::Role,
    #[schema(min_length = 1, max_length = 200)]
    team_id: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    project_id: Option<String>,
}

/// Invites somebody. The link goes to them by mail; where no mails can be sent, the answer has it, this once.
#[utoipa::path(
    post, path = "/orgs/{org_id}/invitations", tag = "invitations", operation_id = "invitation_create",
    params(("org_id" = String, Path, description = "`org_..`")),
    request_body = InvitationCreate,
    responses((status = 201, body = Sent)),
    extensions(("x-access" = json!("members:write"))),
)]
async fn invitation_create(
    State(app): State<App>,
    caller: Caller,
    Path(org_id): Path<String>,
    mut fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    let mut tx = app.db.begin_write().await?;
    let place = read_place(&mut fields);
    let permit = caller.place(&mut tx, &org_id, &place, Access::write(Area::Members)).await?;
    let email = fields.required_text("email");
    if !email.is_empty() && !mindweave_identity::mail::is_address(&email) {
        fields.refuse("email", "must be one e-mail address, without a name");
    }
    let role = read_role(&mut fields);
    fields.finish()?;
    let now = clock::now();
    let prepared = invite::prepare(&mut tx, &app, &permit, (email, role), now).await?;
    store::invitation_insert(&mut tx, &permit, &prepared.invitation, &prepared.fingerprint()).await?;
    let made = &prepared.invitation;
    note(&mut tx, &permit, "invitation.created", (None, Some(made))).await?;
    let org_name = store::org_name(&mut tx, &permit).await?;
    tx.commit().await.doing("making an invitation")?;
    let sent = prepared.send(&app, &org_name)?;
    let location = format!("/invitations/{}", sent.invitation.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(sent)))
}

fn read_place(fields: &mut Fields) -> Place {
    match (fields.text("team_id"), fields.text("project_id")) {
        (Some(_), Some(_)) => {
            fields.refuse("project_id", "must not be there beside team_id: an invitation is to one place");
            Place::Org
        }
        (Some(id), None) => Place::Team(id),
        (None, Some(id)) => Place::Project(id),
        (None, None) => Place::Org,
    }
}

/// An invitation.
#[utoipa::path(
    get, path = "/invitations/{invitation_id}", tag = "invitations", operation_id = "invitation_view",
    params(("invitation_id" = String, Path, description = "`inv_..`")),
    responses((status = 200, body = Invitation)),
    extensions(("x-access" = json!("members:read"))),
)]
async fn invitation_view(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Tagged<Invitation>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let (_, invitation) = permitted(&mut tx, &caller, &id, Access::read(Area::Members)).await?;
    Ok(Tagged(invitation))
}

/// Sends an invitation again, with a new token; the one before is worth nothing from then on. Good for seven days more.
#[utoipa::path(
    post, path = "/invitations/{invitation_id}/resend", tag = "invitations", operation_id = "invitation_resend",
    params(("invitation_id" = String, Path, description = "`inv_..`")),
    responses((status = 200, body = Sent)),
    extensions(("x-access" = json!("members:write"))),
)]
async fn invitation_resend(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    if_match: IfMatch,
) -> Result<Json<Sent>, Problem> {
    let mut tx = app.db.begin_write().await?;
    let (permit, before) = permitted(&mut tx, &caller, &id, Access::write(Area::Members)).await?;
    if_match.check(&before)?;
    let prepared = invite::prepare_again(&mut tx, &app, &permit, &before, clock::now()).await?;
    store::invitation_renew(&mut tx, &permit, &prepared.invitation, &prepared.fingerprint()).await?;
    note(&mut tx, &permit, "invitation.resent", (Some(&before), Some(&prepared.invitation))).await?;
    let org_name = store::org_name(&mut tx, &permit).await?;
    tx.commit().await.doing("sending an invitation again")?;
    Ok(Json(prepared.send(&app, &org_name)?))
}

/// Revokes an invitation.
#[utoipa::path(
    delete, path = "/invitations/{invitation_id}", tag = "invitations", operation_id = "invitation_revoke",
    params(("invitation_id" = String, Path, description = "`inv_..`")),
    responses((status = 204)),
    extensions(("x-access" = json!("members:write"))),
)]
async fn invitation_revoke(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let mut tx = app.db.begin_write().await?;
    let (permit, before) = permitted(&mut tx, &caller, &id, Access::write(Area::Members)).await?;
    if_match.check(&before)?;
    match before.status {
        Status::Revoked => return Ok(StatusCode::NO_CONTENT),
        Status::Accepted => return Err(invite::over()),
        Status::Pending | Status::Expired => {}
    }
    let revoked = Invitation { status: Status::Revoked, revoked_at: Some(clock::now()), ..before.clone() };
    store::invitation_revoke(&mut tx, &permit, &revoked).await?;
    note(&mut tx, &permit, "invitation.revoked", (Some(&before), Some(&revoked))).await?;
    tx.commit().await.doing("revoking an invitation")?;
    Ok(StatusCode::NO_CONTENT)
}

/// An invitation, and the permit for the place that it is to.
async fn permitted(
    tx: &mut Connection,
    caller: &Caller,
    id: &str,
    need: Access,
) -> Result<(PlacePermit, Invitation), Problem> {
    let missing = || Problem::not_found("invitation", id);
    let (org_id, place) = store::place_of(tx, id).await?.ok_or_else(missing)?;
    let permit = caller.place(tx, &org_id, &place, need).await;
    let permit =
        permit.map_err(|problem| if problem.code() == Code::NotFound { missing() } else { problem })?;
    let invitation = store::invitation_view(tx, &permit, id, clock::now()).await?.ok_or_else(missing)?;
    Ok((permit, invitation))
}

async fn note(
    tx: &mut Connection,
    permit: &PlacePermit,
    action: &'static str,
    (before, after): (Option<&Invitation>, Option<&Invitation>),
) -> Result<(), Problem> {
    let Some(shown) = after.or(before) else { return Ok(()) };
    let mut change = Change::new(Chain::Org(permit.org_id()), action, "invitation", &shown.id).identifying();
    if let Some(before) = before {
        change = change.before(before);
    }
    if let Some(after) = after {
        change = change.after(after);
    }
    Ok(audit::record(tx, permit.caller(), change).await?)
}
