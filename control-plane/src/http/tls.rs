//! TLS of the listener: the certificate that is shown, the authorities that vouch for proxies, and both read again when their
//! files change.
//!
//! Sessions are never resumed: a resumed session takes the client's certificate over from the first one without looking at
//! it again, also when its authority is not trusted any more. Who connects here stays connected, so it costs nothing.

mod files;
mod handshake;
mod peer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::UnixTime;
use rustls::server::danger::ClientCertVerifier;
use tokio::sync::watch;

pub(crate) use handshake::Handshaken;
pub(crate) use peer::PeerCertificate;

use crate::tasks::Tasks;

/// How often the files are looked at. Three small files: once a second costs nothing, and an authority that was taken out of
/// its file keeps nobody's door open for long.
pub const DEFAULT_TLS_RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// What the control plane shows to its clients, and whom it believes. The files are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// PEM: the server's certificate first, then the intermediates.
    pub certificate_file: PathBuf,
    /// PEM: its private key.
    pub key_file: PathBuf,
    /// PEM: the authorities that vouch for proxies. With it, whoever calls `/internal/v1` needs a certificate of theirs, and a
    /// certificate of anybody else is refused.
    pub client_ca_file: Option<PathBuf>,
    /// See [`DEFAULT_TLS_RELOAD_INTERVAL`].
    pub reload_interval: Duration,
}

impl TlsConfig {
    /// The certificate in these files, looked at in the default interval; clients need none.
    pub fn new(certificate_file: impl Into<PathBuf>, key_file: impl Into<PathBuf>) -> Self {
        Self {
            certificate_file: certificate_file.into(),
            key_file: key_file.into(),
            client_ca_file: None,
            reload_interval: DEFAULT_TLS_RELOAD_INTERVAL,
        }
    }
}

/// Why TLS cannot be served with these files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path:?}")]
    File {
        /// As configured.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        cause: io::Error,
    },
    /// A file is not PEM, or lacks what it is there for.
    #[error("{path:?} cannot be used")]
    Pem {
        /// As configured.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: rustls::pki_types::pem::Error,
    },
    /// A file holds no certificate.
    #[error("{path:?} holds no certificate")]
    NoCertificate {
        /// As configured.
        path: PathBuf,
    },
    /// A certificate that is none.
    #[error("{path:?} holds a certificate that cannot be read")]
    Certificate {
        /// As configured.
        path: PathBuf,
    },
    /// Certificate and key do not belong together, or are not supported.
    #[error("certificate and key cannot be used together")]
    Key(#[source] rustls::Error),
    /// An authority is none, or is not supported.
    #[error("{path:?} holds no authority that could vouch for proxies")]
    Authority {
        /// As configured.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: rustls::server::VerifierBuilderError,
    },
}

/// What is in force between two changes of the files.
#[derive(Debug)]
struct Current {
    server: Arc<ServerConfig>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

/// TLS as it is in force. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    current: watch::Receiver<Arc<Current>>,
}

impl Tls {
    /// Reads the files, and goes on looking at them for as long as the tasks run.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub(crate) fn start(config: TlsConfig, tasks: &mut Tasks) -> Result<Self, TlsError> {
        let (first, fingerprint) = files::first(&config)?;
        let (sender, current) = watch::channel(Arc::new(first));
        tasks.spawn("tls", files::follow(config, sender, fingerprint, tasks.stop()));
        Ok(Self { current })
    }

    /// Whether proxies need a certificate.
    pub(crate) fn wants_certificates(&self) -> bool {
        self.current.borrow().clients.is_some()
    }

    /// Whether the authorities in force vouch for this certificate now. It was so when it connected; since then it may have
    /// expired, or its authority may have been taken out.
    pub(crate) fn vouches_for(&self, peer: &PeerCertificate) -> bool {
        let current = Arc::clone(&self.current.borrow());
        let Some(clients) = &current.clients else { return false };
        peer.vouched_for(&current, |end, intermediates| {
            clients.verify_client_cert(end, intermediates, UnixTime::now()).is_ok()
        })
    }

    /// Waits until something else is in force; for ever once nobody looks any more.
    pub(crate) async fn changed(&mut self) {
        if self.current.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.borrow().server)
    }
}

#[cfg(test)]
mod tests;
