//! Delivers mails: a bounded queue in memory, several at once, again after a failure that may pass.
//!
//! A mail that waits when the process ends is lost; whoever wanted it asks again. Nothing of a mail is ever logged.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::address::{Protection, SmtpUrl};
use super::message::{Mail, Sender};
use crate::metrics::{self, MailResult};

/// Most mails that wait or are being sent: what an hour without the server brings to a big company, in some megabytes.
pub const MAX_QUEUED_MAILS: usize = 1_000;
/// Connections to the server at once; providers refuse more than a handful.
const MAX_CONNECTIONS: usize = 4;
/// Time for one attempt, from the connection to the server's answer.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// Waits between attempts. Links in mails live for an hour at least: after these 14 minutes they still do.
const WAITS: [Duration; 6] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(300),
    Duration::from_secs(400),
];

/// How mails are sent.
#[derive(Clone, Debug)]
pub struct MailSettings {
    /// The server.
    pub smtp_url: SmtpUrl,
    /// Whom they come from.
    pub from: Sender,
    /// PEM file of certificate authorities to trust beside the machine's own.
    pub ca_file: Option<PathBuf>,
}

/// Why mails cannot be sent with these settings.
#[derive(Debug, thiserror::Error)]
pub enum MailStartError {
    /// The file of authorities cannot be read.
    #[error("the file {path} with certificate authorities for mail.smtp_url cannot be read")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        cause: std::io::Error,
    },
    /// TLS cannot be set up.
    #[error("TLS to the mail server cannot be set up")]
    Tls(#[source] lettre::transport::smtp::Error),
}

/// Why a mail was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotQueued {
    /// No server is configured.
    #[error("no mail server is configured")]
    NotConfigured,
    /// [`MAX_QUEUED_MAILS`] wait already.
    #[error("too many mails wait to be sent")]
    Full,
    /// The process is about to end.
    #[error("no more mails are sent")]
    Stopping,
}

struct Queued {
    mail: Mail,
    /// Its place in the queue, until it is sent or given up.
    place: OwnedSemaphorePermit,
}

/// Takes mails. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mailer {
    queue: Option<mpsc::Sender<Queued>>,
    places: Arc<Semaphore>,
}

type Transport = AsyncSmtpTransport<Tokio1Executor>;

impl Mailer {
    /// Sends nothing: no server is configured.
    pub fn none() -> Self {
        Self { queue: None, places: Arc::new(Semaphore::new(0)) }
    }

    /// A mailer, and the task that delivers until `stop` ends.
    ///
    /// # Errors
    /// See [`MailStartError`].
    pub fn start(
        settings: MailSettings,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(Self, impl Future<Output = ()> + Send + 'static), MailStartError> {
        let transport = transport(&settings)?;
        let (queue, mails) = mpsc::channel(MAX_QUEUED_MAILS);
        let places = Arc::new(Semaphore::new(MAX_QUEUED_MAILS));
        Ok((Self { queue: Some(queue), places }, deliver_all(transport, settings.from, mails, stop)))
    }

    /// Whether mails can be sent at all.
    pub fn is_configured(&self) -> bool {
        self.queue.is_some()
    }

    /// Puts a mail into the queue, and does not wait for anything.
    ///
    /// # Errors
    /// See [`NotQueued`].
    pub fn send(&self, mail: Mail) -> Result<(), NotQueued> {
        let queue = self.queue.as_ref().ok_or(NotQueued::NotConfigured)?;
        let queued = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => queue.try_send(Queued { mail, place }).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => NotQueued::Full,
                mpsc::error::TrySendError::Closed(_) => NotQueued::Stopping,
            }),
            Err(_) => Err(NotQueued::Full),
        };
        if queued.is_err() {
            metrics::mail(MailResult::Refused);
        }
        queued
    }
}

fn transport(settings: &MailSettings) -> Result<Transport, MailStartError> {
    let SmtpUrl { host, port, protection, login } = &settings.smtp_url;
    let tls = match protection {
        Protection::None => Tls::None,
        Protection::StartTls => Tls::Required(tls_parameters(settings)?),
        Protection::Tls => Tls::Wrapper(tls_parameters(settings)?),
    };
    let mut builder = Transport::builder_dangerous(host).port(*port).tls(tls).timeout(Some(ATTEMPT_TIMEOUT));
    if let Some((user, password)) = login {
        builder = builder.credentials(Credentials::new(user.clone(), password.expose_secret().to_owned()));
    }
    Ok(builder.build())
}

fn tls_parameters(settings: &MailSettings) -> Result<TlsParameters, MailStartError> {
    let mut builder = TlsParameters::builder(settings.smtp_url.host.clone());
    if let Some(path) = &settings.ca_file {
        let unreadable = |cause| MailStartError::CaFile { path: path.clone(), cause };
        let pem = std::fs::read(path).map_err(unreadable)?;
        builder = builder.add_root_certificate(Certificate::from_pem(&pem).map_err(MailStartError::Tls)?);
    }
    builder.build().map_err(MailStartError::Tls)
}

async fn deliver_all(
    transport: Transport,
    from: Sender,
    mut mails: mpsc::Receiver<Queued>,
    stop: impl Future<Output = ()>,
) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut deliveries = JoinSet::new();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(Queued { mail, place }) = mails.recv() => {
                let Some(message) = mail.message(&from) else {
                    metrics::mail(MailResult::Undeliverable);
                    continue;
                };
                metrics::mail_queued(1.0);
                let (transport, connections) = (transport.clone(), Arc::clone(&connections));
                deliveries.spawn(async move {
                    metrics::mail(deliver(&transport, &connections, message).await);
                    metrics::mail_queued(-1.0);
                    drop(place);
                });
            }
            Some(_) = deliveries.join_next() => {}
            else => break, // every mailer is gone, and all is delivered
        }
    }
    let lost = deliveries.len().saturating_add(mails.len());
    if lost > 0 {
        tracing::warn!(mails = lost, "mails were not sent before the end; those who wait for one ask again");
    }
}

/// Sends one mail, again and again if need be.
async fn deliver(transport: &Transport, connections: &Semaphore, message: Message) -> MailResult {
    let mut waits = WAITS.into_iter();
    loop {
        let permit = connections.acquire().await;
        let sent = timeout(ATTEMPT_TIMEOUT, transport.send(message.clone())).await;
        drop(permit);
        let status = match sent {
            Ok(Ok(_)) => return MailResult::Sent,
            // The server's words may repeat the address: only its number is logged.
            Ok(Err(error)) if error.is_permanent() => {
                let status = error.status().map(|code| code.to_string());
                tracing::warn!(status, "the mail server refused a mail for good");
                return MailResult::Refused;
            }
            Ok(Err(error)) => error.status().map_or_else(|| kind(&error).to_owned(), |code| code.to_string()),
            Err(_) => "no answer in time".to_owned(),
        };
        let Some(wait) = waits.next() else {
            tracing::warn!(status, "a mail could not be sent and is given up");
            return MailResult::Failed;
        };
        metrics::mail(MailResult::Retried);
        tracing::warn!(status, again_in_seconds = wait.as_secs(), "a mail could not be sent yet");
        sleep(wait).await;
    }
}

/// What went wrong, without the words of the server.
fn kind(error: &lettre::transport::smtp::Error) -> &'static str {
    if error.is_tls() {
        "TLS failed"
    } else if error.is_timeout() {
        "no answer in time"
    } else if error.is_client() {
        "the server does not offer what is needed: is STARTTLS, or a login by password, switched on there?"
    } else {
        "the server cannot be reached"
    }
}
