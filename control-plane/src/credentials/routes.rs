//! `/projects/{id}/credentials` and `/projects/{id}/credentials/{credential_id}`.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use mindweave_policy::Fingerprint;

use super::store::{self, Credential};
use crate::app::App;
use crate::db::StoreError;
use crate::governance::commit;
use crate::http::Page;
use crate::http::body::Fields;
use crate::http::cursor;
use crate::http::problem::{Code, Problem};
use crate::http::query::Parameters;
use crate::keys::SECRET_PREFIX;
use crate::projects::project_exists;
use crate::{clock, entropy, stored};

/// The kind of list in cursors.
const LIST: &str = "credentials";
/// What a credential's id starts with.
const ID_PREFIX: &str = "cred_";
/// What a credential is called in messages.
const KIND: &str = "credential in this project";
/// The name of a credential whose owner gave none.
const UNNAMED: &str = "unnamed";

/// The routes of this module.
pub(crate) fn routes() -> Router<App> {
    Router::new().route("/projects/{id}/credentials", get(credential_list).post(credential_register)).route(
        "/projects/{id}/credentials/{credential_id}",
        get(credential_show).patch(credential_change).delete(credential_delete),
    )
}

async fn credential_register(
    State(app): State<App>,
    Path(project_id): Path<String>,
    fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    let (mut credential, fingerprint) = read_credential(fields)?;
    credential.id = new_id(credential.created_at)?;
    credential.project_id = project_id;
    let revision =
        store::credential_insert(&app.db, &credential, &fingerprint).await.map_err(insert_problem)?;
    let revision = revision.ok_or_else(|| Problem::not_found("project", &credential.project_id))?;
    app.publisher.publish_through(revision).await;
    let location = format!("/projects/{}/credentials/{}", credential.project_id, credential.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(credential)))
}

/// What the client says about a credential, and its fingerprint. The credential itself goes no further.
fn read_credential(mut fields: Fields) -> Result<(Credential, Fingerprint), Problem> {
    let api_key = fields.required_secret("api_key");
    if api_key.expose_secret().starts_with(SECRET_PREFIX) {
        fields.refuse("api_key", "is a MindWeave key, which belongs to its project already");
    }
    let credential = Credential {
        id: String::new(),
        project_id: String::new(),
        name: fields.text("name").unwrap_or_else(|| UNNAMED.to_owned()),
        hint: stored::hint(api_key.expose_secret()),
        team_id: fields.text("team_id"),
        user_id: fields.text("user_id"),
        roles: fields.roles("roles"),
        labels: fields.labels("labels"),
        created_at: clock::now(),
    };
    fields.finish()?;
    Ok((credential, Fingerprint::of(api_key.expose_secret().as_bytes())))
}

fn new_id(now: Timestamp) -> Result<String, Problem> {
    let random = entropy::bytes().map_err(|error| Problem::internal(&error))?;
    let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
    let id = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
    Ok(format!("{ID_PREFIX}{}", id.simple()))
}

fn insert_problem(error: StoreError) -> Problem {
    if error.is_unique_violation() {
        let detail = "api_key: this credential is registered to a project already; remove it there first";
        return Problem::new(Code::CredentialAlreadyRegistered, detail);
    }
    error.into()
}

async fn credential_show(
    State(app): State<App>,
    Path((project_id, id)): Path<(String, String)>,
) -> Result<Json<Credential>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let credential = store::credential_view(&mut tx, &project_id, &id).await?;
    credential.map(Json).ok_or_else(|| Problem::not_found(KIND, &id))
}

/// Changes whose a credential is and what it may do.
async fn credential_change(
    State(app): State<App>,
    Path((project_id, id)): Path<(String, String)>,
    fields: Fields,
) -> Result<Json<Credential>, Problem> {
    let mut tx = app.db.begin_write().await?;
    let before = store::credential_view(&mut tx, &project_id, &id).await?;
    let before = before.ok_or_else(|| Problem::not_found(KIND, &id))?;
    let credential = changed_credential(fields, &before)?;
    if credential == before {
        return Ok(Json(credential));
    }
    store::credential_update(&mut tx, &credential).await?;
    commit(&app, tx).await?;
    Ok(Json(credential))
}

/// What the client says about a credential that there is: what is not given stays, and `null` clears it.
fn changed_credential(mut fields: Fields, before: &Credential) -> Result<Credential, Problem> {
    let mut credential = before.clone();
    if fields.given("name") {
        credential.name = fields.text("name").unwrap_or_else(|| UNNAMED.to_owned());
    }
    if fields.given("team_id") {
        credential.team_id = fields.text("team_id");
    }
    if fields.given("user_id") {
        credential.user_id = fields.text("user_id");
    }
    if fields.given("roles") {
        credential.roles = fields.roles("roles");
    }
    if fields.given("labels") {
        credential.labels = fields.labels("labels");
    }
    fields.finish()?;
    Ok(credential)
}

async fn credential_list(
    State(app): State<App>,
    Path(project_id): Path<String>,
    mut query: Parameters,
) -> Result<Json<Page<Credential>>, Problem> {
    let (limit, after) = (query.limit(), query.text("cursor"));
    query.finish()?;
    if !project_exists(&app.db, &project_id).await? {
        return Err(Problem::not_found("project", &project_id));
    }
    let after = after.map(|text| cursor::read(LIST, &text)).transpose()?.unwrap_or_default();
    let rows = store::credential_list(&app.db, &project_id, &after, limit.saturating_add(1)).await?;
    Ok(Json(Page::of(rows, limit, |credential| cursor::write(LIST, &credential.id))))
}

async fn credential_delete(
    State(app): State<App>,
    Path((project_id, id)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let revision = store::credential_delete(&app.db, &project_id, &id).await?;
    let revision = revision.ok_or_else(|| Problem::not_found(KIND, &id))?;
    app.publisher.publish_through(revision).await;
    Ok(StatusCode::NO_CONTENT)
}
