//! `/projects/{project_id}/settings`.

use axum::extract::{Path, State};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::settings::{CredentialFormName, ShownSettings};
use super::store;
use crate::access::{Access, Area, Caller};
use crate::app::App;
use crate::audit::{self, Chain, Change};
use crate::clock;
use crate::governance::commit;
use crate::http::body::Fields;
use crate::http::etag::{IfMatch, Tagged};
use crate::http::problem::Problem;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(settings_view, settings_change))
}

/// What can be changed of a project's settings. What is not given stays, and `null` stands for the default.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `settings_change` reads")]
struct SettingsChange {
    /// The forms of credentials that requests may use; by default all. A client's own key beside a MindWeave key counts as well.
    #[schema(min_items = 1, max_items = 3)]
    client_credentials: Option<Vec<CredentialFormName>>,
    /// Names that a request's metadata must have: labels of its key, or pairs of its header `x-mindweave-metadata`. At most 128
    /// bytes each.
    #[schema(max_items = 16)]
    required_metadata: Option<Vec<String>>,
    retention: Option<RetentionChange>,
}

/// How long something of a project is kept.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `settings_change` reads")]
struct RetentionChange {
    /// Days that raw events are kept, where the installation keeps them for longer. Sums stay.
    #[schema(minimum = 1, maximum = 3650)]
    raw_days: Option<u32>,
}

/// What a project asks of its requests, and how long its raw events are kept.
#[utoipa::path(
    get, path = "/projects/{project_id}/settings", tag = "projects", operation_id = "project_settings_view",
    params(("project_id" = String, Path, description = "`prj_..`")),
    responses((status = 200, body = ShownSettings)),
    extensions(("x-access" = json!("projects:read"))),
)]
async fn settings_view(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Tagged<ShownSettings>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let permit = caller.project(&mut tx, &id, Access::read(Area::Projects)).await?;
    Ok(Tagged(store::settings_view(&mut tx, &permit).await?.shown()))
}

/// Changes them, in force in every proxy within a second.
#[utoipa::path(
    patch, path = "/projects/{project_id}/settings", tag = "projects", operation_id = "project_settings_change",
    params(("project_id" = String, Path, description = "`prj_..`")),
    request_body = SettingsChange,
    responses((status = 200, body = ShownSettings)),
    extensions(("x-access" = json!("projects:write"))),
)]
async fn settings_change(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    if_match: IfMatch,
    mut fields: Fields,
) -> Result<Tagged<ShownSettings>, Problem> {
    let mut tx = app.db.begin_write().await?;
    let permit = caller.project(&mut tx, &id, Access::write(Area::Projects)).await?;
    let before = store::settings_view(&mut tx, &permit).await?;
    if_match.check(&before.shown())?;
    let mut settings = before.clone();
    settings.change(&mut fields);
    fields.finish()?;
    let shown = settings.shown();
    if settings == before {
        return Ok(Tagged(shown));
    }
    store::settings_update(&mut tx, &permit, &settings, clock::now()).await?;
    let change =
        Change::new(Chain::Org(permit.org_id()), "project.settings_changed", "project", permit.project_id());
    let change = change.in_project(permit.project_id()).before(&before.shown()).after(&shown);
    audit::record(&mut tx, &caller, change).await?;
    commit(&app, tx).await?;
    Ok(Tagged(shown))
}
