//! What of identity is made at the start, and what runs in the background.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mindweave_identity::mail::{MailStartError, Mailer};
use mindweave_identity::password::{HashError, PasswordHasher};
use mindweave_policy::Secret;

use super::one_time::TokenError;
use super::requests::Requests;
use super::service::{Identity, usual_url};
use super::settings::IdentitySettings;
use super::setup::owner_link;
use crate::db::{Db, StoreError};
use crate::entropy::NoEntropy;
use crate::tasks::Tasks;

/// Why identity could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Mails cannot be sent with these settings.
    #[error(transparent)]
    Mail(#[from] MailStartError),
    /// The database could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// Passwords cannot be hashed with these parameters.
    #[error("passwords cannot be hashed")]
    Passwords(#[source] HashError),
}

impl From<TokenError> for IdentityError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Store(error) => Self::Store(error),
            TokenError::Entropy(error) => Self::Entropy(error),
        }
    }
}

/// What a start makes.
#[derive(Debug)]
pub(crate) struct Started {
    /// For the handlers.
    pub(crate) shared: Arc<Identity>,
    /// The link whose opener becomes the first owner, while there is nobody.
    pub(crate) owner_link: Option<Secret>,
}

/// How long mails that are being sent may take at the end.
const LAST_MAILS: Duration = Duration::from_secs(2);

/// Sets identity up for an API that listens here.
pub(crate) async fn start(
    settings: IdentitySettings,
    (listens, tls): (SocketAddr, bool),
    db: &Db,
    tasks: &mut Tasks,
) -> Result<Started, IdentityError> {
    let public_url = settings.public_url.clone().unwrap_or_else(|| usual_url(listens, tls));
    let passwords = PasswordHasher::new(settings.password_parameters).map_err(IdentityError::Passwords)?;
    let mailer = match settings.mail.clone() {
        None => Mailer::none(),
        Some(mail) => {
            let mut stop = tasks.stop();
            let stopped = async move {
                stop.stopped().await;
                tokio::time::sleep(LAST_MAILS).await;
            };
            let (mailer, delivery) = Mailer::start(mail, stopped)?;
            tasks.spawn("mail", delivery);
            mailer
        }
    };
    let (requests, waiting) = Requests::new();
    let identity = Arc::new(Identity::new(settings, public_url, passwords, mailer, requests));
    tasks.spawn("identity_requests", waiting.run(db.clone(), Arc::clone(&identity), tasks.stop()));
    let owner_link = owner_link(db, identity.public_url()).await?;
    Ok(Started { shared: identity, owner_link })
}
