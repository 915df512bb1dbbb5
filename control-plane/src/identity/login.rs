//! `POST /auth/login`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use mindweave_identity::password::Verified;
use mindweave_policy::Secret;
use serde::{Serialize, Serializer};
use serde_json::json;

use super::one_time::{self, Purpose};
use super::second_factor::{self, FactorKind};
use super::service::hash_problem;
use super::session::{self, Method, NewSession};
use super::session_store;
use super::throttle::{self, Action, Attempt};
use super::users::{self, Account, email_key};
use crate::access::Caller;
use crate::app::App;
use crate::audit::{self, Chain, Change};
use crate::db::Doing;
use crate::http::body::Fields;
use crate::http::problem::{Code, Problem};

/// How long somebody may look for their phone.
const SECOND_FACTOR_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// Address and password.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `login` reads")]
struct Login {
    #[schema(min_length = 1, max_length = 200, example = "ada@example.com")]
    email: String,
    #[schema(min_length = 1, max_length = 1024, format = Password)]
    password: String,
}

/// What a right password is answered with.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub(super) enum LoginAnswer {
    /// That was enough.
    Session(Box<NewSession>),
    /// A second factor is wanted: `POST /auth/mfa/verify`, or a passkey.
    SecondFactor {
        /// What to go on with.
        second_factor: SecondFactorWanted,
    },
}

/// A sign-in that waits for a second factor.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct SecondFactorWanted {
    #[serde(serialize_with = "exposed")]
    #[schema(value_type = String, example = "mwo_..")]
    token: Secret,
    /// Any one of them will do.
    methods: Vec<FactorKind>,
    /// Seconds for which the token is good.
    expires_in: u64,
}

fn exposed<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

/// Signs in with a password. A wrong address and a wrong password are answered alike, and take as long.
#[utoipa::path(
    post, path = "/auth/login", tag = "auth", operation_id = "login",
    request_body = Login,
    responses((status = 200, body = LoginAnswer), (status = 401, description = "They do not belong together")),
    extensions(("x-access" = json!("public"))),
)]
pub(super) async fn login(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<Json<LoginAnswer>, Problem> {
    let (email, password) = (fields.required_text("email"), fields.required_password("password"));
    fields.finish()?;
    let (account, attempt) = begun(&app, &caller, &email).await?;
    let account = account.filter(|account| !account.disabled);
    let stored = account.as_ref().and_then(|account| account.password_hash.as_deref());
    let verified = app.identity.passwords().verify(&password, stored).await.map_err(hash_problem)?;
    let (Some(account), Verified::Right { outdated }) = (&account, verified) else {
        failed(&app, &caller, account.as_ref()).await?;
        return Err(wrong());
    };
    let renewed = match outdated {
        true => Some(app.identity.passwords().hash(&password).await.map_err(hash_problem)?),
        false => None,
    };
    let mut tx = app.db.begin_write().await?;
    let id = &account.user.id;
    let now = users::account_by_id(&mut tx, id).await?;
    if now.is_none_or(|now| now.disabled || now.password_hash != account.password_hash) {
        return Err(wrong()); // it was changed meanwhile
    }
    if let Some(hash) = renewed {
        users::password_renew(&mut tx, id, &hash).await?;
    }
    throttle::succeeded(&mut tx, &attempt).await?;
    let methods = second_factor::wanted(&mut tx, id).await?;
    let answer = if methods.is_empty() {
        let session = session::begin(&mut tx, &app.identity, &caller, id, Method::Password, false).await?;
        LoginAnswer::Session(Box::new(session))
    } else {
        let lifetime = SECOND_FACTOR_LIFETIME;
        let token = one_time::issue(&mut tx, Purpose::SecondFactor, Some(id), &(), lifetime).await?;
        let second_factor = SecondFactorWanted { token, methods, expires_in: lifetime.as_secs() };
        LoginAnswer::SecondFactor { second_factor }
    };
    tx.commit().await.doing("signing in")?;
    Ok(Json(answer))
}

/// Whose address it is, and the attempt, which is counted. The same work whether there is somebody or not.
async fn begun(app: &App, caller: &Caller, email: &str) -> Result<(Option<Account>, Attempt), Problem> {
    let mut tx = app.db.begin_read().await?;
    let account = users::user_by_email(&mut tx, email).await?;
    let id = account.as_ref().map_or("", |account| &account.user.id);
    let known = session_store::address_known(&mut tx, id, caller.origin().address).await?;
    drop(tx);
    let attempt = Attempt::new(Action::Login, Some(&email_key(email)), caller.origin());
    let attempt = if known { attempt.trusting_address() } else { attempt };
    throttle::check(&app.db, &attempt).await?;
    Ok((account, attempt))
}

/// Notes a sign-in that failed. Of an unknown address nothing is kept: it may be a password in the wrong field.
async fn failed(app: &App, caller: &Caller, account: Option<&Account>) -> Result<(), Problem> {
    let id = account.map_or("unknown", |account| &account.user.id);
    let mut tx = app.db.begin_write().await?;
    let change = Change::new(Chain::Installation, "user.login_failed", "user", id);
    audit::record(&mut tx, caller, change.after(&json!({ "method": "password" }))).await?;
    tx.commit().await.doing("noting a failed sign-in")?;
    Ok(())
}

fn wrong() -> Problem {
    Problem::new(Code::InvalidCredentials, "this address and this password do not belong together")
}
