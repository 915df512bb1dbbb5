//! `/projects/{project_id}/keys` and `/projects/{project_id}/keys/{key_id}`, but for the list and rotation.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, ETAG, LOCATION};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use mindweave_metering::KeyId;
use mindweave_policy::Fingerprint;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::change::{self, KeyChange, NewKey};
use super::store::{self, Key, ShownKey};
use super::{KIND, list, secret};
use crate::access::{Access, Area, Caller, ProjectPermit};
use crate::app::App;
use crate::audit::{self, Chain, Change};
use crate::db::Connection;
use crate::governance::commit;
use crate::http::body::Fields;
use crate::http::etag::{IfMatch, Tagged};
use crate::http::problem::{Code, Problem};
use crate::{clock, entropy, stored};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(key_create)).routes(routes!(key_view, key_change, key_revoke))
}

/// A key with its secret, which is shown this once.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct KeyWithSecret {
    #[serde(flatten)]
    pub(super) key: ShownKey,
    /// `mw_...`
    pub(super) secret: String,
}

/// The one key of the path.
pub(super) async fn key_found(
    tx: &mut Connection,
    permit: &ProjectPermit,
    key_id: &str,
    now: Timestamp,
) -> Result<ShownKey, Problem> {
    let key = store::key_view(tx, permit, key_id, now).await?;
    key.ok_or_else(|| Problem::not_found(KIND, key_id))
}

/// The refusal to change a key that is none any more.
pub(super) fn revoked() -> Problem {
    Problem::new(Code::KeyRevoked, "this key was revoked, for good; make a new one")
}

/// A change of a key, to be noted.
pub(super) fn noted<'a>(permit: &'a ProjectPermit, action: &'static str, key_id: &'a str) -> Change<'a> {
    Change::new(Chain::Org(permit.org_id()), action, "key", key_id).in_project(permit.project_id())
}

/// A key with the tag of what can be changed of it: a key that is in use must not refuse every change that was based on a minute ago.
fn tagged(shown: ShownKey) -> Response {
    let tag = Tagged(&shown.key).into_response().headers_mut().remove(ETAG);
    let mut response = Json(shown).into_response();
    if let Some(tag) = tag {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// Makes a key. Its secret is shown this once.
#[utoipa::path(
    post, path = "/projects/{project_id}/keys", tag = "keys", operation_id = "key_create",
    params(("project_id" = String, Path, description = "`prj_..`")),
    request_body = NewKey,
    responses((status = 201, body = KeyWithSecret)),
    extensions(("x-access" = json!("keys:write"))),
)]
async fn key_create(
    State(app): State<App>,
    caller: Caller,
    Path(project_id): Path<String>,
    mut fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    let now = clock::now();
    let secret = secret::generate().map_err(|error| Problem::internal(&error))?;
    let id = KeyId::generate(now, entropy::bytes().map_err(|error| Problem::internal(&error))?);
    let mut key = change::read_key(&mut fields, now);
    let mut tx = app.db.begin_write().await?;
    let permit = caller.project(&mut tx, &project_id, Access::write(Area::Keys)).await?;
    fields.finish()?;
    key.id = id.to_string();
    key.project_id = project_id;
    key.hint = stored::hint(secret.expose_secret());
    let fingerprint = Fingerprint::of(secret.expose_secret().as_bytes());
    store::key_insert(&mut tx, &permit, &key, &fingerprint).await?;
    audit::record(&mut tx, &caller, noted(&permit, "key.created", &key.id).after(&key)).await?;
    commit(&app, tx).await?;
    let location = format!("/projects/{}/keys/{}", key.project_id, key.id);
    let headers = [(CACHE_CONTROL, "no-store".to_owned()), (LOCATION, location)];
    let key = ShownKey { state: list::State::of(&key, now), key, last_used_at: None };
    let body = KeyWithSecret { key, secret: secret.expose_secret().to_owned() };
    Ok((StatusCode::CREATED, headers, Json(body)))
}

/// A key, without its secret.
#[utoipa::path(
    get, path = "/projects/{project_id}/keys/{key_id}", tag = "keys", operation_id = "key_view",
    params(
        ("project_id" = String, Path, description = "`prj_..`"),
        ("key_id" = String, Path, description = "`key_..`"),
    ),
    responses((status = 200, body = ShownKey)),
    extensions(("x-access" = json!("keys:read"))),
)]
async fn key_view(
    State(app): State<App>,
    caller: Caller,
    Path((project_id, key_id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let mut tx = app.db.begin_read().await?;
    let permit = caller.project(&mut tx, &project_id, Access::read(Area::Keys)).await?;
    Ok(tagged(key_found(&mut tx, &permit, &key_id, clock::now()).await?))
}

/// Changes whose a key is, what it may do, and whether it may do anything; its secret stays.
#[utoipa::path(
    patch, path = "/projects/{project_id}/keys/{key_id}", tag = "keys", operation_id = "key_change",
    params(
        ("project_id" = String, Path, description = "`prj_..`"),
        ("key_id" = String, Path, description = "`key_..`"),
    ),
    request_body = KeyChange,
    responses((status = 200, body = ShownKey)),
    extensions(("x-access" = json!("keys:write"))),
)]
async fn key_change(
    State(app): State<App>,
    caller: Caller,
    Path((project_id, key_id)): Path<(String, String)>,
    if_match: IfMatch,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let now = clock::now();
    let mut tx = app.db.begin_write().await?;
    let permit = caller.project(&mut tx, &project_id, Access::write(Area::Keys)).await?;
    let before = key_found(&mut tx, &permit, &key_id, now).await?;
    if_match.check(&before.key)?;
    let key = change::changed_key(&mut fields, &before.key, now);
    fields.finish()?;
    if before.key.revoked_at.is_some() {
        return Err(revoked());
    }
    if key == before.key {
        return Ok(tagged(before));
    }
    store::key_update(&mut tx, &permit, &key).await?;
    let action = match (before.key.disabled_at, key.disabled_at) {
        (None, Some(_)) => "key.disabled",
        (Some(_), None) => "key.enabled",
        _ => "key.updated",
    };
    let change = noted(&permit, action, &key.id).before(&before.key).after(&key);
    audit::record(&mut tx, &caller, change).await?;
    commit(&app, tx).await?;
    Ok(tagged(ShownKey { state: list::State::of(&key, now), key, ..before }))
}

/// Revokes a key for good: every proxy refuses it, and the secret before its last rotation, within a second.
#[utoipa::path(
    delete, path = "/projects/{project_id}/keys/{key_id}", tag = "keys", operation_id = "key_revoke",
    params(
        ("project_id" = String, Path, description = "`prj_..`"),
        ("key_id" = String, Path, description = "`key_..`"),
    ),
    responses((status = 204)),
    extensions(("x-access" = json!("keys:write"))),
)]
async fn key_revoke(
    State(app): State<App>,
    caller: Caller,
    Path((project_id, key_id)): Path<(String, String)>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let now = clock::now();
    let mut tx = app.db.begin_write().await?;
    let permit = caller.project(&mut tx, &project_id, Access::write(Area::Keys)).await?;
    let before = key_found(&mut tx, &permit, &key_id, now).await?.key;
    if_match.check(&before)?;
    if before.revoked_at.is_some() {
        return Ok(StatusCode::NO_CONTENT); // the time of the first revocation stays
    }
    let key = Key { revoked_at: Some(now), ..before.clone() };
    store::key_update(&mut tx, &permit, &key).await?;
    let change = noted(&permit, "key.revoked", &key.id).before(&before).after(&key);
    audit::record(&mut tx, &caller, change).await?;
    commit(&app, tx).await?;
    Ok(StatusCode::NO_CONTENT)
}
