//! `/proxies/tokens` and `/proxies/tokens/{id}`.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, LOCATION};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Extension, Json, Router};
use jiff::Timestamp;
use mindweave_policy::Fingerprint;
use serde::Serialize;

use super::scope::Scope;
use super::secret;
use super::store::{self, Token};
use super::tokens::Tokens;
use crate::app::App;
use crate::db::Doing;
use crate::http::Page;
use crate::http::body::Fields;
use crate::http::cursor;
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
pub(crate) fn routes(tokens: Tokens) -> Router<App> {
    Router::new()
        .route("/proxies/tokens", get(token_list).post(token_create))
        .route("/proxies/tokens/{id}", get(token_show).delete(token_revoke))
        .layer(Extension(tokens))
}

/// A token with its secret: shown once, in the answer to its creation.
#[derive(Serialize)]
struct NewToken {
    #[serde(flatten)]
    token: Token,
    secret: String,
}

async fn token_create(
    State(app): State<App>,
    Extension(tokens): Extension<Tokens>,
    fields: Fields,
) -> Result<impl IntoResponse, Problem> {
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
    store::token_insert(&mut tx, &token, &fingerprint).await?;
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

async fn token_show(
    State(app): State<App>,
    Extension(tokens): Extension<Tokens>,
    Path(id): Path<String>,
) -> Result<Json<Token>, Problem> {
    let token = store::token_view(&app.db, &id).await?.ok_or_else(|| Problem::not_found(KIND, &id))?;
    Ok(Json(with_last_use(token, &tokens)))
}

async fn token_list(
    State(app): State<App>,
    Extension(tokens): Extension<Tokens>,
    mut query: Parameters,
) -> Result<Json<Page<Token>>, Problem> {
    let (limit, after) = (query.limit(), query.text("cursor"));
    query.finish()?;
    let after = after.map(|text| cursor::read(LIST, &text)).transpose()?.unwrap_or_default();
    let rows = store::token_list(&app.db, &after, limit.saturating_add(1)).await?;
    let rows = rows.into_iter().map(|token| with_last_use(token, &tokens)).collect();
    Ok(Json(Page::of(rows, limit, |token: &Token| cursor::write(LIST, &token.id))))
}

/// Uses are noted once a minute; those that this process knows of are newer.
fn with_last_use(mut token: Token, tokens: &Tokens) -> Token {
    token.last_used_at = token.last_used_at.max(tokens.last_use(&token.id));
    token
}

async fn token_revoke(
    State(app): State<App>,
    Extension(tokens): Extension<Tokens>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    if !store::token_revoke(&app.db, &id, clock::now()).await? {
        return Err(Problem::not_found(KIND, &id));
    }
    tokens.refresh().await;
    Ok(StatusCode::NO_CONTENT)
}
