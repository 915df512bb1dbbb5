//! `/auth/refresh`, `/auth/logout`, `/auth/sessions`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;

use super::person::SignedIn;
use super::session::{self, Ended, Tokens, Which};
use super::session_store::{self, Session};
use crate::access::Caller;
use crate::app::App;
use crate::clock;
use crate::db::Doing;
use crate::http::body::Fields;
use crate::http::problem::Problem;

/// A refresh token.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `refresh` reads")]
struct Refresh {
    #[schema(min_length = 1, max_length = 1024, pattern = "^[!-~]+$", example = "mwr_..")]
    refresh_token: String,
}

/// Exchanges a refresh token for new tokens. Each works once: presenting one again ends its session, so let one request of a client do
/// this at a time. A client that did not get its answer signs in again.
#[utoipa::path(
    post, path = "/auth/refresh", tag = "auth", operation_id = "session_refresh",
    request_body = Refresh,
    responses((status = 200, body = Tokens), (status = 401, description = "The session is over")),
    extensions(("x-access" = json!("public"))),
)]
pub(super) async fn refresh(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<Json<Tokens>, Problem> {
    let token = fields.required_password("refresh_token");
    fields.finish()?;
    Ok(Json(session::refresh(&app.db, &app.identity, &caller, &token).await?))
}

/// Which sessions to end.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `logout` reads")]
struct Logout {
    /// Ends your other sessions as well.
    everywhere: Option<bool>,
}

/// Signs out: the tokens of this session are not good any more when this is answered.
#[utoipa::path(
    post, path = "/auth/logout", tag = "auth", operation_id = "logout",
    request_body = Logout,
    responses((status = 204, description = "Signed out.")),
    extensions(("x-access" = json!("self"))),
)]
pub(super) async fn logout(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<StatusCode, Problem> {
    let person = SignedIn::of(&caller)?;
    let everywhere = fields.flag("everywhere");
    fields.finish()?;
    let mut tx = app.db.begin_write().await?;
    session::end(&mut tx, &caller, &person.user_id, &person.session_id, Ended::SignedOut).await?;
    if everywhere {
        session::end_all(&mut tx, &caller, &person.user_id, Which::All, Ended::SignedOut).await?;
    }
    tx.commit().await.doing("signing out")?;
    Ok(StatusCode::NO_CONTENT)
}

/// Your sessions.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Sessions {
    /// Those that have not ended, oldest first.
    data: Vec<Session>,
}

/// Where you are signed in.
#[utoipa::path(
    get, path = "/auth/sessions", tag = "auth", operation_id = "session_list",
    responses((status = 200, body = Sessions)),
    extensions(("x-access" = json!("self"))),
)]
pub(super) async fn session_list(State(app): State<App>, caller: Caller) -> Result<Json<Sessions>, Problem> {
    let person = SignedIn::of(&caller)?;
    let mut tx = app.db.begin_read().await?;
    let mut data = session_store::sessions_list(&mut tx, &person.user_id, clock::now()).await?;
    for session in &mut data {
        session.current = session.id == *person.session_id;
    }
    Ok(Json(Sessions { data }))
}

/// Ends one of your sessions.
#[utoipa::path(
    delete, path = "/auth/sessions/{session_id}", tag = "auth", operation_id = "session_end",
    params(("session_id" = String, Path, description = "`ses_..`")),
    responses((status = 204, description = "It is over.")),
    extensions(("x-access" = json!("self"))),
)]
pub(super) async fn session_end(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let person = SignedIn::of(&caller)?;
    let mut tx = app.db.begin_write().await?;
    let live = session_store::live_ids(&mut tx, &person.user_id, clock::now()).await?;
    if !live.contains(&id) {
        return Err(Problem::not_found("session", &id));
    }
    session::end(&mut tx, &caller, &person.user_id, &id, Ended::Revoked).await?;
    tx.commit().await.doing("ending a session")?;
    Ok(StatusCode::NO_CONTENT)
}
