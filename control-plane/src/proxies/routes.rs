//! `/proxies/tokens` and `/proxies/tokens/{id}`.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, LOCATION};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use jiff::Timestamp;
use mindweave_policy::Fingerprint;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::scope::Scope;
use super::secret;
use super::store::{self, Token};
use super::tokens::Tokens;
use crate::access::{Access, Area, Caller};
use crate::app::App;
use crate::audit::{self, Chain, Change};
use crate::db::Doing;
use crate::http::Page;
use crate::http::body::Fields;
use crate::http::cursor;
use crate::http::etag::{IfMatch, Tagged};
use crate::http::problem::{Code, Problem};
use crate::http::query::Parameters;
use crate::{clock, entropy, stored};

/// The kind of list in cursors.
const LIST: &str = "proxy_tokens";
/// What a token is called in messages.
const KIND: &str = "proxy token";
/// Tokens that can be used at a time: one for each proxy of a large fleet, and its next one. All are read twice a second.
const MAX_TOKENS: i64 = 1_000;

/// The routes of this module.
pub(crate) fn routes(tokens: Tokens) -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(token_list, token_create))
        .routes(routes!(token_show, token_revoke))
        .layer(Extension(tokens))
}

/// To look at tokens of proxies: they belong to the installation, for a proxy serves every organisation.
const READ: Access = Access::read(Area::Installation);
/// To make and revoke them.
const WRITE: Access = Access::write(Area::Installation);

/// A new token of a proxy.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `read_token` reads")]
struct NewProxyToken {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// What it is for.
    #[schema(min_items = 1, max_items = 2)]
    scopes: Vec<Scope>,
    /// Only a proxy whose certificate is made out to this name may use it.
    #[schema(min_length = 1, max_length = 200)]
    certificate_name: Option<String>,
    /// In the future.
    expires_at: Option<Timestamp>,
}

/// A token with its secret: shown once, in the answer to its creation.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ProxyTokenWithSecret)]
struct NewToken {
    #[serde(flatten)]
    token: Token,
    secret: String,
}

/// Makes a token for proxies.
#[utoipa::path(
    post, path = "/proxies/tokens", tag = "proxies", operation_id = "proxy_token_create",
    request_body = NewProxyToken,
    responses((status = 201, body = NewToken, headers(("location" = String, description = "Where it is")))),
    extensions(("x-access" = json!("installation:write"))),
)]
async fn token_create(
    State(app): State<App>,
    Extension(tokens): Extension<Tokens>,
    caller: Caller,
    fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    let permit = caller.installation(WRITE)?;
    let now = clock::now();
    let mut token = read_token(fields, now)?;
    let secret = secret::generate().map_err(|error| Problem::internal(&error))?;
    token.id = new_id(now)?;
    token.hint = stored::hint(secret.expose_secret());
    let fingerprint = Fingerprint::of(secret.expose_secret().as_bytes());
    let mut tx = app.db.begin_write().await?;
    if store::token_count(&mut tx, now).await? >= MAX_TOKENS {
        let detail = format!("there are {MAX_TOKENS} proxy tokens that can be used; revoke some first");
        return Err(Problem::new(Code::TooMany, detail));
    }
    store::token_insert(&mut tx, &permit, &token, &fingerprint).await?;
    let change = Change::new(Chain::Installation, "proxy_token.created", "proxy_token", &token.id);
    audit::record(&mut tx, &caller, change.after(&token)).await?;
    tx.commit().await.doing("committing a proxy token")?;
    tokens.refresh().await;
    let location = format!("/proxies/tokens/{}", token.id);
    let headers = [(CACHE_CONTROL, "no-store".to_owned()), (LOCATION, location)];
    let body = NewToken { token, secret: secret.expose_secret().to_owned() };
    Ok((StatusCode::CREATED, headers, Json(body)))
}

/// What the client says about a token; the rest is filled in by the caller.
fn read_token(mut fields: Fields, now: Timestamp) -> Result<Token, Problem> {
    let token = Token {
        id: String::new(),
        name: fields.required_text("name"),
        hint: String::new(),
        scopes: scopes(&mut fields),
        certificate_name: fields.text("certificate_name"),
        created_at: now,
        expires_at: fields.time("expires_at"),
        revoked_at: None,
        last_used_at: None,
    };
    if token.expires_at.is_some_and(|at| at <= now) {
        fields.refuse("expires_at", "must lie in the future; leave it out for a token that does not expire");
    }
    fields.finish()?;
    Ok(token)
}

/// At least one scope, each one once.
fn scopes(fields: &mut Fields) -> Vec<Scope> {
    const NAME: &str = "scopes";
    let Some(texts) = fields.texts(NAME, Scope::ALL.len()) else {
        fields.require_if_absent(NAME);
        return Vec::new();
    };
    let read: Option<Vec<Scope>> = texts.iter().map(|text| Scope::named(text)).collect();
    let mut read = read.unwrap_or_default();
    read.sort_unstable();
    read.dedup();
    if read.is_empty() {
        fields.refuse(NAME, "must be a list with one or both of: watch, deliver");
    }
    read
}

fn new_id(now: Timestamp) -> Result<String, Problem> {
    let millis = u64::try_from(now.as_millisecond()).unwrap_or_default();
    let random = entropy::bytes::<10>().map_err(|error| Problem::internal(&error))?;
    let id = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
    Ok(format!("ptk_{}", id.simple()))
}

/// A token of proxies, also one that was revoked.
#[utoipa::path(
    get, path = "/proxies/tokens/{proxy_token_id}", tag = "proxies", operation_id = "proxy_token_view",
    params(("proxy_token_id" = String, Path, description = "`ptk_..`")),
    responses((status = 200, body = Token)),
    extensions(("x-access" = json!("installation:read"))),
)]
async fn token_show(
    State(app): State<App>,
    Extension(tokens): Extension<Tokens>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Tagged<Token>, Problem> {
    let permit = caller.installation(READ)?;
    let mut tx = app.db.begin_read().await?;
    let token = store::token_view(&mut tx, &permit, &id).await?;
    Ok(Tagged(with_last_use(token.ok_or_else(|| Problem::not_found(KIND, &id))?, &tokens)))
}

/// Tokens of proxies, oldest first, those that were revoked included.
#[utoipa::path(
    get, path = "/proxies/tokens", tag = "proxies", operation_id = "proxy_token_list",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1_000, description = "Most entries of a page"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, body = Page<Token>)),
    extensions(("x-access" = json!("installation:read"))),
)]
async fn token_list(
    State(app): State<App>,
    Extension(tokens): Extension<Tokens>,
    caller: Caller,
    mut query: Parameters,
) -> Result<Json<Page<Token>>, Problem> {
    let (limit, after) = (query.limit(), query.text("cursor"));
    query.finish()?;
    let permit = caller.installation(READ)?;
    let after = after.map(|text| cursor::read(LIST, &text)).transpose()?.unwrap_or_default();
    let rows = store::token_list(&app.db, &permit, &after, limit.saturating_add(1)).await?;
    let rows = rows.into_iter().map(|token| with_last_use(token, &tokens)).collect();
    Ok(Json(Page::of(rows, limit, |token: &Token| cursor::write(LIST, &token.id))))
}

/// Uses are noted once a minute; those that this process knows of are newer.
fn with_last_use(mut token: Token, tokens: &Tokens) -> Token {
    token.last_used_at = token.last_used_at.max(tokens.last_use(&token.id));
    token
}

/// Revokes a token of proxies: within a second no proxy can use it.
#[utoipa::path(
    delete, path = "/proxies/tokens/{proxy_token_id}", tag = "proxies", operation_id = "proxy_token_revoke",
    params(("proxy_token_id" = String, Path, description = "`ptk_..`")),
    responses((status = 204, description = "It can be used no more")),
    extensions(("x-access" = json!("installation:write"))),
)]
async fn token_revoke(
    State(app): State<App>,
    Extension(tokens): Extension<Tokens>,
    caller: Caller,
    Path(id): Path<String>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let permit = caller.installation(WRITE)?;
    let mut tx = app.db.begin_write().await?;
    let before = store::token_view(&mut tx, &permit, &id).await?;
    let before = before.ok_or_else(|| Problem::not_found(KIND, &id))?;
    if_match.check(&with_last_use(before.clone(), &tokens))?;
    if before.revoked_at.is_none() {
        let now = clock::now();
        store::token_revoke(&mut tx, &permit, &id, now).await?;
        let after = Token { revoked_at: Some(now), ..before.clone() };
        let change = Change::new(Chain::Installation, "proxy_token.revoked", "proxy_token", &id);
        audit::record(&mut tx, &caller, change.before(&before).after(&after)).await?;
        tx.commit().await.doing("committing the revocation of a proxy token")?;
    }
    tokens.refresh().await;
    Ok(StatusCode::NO_CONTENT)
}
