//! Challenges, and what authenticators answer to them.

use std::time::Duration;

use mindweave_identity::passkeys::{PasskeyError, RelyingParty};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{refused, relying_party, store};
use crate::app::App;
use crate::clock;
use crate::db::Connection;
use crate::http::problem::{Code, Problem};
use crate::identity::mfa::PasskeyAnswer;
use crate::identity::one_time::{self, Purpose};

/// How long an authenticator may take: what it is told, too.
pub(super) const CHALLENGE_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// What is kept of a challenge.
#[derive(Serialize, Deserialize)]
struct Challenge {
    state: String,
    /// Only one of the passkeys of the person for whom it was made will do.
    second_factor: bool,
}

/// A ceremony that waits for the authenticator.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = PasskeyCeremony)]
pub(super) struct Ceremony {
    /// To be sent along with the authenticator's answer. Good once, for five minutes.
    #[schema(example = "mwo_..")]
    pub(super) token: String,
    /// For `PublicKeyCredential.parseCreationOptionsFromJSON` or `parseRequestOptionsFromJSON` of a browser.
    #[schema(value_type = Object)]
    pub(super) public_key: Value,
}

/// Makes a challenge: for the passkeys of this person, or for whoever has one.
pub(super) async fn challenge(
    tx: &mut Connection,
    app: &App,
    user_id: Option<&str>,
) -> Result<Ceremony, Problem> {
    let here = relying_party(app)?;
    let started = match user_id {
        Some(user_id) => {
            let passkeys = store::passkeys_of(tx, user_id).await?;
            if passkeys.is_empty() {
                return Err(Problem::new(Code::NotEnabled, "there is no passkey to ask for"));
            }
            here.start_second_factor(&passkeys)
        }
        None => here.start_login(),
    };
    let started = started.map_err(refused)?;
    let kept = Challenge { state: started.state, second_factor: user_id.is_some() };
    let token = one_time::issue(tx, Purpose::PasskeySignIn, user_id, &kept, CHALLENGE_LIFETIME).await?;
    Ok(Ceremony { token: token.expose_secret().to_owned(), public_key: started.options })
}

/// Whose passkey has answered a challenge, which is used up. `None`: nobody's, or not the one's who was expected. Commit in either case.
///
/// # Errors
/// When what is stored cannot be read, or there are no passkeys here.
pub(crate) async fn assertion_take(
    tx: &mut Connection,
    app: &App,
    answer: &PasskeyAnswer,
    expected: Option<&str>,
) -> Result<Option<String>, Problem> {
    let here = relying_party(app)?;
    let token = answer.token.expose_secret();
    let Some(taken) = one_time::take::<Challenge>(tx, Purpose::PasskeySignIn, token).await? else {
        return Ok(None);
    };
    let Ok(credential_id) = RelyingParty::credential_id(&answer.credential) else { return Ok(None) };
    let Some(mut kept) = store::passkey_by_credential(tx, &credential_id).await? else { return Ok(None) };
    let made_for = taken.user_id.as_deref();
    if expected.or(made_for).is_some_and(|one| one != kept.user_id)
        || made_for.is_some_and(|one| one != kept.user_id)
    {
        return Ok(None);
    }
    let Challenge { state, second_factor } = taken.data;
    let verified = if second_factor {
        here.finish_second_factor(&state, &answer.credential, &kept.user_id, &mut kept.passkey)
    } else {
        here.finish_login(&state, &answer.credential, &kept.user_id, &mut kept.passkey)
    };
    match verified {
        Ok(()) => {
            store::passkey_used(tx, &kept, clock::now()).await?;
            Ok(Some(kept.user_id))
        }
        Err(PasskeyError::Malformed | PasskeyError::Refused) => Ok(None),
        Err(error @ PasskeyError::Stored) => Err(refused(error)),
    }
}
