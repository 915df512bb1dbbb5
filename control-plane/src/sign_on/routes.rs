//! `/orgs/{org_id}/sign-on` and `/orgs/{org_id}/sign-on/{provider}`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use mindweave_identity::oidc::Issuer;
use mindweave_policy::Secret;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::person_store::is_last_owner_by;
use super::provider::{MappedRole, Provider, Provisioning, Settings};
use super::read::{SecretChange, read_id, read_provider};
use super::store::{self, Stored};
use crate::access::{Access, Area, Caller, OrgPermit, Place, Role};
use crate::app::App;
use crate::audit::{self, Chain, Change};
use crate::clock;
use crate::db::{Connection, Doing, StoreError};
use crate::http::Page;
use crate::http::body::Fields;
use crate::http::cursor;
use crate::http::etag::{IfMatch, Tagged};
use crate::http::problem::{Code, Problem};
use crate::http::query::Parameters;
use crate::identity::session::{self, Ended};
use crate::members::roles_from_sign_on;
use crate::secrets::sign_on_owner;

/// The kind of list in cursors.
const LIST: &str = "sign_on";
/// What a provider is called in messages and the audit log.
const KIND: &str = "sign_on";
/// Most providers of an organisation: it has one, and a second one while it moves.
const MAX_PROVIDERS: i64 = 20;

/// The routes of this module that want a token.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(sign_on_list, sign_on_create))
        .routes(routes!(sign_on_view, sign_on_change, sign_on_delete))
        .routes(routes!(super::flow_routes::sign_on_link))
}

/// The sign-on providers of an organisation.
#[utoipa::path(
    get, path = "/orgs/{org_id}/sign-on", tag = "sign-on", operation_id = "sign_on_list",
    params(
        ("org_id" = String, Path, description = "`org_..`"),
        ("limit" = Option<u64>, Query, description = "Most entries of a page"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, body = Page<Provider>)),
    extensions(("x-access" = json!("sign_on:read"))),
)]
async fn sign_on_list(
    State(app): State<App>,
    caller: Caller,
    Path(org_id): Path<String>,
    mut query: Parameters,
) -> Result<Json<Page<Provider>>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let permit = caller.org(&mut tx, &org_id, Access::read(Area::SignOn)).await?;
    let (limit, after) = (query.limit(), query.text("cursor"));
    query.finish()?;
    let after = after.map(|text| cursor::read(LIST, &text)).transpose()?.unwrap_or_default();
    let rows = store::provider_list(&mut tx, &permit, &after, limit.saturating_add(1)).await?;
    Ok(Json(Page::of(rows, limit, |provider| cursor::write(LIST, &provider.id))))
}

/// A provider of OpenID Connect to sign on by.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `sign_on_create` reads")]
struct SignOnCreate {
    /// Unique in the installation: people's browsers go to `/auth/oauth/{id}`.
    #[schema(min_length = 1, max_length = 40, pattern = "^[a-z][a-z0-9-]*$", example = "okta")]
    id: String,
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// Exactly as the provider writes it itself, for example `https://accounts.google.com`.
    #[schema(min_length = 1, max_length = 200, format = "uri", example = "https://example.okta.com")]
    issuer: String,
    #[schema(min_length = 1, max_length = 200)]
    client_id: String,
    /// Never shown again. Not for public clients.
    #[schema(min_length = 1, max_length = 4096, pattern = "^[!-~]+$")]
    client_secret: Option<String>,
    #[schema(max_items = 20)]
    scopes: Option<Vec<String>>,
    #[schema(min_length = 1, max_length = 200, example = "groups")]
    groups_claim: Option<String>,
    #[schema(max_items = 500)]
    role_mapping: Option<Vec<MappedRole>>,
    default_role: Option<Role>,
    #[schema(max_items = 100)]
    domains: Option<Vec<String>>,
    provisioning: Option<Provisioning>,
    #[schema(required = false)]
    enabled: bool,
}

/// Makes a sign-on provider, after a look whether it can be used.
#[utoipa::path(
    post, path = "/orgs/{org_id}/sign-on", tag = "sign-on", operation_id = "sign_on_create",
    params(("org_id" = String, Path, description = "`org_..`")),
    request_body = SignOnCreate,
    responses((status = 201, body = Provider)),
    extensions(("x-access" = json!("sign_on:write"))),
)]
async fn sign_on_create(
    State(app): State<App>,
    caller: Caller,
    Path(org_id): Path<String>,
    mut fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    // Whoever may not must not have MindWeave call anybody; nothing is locked while it does.
    let mut tx = app.db.begin_read().await?;
    caller.org(&mut tx, &org_id, Access::write(Area::SignOn)).await?;
    drop(tx);
    let now = clock::now();
    let mut provider = Provider {
        id: read_id(&mut fields),
        org_id: org_id.clone(),
        name: String::new(),
        issuer: String::new(),
        client_id: String::new(),
        has_client_secret: false,
        settings: Settings::usual(),
        enabled: true,
        created_at: now,
        updated_at: now,
    };
    let secret = match read_provider(&mut fields, &mut provider, true) {
        SecretChange::Becomes(secret) => Some(secret),
        SecretChange::Stays | SecretChange::Goes => None,
    };
    fields.finish()?;
    provider.has_client_secret = secret.is_some();
    look(&app, &provider, secret.clone()).await?;
    let sealed = secret.map(|secret| seal(&app, &provider.id, &secret)).transpose()?;
    let mut tx = app.db.begin_write().await?;
    let permit = caller.org(&mut tx, &org_id, Access::write(Area::SignOn)).await?;
    check(&mut tx, &permit, &provider, None).await?;
    if store::provider_count(&mut tx, &permit).await? >= MAX_PROVIDERS {
        let detail =
            format!("an organisation may have at most {MAX_PROVIDERS} sign-on providers; delete one first");
        return Err(Problem::new(Code::TooMany, detail));
    }
    let stored = Stored { provider, sealed };
    store::provider_insert(&mut tx, &permit, &stored).await.map_err(id_taken)?;
    let provider = stored.provider;
    let change = Change::new(Chain::Org(permit.org_id()), "sign_on.created", KIND, &provider.id);
    audit::record(&mut tx, &caller, change.after(&provider)).await?;
    tx.commit().await.doing("making a sign-on provider")?;
    let location = format!("/orgs/{org_id}/sign-on/{}", provider.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Tagged(provider)))
}

/// A sign-on provider.
#[utoipa::path(
    get, path = "/orgs/{org_id}/sign-on/{provider}", tag = "sign-on", operation_id = "sign_on_view",
    params(("org_id" = String, Path, description = "`org_..`"), ("provider" = String, Path, description = "Its id")),
    responses((status = 200, body = Provider)),
    extensions(("x-access" = json!("sign_on:read"))),
)]
async fn sign_on_view(
    State(app): State<App>,
    caller: Caller,
    Path((org_id, id)): Path<(String, String)>,
) -> Result<Tagged<Provider>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let permit = caller.org(&mut tx, &org_id, Access::read(Area::SignOn)).await?;
    Ok(Tagged(found(&mut tx, &permit, &id).await?.provider))
}

/// What can be changed of a sign-on provider. What is not given stays.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `sign_on_change` reads")]
struct SignOnChange {
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    /// With another issuer, `client_secret` has to be given again.
    #[schema(min_length = 1, max_length = 200, format = "uri")]
    issuer: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    client_id: Option<String>,
    /// `null` takes it away.
    #[schema(min_length = 1, max_length = 4096, pattern = "^[!-~]+$")]
    client_secret: Option<String>,
    #[schema(max_items = 20)]
    scopes: Option<Vec<String>>,
    #[schema(min_length = 1, max_length = 200)]
    groups_claim: Option<String>,
    #[schema(max_items = 500)]
    role_mapping: Option<Vec<MappedRole>>,
    default_role: Option<Role>,
    #[schema(max_items = 100)]
    domains: Option<Vec<String>>,
    provisioning: Option<Provisioning>,
    /// When it becomes `false`, the sessions that the provider began are ended.
    #[schema(required = false)]
    enabled: bool,
}

/// Changes a sign-on provider, after a look whether it can be used.
#[utoipa::path(
    patch, path = "/orgs/{org_id}/sign-on/{provider}", tag = "sign-on", operation_id = "sign_on_change",
    params(("org_id" = String, Path, description = "`org_..`"), ("provider" = String, Path, description = "Its id")),
    request_body = SignOnChange,
    responses((status = 200, body = Provider)),
    extensions(("x-access" = json!("sign_on:write"))),
)]
async fn sign_on_change(
    State(app): State<App>,
    caller: Caller,
    Path((org_id, id)): Path<(String, String)>,
    if_match: IfMatch,
    mut fields: Fields,
) -> Result<Tagged<Provider>, Problem> {
    let mut tx = app.db.begin_read().await?;
    let permit = caller.org(&mut tx, &org_id, Access::write(Area::SignOn)).await?;
    let before = found(&mut tx, &permit, &id).await?;
    drop(tx);
    if_match.check(&before.provider)?;
    let mut provider = before.provider.clone();
    let secret = read_provider(&mut fields, &mut provider, false);
    if provider.issuer != before.provider.issuer && before.sealed.is_some() && secret == SecretChange::Stays {
        // Else whoever may change the issuer could have the secret sent to themselves.
        fields.refuse("client_secret", "must be given again when the issuer changes, or null");
    }
    fields.finish()?;
    let (sealed, secret) = match secret {
        SecretChange::Stays => {
            let opened = before.sealed.as_deref().map(|sealed| open(&app, &id, sealed)).transpose()?;
            (before.sealed.clone(), opened)
        }
        SecretChange::Goes => (None, None),
        SecretChange::Becomes(secret) => (Some(seal(&app, &id, &secret)?), Some(secret)),
    };
    provider.has_client_secret = sealed.is_some();
    let changed = provider != before.provider || sealed != before.sealed;
    if !changed {
        return Ok(Tagged(provider));
    }
    // One that is away can still be switched off.
    if provider.enabled {
        look(&app, &provider, secret).await?;
    }
    provider.updated_at = clock::now();
    let mut tx = app.db.begin_write().await?;
    let permit = caller.org(&mut tx, &org_id, Access::write(Area::SignOn)).await?;
    if found(&mut tx, &permit, &id).await?.provider != before.provider {
        return Err(Problem::new(
            Code::ChangedMeanwhile,
            "somebody else changed this provider meanwhile: read it again",
        ));
    }
    check(&mut tx, &permit, &provider, Some(&before.provider)).await?;
    if before.provider.enabled && !provider.enabled {
        end_sessions(&mut tx, &permit, &id).await?;
    }
    let stored = Stored { provider, sealed };
    store::provider_update(&mut tx, &permit, &stored).await?;
    let change = Change::new(Chain::Org(permit.org_id()), "sign_on.updated", KIND, &id);
    audit::record(&mut tx, &caller, change.before(&before.provider).after(&stored.provider)).await?;
    tx.commit().await.doing("changing a sign-on provider")?;
    Ok(Tagged(stored.provider))
}

/// Deletes a sign-on provider. The sessions that it began end, and the roles that its groups gave are taken.
#[utoipa::path(
    delete, path = "/orgs/{org_id}/sign-on/{provider}", tag = "sign-on", operation_id = "sign_on_delete",
    params(("org_id" = String, Path, description = "`org_..`"), ("provider" = String, Path, description = "Its id")),
    responses((status = 204)),
    extensions(("x-access" = json!("sign_on:write"))),
)]
async fn sign_on_delete(
    State(app): State<App>,
    caller: Caller,
    Path((org_id, id)): Path<(String, String)>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let mut tx = app.db.begin_write().await?;
    let permit = caller.org(&mut tx, &org_id, Access::write(Area::SignOn)).await?;
    let before = found(&mut tx, &permit, &id).await?.provider;
    if_match.check(&before)?;
    owners_only(&permit, &before)?;
    end_sessions(&mut tx, &permit, &id).await?;
    let system = super::person::system_permit(&mut tx, &caller, &org_id).await?;
    for user_id in store::people_with_roles(&mut tx, &permit, &id).await? {
        if is_last_owner_by(&mut tx, permit.org_id(), &user_id, &id).await? {
            let detail = "the last owner of the organisation is one by this provider's groups: make somebody an owner by hand first";
            return Err(Problem::new(Code::LastOwner, detail));
        }
        roles_from_sign_on(&mut tx, &system, &user_id, &id, &[]).await?;
    }
    store::provider_delete(&mut tx, &permit, &id).await?;
    let change = Change::new(Chain::Org(permit.org_id()), "sign_on.deleted", KIND, &id);
    audit::record(&mut tx, &caller, change.before(&before)).await?;
    tx.commit().await.doing("deleting a sign-on provider")?;
    Ok(StatusCode::NO_CONTENT)
}

async fn found(tx: &mut Connection, permit: &OrgPermit, id: &str) -> Result<Stored, Problem> {
    let stored = store::provider_view(tx, permit, id).await?;
    stored.ok_or_else(|| Problem::not_found("sign-on provider in this organisation", id))
}

/// Asks the provider, and says what is wrong with it.
async fn look(app: &App, provider: &Provider, secret: Option<Secret>) -> Result<(), Problem> {
    let registration = provider.registration(secret)?;
    let refused = |why: &str| {
        let mut fields = Fields::default();
        fields.refuse("issuer", why);
        fields.finish().err().unwrap_or_else(|| Problem::new(Code::InvalidField, why))
    };
    if !is_reached(&registration.issuer, app.identity.public_url()) {
        return Err(refused(
            "must be an https URL: people's browsers do not reach a provider on this machine",
        ));
    }
    let answer = app.sign_on.look(registration).await?;
    answer.map_err(|error| refused(&error.to_string()))
}

/// Whether browsers that reach MindWeave reach the provider. Where they come by https from elsewhere, one on this very machine is of no
/// use, and would only tell an organisation's administrators what listens here.
fn is_reached(issuer: &Issuer, public_url: &str) -> bool {
    !issuer.is_in_the_clear() || !public_url.starts_with("https://")
}

/// What only the database can tell: whose domains and places those are, and who may have roles given.
async fn check(
    tx: &mut Connection,
    permit: &OrgPermit,
    provider: &Provider,
    before: Option<&Provider>,
) -> Result<(), Problem> {
    owners_only(permit, provider)?;
    if let Some(before) = before {
        owners_only(permit, before)?;
    }
    let mut fields = Fields::default();
    if let Some(place) = store::place_of_others(tx, permit, &provider.settings).await? {
        fields.refuse("role_mapping", &format!("there is no team or project {place:?} in this organisation"));
    }
    if let Some(domain) = store::domain_of_others(tx, permit, &provider.settings.domains).await? {
        fields.refuse(
            "domains",
            &format!("{domain:?} is another organisation's here; ask who runs this installation"),
        );
    }
    fields.finish()
}

/// Whoever controls a provider has every role that it gives: one that makes owners is for owners.
fn owners_only(permit: &OrgPermit, provider: &Provider) -> Result<(), Problem> {
    let caller = permit.caller();
    let gives_owner = provider.settings.gives().any(|role| role == Role::Owner);
    let is_owner = caller.grants().0.iter().any(|grant| {
        grant.org_id == permit.org_id() && grant.place == Place::Org && grant.role == Role::Owner
    });
    if !gives_owner || is_owner || caller.is_installation_admin() {
        return Ok(());
    }
    let detail = "a provider that makes people owners is for owners of the organisation to manage";
    Err(Problem::new(Code::RoleTooPowerful, detail))
}

async fn end_sessions(tx: &mut Connection, permit: &OrgPermit, id: &str) -> Result<(), Problem> {
    for (session_id, user_id) in store::sessions_of(tx, permit, id, clock::now()).await? {
        session::end(tx, permit.caller(), &user_id, &session_id, Ended::Revoked).await?;
    }
    Ok(())
}

fn seal(app: &App, id: &str, secret: &Secret) -> Result<Vec<u8>, Problem> {
    app.master_key.seal(&sign_on_owner(id), secret).map_err(|error| Problem::internal(&error))
}

/// Opens the client secret of a provider.
pub(super) fn open(app: &App, id: &str, sealed: &[u8]) -> Result<Secret, Problem> {
    app.master_key.open(&sign_on_owner(id), sealed).map_err(|error| Problem::internal(&error))
}

fn id_taken(error: StoreError) -> Problem {
    if error.is_unique_violation() {
        return Problem::new(
            Code::NameTaken,
            "id: another sign-on provider of this installation has it; choose another",
        );
    }
    error.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_on_this_machine_is_for_browsers_on_it() {
        let reached = |issuer: &str, public_url| is_reached(&Issuer::new(issuer).unwrap(), public_url);
        assert!(reached("http://127.0.0.1:4000", "http://localhost:8080"));
        assert!(reached("https://idp.example.com", "https://mindweave.example.com"));
        assert!(!reached("http://127.0.0.1:4000", "https://mindweave.example.com"));
        assert!(!reached("http://localhost:9090", "https://mindweave.example.com"));
    }
}
