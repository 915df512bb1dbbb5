//! `/projects/{project_id}/credentials` and `/projects/{project_id}/credentials/{credential_id}`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::change::{self, CredentialChange, NewCredential};
use super::store::{self, Credential, Filter};
use crate::access::{Access, Area, Caller, ProjectPermit};
use crate::app::App;
use crate::audit::{self, Chain, Change};
use crate::db::{Connection, StoreError};
use crate::governance::commit;
use crate::http::Page;
use crate::http::body::Fields;
use crate::http::etag::{IfMatch, Tagged};
use crate::http::problem::{Code, Problem};
use crate::http::query::Parameters;
use crate::http::sorting::SortField;

/// The kind of list in cursors.
const LIST: &str = "credentials";
/// What it can be sorted by.
const BY_ID: SortField = SortField { name: "id", column: "id", is_number: false };
const BY_NAME: SortField = SortField { name: "name", column: "name", is_number: false };
const BY_CREATION: SortField = SortField { name: "created_at", column: "created_at", is_number: true };
/// What a credential is called in messages.
const KIND: &str = "credential in this project";

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(credential_list, credential_register)).routes(routes!(
        credential_view,
        credential_change,
        credential_delete
    ))
}

/// A change of a credential, to be noted.
fn noted<'a>(permit: &'a ProjectPermit, action: &'static str, id: &'a str) -> Change<'a> {
    Change::new(Chain::Org(permit.org_id()), action, "credential", id).in_project(permit.project_id())
}

async fn credential_found(
    tx: &mut Connection,
    permit: &ProjectPermit,
    id: &str,
) -> Result<Credential, Problem> {
    let credential = store::credential_view(tx, permit, id).await?;
    credential.ok_or_else(|| Problem::not_found(KIND, id))
}

/// Books a client's own Claude key or login token to the project. Only its fingerprint is stored.
#[utoipa::path(
    post, path = "/projects/{project_id}/credentials", tag = "keys", operation_id = "credential_register",
    params(("project_id" = String, Path, description = "`prj_..`")),
    request_body = NewCredential,
    responses((status = 201, body = Credential)),
    extensions(("x-access" = json!("keys:write"))),
)]
async fn credential_register(
    State(app): State<App>,
    caller: Caller,
    Path(project_id): Path<String>,
    mut fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    let (mut credential, fingerprint) = change::read_credential(&mut fields);
    let mut tx = app.db.begin_write().await?;
    let permit = caller.project(&mut tx, &project_id, Access::write(Area::Keys)).await?;
    fields.finish()?;
    credential.id = change::new_id(credential.created_at)?;
    credential.project_id = project_id;
    let inserted = store::credential_insert(&mut tx, &permit, &credential, &fingerprint).await;
    inserted.map_err(insert_problem)?;
    let change = noted(&permit, "credential.registered", &credential.id).after(&credential);
    audit::record(&mut tx, &caller, change).await?;
    commit(&app, tx).await?;
    let location = format!("/projects/{}/credentials/{}", credential.project_id, credential.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(credential)))
}

fn insert_problem(error: StoreError) -> Problem {
    if error.is_unique_violation() {
        let detail = "api_key: this credential is registered to a project already; remove it there first";
        return Problem::new(Code::CredentialAlreadyRegistered, detail);
    }
    error.into()
}

/// A registered credential; not the credential itself.
#[utoipa::path(
    get, path = "/projects/{project_id}/credentials/{credential_id}", tag = "keys", operation_id = "credential_view",
    params(
        ("project_id" = String, Path, description = "`prj_..`"),
        ("credential_id" = String, Path, description = "`cred_..`"),
    ),
    responses((status = 200, body = Credential)),
    extensions(("x-access" = json!("keys:read"))),
)]
async fn credential_view(
    State(app): State<App>,
    caller: Caller,
    Path((project_id, id)): Path<(String, String)>,
) -> Result<Tagged<Credential>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let permit = caller.project(&mut tx, &project_id, Access::read(Area::Keys)).await?;
    Ok(Tagged(credential_found(&mut tx, &permit, &id).await?))
}

/// Changes whose a credential is and what it may do.
#[utoipa::path(
    patch, path = "/projects/{project_id}/credentials/{credential_id}", tag = "keys", operation_id = "credential_change",
    params(
        ("project_id" = String, Path, description = "`prj_..`"),
        ("credential_id" = String, Path, description = "`cred_..`"),
    ),
    request_body = CredentialChange,
    responses((status = 200, body = Credential)),
    extensions(("x-access" = json!("keys:write"))),
)]
async fn credential_change(
    State(app): State<App>,
    caller: Caller,
    Path((project_id, id)): Path<(String, String)>,
    if_match: IfMatch,
    mut fields: Fields,
) -> Result<Tagged<Credential>, Problem> {
    let mut tx = app.db.begin_write().await?;
    let permit = caller.project(&mut tx, &project_id, Access::write(Area::Keys)).await?;
    let before = credential_found(&mut tx, &permit, &id).await?;
    if_match.check(&before)?;
    let credential = change::changed_credential(&mut fields, &before);
    fields.finish()?;
    if credential == before {
        return Ok(Tagged(credential));
    }
    store::credential_update(&mut tx, &permit, &credential).await?;
    let change = noted(&permit, "credential.updated", &credential.id).before(&before).after(&credential);
    audit::record(&mut tx, &caller, change).await?;
    commit(&app, tx).await?;
    Ok(Tagged(credential))
}

/// The credentials that are registered to a project, oldest first unless sorted otherwise.
#[utoipa::path(
    get, path = "/projects/{project_id}/credentials", tag = "keys", operation_id = "credential_list",
    params(
        ("project_id" = String, Path, description = "`prj_..`"),
        ("team_id" = Option<String>, Query, description = "Only of this team"),
        ("user_id" = Option<String>, Query, description = "Only of this person"),
        ("sort" = Option<String>, Query, description = "`id`, `name` or `created_at`, with a minus before it for the reverse", pattern = "^(|-?(id|name|created_at))$"),
        ("limit" = Option<u64>, Query, description = "Most entries of a page", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, body = Page<Credential>)),
    extensions(("x-access" = json!("keys:read"))),
)]
async fn credential_list(
    State(app): State<App>,
    caller: Caller,
    Path(project_id): Path<String>,
    mut query: Parameters,
) -> Result<Json<Page<Credential>>, Problem> {
    let limit = query.limit();
    let filter = Filter { team_id: query.text("team_id"), user_id: query.text("user_id") };
    let sorting = query.sorting(LIST, BY_ID, [BY_NAME, BY_CREATION]);
    query.finish()?;
    let sorting = sorting?;
    let mut tx = app.db.begin_read().await?;
    let permit = caller.project(&mut tx, &project_id, Access::read(Area::Keys)).await?;
    let rows = store::credential_list(&mut tx, &permit, &filter, &sorting, limit.saturating_add(1)).await?;
    Ok(Json(Page::of(rows, limit, |last| {
        if sorting.is_by(BY_NAME) {
            sorting.cursor(&*last.name, &last.id)
        } else if sorting.is_by(BY_CREATION) {
            sorting.cursor(last.created_at.as_microsecond(), &last.id)
        } else {
            sorting.cursor(&*last.id, &last.id)
        }
    })))
}

/// Unregisters a credential, which may then be registered elsewhere.
#[utoipa::path(
    delete, path = "/projects/{project_id}/credentials/{credential_id}", tag = "keys", operation_id = "credential_delete",
    params(
        ("project_id" = String, Path, description = "`prj_..`"),
        ("credential_id" = String, Path, description = "`cred_..`"),
    ),
    responses((status = 204)),
    extensions(("x-access" = json!("keys:write"))),
)]
async fn credential_delete(
    State(app): State<App>,
    caller: Caller,
    Path((project_id, id)): Path<(String, String)>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let mut tx = app.db.begin_write().await?;
    let permit = caller.project(&mut tx, &project_id, Access::write(Area::Keys)).await?;
    let before = credential_found(&mut tx, &permit, &id).await?;
    if_match.check(&before)?;
    store::credential_delete(&mut tx, &permit, &before.id).await?;
    let change = noted(&permit, "credential.removed", &before.id).before(&before);
    audit::record(&mut tx, &caller, change).await?;
    commit(&app, tx).await?;
    Ok(StatusCode::NO_CONTENT)
}
