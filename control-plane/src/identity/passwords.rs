//! `/auth/forgot`, `/auth/reset`, `/auth/password`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use mindweave_identity::password::{PasswordFault, Verified, check_password};
use mindweave_policy::Secret;
use serde::Serialize;

use super::mails;
use super::one_time::{self, Purpose};
use super::person::SignedIn;
use super::reclaim::reclaim;
use super::requests::{self, Request};
use super::service::hash_problem;
use super::session::{self, Ended, Which, acting_as};
use super::throttle::{self, Action, Attempt};
use super::users::{self, User, email_key};
use crate::access::Caller;
use crate::app::App;
use crate::audit::{self, Chain, Change};
use crate::db::{Connection, Doing, StoreError};
use crate::http::body::Fields;
use crate::http::problem::{Code, Fault, Problem};

/// What is answered before anything is done.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct RequestAccepted {
    /// What happens next, for people.
    pub(super) message: &'static str,
}

/// Whose password is forgotten.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `forgot` reads")]
struct Forgot {
    #[schema(min_length = 1, max_length = 200, example = "ada@example.com")]
    email: String,
}

/// Has a link sent with which a new password can be set. The answer is the same whether the address is known or not.
#[utoipa::path(
    post, path = "/auth/forgot", tag = "auth", operation_id = "password_forgot",
    request_body = Forgot,
    responses((status = 202, body = RequestAccepted), (status = 409, description = "This installation sends no mails")),
    extensions(("x-access" = json!("public"))),
)]
pub(super) async fn forgot(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<(StatusCode, Json<RequestAccepted>), Problem> {
    let email = fields.required_text("email");
    fields.finish()?;
    if !app.identity.mailer().is_configured() {
        return Err(no_mail());
    }
    let attempt = Attempt::new(Action::Mail, Some(&email_key(&email)), caller.origin());
    throttle::check(&app.db, &attempt).await?;
    app.identity.requests.leave(Request::Forgot { email, caller })?;
    let message = "if there is an account with this address, a mail with a link is on its way to it";
    Ok((StatusCode::ACCEPTED, Json(RequestAccepted { message })))
}

pub(super) fn no_mail() -> Problem {
    Problem::new(
        Code::MailNotConfigured,
        "this installation sends no mails (mail.smtp_url is not set): ask whoever runs it",
    )
}

/// A link's token and a new password.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `reset` reads")]
struct Reset {
    #[schema(min_length = 1, max_length = 1024, pattern = "^[!-~]+$", example = "mwo_..")]
    token: String,
    #[schema(min_length = 12, max_length = 256, format = Password)]
    password: String,
}

/// Sets a new password with the token of a mail, and ends all sessions.
#[utoipa::path(
    post, path = "/auth/reset", tag = "auth", operation_id = "password_reset",
    request_body = Reset,
    responses((status = 204, description = "Sign in with the new password.")),
    extensions(("x-access" = json!("public"))),
)]
pub(super) async fn reset(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<StatusCode, Problem> {
    let (token, password) = (fields.required_password("token"), fields.required_password("password"));
    fields.finish()?;
    throttle::check(&app.db, &Attempt::new(Action::Link, None, caller.origin())).await?;
    let token = token.expose_secret();
    let mut tx = app.db.begin_read().await?;
    let taken = one_time::look::<()>(&mut tx, Purpose::PasswordReset, token).await?;
    let user_id = taken.and_then(|taken| taken.user_id).ok_or_else(invalid_link)?;
    let user = users::user_view(&mut tx, &user_id).await?.ok_or_else(invalid_link)?;
    drop(tx);
    let hash = new_hash(&app, "password", &password, &[&user.email, &user.name]).await?;
    let mut tx = app.db.begin_write().await?;
    let taken = one_time::take::<()>(&mut tx, Purpose::PasswordReset, token).await?;
    taken.ok_or_else(invalid_link)?;
    let acting = acting_as(&caller, &user, None);
    // Who reads mail to this address has it.
    let before = users::user_view(&mut tx, &user_id).await?.ok_or_else(invalid_link)?;
    reclaim(&mut tx, &acting, &before).await?;
    users::user_verified(&mut tx, &user_id).await?;
    changed(&mut tx, &acting, &user, &hash, "user.password_reset").await?;
    session::end_all(&mut tx, &acting, &user_id, Which::All, Ended::PasswordChanged).await?;
    tx.commit().await.doing("setting a password")?;
    requests::send(&app.identity, mails::password_changed(app.identity.public_url(), &user.email));
    Ok(StatusCode::NO_CONTENT)
}

/// The old and the new password.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `change` reads")]
struct PasswordChange {
    #[schema(min_length = 1, max_length = 1024, format = Password)]
    current_password: String,
    #[schema(min_length = 12, max_length = 256, format = Password)]
    new_password: String,
}

/// Changes your password, and ends your other sessions.
#[utoipa::path(
    post, path = "/auth/password", tag = "auth", operation_id = "password_change",
    request_body = PasswordChange,
    responses((status = 204, description = "It is changed.")),
    extensions(("x-access" = json!("self"))),
)]
pub(super) async fn change(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<StatusCode, Problem> {
    let person = SignedIn::of(&caller)?;
    let current = fields.required_password("current_password");
    let password = fields.required_password("new_password");
    fields.finish()?;
    let mut tx = app.db.begin_read().await?;
    let account = users::account_by_id(&mut tx, &person.user_id).await?;
    let account = account.ok_or(StoreError::Corrupt { what: "the user of a session" })?;
    drop(tx);
    let user = account.user;
    let attempt = Attempt::new(Action::Login, Some(&email_key(&user.email)), caller.origin());
    let attempt = attempt.trusting_address();
    throttle::check(&app.db, &attempt).await?;
    let passwords = app.identity.passwords();
    let stored = account.password_hash.as_deref();
    if passwords.verify(&current, stored).await.map_err(hash_problem)? == Verified::Wrong {
        let fault = Fault::new("current_password", "is not your password");
        return Err(Problem::faults(Code::InvalidField, vec![fault]));
    }
    let hash = new_hash(&app, "new_password", &password, &[&user.email, &user.name]).await?;
    let mut tx = app.db.begin_write().await?;
    let now = users::account_by_id(&mut tx, &user.id).await?;
    if now.is_none_or(|now| now.password_hash != account.password_hash) {
        return Err(Problem::new(
            Code::ChangedMeanwhile,
            "the password was changed by somebody else meanwhile",
        ));
    }
    throttle::succeeded(&mut tx, &attempt).await?;
    changed(&mut tx, &caller, &user, &hash, "user.password_changed").await?;
    let others = Which::AllBut(&person.session_id);
    session::end_all(&mut tx, &caller, &user.id, others, Ended::PasswordChanged).await?;
    tx.commit().await.doing("changing a password")?;
    if app.identity.mailer().is_configured() {
        requests::send(&app.identity, mails::password_changed(app.identity.public_url(), &user.email));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Stores a hash and notes it; links to set another password are over.
async fn changed(
    tx: &mut Connection,
    caller: &Caller,
    user: &User,
    hash: &str,
    action: &'static str,
) -> Result<(), Problem> {
    users::password_set(tx, &user.id, hash).await?;
    one_time::revoke(tx, Purpose::PasswordReset, Some(&user.id)).await?;
    one_time::revoke(tx, Purpose::SecondFactor, Some(&user.id)).await?;
    audit::record(tx, caller, Change::new(Chain::Installation, action, "user", &user.id)).await?;
    Ok(())
}

/// The hash of a new password, if it is one that is taken.
pub(super) async fn new_hash(
    app: &App,
    field: &'static str,
    password: &Secret,
    personal: &[&str],
) -> Result<String, Problem> {
    let refused = |fault: PasswordFault| {
        Problem::faults(Code::InvalidField, vec![Fault::new(field, fault.to_string())])
    };
    check_password(password, personal).map_err(refused)?;
    app.identity.passwords().hash(password).await.map_err(hash_problem)
}

pub(super) fn invalid_link() -> Problem {
    Problem::new(
        Code::InvalidLink,
        "this link is not good (any more): it works once and for a while, and a newer one ends it; ask for another",
    )
}
