//! A browser with one authenticator, as far as passkeys go: 1Password's, which shares no code with what it is tested against.

use std::future::Future;
use std::pin::Pin;

use passkey::authenticator::{Authenticator, UiHint, UserCheck, UserValidationMethod};
use passkey::client::{Client, DefaultClientData};
use passkey::crypto::rust_crypto::RustCryptoBackend;
use passkey_types::Passkey;
use passkey_types::ctap2::{Aaguid, Ctap2Error};
use passkey_types::webauthn::{CredentialCreationOptions, CredentialRequestOptions};
use serde_json::{Value, json};
use url::Url;

/// Whoever sits before the authenticator.
#[derive(Clone, Copy, Debug)]
struct Person {
    /// Whether they put their finger on it.
    verifies: bool,
}

type Checked<'t> = Pin<Box<dyn Future<Output = Result<UserCheck, Ctap2Error>> + Send + 't>>;

impl UserValidationMethod for Person {
    type PasskeyItem = Passkey;

    fn check_user<'a, 'me, 't>(&'me self, _: UiHint<'a, Passkey>, _: bool, _: bool) -> Checked<'t>
    where
        'a: 't,
        'me: 't,
        Self: 't,
    {
        let check = UserCheck { presence: true, verification: self.verifies };
        Box::pin(std::future::ready(Ok(check)))
    }

    fn is_presence_enabled(&self) -> bool {
        true
    }

    fn is_verification_enabled(&self) -> Option<bool> {
        Some(true)
    }
}

/// A browser at some address, with an authenticator that holds one passkey and counts its uses.
pub struct PasskeyBrowser {
    origin: Url,
    client: Client<Option<Passkey>, Person, RustCryptoBackend, public_suffix::PublicSuffixList, ()>,
}

impl PasskeyBrowser {
    /// A browser that shows a page of this address.
    pub fn new(origin: &str) -> Self {
        Self::with(origin, None, true)
    }

    /// Another browser that has come by the same passkey, as its counter stands now.
    #[must_use]
    pub fn cloned(&self) -> Self {
        Self::with(self.origin.as_str(), self.client.authenticator().store().clone(), true)
    }

    /// The same passkey in the hands of somebody whose finger it does not know.
    #[must_use]
    pub fn stolen(&self) -> Self {
        Self::with(self.origin.as_str(), self.client.authenticator().store().clone(), false)
    }

    /// The same passkey on a page of another address, in a browser that does not mind.
    #[must_use]
    pub fn lured_to(&self, origin: &str) -> Self {
        Self::with(origin, self.client.authenticator().store().clone(), true)
    }

    fn with(origin: &str, passkey: Option<Passkey>, verifies: bool) -> Self {
        let mut authenticator =
            Authenticator::new(Aaguid::new_empty(), passkey, Person { verifies }, RustCryptoBackend);
        authenticator.set_make_credentials_with_signature_counter(true);
        let client = Client::new(authenticator).allows_insecure_localhost(true);
        Self { origin: Url::parse(origin).expect("an address"), client }
    }

    /// `navigator.credentials.create`: makes a passkey, and what it answers as JSON. `Err` says why the browser refused.
    pub async fn create(&mut self, options: &Value) -> Result<Value, String> {
        let options: CredentialCreationOptions =
            serde_json::from_value(json!({ "publicKey": options })).expect("options as browsers know them");
        let made = self.client.register(&self.origin, options, DefaultClientData).await;
        made.map(|made| serde_json::to_value(made).expect("JSON")).map_err(|error| format!("{error:?}"))
    }

    /// `navigator.credentials.get`: signs the challenge.
    pub async fn get(&mut self, options: &Value) -> Result<Value, String> {
        let options: CredentialRequestOptions =
            serde_json::from_value(json!({ "publicKey": options })).expect("options as browsers know them");
        let signed = self.client.authenticate(&self.origin, options, DefaultClientData).await;
        signed.map(|signed| serde_json::to_value(signed).expect("JSON")).map_err(|error| format!("{error:?}"))
    }
}
