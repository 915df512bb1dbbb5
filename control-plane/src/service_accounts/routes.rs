//! `/orgs/{org_id}/service-accounts` and `/orgs/{org_id}/service-accounts/{service_account_id}`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::account::{self, ServiceAccount};
use super::{store, tokens};
use crate::access::{Access, Area, Caller, OrgPermit, Place, ROLES, Role};
use crate::app::App;
use crate::audit::{self, Chain, Change};
use crate::clock;
use crate::db::{Connection, Doing};
use crate::http::Page;
use crate::http::body::Fields;
use crate::http::cursor;
use crate::http::etag::{IfMatch, Tagged};
use crate::http::problem::{Code, Problem};
use crate::http::query::Parameters;
use crate::identity::api_tokens::{self, Holder};
use crate::members::{self, MANUAL, Source, bindings_of, role_bind, role_unbind};

/// The kind of list in cursors.
const LIST: &str = "service_accounts";
/// What ids of service accounts start with.
const ID_PREFIX: &str = "svc_";
/// Most service accounts of an organisation: a bound for whoever makes them in a loop.
const MAX_ACCOUNTS: i64 = 1_000;

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(service_account_list, service_account_create))
        .routes(routes!(service_account_view, service_account_change, service_account_delete))
        .merge(tokens::routes())
}

/// The service accounts of an organisation.
#[utoipa::path(
    get, path = "/orgs/{org_id}/service-accounts", tag = "service accounts", operation_id = "service_account_list",
    params(
        ("org_id" = String, Path, description = "`org_..`"),
        ("limit" = Option<u64>, Query, description = "Most entries of a page"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, body = Page<ServiceAccount>)),
    extensions(("x-access" = json!("members:read"))),
)]
async fn service_account_list(
    State(app): State<App>,
    caller: Caller,
    Path(org_id): Path<String>,
    mut query: Parameters,
) -> Result<Json<Page<ServiceAccount>>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let permit = caller.org(&mut tx, &org_id, Access::read(Area::Members)).await?;
    let (limit, after) = (query.limit(), query.text("cursor"));
    query.finish()?;
    let after = after.map(|text| cursor::read(LIST, &text)).transpose()?.unwrap_or_default();
    let rows = store::account_list(&mut tx, &permit, &after, limit.saturating_add(1)).await?;
    Ok(Json(Page::of(rows, limit, |account| cursor::write(LIST, &account.id))))
}

/// A service account to be made.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `service_account_create` reads")]
struct ServiceAccountCreate {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// Its role in the organisation as a whole; none: it gets its roles as a member of teams and projects.
    role: Option<Role>,
}

/// Makes a service account, with a role that is no more than yours.
#[utoipa::path(
    post, path = "/orgs/{org_id}/service-accounts", tag = "service accounts", operation_id = "service_account_create",
    params(("org_id" = String, Path, description = "`org_..`")),
    request_body = ServiceAccountCreate,
    responses((status = 201, body = ServiceAccount)),
    extensions(("x-access" = json!("members:write"))),
)]
async fn service_account_create(
    State(app): State<App>,
    caller: Caller,
    Path(org_id): Path<String>,
    mut fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    let mut tx = app.db.begin_write().await?;
    let permit = caller.org(&mut tx, &org_id, Access::write(Area::Members)).await?;
    let name = fields.required_text("name");
    let role = fields.choice("role", &ROLES.map(|role| (role.as_str(), role)));
    fields.finish()?;
    if store::account_count(&mut tx, &permit).await? >= MAX_ACCOUNTS {
        let detail =
            format!("an organisation may have at most {MAX_ACCOUNTS} service accounts; delete one first");
        return Err(Problem::new(Code::TooMany, detail));
    }
    let now = clock::now();
    let id = members::id_generate(ID_PREFIX, now).map_err(|error| Problem::internal(&error))?;
    let account =
        ServiceAccount { id, org_id, name, role, created_at: now, updated_at: now, disabled_at: None };
    store::account_insert(&mut tx, &permit, &account).await?;
    let change = change(&permit, "service_account.created", &account.id);
    audit::record(&mut tx, &caller, change.after(&account)).await?;
    if let Some(role) = role {
        role_bind(&mut tx, &permit, &account.id, &Place::Org, role, Source::Manual).await?;
    }
    tx.commit().await.doing("making a service account")?;
    let location = format!("/orgs/{}/service-accounts/{}", permit.org_id(), account.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Tagged(account)))
}

/// A service account.
#[utoipa::path(
    get, path = "/orgs/{org_id}/service-accounts/{service_account_id}", tag = "service accounts",
    operation_id = "service_account_view",
    params(
        ("org_id" = String, Path, description = "`org_..`"),
        ("service_account_id" = String, Path, description = "`svc_..`"),
    ),
    responses((status = 200, body = ServiceAccount)),
    extensions(("x-access" = json!("members:read"))),
)]
async fn service_account_view(
    State(app): State<App>,
    caller: Caller,
    Path((org_id, id)): Path<(String, String)>,
) -> Result<Tagged<ServiceAccount>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let permit = caller.org(&mut tx, &org_id, Access::read(Area::Members)).await?;
    find(&mut tx, &permit, &id).await.map(Tagged)
}

/// What can be changed of a service account. What is not given stays.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `service_account_change` reads")]
struct ServiceAccountChange {
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    /// Whether its tokens are refused. Enabling it takes a role that is no less than each of its own.
    disabled: Option<bool>,
}

/// Renames, disables or enables a service account. Its roles are changed as those of a member.
#[utoipa::path(
    patch, path = "/orgs/{org_id}/service-accounts/{service_account_id}", tag = "service accounts",
    operation_id = "service_account_change",
    params(
        ("org_id" = String, Path, description = "`org_..`"),
        ("service_account_id" = String, Path, description = "`svc_..`"),
    ),
    request_body = ServiceAccountChange,
    responses((status = 200, body = ServiceAccount)),
    extensions(("x-access" = json!("members:write"))),
)]
async fn service_account_change(
    State(app): State<App>,
    caller: Caller,
    Path((org_id, id)): Path<(String, String)>,
    if_match: IfMatch,
    mut fields: Fields,
) -> Result<Tagged<ServiceAccount>, Problem> {
    let mut tx = app.db.begin_write().await?;
    let permit = caller.org(&mut tx, &org_id, Access::write(Area::Members)).await?;
    let before = find(&mut tx, &permit, &id).await?;
    if_match.check(&before)?;
    let (now, mut account) = (clock::now(), before.clone());
    if let Some(name) = fields.text("name") {
        account.name = name;
    }
    match fields.any("disabled") {
        Some(Value::Bool(true)) => account.disabled_at = account.disabled_at.or(Some(now)),
        Some(Value::Bool(false)) => account.disabled_at = None,
        Some(_) => fields.refuse("disabled", "must be true or false"),
        None => {}
    }
    fields.finish()?;
    if account == before {
        return Ok(Tagged(account));
    }
    let action = match (before.disabled_at, account.disabled_at) {
        (None, Some(_)) => "service_account.disabled",
        (Some(_), None) => {
            account::cover(&mut tx, &permit, &before).await?;
            "service_account.enabled"
        }
        _ => "service_account.updated",
    };
    account.updated_at = now;
    store::account_update(&mut tx, &permit, &account).await?;
    let change = change(&permit, action, &account.id).before(&before).after(&account);
    audit::record(&mut tx, &caller, change).await?;
    tx.commit().await.doing("changing a service account")?;
    Ok(Tagged(account))
}

/// Deletes a service account for good. Its tokens are refused at once, and its roles are taken, which must be no more than yours.
#[utoipa::path(
    delete, path = "/orgs/{org_id}/service-accounts/{service_account_id}", tag = "service accounts",
    operation_id = "service_account_delete",
    params(
        ("org_id" = String, Path, description = "`org_..`"),
        ("service_account_id" = String, Path, description = "`svc_..`"),
    ),
    responses((status = 204)),
    extensions(("x-access" = json!("members:write"))),
)]
async fn service_account_delete(
    State(app): State<App>,
    caller: Caller,
    Path((org_id, id)): Path<(String, String)>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let mut tx = app.db.begin_write().await?;
    let permit = caller.org(&mut tx, &org_id, Access::write(Area::Members)).await?;
    let before = find(&mut tx, &permit, &id).await?;
    if_match.check(&before)?;
    let now = clock::now();
    for binding in bindings_of(&mut tx, permit.org_id(), &id).await? {
        let source = if binding.source == MANUAL { Source::Manual } else { Source::SignOn(&binding.source) };
        role_unbind(&mut tx, &permit, &id, &binding.place, source).await?;
    }
    api_tokens::tokens_revoke_all(&mut tx, &Holder::service_account(&permit, &before), now).await?;
    store::account_delete(&mut tx, &permit, &id, now).await?;
    let change = change(&permit, "service_account.deleted", &id).before(&before);
    audit::record(&mut tx, &caller, change).await?;
    tx.commit().await.doing("deleting a service account")?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn find(
    tx: &mut Connection,
    permit: &OrgPermit,
    id: &str,
) -> Result<ServiceAccount, Problem> {
    let found = store::account_find(tx, permit, id).await?;
    found.ok_or_else(|| Problem::not_found("service account", id))
}

fn change<'a>(permit: &'a OrgPermit, action: &'static str, id: &'a str) -> Change<'a> {
    Change::new(Chain::Org(permit.org_id()), action, "service_account", id)
}
