//! `/projects/{project_id}/upstream`: the Claude key that a project's virtual keys are exchanged for.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::{Access, Area, Caller, ProjectPermit};
use crate::app::App;
use crate::audit::{self, Chain, Change};
use crate::db::{Connection, Doing, StoreError, sql};
use crate::governance::commit;
use crate::http::body::Fields;
use crate::http::etag::{IfMatch, Tagged};
use crate::http::problem::Problem;
use crate::keys::SECRET_PREFIX;
use crate::stored::timestamp;
use crate::{clock, stored};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(upstream_view, upstream_set, upstream_delete))
}

/// Whether a project has its own Claude key. The key itself is never shown again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct Upstream {
    pub(crate) configured: bool,
    /// The key's last four characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) updated_at: Option<Timestamp>,
}

/// A Claude key.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `upstream_set` reads")]
struct UpstreamKey {
    /// The bare key, or an OAuth token. Not a MindWeave key.
    #[schema(min_length = 1, max_length = 4096, pattern = "^(?!mw_)[!-~]+$", write_only)]
    api_key: String,
}

/// Whether the project has a Claude key of its own.
#[utoipa::path(
    get, path = "/projects/{project_id}/upstream", tag = "projects", operation_id = "upstream_view",
    params(("project_id" = String, Path, description = "`prj_..`")),
    responses((status = 200, body = Upstream)),
    extensions(("x-access" = json!("upstream:read"))),
)]
async fn upstream_view(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Tagged<Upstream>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let permit = caller.project(&mut tx, &id, Access::read(Area::Upstream)).await?;
    Ok(Tagged(upstream_read(&mut tx, &permit).await?))
}

/// Sets or replaces the project's Claude key: sealed, and never readable again.
#[utoipa::path(
    put, path = "/projects/{project_id}/upstream", tag = "projects", operation_id = "upstream_set",
    params(("project_id" = String, Path, description = "`prj_..`")),
    request_body = UpstreamKey,
    responses((status = 200, body = Upstream)),
    extensions(("x-access" = json!("upstream:write"))),
)]
async fn upstream_set(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    if_match: IfMatch,
    mut fields: Fields,
) -> Result<Tagged<Upstream>, Problem> {
    let api_key = fields.required_secret("api_key");
    if api_key.expose_secret().starts_with(SECRET_PREFIX) {
        fields.refuse("api_key", "is a MindWeave key; give the project's own Claude API key");
    }
    let mut tx = app.db.begin_write().await?;
    let permit = caller.project(&mut tx, &id, Access::write(Area::Upstream)).await?;
    fields.finish()?;
    let before = upstream_read(&mut tx, &permit).await?;
    if_match.check(&before)?;
    let owner = upstream_owner(permit.project_id());
    let sealed = app.master_key.seal(&owner, &api_key).map_err(|error| Problem::internal(&error))?;
    let (hint, now) = (stored::hint(api_key.expose_secret()), clock::now());
    upstream_upsert(&mut tx, &permit, &sealed, &hint, now).await?;
    let upstream = Upstream { configured: true, hint: Some(hint), updated_at: Some(now) };
    let change = Change::new(Chain::Org(permit.org_id()), "upstream.set", "project", permit.project_id());
    let change = change.in_project(permit.project_id()).before(&before).after(&upstream);
    audit::record(&mut tx, &caller, change).await?;
    commit(&app, tx).await?;
    Ok(Tagged(upstream))
}

/// Forgets the project's Claude key, if it has one.
#[utoipa::path(
    delete, path = "/projects/{project_id}/upstream", tag = "projects", operation_id = "upstream_delete",
    params(("project_id" = String, Path, description = "`prj_..`")),
    responses((status = 204)),
    extensions(("x-access" = json!("upstream:write"))),
)]
async fn upstream_delete(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let mut tx = app.db.begin_write().await?;
    let permit = caller.project(&mut tx, &id, Access::write(Area::Upstream)).await?;
    let before = upstream_read(&mut tx, &permit).await?;
    if_match.check(&before)?;
    if !before.configured {
        return Ok(StatusCode::NO_CONTENT);
    }
    sql::query("DELETE FROM upstream_credentials WHERE project_id = ?")
        .bind(permit.project_id())
        .execute(&mut *tx)
        .await
        .doing("deleting an upstream key")?;
    let change = Change::new(Chain::Org(permit.org_id()), "upstream.deleted", "project", permit.project_id());
    audit::record(&mut tx, &caller, change.in_project(permit.project_id()).before(&before)).await?;
    commit(&app, tx).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a project's Claude key is sealed for: a row that is copied to another project does not open.
pub(crate) fn upstream_owner(project_id: &str) -> String {
    format!("upstream:{project_id}")
}

async fn upstream_read(tx: &mut Connection, permit: &ProjectPermit) -> Result<Upstream, StoreError> {
    let row: Option<(String, i64)> =
        sql::query_as("SELECT hint, updated_at FROM upstream_credentials WHERE project_id = ?")
            .bind(permit.project_id())
            .fetch_optional(tx)
            .await
            .doing("reading an upstream key's hint")?;
    let Some((hint, updated_at)) = row else { return Ok(Upstream::default()) };
    Ok(Upstream { configured: true, hint: Some(hint), updated_at: Some(timestamp(updated_at)?) })
}

async fn upstream_upsert(
    tx: &mut Connection,
    permit: &ProjectPermit,
    sealed: &[u8],
    hint: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sql::query(
        "INSERT INTO upstream_credentials (project_id, sealed, hint, updated_at) VALUES (?, ?, ?, ?)
         ON CONFLICT (project_id) DO UPDATE SET
             sealed = excluded.sealed, hint = excluded.hint, updated_at = excluded.updated_at",
    )
    .bind(permit.project_id())
    .bind(sealed)
    .bind(hint)
    .bind(now.as_microsecond())
    .execute(tx)
    .await
    .doing("storing an upstream key")
    .map(drop)
}
