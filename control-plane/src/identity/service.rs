//! What everything about identity shares: its settings, the hashing of passwords, mails.

use std::net::SocketAddr;

use mindweave_identity::mail::Mailer;
use mindweave_identity::password::{HashError, PasswordHasher};

use super::requests::Requests;
use super::settings::IdentitySettings;
use crate::http::problem::{Code, Problem};

/// Identity, as handlers use it.
#[derive(Debug)]
pub(crate) struct Identity {
    public_url: String,
    settings: IdentitySettings,
    passwords: PasswordHasher,
    mailer: Mailer,
    pub(super) requests: Requests,
}

impl Identity {
    pub(super) fn new(
        settings: IdentitySettings,
        public_url: String,
        passwords: PasswordHasher,
        mailer: Mailer,
        requests: Requests,
    ) -> Self {
        Self { public_url, settings, passwords, mailer, requests }
    }

    /// The URL by which people reach this API, without slash at its end: for links, redirects and passkeys.
    pub(crate) fn public_url(&self) -> &str {
        &self.public_url
    }

    /// How long things last, and who may register.
    pub(crate) fn settings(&self) -> &IdentitySettings {
        &self.settings
    }

    /// Sends mails, if a server is configured.
    pub(crate) fn mailer(&self) -> &Mailer {
        &self.mailer
    }

    /// Hashes and verifies passwords. Never in a transaction: it takes a while.
    pub(crate) fn passwords(&self) -> &PasswordHasher {
        &self.passwords
    }
}

/// The URL of an API that listens here, where nobody said by which it is reached. Passkeys need a name in place of an address.
pub(super) fn usual_url(listens: SocketAddr, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    let ip = listens.ip();
    if ip.is_loopback() || ip.is_unspecified() {
        return format!("{scheme}://localhost:{}", listens.port());
    }
    format!("{scheme}://{listens}")
}

/// What a failed hash is answered with.
pub(super) fn hash_problem(error: HashError) -> Problem {
    match error {
        HashError::Busy => {
            Problem::new(Code::Busy, "too many people sign in at this moment; try again in a second")
        }
        error @ (HashError::Argon2(_) | HashError::CutOff(_)) => Problem::internal(&error),
    }
}
