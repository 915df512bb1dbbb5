//! `/auth/tokens` and `/auth/tokens/{token_id}`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::holder::Holder;
use super::make::{answer, make};
use super::store;
use super::view::{ApiToken, NewApiToken, Scope};
use crate::access::Caller;
use crate::app::App;
use crate::audit::{self, Change};
use crate::clock;
use crate::db::Doing;
use crate::http::Page;
use crate::http::body::Fields;
use crate::http::cursor;
use crate::http::problem::Problem;
use crate::http::query::Parameters;
use crate::identity::SignedIn;
use crate::identity::mfa::{Demand, PasskeyAnswerBody, Proof, confirm};

/// The kind of list in cursors.
const LIST: &str = "tokens";

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(token_list, token_create)).routes(routes!(token_revoke))
}

/// Your personal access tokens, those that were revoked included.
#[utoipa::path(
    get, path = "/auth/tokens", tag = "auth", operation_id = "token_list",
    params(("limit" = Option<u64>, Query, description = "Most entries of a page"), ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status = 200, body = Page<ApiToken>)),
    extensions(("x-access" = json!("self"))),
)]
async fn token_list(
    State(app): State<App>,
    caller: Caller,
    mut query: Parameters,
) -> Result<Json<Page<ApiToken>>, Problem> {
    let holder = Holder::person(&caller)?;
    let (limit, after) = (query.limit(), query.text("cursor"));
    query.finish()?;
    let after = after.map(|text| cursor::read(LIST, &text)).transpose()?.unwrap_or_default();
    let mut tx = app.db.begin_read().await?;
    let rows = store::token_list(&mut tx, &holder, &after, limit.saturating_add(1)).await?;
    Ok(Json(Page::of(rows, limit, |token| cursor::write(LIST, &token.id))))
}

/// A personal access token to be made, and what its maker shows if they did not sign in just now.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `token_create` reads")]
struct OwnTokenCreate {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// What the token is limited to.
    #[schema(min_items = 1, max_items = 32)]
    scopes: Vec<Scope>,
    /// After how many days the token ends.
    #[schema(minimum = 1, maximum = 366, default = 90)]
    expires_in_days: Option<i64>,
    #[schema(format = Password)]
    password: Option<String>,
    /// What the app shows.
    #[schema(example = "123456")]
    code: Option<String>,
    /// In place of a code, once.
    #[schema(example = "7QH2-0VXE-M3ZK-9FTA")]
    recovery_code: Option<String>,
    /// In place of a code; `POST /auth/passkeys/login/start` begins it.
    passkey: Option<PasskeyAnswerBody>,
}

/// Makes a personal access token: it may do what you may, as far as its scopes go. It is shown once. Takes a sign-in of the last ten minutes, or the password and a second factor, where there is one; no token makes tokens.
#[utoipa::path(
    post, path = "/auth/tokens", tag = "auth", operation_id = "token_create",
    request_body = OwnTokenCreate,
    responses((status = 201, body = NewApiToken)),
    extensions(("x-access" = json!("self"))),
)]
async fn token_create(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let holder = Holder::signed_in(&caller)?;
    // It outlives the session, and so must not be had with a stolen one.
    let proof = Proof::read(&mut fields);
    let mut tx = confirm(&app, &caller, &SignedIn::of(&caller)?, proof, Demand::Fresh).await?;
    let token = make(&mut tx, &holder, fields).await?;
    tx.commit().await.doing("making a token")?;
    Ok(answer(token, "/auth/tokens"))
}

/// Revokes a personal access token, at once. A token may revoke itself; every other one takes a sign-in.
#[utoipa::path(
    delete, path = "/auth/tokens/{token_id}", tag = "auth", operation_id = "token_revoke",
    params(("token_id" = String, Path, description = "`tok_..`")),
    responses((status = 204)),
    extensions(("x-access" = json!("self"))),
)]
async fn token_revoke(
    State(app): State<App>,
    caller: Caller,
    Path(token_id): Path<String>,
) -> Result<StatusCode, Problem> {
    let itself = caller.actor().token_id() == Some(token_id.as_str());
    let holder = if itself { Holder::person(&caller)? } else { Holder::signed_in(&caller)? };
    let mut tx = app.db.begin_write().await?;
    let found = store::token_find(&mut tx, &holder, &token_id).await?;
    let token = found.ok_or_else(|| Problem::not_found("token", &token_id))?;
    if token.revoked_at.is_none() {
        store::token_revoke(&mut tx, &holder, &token_id, clock::now()).await?;
        let change = Change::new(holder.chain(), "token.revoked", "token", &token_id).before(&token);
        audit::record(&mut tx, &caller, change).await?;
        tx.commit().await.doing("revoking a token")?;
    }
    Ok(StatusCode::NO_CONTENT)
}
