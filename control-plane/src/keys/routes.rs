//! `/projects/{id}/keys` and `/projects/{id}/keys/{key_id}`.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, LOCATION};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use mindweave_metering::KeyId;
use mindweave_policy::Fingerprint;
use serde::Serialize;

use super::secret;
use super::store::{self, Key};
use crate::app::App;
use crate::governance::commit;
use crate::http::Page;
use crate::http::body::Fields;
use crate::http::cursor;
use crate::http::problem::{Code, Problem};
use crate::http::query::Parameters;
use crate::projects::project_exists;
use crate::{clock, entropy, stored};

/// The kind of list in cursors.
const LIST: &str = "keys";
/// What a key is called in messages.
const KIND: &str = "key in this project";

/// The routes of this module.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/projects/{id}/keys", get(key_list).post(key_create))
        .route("/projects/{id}/keys/{key_id}", get(key_show).patch(key_change).delete(key_revoke))
}

/// A key with its secret: shown once, in the answer to its creation.
#[derive(Serialize)]
struct NewKey {
    #[serde(flatten)]
    key: Key,
    secret: String,
}

async fn key_create(
    State(app): State<App>,
    Path(project_id): Path<String>,
    fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    let now = clock::now();
    let secret = secret::generate().map_err(|error| Problem::internal(&error))?;
    let id = KeyId::generate(now, entropy::bytes().map_err(|error| Problem::internal(&error))?);
    let mut key = read_key(fields)?;
    key.id = id.to_string();
    key.project_id = project_id;
    key.hint = stored::hint(secret.expose_secret());
    key.created_at = now;
    let fingerprint = Fingerprint::of(secret.expose_secret().as_bytes());
    let revision = store::key_insert(&app.db, &key, &fingerprint).await?;
    let revision = revision.ok_or_else(|| Problem::not_found("project", &key.project_id))?;
    app.publisher.publish_through(revision).await;
    let location = format!("/projects/{}/keys/{}", key.project_id, key.id);
    let headers = [(CACHE_CONTROL, "no-store".to_owned()), (LOCATION, location)];
    let body = NewKey { key, secret: secret.expose_secret().to_owned() };
    Ok((StatusCode::CREATED, headers, Json(body)))
}

/// What the client says about a key; the rest is filled in by the caller.
fn read_key(mut fields: Fields) -> Result<Key, Problem> {
    let key = Key {
        id: String::new(),
        project_id: String::new(),
        name: fields.required_text("name"),
        hint: String::new(),
        team_id: fields.text("team_id"),
        user_id: fields.text("user_id"),
        roles: fields.roles("roles"),
        labels: fields.labels("labels"),
        created_at: clock::now(),
        expires_at: fields.time("expires_at"),
        revoked_at: None,
    };
    check_expiry(&mut fields, key.expires_at, key.created_at);
    fields.finish()?;
    Ok(key)
}

fn check_expiry(fields: &mut Fields, expires_at: Option<Timestamp>, now: Timestamp) {
    if expires_at.is_some_and(|at| at <= now) {
        fields.refuse("expires_at", "must lie in the future; leave it out for a key that does not expire");
    }
}

async fn key_show(
    State(app): State<App>,
    Path((project_id, key_id)): Path<(String, String)>,
) -> Result<Json<Key>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let key = store::key_view(&mut tx, &project_id, &key_id).await?;
    key.map(Json).ok_or_else(|| Problem::not_found(KIND, &key_id))
}

/// Changes whose a key is and what it may do; its secret stays.
async fn key_change(
    State(app): State<App>,
    Path((project_id, key_id)): Path<(String, String)>,
    fields: Fields,
) -> Result<Json<Key>, Problem> {
    let mut tx = app.db.begin_write().await?;
    let before = store::key_view(&mut tx, &project_id, &key_id).await?;
    let before = before.ok_or_else(|| Problem::not_found(KIND, &key_id))?;
    let key = changed_key(fields, &before, clock::now())?;
    if before.revoked_at.is_some() {
        return Err(Problem::new(Code::KeyRevoked, "this key was revoked, for good; make a new one"));
    }
    if key == before {
        return Ok(Json(key));
    }
    store::key_update(&mut tx, &key).await?;
    commit(&app, tx).await?;
    Ok(Json(key))
}

/// What the client says about a key that there is: what is not given stays, and `null` clears what is optional.
fn changed_key(mut fields: Fields, before: &Key, now: Timestamp) -> Result<Key, Problem> {
    let mut key = before.clone();
    if fields.given("name") {
        key.name = fields.required_text("name");
    }
    if fields.given("team_id") {
        key.team_id = fields.text("team_id");
    }
    if fields.given("user_id") {
        key.user_id = fields.text("user_id");
    }
    if fields.given("roles") {
        key.roles = fields.roles("roles");
    }
    if fields.given("labels") {
        key.labels = fields.labels("labels");
    }
    if fields.given("expires_at") {
        key.expires_at = fields.time("expires_at");
        check_expiry(&mut fields, key.expires_at, now);
    }
    fields.finish()?;
    Ok(key)
}

async fn key_list(
    State(app): State<App>,
    Path(project_id): Path<String>,
    mut query: Parameters,
) -> Result<Json<Page<Key>>, Problem> {
    let (limit, after) = (query.limit(), query.text("cursor"));
    query.finish()?;
    if !project_exists(&app.db, &project_id).await? {
        return Err(Problem::not_found("project", &project_id));
    }
    let after = after.map(|text| cursor::read(LIST, &text)).transpose()?.unwrap_or_default();
    let rows = store::key_list(&app.db, &project_id, &after, limit.saturating_add(1)).await?;
    Ok(Json(Page::of(rows, limit, |key| cursor::write(LIST, &key.id))))
}

async fn key_revoke(
    State(app): State<App>,
    Path((project_id, key_id)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let revision = store::key_revoke(&app.db, &project_id, &key_id, clock::now()).await?;
    let revision = revision.ok_or_else(|| Problem::not_found(KIND, &key_id))?;
    app.publisher.publish_through(revision).await;
    Ok(StatusCode::NO_CONTENT)
}
