//! `/auth/register`, `/auth/verify-email`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use mindweave_identity::mail::is_address;
use serde::Serialize;

use super::one_time::{self, Purpose};
use super::passwords::{RequestAccepted, invalid_link, new_hash};
use super::requests::{EmailWanted, Registration as NewAccount, Request};
use super::settings::Registration;
use super::throttle::{self, Action, Attempt};
use super::users::{self, NewUser, email_key};
use crate::access::Caller;
use crate::app::App;
use crate::audit::{self, Chain, Change};
use crate::db::{Connection, Doing};
use crate::http::body::Fields;
use crate::http::problem::{Code, Problem};
use crate::invitations;

/// Longest address (RFC 5321, section 4.5.3.1.3, less its brackets).
const MAX_EMAIL_CHARS: usize = 254;

/// Somebody who wants an account.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `register` reads")]
struct Register {
    #[schema(min_length = 3, max_length = 200, format = "email", example = "ada@example.com")]
    email: String,
    #[schema(min_length = 12, max_length = 256, format = Password)]
    password: String,
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// Of an invitation, which is accepted with it.
    #[schema(min_length = 1, max_length = 1024, pattern = "^[!-~]+$", example = "mwo_..", required = false)]
    invitation_token: String,
}

/// Makes an account. Whether the address has one already is not answered: its owner gets a mail that says so.
#[utoipa::path(
    post, path = "/auth/register", tag = "auth", operation_id = "register",
    request_body = Register,
    responses(
        (status = 202, body = RequestAccepted),
        (status = 403, description = "An account takes an invitation here"),
    ),
    extensions(("x-access" = json!("public"))),
)]
pub(super) async fn register(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<(StatusCode, Json<RequestAccepted>), Problem> {
    let email = read_email(&mut fields);
    let (password, name) = (fields.required_password("password"), fields.required_text("name"));
    let invited = fields.given("invitation_token");
    let invitation = if invited { Some(fields.required_password("invitation_token")) } else { None };
    fields.finish()?;
    may_register(app.identity.settings().registration, invitation.is_some())?;
    // Invitations are not sent here, so nobody is flooded; tokens are not guessed, but each try costs a hash.
    let action = if invitation.is_some() { Action::Link } else { Action::Mail };
    throttle::check(&app.db, &Attempt::new(action, Some(&email_key(&email)), caller.origin())).await?;
    let password_hash = new_hash(&app, "password", &password, &[&email, &name]).await?;
    let new = NewAccount { email, name, password_hash };
    match invitation {
        Some(token) => accept(&app, &caller, &new, token.expose_secret()).await?,
        None => app.identity.requests.leave(Request::Register { registration: new, caller })?,
    }
    let message = if app.identity.mailer().is_configured() && !invited {
        "a mail with a link is on its way to this address; open it to finish"
    } else {
        "sign in with this address and password; if it had an account before, with that one's password"
    };
    Ok((StatusCode::ACCEPTED, Json(RequestAccepted { message })))
}

/// An e-mail address that must be there.
pub(super) fn read_email(fields: &mut Fields) -> String {
    let email = fields.required_text("email");
    let email = email.trim().to_owned();
    if !email.is_empty() && (email.chars().count() > MAX_EMAIL_CHARS || !is_address(&email)) {
        fields.refuse("email", "must be an e-mail address, for example ada@example.com");
    }
    email
}

fn may_register(registration: Registration, invited: bool) -> Result<(), Problem> {
    let refused = match (registration, invited) {
        (Registration::Open, _) | (Registration::Invitation, true) => return Ok(()),
        (Registration::Invitation, false) => {
            "an account takes an invitation here: ask an administrator of your organisation"
        }
        (Registration::Closed, _) => {
            "there are no accounts with passwords here: sign in through the sign-on of your organisation"
        }
    };
    Err(Problem::new(Code::RegistrationClosed, refused))
}

/// Makes an account and accepts an invitation with it. For an address that has an account nothing is changed, and the answer is that for
/// one that has none: so whether there is one cannot be asked with an invitation for somebody else either.
async fn accept(app: &App, caller: &Caller, new: &NewAccount, token: &str) -> Result<(), Problem> {
    let mut tx = app.db.begin_write().await?;
    let invited = invitations::invited(&mut tx, token).await?.ok_or_else(|| {
        Problem::new(Code::InvitationInvalid, "this invitation is not good (any more): ask for another")
    })?;
    if let Some(account) = users::user_by_email(&mut tx, &new.email).await? {
        if !account.disabled {
            invitations::accept(&mut tx, caller, token, &account.user.id).await?; // refuses what it would refuse
        }
        return Ok(()); // and is rolled back: whoever has the account signs in to accept
    }
    // Who was sent the token reads mail of this address; one that the inviter saw proves nothing.
    let user = create(&mut tx, caller, new, invited.mailed).await?;
    invitations::accept(&mut tx, caller, token, &user).await?;
    tx.commit().await.doing("registering")?;
    Ok(())
}

async fn create(
    tx: &mut Connection,
    caller: &Caller,
    new: &NewAccount,
    email_verified: bool,
) -> Result<String, Problem> {
    let user = NewUser {
        email: &new.email,
        email_verified,
        name: &new.name,
        password_hash: Some(&new.password_hash),
        installation_admin: false,
    };
    Ok(users::user_create(tx, caller, user).await?.id)
}

/// The token of a mail.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `verify_email` reads")]
struct VerifyEmail {
    #[schema(min_length = 1, max_length = 1024, pattern = "^[!-~]+$", example = "mwo_..")]
    token: String,
}

/// The address that was proved.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct VerifiedEmail {
    email: String,
}

/// Proves an address with the token of a mail: finishes a registration, or a change of address.
#[utoipa::path(
    post, path = "/auth/verify-email", tag = "auth", operation_id = "email_verify",
    request_body = VerifyEmail,
    responses((status = 200, body = VerifiedEmail)),
    extensions(("x-access" = json!("public"))),
)]
pub(super) async fn verify_email(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<Json<VerifiedEmail>, Problem> {
    let token = fields.required_password("token");
    fields.finish()?;
    throttle::check(&app.db, &Attempt::new(Action::Link, None, caller.origin())).await?;
    let token = token.expose_secret();
    let mut tx = app.db.begin_write().await?;
    let email = match one_time::take::<NewAccount>(&mut tx, Purpose::Registration, token).await? {
        Some(taken) => finish_registration(&mut tx, &caller, taken.data).await?,
        None => finish_change(&mut tx, &caller, token).await?,
    };
    tx.commit().await.doing("verifying an address")?;
    Ok(Json(VerifiedEmail { email }))
}

async fn finish_registration(
    tx: &mut Connection,
    caller: &Caller,
    new: NewAccount,
) -> Result<String, Problem> {
    if users::user_by_email(tx, &new.email).await?.is_some() {
        return Err(invalid_link()); // made meanwhile, by another link or an invitation
    }
    create(tx, caller, &new, true).await?;
    Ok(new.email)
}

async fn finish_change(tx: &mut Connection, caller: &Caller, token: &str) -> Result<String, Problem> {
    let taken = one_time::take::<EmailWanted>(tx, Purpose::EmailChange, token).await?;
    let taken = taken.ok_or_else(invalid_link)?;
    let user_id = taken.user_id.ok_or_else(invalid_link)?;
    let before = users::user_view(tx, &user_id).await?.ok_or_else(invalid_link)?;
    let email = taken.data.email;
    if users::user_by_email(tx, &email).await?.is_some_and(|other| other.user.id != user_id) {
        return Err(invalid_link());
    }
    users::user_readdress(tx, &user_id, &email).await?;
    let after = users::user_view(tx, &user_id).await?;
    let change = Change::new(Chain::Installation, "user.email_changed", "user", &user_id);
    audit::record(tx, caller, change.before(&before).after(&after).identifying()).await?;
    Ok(email)
}
