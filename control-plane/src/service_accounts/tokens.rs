//! `/orgs/{org_id}/service-accounts/{service_account_id}/tokens` and the tokens below it.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::account;
use super::routes::find;
use crate::access::{Access, Area, Caller};
use crate::app::App;
use crate::audit::{self, Change};
use crate::clock;
use crate::db::Doing;
use crate::http::Page;
use crate::http::body::Fields;
use crate::http::cursor;
use crate::http::problem::Problem;
use crate::http::query::Parameters;
use crate::identity::api_tokens::{self, ApiToken, Holder, NewApiToken, TokenCreate};

/// The kind of list in cursors.
const LIST: &str = "service_account_tokens";

/// The routes of this module.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(service_account_token_list, service_account_token_create))
        .routes(routes!(service_account_token_revoke))
}

/// The tokens of a service account, those that were revoked included.
#[utoipa::path(
    get, path = "/orgs/{org_id}/service-accounts/{service_account_id}/tokens", tag = "service accounts",
    operation_id = "service_account_token_list",
    params(
        ("org_id" = String, Path, description = "`org_..`"),
        ("service_account_id" = String, Path, description = "`svc_..`"),
        ("limit" = Option<u64>, Query, description = "Most entries of a page"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, body = Page<ApiToken>)),
    extensions(("x-access" = json!("members:read"))),
)]
async fn service_account_token_list(
    State(app): State<App>,
    caller: Caller,
    Path((org_id, id)): Path<(String, String)>,
    mut query: Parameters,
) -> Result<Json<Page<ApiToken>>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let permit = caller.org(&mut tx, &org_id, Access::read(Area::Members)).await?;
    let account = find(&mut tx, &permit, &id).await?;
    let (limit, after) = (query.limit(), query.text("cursor"));
    query.finish()?;
    let after = after.map(|text| cursor::read(LIST, &text)).transpose()?.unwrap_or_default();
    let holder = Holder::service_account(&permit, &account);
    let rows = api_tokens::token_list(&mut tx, &holder, &after, limit.saturating_add(1)).await?;
    Ok(Json(Page::of(rows, limit, |token| cursor::write(LIST, &token.id))))
}

/// Makes a token of a service account, whose roles must be no more than yours. It is shown once.
#[utoipa::path(
    post, path = "/orgs/{org_id}/service-accounts/{service_account_id}/tokens", tag = "service accounts",
    operation_id = "service_account_token_create",
    params(
        ("org_id" = String, Path, description = "`org_..`"),
        ("service_account_id" = String, Path, description = "`svc_..`"),
    ),
    request_body = TokenCreate,
    responses((status = 201, body = NewApiToken)),
    extensions(("x-access" = json!("members:write"))),
)]
async fn service_account_token_create(
    State(app): State<App>,
    caller: Caller,
    Path((org_id, id)): Path<(String, String)>,
    fields: Fields,
) -> Result<Response, Problem> {
    let mut tx = app.db.begin_write().await?;
    let permit = caller.org(&mut tx, &org_id, Access::write(Area::Members)).await?;
    let account = find(&mut tx, &permit, &id).await?;
    account::cover(&mut tx, &permit, &account).await?;
    let token = api_tokens::make(&mut tx, &Holder::service_account(&permit, &account), fields).await?;
    tx.commit().await.doing("making a token of a service account")?;
    Ok(api_tokens::answer(token, &format!("/orgs/{org_id}/service-accounts/{id}/tokens")))
}

/// Revokes a token of a service account, at once, whatever roles it has: a leak must not wait for somebody more powerful.
#[utoipa::path(
    delete, path = "/orgs/{org_id}/service-accounts/{service_account_id}/tokens/{token_id}", tag = "service accounts",
    operation_id = "service_account_token_revoke",
    params(
        ("org_id" = String, Path, description = "`org_..`"),
        ("service_account_id" = String, Path, description = "`svc_..`"),
        ("token_id" = String, Path, description = "`tok_..`"),
    ),
    responses((status = 204)),
    extensions(("x-access" = json!("members:write"))),
)]
async fn service_account_token_revoke(
    State(app): State<App>,
    caller: Caller,
    Path((org_id, id, token_id)): Path<(String, String, String)>,
) -> Result<StatusCode, Problem> {
    let mut tx = app.db.begin_write().await?;
    let permit = caller.org(&mut tx, &org_id, Access::write(Area::Members)).await?;
    let account = find(&mut tx, &permit, &id).await?;
    let holder = Holder::service_account(&permit, &account);
    let found = api_tokens::token_find(&mut tx, &holder, &token_id).await?;
    let token = found.ok_or_else(|| Problem::not_found("token", &token_id))?;
    if token.revoked_at.is_none() {
        api_tokens::token_revoke(&mut tx, &holder, &token_id, clock::now()).await?;
        let change = Change::new(holder.chain(), "token.revoked", "token", &token_id).before(&token);
        audit::record(&mut tx, &caller, change).await?;
        tx.commit().await.doing("revoking a token of a service account")?;
    }
    Ok(StatusCode::NO_CONTENT)
}
