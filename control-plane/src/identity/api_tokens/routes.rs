//! `/auth/tokens` and `/auth/tokens/{token_id}`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::holder::Holder;
use super::make::{self, TokenCreate};
use super::store;
use super::view::{ApiToken, NewApiToken};
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

/// Makes a personal access token: it may do what you may, as far as its scopes go. It is shown once. Takes a sign-in, not a token.
#[utoipa::path(
    post, path = "/auth/tokens", tag = "auth", operation_id = "token_create",
    request_body = TokenCreate,
    responses((status = 201, body = NewApiToken)),
    extensions(("x-access" = json!("self"))),
)]
async fn token_create(State(app): State<App>, caller: Caller, fields: Fields) -> Result<Response, Problem> {
    let holder = Holder::signed_in(&caller)?;
    let mut tx = app.db.begin_write().await?;
    let token = make::make(&mut tx, &holder, fields).await?;
    tx.commit().await.doing("making a token")?;
    Ok(make::answer(token, "/auth/tokens"))
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
