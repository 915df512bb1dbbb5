//! What is kept of a passkey. Nothing of it is secret: the private key never leaves the authenticator.

use serde::{Deserialize, Serialize};
use webauthn_rp::RegisteredCredential;
use webauthn_rp::bin::{Decode as _, Encode as _};
use webauthn_rp::request::PublicKeyCredentialDescriptor;
use webauthn_rp::response::register::{CompressedPubKey, DynamicState, StaticState};
use webauthn_rp::response::{AuthTransports, CredentialId};

use super::ceremony::PasskeyError;

/// Bytes of [`DynamicState`] as it is written.
const STATE_BYTES: usize = 7;

/// The public key of a passkey, in the forms that `webauthn_rp` keeps.
pub(super) type PublicKey = CompressedPubKey<[u8; 32], [u8; 32], [u8; 48], Vec<u8>>;

/// A passkey as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passkey {
    /// The name that its authenticator gave it.
    #[serde(skip)]
    pub credential_id: Vec<u8>,
    /// Its public key and what was agreed when it was made.
    key: Vec<u8>,
    /// What changes with its use: the signature counter, whether it was backed up.
    state: [u8; STATE_BYTES],
    /// How browsers reach its authenticator.
    transports: u8,
}

impl Passkey {
    pub(super) fn of<const HANDLE: usize>(
        registered: &RegisteredCredential<'_, HANDLE>,
    ) -> Result<Self, PasskeyError> {
        let refused = |_| PasskeyError::Refused; // encoding cannot fail: the error has no value
        Ok(Self {
            credential_id: registered.id().as_ref().to_vec(),
            key: registered.static_state().encode().map_err(refused)?,
            state: registered.dynamic_state().encode().map_err(refused)?,
            transports: registered.transports().encode().map_err(refused)?,
        })
    }

    pub(super) fn id(&self) -> Result<CredentialId<&[u8]>, PasskeyError> {
        CredentialId::<&[u8]>::decode(&self.credential_id).map_err(|_| PasskeyError::Stored)
    }

    pub(super) fn key(&self) -> Result<StaticState<PublicKey>, PasskeyError> {
        StaticState::decode(&self.key).map_err(|_| PasskeyError::Stored)
    }

    pub(super) fn state(&self) -> Result<DynamicState, PasskeyError> {
        DynamicState::decode(self.state).map_err(|_| PasskeyError::Stored)
    }

    pub(super) fn set_state(&mut self, state: &DynamicState) -> Result<(), PasskeyError> {
        self.state = state.encode().map_err(|_| PasskeyError::Stored)?;
        Ok(())
    }

    pub(super) fn descriptor(&self) -> Result<PublicKeyCredentialDescriptor<Vec<u8>>, PasskeyError> {
        let id =
            CredentialId::<Vec<u8>>::decode(self.credential_id.clone()).map_err(|_| PasskeyError::Stored)?;
        let transports = AuthTransports::decode(self.transports).map_err(|_| PasskeyError::Stored)?;
        Ok(PublicKeyCredentialDescriptor { id, transports })
    }
}
