//! `/auth/passkeys` and `/auth/passkeys/{passkey_id}`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::store::{self, PasskeyView};
use super::{registration, sign_in};
use crate::access::Caller;
use crate::app::App;
use crate::audit::{self, Chain, Change};
use crate::db::{Connection, Doing};
use crate::http::Page;
use crate::http::body::Fields;
use crate::http::cursor;
use crate::http::etag::{IfMatch, Tagged};
use crate::http::problem::Problem;
use crate::http::query::Parameters;
use crate::identity::SignedIn;
use crate::identity::mfa::{Demand, Proof, codes_end_if_useless, confirm};

/// The kind of list in cursors.
const LIST: &str = "passkeys";

/// What takes a sign-in.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(passkey_list))
        .routes(routes!(passkey_rename, passkey_delete))
        .routes(routes!(registration::passkey_register_start))
        .routes(routes!(registration::passkey_register_finish))
}

/// What is one.
pub(crate) fn public_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(sign_in::passkey_login_start))
        .routes(routes!(sign_in::passkey_login_finish))
}

/// Your passkeys.
#[utoipa::path(
    get, path = "/auth/passkeys", tag = "auth", operation_id = "passkey_list",
    params(("limit" = Option<u64>, Query, description = "Most entries of a page"), ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status = 200, body = Page<PasskeyView>)),
    extensions(("x-access" = json!("self"))),
)]
async fn passkey_list(
    State(app): State<App>,
    caller: Caller,
    mut query: Parameters,
) -> Result<Json<Page<PasskeyView>>, Problem> {
    let person = SignedIn::of(&caller)?;
    let (limit, after) = (query.limit(), query.text("cursor"));
    query.finish()?;
    let after = after.map(|text| cursor::read(LIST, &text)).transpose()?.unwrap_or_default();
    let mut tx = app.db.begin_read().await?;
    let rows = store::passkey_list(&mut tx, &person.user_id, &after, limit.saturating_add(1)).await?;
    Ok(Json(Page::of(rows, limit, |passkey| cursor::write(LIST, &passkey.id))))
}

/// What can be changed of a passkey.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `passkey_rename` reads")]
struct PasskeyChange {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
}

/// Gives a passkey another name.
#[utoipa::path(
    patch, path = "/auth/passkeys/{passkey_id}", tag = "auth", operation_id = "passkey_change",
    params(("passkey_id" = String, Path, description = "`pky_..`")),
    request_body = PasskeyChange,
    responses((status = 200, body = PasskeyView)),
    extensions(("x-access" = json!("self"))),
)]
async fn passkey_rename(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    if_match: IfMatch,
    mut fields: Fields,
) -> Result<Tagged<PasskeyView>, Problem> {
    let person = SignedIn::of(&caller)?;
    let mut tx = app.db.begin_write().await?;
    let before = find(&mut tx, &person, &id).await?;
    if_match.check(&before)?;
    let passkey = PasskeyView { name: fields.required_text("name"), ..before.clone() };
    fields.finish()?;
    if passkey == before {
        return Ok(Tagged(passkey));
    }
    store::passkey_rename(&mut tx, &person.user_id, &passkey).await?;
    let change = Change::new(Chain::Installation, "passkey.renamed", "passkey", &id);
    audit::record(&mut tx, &caller, change.before(&before).after(&passkey)).await?;
    tx.commit().await.doing("renaming a passkey")?;
    Ok(Tagged(passkey))
}

/// Deletes a passkey: nobody signs in with it any more. Takes a sign-in of the last ten minutes.
#[utoipa::path(
    delete, path = "/auth/passkeys/{passkey_id}", tag = "auth", operation_id = "passkey_delete",
    params(("passkey_id" = String, Path, description = "`pky_..`")),
    responses((status = 204)),
    extensions(("x-access" = json!("self"))),
)]
async fn passkey_delete(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let person = SignedIn::of(&caller)?;
    let mut tx = confirm(&app, &caller, &person, Proof::default(), Demand::Fresh).await?;
    let before = find(&mut tx, &person, &id).await?;
    if_match.check(&before)?;
    store::passkey_delete(&mut tx, &person.user_id, &id).await?;
    codes_end_if_useless(&mut tx, &person.user_id).await?;
    let change = Change::new(Chain::Installation, "passkey.deleted", "passkey", &id).before(&before);
    audit::record(&mut tx, &caller, change).await?;
    tx.commit().await.doing("deleting a passkey")?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(tx: &mut Connection, person: &SignedIn, id: &str) -> Result<PasskeyView, Problem> {
    let found = store::passkey_find(tx, &person.user_id, id).await?;
    found.ok_or_else(|| Problem::not_found("passkey", id))
}
