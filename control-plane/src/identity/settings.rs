//! What can be set of identity.

use std::time::Duration;

use mindweave_identity::mail::MailSettings;
use mindweave_identity::password::PasswordParameters;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Who may make an account with a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// Everybody who reaches the API. They belong to no organisation until somebody invites them.
    Open,
    /// Whoever was invited.
    Invitation,
    /// Nobody: people come by sign-on providers.
    Closed,
}

/// Settings of identity, with the defaults for what is not set.
#[derive(Clone, Debug)]
pub struct IdentitySettings {
    /// The URL by which people reach the API, without slash at its end. Without one, where it listens.
    pub public_url: Option<String>,
    /// Who may make an account.
    pub registration: Registration,
    /// How long an access token is good. A revoked session's is not good any more at once.
    pub access_lifetime: Duration,
    /// How long a session lasts without being used.
    pub refresh_lifetime: Duration,
    /// How long a session lasts at most.
    pub session_lifetime: Duration,
    /// What hashing a password costs.
    pub password_parameters: PasswordParameters,
    /// How mails are sent; without, none are.
    pub mail: Option<MailSettings>,
}

impl Default for IdentitySettings {
    fn default() -> Self {
        Self {
            public_url: None,
            registration: Registration::Invitation,
            access_lifetime: 15 * MINUTE,
            refresh_lifetime: 30 * DAY,
            session_lifetime: 90 * DAY,
            password_parameters: PasswordParameters::default(),
            mail: None,
        }
    }
}
