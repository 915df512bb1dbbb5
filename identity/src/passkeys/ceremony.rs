//! Making a passkey and signing in with one: each in two steps, with a challenge between them that is good once.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use mindweave_policy::Fingerprint;
use serde_json::Value;
use webauthn_rp::AuthenticatedCredential;
use webauthn_rp::bin::{Decode, Encode};
use webauthn_rp::request::auth::{
    AllowedCredentials, AuthenticationVerificationOptions, DiscoverableCredentialRequestOptions,
    NonDiscoverableCredentialRequestOptions,
};
use webauthn_rp::request::register::{
    Nickname, PublicKeyCredentialCreationOptions, PublicKeyCredentialUserEntity,
    RegistrationVerificationOptions, UserHandle, Username,
};
use webauthn_rp::request::{Credentials as _, UserVerificationRequirement};
use webauthn_rp::response::auth::{DiscoverableAuthentication, NonDiscoverableAuthentication};
use webauthn_rp::response::register::Registration;
use webauthn_rp::{
    DiscoverableAuthenticationServerState, NonDiscoverableAuthenticationServerState, RegistrationServerState,
};

use super::relying_party::RelyingParty;
use super::stored::Passkey;

/// Bytes of the handle by which an authenticator knows a person.
const HANDLE_BYTES: usize = 32;
/// What is hashed before a person's id to get the handle: nothing else of ours is the same hash.
const HANDLE_CONTEXT: &str = "mindweave passkey user\0";

/// Whose passkey it is.
#[derive(Clone, Copy, Debug)]
pub struct Person<'a> {
    /// Their id here. Authenticators get a hash of it, which says nothing (WebAuthn, section 14.6.1).
    pub id: &'a str,
    /// What they sign in with, for the list of accounts that an authenticator shows.
    pub name: &'a str,
    /// What they are called.
    pub display_name: &'a str,
}

/// A ceremony that waits for the authenticator.
#[derive(Clone, Debug)]
pub struct Started {
    /// For `PublicKeyCredential.parseCreationOptionsFromJSON` or `parseRequestOptionsFromJSON`.
    pub options: Value,
    /// To be kept here, and given back once, with the answer.
    pub state: String,
}

/// Why an authenticator's answer was not taken. Which of its many checks failed is no client's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasskeyError {
    /// The answer is not of the form that browsers give.
    #[error("this is not the answer of an authenticator")]
    Malformed,
    /// The answer proves nothing: another origin, challenge, key or person, no verified user, or a counter that went back.
    #[error("the answer of the authenticator was refused")]
    Refused,
    /// What was kept cannot be read.
    #[error("a stored passkey or ceremony cannot be read")]
    Stored,
}

impl RelyingParty {
    /// Begins to make a passkey. `existing` are those that the person has, of which no authenticator makes a second one.
    ///
    /// # Errors
    /// When something that is stored cannot be read.
    pub fn start_registration(
        &self,
        person: Person<'_>,
        existing: &[Passkey],
    ) -> Result<Started, PasskeyError> {
        let handle = handle(person.id)?;
        // The names only help to tell accounts apart; what PRECIS (RFC 8265) does not allow is left out.
        let name = Username::try_from(person.name).or_else(|_| Username::try_from(person.id));
        let user = PublicKeyCredentialUserEntity {
            name: name.map_err(|_| PasskeyError::Stored)?,
            id: &handle,
            display_name: Nickname::try_from(person.display_name).ok(),
        };
        let existing = existing.iter().map(Passkey::descriptor).collect::<Result<_, _>>()?;
        let options = PublicKeyCredentialCreationOptions::passkey(&self.rp_id, user, existing);
        let (server, client) = options.start_ceremony().map_err(|_| PasskeyError::Stored)?;
        started(&server, &client)
    }

    /// Takes the authenticator's answer.
    ///
    /// # Errors
    /// See [`PasskeyError`].
    pub fn finish_registration(&self, state: &str, answer: &Value) -> Result<Passkey, PasskeyError> {
        let state = kept(state)?;
        let state =
            RegistrationServerState::<HANDLE_BYTES>::decode(&state).map_err(|_| PasskeyError::Stored)?;
        let answer = answer.to_string();
        let answer =
            Registration::from_json_relaxed(answer.as_bytes()).map_err(|_| PasskeyError::Malformed)?;
        let options = RegistrationVerificationOptions::<&str, &str> {
            allowed_origins: &[self.origin.as_str()],
            error_on_unsolicited_extensions: false, // password managers send some; we read none
            ..RegistrationVerificationOptions::default()
        };
        let registered = state.verify(&self.rp_id, &answer, &options).map_err(|_| PasskeyError::Refused)?;
        Passkey::of(&registered)
    }

    /// Begins a sign-in of whoever has a passkey of ours.
    ///
    /// # Errors
    /// When the time of the machine is before 1970.
    pub fn start_login(&self) -> Result<Started, PasskeyError> {
        let options = DiscoverableCredentialRequestOptions::passkey(&self.rp_id);
        let (server, client) = options.start_ceremony().map_err(|_| PasskeyError::Stored)?;
        started(&server, &client)
    }

    /// Takes the authenticator's answer to [`Self::start_login`]. `passkey` is the one of [`credential_id`], of the person with this
    /// id; its counter goes on.
    ///
    /// # Errors
    /// See [`PasskeyError`].
    pub fn finish_login(
        &self,
        state: &str,
        answer: &Value,
        person_id: &str,
        passkey: &mut Passkey,
    ) -> Result<(), PasskeyError> {
        let state = kept(state)?;
        let state =
            DiscoverableAuthenticationServerState::decode(&state).map_err(|_| PasskeyError::Stored)?;
        let answer = answer.to_string();
        let answer = DiscoverableAuthentication::<HANDLE_BYTES>::from_json_relaxed(answer.as_bytes())
            .map_err(|_| PasskeyError::Malformed)?;
        let (handle, id, key, before) = (handle(person_id)?, passkey.id()?, passkey.key()?, passkey.state()?);
        let mut credential =
            AuthenticatedCredential::new(id, &handle, key, before).map_err(|_| PasskeyError::Stored)?;
        let origins = [self.origin.as_str()];
        state
            .verify(&self.rp_id, &answer, &mut credential, &options(&origins))
            .map_err(|_| PasskeyError::Refused)?;
        let after = credential.dynamic_state();
        passkey.set_state(&after)
    }

    /// Begins to ask somebody for one of their passkeys.
    ///
    /// # Errors
    /// When they have none, or a stored one cannot be read.
    pub fn start_second_factor(&self, passkeys: &[Passkey]) -> Result<Started, PasskeyError> {
        let mut allowed = AllowedCredentials::with_capacity(passkeys.len());
        for passkey in passkeys {
            allowed.push(passkey.descriptor()?.into());
        }
        let options = NonDiscoverableCredentialRequestOptions::second_factor(&self.rp_id, allowed);
        let mut options = options.map_err(|_| PasskeyError::Stored)?;
        // Authenticators that honour `credProtect` do not sign without it (CTAP 2.1, section 12.1).
        options.options().user_verification = UserVerificationRequirement::Required;
        let (server, client) = options.start_ceremony().map_err(|_| PasskeyError::Stored)?;
        started(&server, &client)
    }

    /// Takes the authenticator's answer to [`Self::start_second_factor`].
    ///
    /// # Errors
    /// See [`PasskeyError`].
    pub fn finish_second_factor(
        &self,
        state: &str,
        answer: &Value,
        person_id: &str,
        passkey: &mut Passkey,
    ) -> Result<(), PasskeyError> {
        let state = kept(state)?;
        let state =
            NonDiscoverableAuthenticationServerState::decode(&state).map_err(|_| PasskeyError::Stored)?;
        let answer = answer.to_string();
        let answer = NonDiscoverableAuthentication::<HANDLE_BYTES>::from_json_relaxed(answer.as_bytes())
            .map_err(|_| PasskeyError::Malformed)?;
        let (handle, id, key, before) = (handle(person_id)?, passkey.id()?, passkey.key()?, passkey.state()?);
        let mut credential =
            AuthenticatedCredential::new(id, &handle, key, before).map_err(|_| PasskeyError::Stored)?;
        let origins = [self.origin.as_str()];
        state
            .verify(&self.rp_id, &answer, &mut credential, &options(&origins))
            .map_err(|_| PasskeyError::Refused)?;
        let after = credential.dynamic_state();
        passkey.set_state(&after)
    }

    /// Which passkey an answer says that it is from. Nothing is proved yet.
    ///
    /// # Errors
    /// When it is not the answer of an authenticator.
    pub fn credential_id(answer: &Value) -> Result<Vec<u8>, PasskeyError> {
        let answer = answer.to_string();
        let answer = NonDiscoverableAuthentication::<HANDLE_BYTES>::from_json_relaxed(answer.as_bytes());
        Ok(answer.map_err(|_| PasskeyError::Malformed)?.raw_id().as_ref().to_vec())
    }
}

/// How strict we are: the counter may not go back, and no frame of another site may ask.
fn options<'a, 'o>(origins: &'o [&'a str; 1]) -> AuthenticationVerificationOptions<'o, 'o, &'a str, &'a str> {
    AuthenticationVerificationOptions {
        allowed_origins: origins,
        error_on_unsolicited_extensions: false, // as in a registration
        ..AuthenticationVerificationOptions::default()
    }
}

fn handle(person_id: &str) -> Result<UserHandle<HANDLE_BYTES>, PasskeyError> {
    let hash = Fingerprint::of(format!("{HANDLE_CONTEXT}{person_id}").as_bytes());
    UserHandle::decode(*hash.as_bytes()).map_err(|_| PasskeyError::Stored)
}

fn started<S>(server: &S, client: &impl serde::Serialize) -> Result<Started, PasskeyError>
where
    S: for<'a> Encode<Output<'a> = Vec<u8>> + 'static,
{
    let options = serde_json::to_value(client).map_err(|_| PasskeyError::Stored)?;
    let state = server.encode().map_err(|_| PasskeyError::Stored)?;
    Ok(Started { options, state: STANDARD_NO_PAD.encode(state) })
}

fn kept(state: &str) -> Result<Vec<u8>, PasskeyError> {
    STANDARD_NO_PAD.decode(state).map_err(|_| PasskeyError::Stored)
}
