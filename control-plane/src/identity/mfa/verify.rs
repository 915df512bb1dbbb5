//! `POST /auth/mfa/verify`: ends a sign-in, or switches the codes of an app on.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL};
use axum::response::IntoResponse;
use mindweave_policy::Secret;
use serde::Serialize;
use zeroize::Zeroizing;

use super::proof::{PasskeyAnswerBody, Shown, failed, optional_secret, wrong};
use super::recovery::{RecoveryCodes, codes_make};
use super::{enabling, store};
use crate::access::Caller;
use crate::app::App;
use crate::audit::{self, Chain, Change};
use crate::clock;
use crate::db::Doing;
use crate::http::auth::bearer;
use crate::http::body::Fields;
use crate::http::problem::{Code, Problem};
use crate::identity::one_time::{self, Purpose};
use crate::identity::second_factor::{BegunBy, FactorKind};
use crate::identity::session::{self, Method, NewSession, acting_as};
use crate::identity::throttle::{self, Action, Attempt};
use crate::identity::{Resolved, SignedIn, resolve, users};
use crate::sign_on;

/// A second factor.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `verify` reads")]
pub(super) struct MfaVerify {
    /// Of a sign-in that waits for a second factor. Without it, the code switches on what `POST /auth/mfa/enable` began, and the request
    /// needs an access token.
    #[schema(example = "mwo_..")]
    token: Option<String>,
    /// What the app shows.
    #[schema(example = "123456")]
    code: Option<String>,
    /// In place of a code, once.
    #[schema(example = "7QH2-0VXE-M3ZK-9FTA")]
    recovery_code: Option<String>,
    /// In place of a code; `POST /auth/passkeys/login/start` begins it.
    passkey: Option<PasskeyAnswerBody>,
}

/// What a right second factor is answered with.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub(super) enum Verified {
    /// Of a sign-in.
    Session(Box<NewSession>),
    /// Of an app that is switched on.
    Enabled(RecoveryCodes),
}

/// Ends a sign-in with a second factor, or switches the codes of an app on and answers recovery codes, once.
#[utoipa::path(
    post, path = "/auth/mfa/verify", tag = "auth", operation_id = "mfa_verify",
    request_body = MfaVerify,
    responses((status = 200, body = Verified), (status = 401, description = "It is not right, or there is no token"), (status = 403, description = "A token of a program switches nothing on"), (status = 409, description = "There is nothing to switch on")),
    extensions(("x-access" = json!("public"))),
)]
pub(super) async fn mfa_verify(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    mut fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    let token = optional_secret(&mut fields, "token");
    let shown = Shown::read(&mut fields);
    if shown.is_none() {
        fields.require_if_absent("code");
    }
    fields.finish()?;
    let Some(shown) = shown else { return Err(wrong()) };
    let verified = match token {
        Some(token) => Verified::Session(Box::new(sign_in(&app, &caller, &token, &shown).await?)),
        None => {
            let caller = signed_in(&app, &caller, &headers).await?;
            Verified::Enabled(switch_on(&app, &caller, &shown).await?)
        }
    };
    Ok(([(CACHE_CONTROL, "no-store")], Json(verified)))
}

/// Whoever sends this request, by its access token.
async fn signed_in(app: &App, caller: &Caller, headers: &HeaderMap) -> Result<Caller, Problem> {
    let unknown = || {
        let detail = "send the token of a sign-in that waits for a second factor, or an access token in the authorization header";
        Problem::new(Code::Unauthorized, detail)
    };
    let token = headers.get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes())).ok_or_else(unknown)?;
    let token = Zeroizing::new(token.to_vec());
    let Resolved { actor, grants, scopes } = resolve(&app.db, &token).await?.ok_or_else(unknown)?;
    Ok(Caller::new(actor, grants, scopes, Arc::new(caller.origin().clone())))
}

async fn sign_in(app: &App, caller: &Caller, token: &Secret, shown: &Shown) -> Result<NewSession, Problem> {
    let token = token.expose_secret();
    let mut tx = app.db.begin_read().await?;
    let waiting = one_time::look::<BegunBy>(&mut tx, Purpose::SecondFactor, token).await?;
    let user_id = waiting.and_then(|waiting| waiting.user_id).ok_or_else(over)?;
    drop(tx);
    let attempt = Attempt::new(Action::SecondFactor, Some(&user_id), caller.origin());
    throttle::check(&app.db, &attempt).await?;
    let mut tx = app.db.begin_write().await?;
    let account = users::account_by_id(&mut tx, &user_id).await?;
    let account = account.filter(|account| !account.disabled).ok_or_else(over)?;
    let acting = acting_as(caller, &account.user, None);
    if !shown.take(&mut tx, app, &user_id).await? {
        failed(tx, caller, &user_id, method(shown)).await?;
        return Err(wrong());
    }
    // Used up only now: whoever mistypes a code tries again. Of two right ones at a time one is too late.
    let taken = one_time::take::<BegunBy>(&mut tx, Purpose::SecondFactor, token).await?.ok_or_else(over)?;
    let method = match taken.data.as_deref() {
        // The session is the provider's, and ends with it; so does a sign-in on its way.
        Some(provider) if sign_on::is_enabled(&mut tx, provider).await? => Method::SignOn(provider),
        Some(_) => return Err(over()),
        None => Method::Password,
    };
    if shown.kind() == FactorKind::RecoveryCode {
        let change = Change::new(Chain::Installation, "mfa.recovery_code_used", "user", &user_id);
        audit::record(&mut tx, &acting, change).await?;
    }
    throttle::succeeded(&mut tx, &attempt).await?;
    let session = session::begin(&mut tx, &app.identity, caller, &user_id, method, true).await?;
    tx.commit().await.doing("signing in with a second factor")?;
    Ok(session)
}

async fn switch_on(app: &App, caller: &Caller, shown: &Shown) -> Result<RecoveryCodes, Problem> {
    let person = SignedIn::of(caller)?;
    let Shown::Code(code) = shown else {
        let detail = "code: is required: only a code of the app shows that the app has the secret";
        return Err(Problem::new(Code::InvalidField, detail));
    };
    let attempt = Attempt::new(Action::SecondFactor, Some(&person.user_id), caller.origin());
    throttle::check(&app.db, &attempt).await?;
    let mut tx = app.db.begin_write().await?;
    if store::totp_find(&mut tx, &person.user_id).await?.is_none_or(|row| row.confirmed_at.is_some()) {
        let detail = "there is nothing to switch on; POST /auth/mfa/enable begins it";
        return Err(Problem::new(Code::NotEnabled, detail));
    }
    if !enabling::code_take(&mut tx, app, &person.user_id, code, true).await? {
        return Err(wrong());
    }
    store::totp_confirm(&mut tx, &person.user_id, clock::now()).await?;
    let codes = codes_make(&mut tx, &person.user_id).await?;
    throttle::succeeded(&mut tx, &attempt).await?;
    let change = Change::new(Chain::Installation, "mfa.enabled", "user", &person.user_id);
    audit::record(&mut tx, caller, change).await?;
    tx.commit().await.doing("switching codes on")?;
    Ok(codes)
}

/// As the audit log has it.
fn method(shown: &Shown) -> &'static str {
    match shown.kind() {
        FactorKind::Totp => "totp",
        FactorKind::RecoveryCode => "recovery_code",
        FactorKind::Passkey => "passkey",
    }
}

fn over() -> Problem {
    Problem::new(Code::InvalidLink, "this sign-in is over, or took too long: begin it anew")
}
