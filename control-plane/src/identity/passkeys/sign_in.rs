//! `POST /auth/passkeys/login/start` and `finish`: a sign-in with a passkey and nothing else, or its challenge as a second factor.

use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use serde_json::json;

use super::assertion::{Ceremony, assertion_take, challenge};
use crate::access::Caller;
use crate::app::App;
use crate::audit::{self, Chain, Change};
use crate::db::Doing;
use crate::http::body::Fields;
use crate::http::problem::{Code, Problem};
use crate::identity::mfa::{PasskeyAnswer, PasskeyAnswerBody, wrong};
use crate::identity::one_time::{self, Purpose};
use crate::identity::second_factor::BegunBy;
use crate::identity::session::{self, Method, NewSession};
use crate::identity::users;

/// What the challenge is for.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `passkey_login_start` reads")]
pub(super) struct PasskeyLogin {
    /// Of a sign-in that waits for a second factor: the answer then goes to `POST /auth/mfa/verify`, as `passkey`. Without it any passkey
    /// will do, and the answer goes to `POST /auth/passkeys/login/finish`, or wherever a passkey is asked for.
    #[schema(min_length = 1, max_length = 1024, pattern = "^[!-~]+$", example = "mwo_..")]
    token: Option<String>,
}

/// Makes a challenge for a passkey.
#[utoipa::path(
    post, path = "/auth/passkeys/login/start", tag = "auth", operation_id = "passkey_login_start",
    request_body = PasskeyLogin,
    responses((status = 200, body = Ceremony)),
    extensions(("x-access" = json!("public"))),
)]
pub(super) async fn passkey_login_start(
    State(app): State<App>,
    mut fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    let token = match fields.any("token") {
        Some(serde_json::Value::String(token)) => Some(token),
        Some(_) => {
            fields.refuse("token", "must be a text");
            None
        }
        None => None,
    };
    fields.finish()?;
    let mut tx = app.db.begin_apart().await?;
    let user_id = match token {
        Some(token) => {
            let waiting = one_time::look::<BegunBy>(&mut tx, Purpose::SecondFactor, &token).await?;
            Some(waiting.and_then(|waiting| waiting.user_id).ok_or_else(over)?)
        }
        None => None,
    };
    let ceremony = challenge(&mut tx, &app, user_id.as_deref()).await?;
    tx.commit().await.doing("making a challenge")?;
    Ok(([(CACHE_CONTROL, "no-store")], Json(ceremony)))
}

/// Signs in with a passkey alone: it is something that you have, and it has verified you.
#[utoipa::path(
    post, path = "/auth/passkeys/login/finish", tag = "auth", operation_id = "passkey_login_finish",
    request_body = PasskeyAnswerBody,
    responses((status = 200, body = NewSession), (status = 401, description = "It is not a passkey of anybody here")),
    extensions(("x-access" = json!("public"))),
)]
pub(super) async fn passkey_login_finish(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    let answer = PasskeyAnswer::read(&mut fields);
    fields.finish()?;
    let mut tx = app.db.begin_write().await?;
    let asserted = assertion_take(&mut tx, &app, &answer, None).await?;
    let account = match &asserted {
        Some(user_id) => users::account_by_id(&mut tx, user_id).await?,
        None => None,
    };
    let Some(account) = account.filter(|account| !account.disabled) else {
        let id = asserted.as_deref().unwrap_or("unknown");
        let change = Change::new(Chain::Installation, "user.login_failed", "user", id);
        audit::record(&mut tx, &caller, change.after(&json!({ "method": "passkey" }))).await?;
        tx.commit().await.doing("noting a failed sign-in")?;
        return Err(wrong());
    };
    let id = &account.user.id;
    let session = session::begin(&mut tx, &app.identity, &caller, id, Method::Passkey, true).await?;
    tx.commit().await.doing("signing in with a passkey")?;
    Ok(([(CACHE_CONTROL, "no-store")], Json(session)))
}

fn over() -> Problem {
    Problem::new(
        Code::InvalidLink,
        "this sign-in is over, or took too long: begin it anew with your password",
    )
}
