//! The certificate shown to clients, reloaded when its files change.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::config::{ServerError, TlsConfig};
use crate::{certificate_expiry, metrics};

/// The certificate in force.
#[derive(Debug)]
struct Certificate(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// Loads the certificate and keeps looking for a new one for as long as the acceptor's server runs.
pub(super) fn start(config: &TlsConfig) -> Result<(TlsAcceptor, AbortOnDrop), ServerError> {
    let seen = Fingerprint::of(config);
    let certificate = Arc::new(Certificate(ArcSwap::from_pointee(load(config)?)));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let resolver: Arc<dyn ResolvesServerCert> = Arc::<Certificate>::clone(&certificate);
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ServerError::TlsKey)?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Clients resume sessions without the server remembering any.
    tls.ticketer = rustls::crypto::ring::Ticketer::new().map_err(ServerError::TlsKey)?;
    let watching = tokio::spawn(watch(config.clone(), certificate, seen));
    Ok((TlsAcceptor::from(Arc::new(tls)), AbortOnDrop(watching)))
}

/// Ends the watching task with the server it belongs to.
#[derive(Debug)]
pub(super) struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn watch(config: TlsConfig, certificate: Arc<Certificate>, mut seen: Fingerprint) {
    loop {
        tokio::time::sleep(config.reload_interval).await;
        let files = config.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let now = Fingerprint::of(&files);
            (now != seen).then(|| (now, load(&files)))
        });
        let Ok(Some((now, loaded))) = looked.await else { continue };
        // A failure is not tried again until the files change again: the second of two files is often still to come.
        seen = now;
        match loaded {
            Ok(loaded) => {
                certificate.0.store(Arc::new(loaded));
                metrics::server().tls_reloads.increment(1);
                tracing::info!(file = ?config.certificate_file, "certificate reloaded");
            }
            Err(error) => {
                metrics::server().tls_reload_failures.increment(1);
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, file = ?config.certificate_file, "new certificate cannot be used, keeping the old");
            }
        }
    }
}

/// Tells whether the files are still those that were loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint {
    certificate: Option<(SystemTime, u64)>,
    key: Option<(SystemTime, u64)>,
}

impl Fingerprint {
    fn of(config: &TlsConfig) -> Self {
        let file = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        Self { certificate: file(&config.certificate_file), key: file(&config.key_file) }
    }
}

fn load(config: &TlsConfig) -> Result<CertifiedKey, ServerError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |cause| ServerError::TlsFile { path, cause }
    };
    let chain = CertificateDer::pem_file_iter(&config.certificate_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable(&config.certificate_file))?;
    let expiry = certificate_expiry::earliest(&chain);
    let key = PrivateKeyDer::from_pem_file(&config.key_file).map_err(unreadable(&config.key_file))?;
    let loaded = CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())
        .map_err(ServerError::TlsKey)?;
    metrics::server().certificate_expires(expiry);
    Ok(loaded)
}
