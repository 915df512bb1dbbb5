//! The end of a sign-on: a session in the answer, or a code that is exchanged for one. Tokens never stand in a URL.

use std::time::Duration;

use mindweave_identity::oidc::Binding;
use mindweave_policy::Secret;
use serde::{Deserialize, Serialize, Serializer};

use super::store;
use crate::access::Caller;
use crate::app::App;
use crate::db::{Connection, Doing};
use crate::http::problem::{Code, Problem};
use crate::identity::one_time::{self, Purpose};
use crate::identity::second_factor::{self, BegunBy, FactorKind};
use crate::identity::session::{self, Method, NewSession};
use crate::identity::users;

/// How long a code is good: the browser brings it at once.
const CODE_LIFETIME: Duration = Duration::from_secs(60);
/// How long somebody may look for their phone.
const SECOND_FACTOR_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// Somebody whom a provider has shown to be who they are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Admitted {
    pub(super) provider_id: String,
    /// Whether the provider says that it asked for more than one factor.
    pub(super) multi_factor: bool,
    /// What the program that began it has to prove (RFC 7636).
    pub(super) challenge: Option<String>,
}

/// What a sign-on is answered with.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub(super) enum SignedOn {
    /// That was enough.
    Session(Box<NewSession>),
    /// The provider did not say that it asked for a second factor, and this person has one here: `POST /auth/mfa/verify`.
    SecondFactor { second_factor: SignOnFactorWanted },
}

/// A sign-on that waits for a second factor.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct SignOnFactorWanted {
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

/// A code for this person.
pub(super) async fn issue(
    tx: &mut Connection,
    user_id: &str,
    admitted: &Admitted,
) -> Result<Secret, Problem> {
    Ok(one_time::issue(tx, Purpose::SignOnCode, Some(user_id), admitted, CODE_LIFETIME).await?)
}

/// Begins the session, or asks for the second factor that the provider did not.
pub(super) async fn begin(
    tx: &mut Connection,
    app: &App,
    caller: &Caller,
    user_id: &str,
    admitted: &Admitted,
) -> Result<SignedOn, Problem> {
    if !admitted.multi_factor {
        let methods = second_factor::wanted(tx, user_id).await?;
        if !methods.is_empty() {
            let lifetime = SECOND_FACTOR_LIFETIME;
            let begun_by: BegunBy = Some(admitted.provider_id.clone());
            let token =
                one_time::issue(tx, Purpose::SecondFactor, Some(user_id), &begun_by, lifetime).await?;
            let second_factor = SignOnFactorWanted { token, methods, expires_in: lifetime.as_secs() };
            return Ok(SignedOn::SecondFactor { second_factor });
        }
    }
    let method = Method::SignOn(&admitted.provider_id);
    let session = session::begin(tx, &app.identity, caller, user_id, method, admitted.multi_factor).await?;
    Ok(SignedOn::Session(Box::new(session)))
}

/// Exchanges a code. A wrong verifier uses the code up as well: it is somebody else's.
pub(super) async fn exchange(
    app: &App,
    caller: &Caller,
    code: &Secret,
    verifier: Option<&Secret>,
) -> Result<SignedOn, Problem> {
    let refused = || Problem::new(Code::InvalidLink, "this code is not good (any more): sign in again");
    let mut tx = app.db.begin_write().await?;
    let taken = one_time::take::<Admitted>(&mut tx, Purpose::SignOnCode, code.expose_secret()).await?;
    let taken = taken.ok_or_else(refused)?;
    let answer = match checked(&mut tx, &taken.data, taken.user_id.as_deref(), verifier).await? {
        Some(user_id) => Some(begin(&mut tx, app, caller, &user_id, &taken.data).await?),
        None => None,
    };
    tx.commit().await.doing("ending a sign-on")?;
    answer.ok_or_else(refused)
}

/// Whose code it is, if everything still fits.
async fn checked(
    tx: &mut Connection,
    admitted: &Admitted,
    user_id: Option<&str>,
    verifier: Option<&Secret>,
) -> Result<Option<String>, Problem> {
    let proved = match (&admitted.challenge, verifier) {
        (None, None) => true,
        (Some(challenge), Some(verifier)) => Binding::verifier_fits(verifier.expose_secret(), challenge),
        _ => false,
    };
    let Some(user_id) = user_id.filter(|_| proved) else { return Ok(None) };
    if !store::is_enabled(tx, &admitted.provider_id).await? {
        return Ok(None);
    }
    let account = users::account_by_id(tx, user_id).await?;
    Ok(account.filter(|account| !account.disabled).map(|account| account.user.id))
}
