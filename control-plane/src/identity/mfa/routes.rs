//! `/auth/mfa/enable`, `disable` and `recovery-codes`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::enabling::{self, TotpSetup};
use super::proof::{Demand, Proof, ProofBody, confirm};
use super::recovery::{RecoveryCodes, codes_end_if_useless, codes_make};
use super::store;
use super::verify;
use crate::access::Caller;
use crate::app::App;
use crate::audit::{self, Chain, Change};
use crate::db::Doing;
use crate::http::body::Fields;
use crate::http::problem::{Code, Problem};
use crate::identity::SignedIn;
use crate::identity::second_factor::wanted;

/// What takes a sign-in.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(mfa_enable))
        .routes(routes!(mfa_disable))
        .routes(routes!(mfa_recovery_codes))
}

/// What comes before one, too.
pub(crate) fn public_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(verify::mfa_verify))
}

/// Makes the secret of an authenticator app. A code of it, sent to `POST /auth/mfa/verify`, switches it on. Takes your password unless you
/// have signed in within ten minutes.
#[utoipa::path(
    post, path = "/auth/mfa/enable", tag = "auth", operation_id = "mfa_enable",
    request_body = ProofBody,
    responses((status = 200, body = TotpSetup)),
    extensions(("x-access" = json!("self"))),
)]
async fn mfa_enable(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    let person = SignedIn::of(&caller)?;
    let proof = Proof::read(&mut fields);
    fields.finish()?;
    let mut tx = confirm(&app, &caller, &person, proof, Demand::Fresh).await?;
    let setup = enabling::begin(&mut tx, &app, &caller, &person).await?;
    tx.commit().await.doing("beginning to switch codes on")?;
    Ok(([(CACHE_CONTROL, "no-store")], Json(setup)))
}

/// Switches the codes of your app off. Takes your password and a second factor, however lately you have signed in.
#[utoipa::path(
    post, path = "/auth/mfa/disable", tag = "auth", operation_id = "mfa_disable",
    request_body = ProofBody,
    responses((status = 204, description = "They are off.")),
    extensions(("x-access" = json!("self"))),
)]
async fn mfa_disable(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<StatusCode, Problem> {
    let person = SignedIn::of(&caller)?;
    let proof = Proof::read(&mut fields);
    fields.finish()?;
    let mut tx = confirm(&app, &caller, &person, proof, Demand::Always).await?;
    if !store::totp_delete(&mut tx, &person.user_id).await? {
        return Err(Problem::new(Code::NotEnabled, "codes of an app are not on"));
    }
    codes_end_if_useless(&mut tx, &person.user_id).await?;
    let change = Change::new(Chain::Installation, "mfa.disabled", "user", &person.user_id);
    audit::record(&mut tx, &caller, change).await?;
    tx.commit().await.doing("switching codes off")?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes new recovery codes; those of before are not good any more. Takes your password and a second factor unless you have signed in within
/// ten minutes.
#[utoipa::path(
    post, path = "/auth/mfa/recovery-codes", tag = "auth", operation_id = "mfa_recovery_codes",
    request_body = ProofBody,
    responses((status = 200, body = RecoveryCodes)),
    extensions(("x-access" = json!("self"))),
)]
async fn mfa_recovery_codes(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    let person = SignedIn::of(&caller)?;
    let proof = Proof::read(&mut fields);
    fields.finish()?;
    let mut tx = confirm(&app, &caller, &person, proof, Demand::Fresh).await?;
    if wanted(&mut tx, &person.user_id).await?.is_empty() {
        let detail = "there is no second factor for which recovery codes could stand in";
        return Err(Problem::new(Code::NotEnabled, detail));
    }
    let codes = codes_make(&mut tx, &person.user_id).await?;
    let change = Change::new(Chain::Installation, "mfa.recovery_codes_renewed", "user", &person.user_id);
    audit::record(&mut tx, &caller, change).await?;
    tx.commit().await.doing("making recovery codes")?;
    Ok(([(CACHE_CONTROL, "no-store")], Json(codes)))
}
