//! From the files to what is in force, again and again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use ring::digest::{Context, SHA256};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::peer::Facts;
use super::{Current, TlsConfig, TlsError};
use crate::http::problem::chain;
use crate::tasks::Stop;
use crate::{clock, metrics};

/// The log says that a certificate is about to expire when it has less than this left. Public authorities renew a month
/// before the end: whoever has two weeks left was forgotten.
const EXPIRY_WARNING_DAYS: i64 = 14;

/// Tells whether the files are still those that were read, by their content: copies may keep the times of the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

/// The content of the files.
struct Files {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    client_ca: Option<(PathBuf, Vec<u8>)>,
}

impl Files {
    fn read(config: &TlsConfig) -> Result<Self, TlsError> {
        let client_ca = config.client_ca_file.as_ref();
        let client_ca = client_ca.map(|path| Ok((path.clone(), read(path)?))).transpose()?;
        Ok(Self {
            certificate: read(&config.certificate_file)?,
            key: Zeroizing::new(read(&config.key_file)?),
            client_ca,
        })
    }

    fn fingerprint(files: &Result<Self, TlsError>) -> Fingerprint {
        let mut context = Context::new(&SHA256);
        let mut part = |bytes: &[u8]| {
            context.update(&bytes.len().to_le_bytes());
            context.update(bytes);
        };
        match files {
            Ok(files) => {
                part(&files.certificate);
                part(&files.key);
                part(files.client_ca.as_ref().map_or(&[], |(_, content)| content));
            }
            Err(error) => part(chain(error).as_bytes()),
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(context.finish().as_ref()); // both have the 32 bytes of SHA-256
        Fingerprint(fingerprint)
    }

    fn load(&self, config: &TlsConfig) -> Result<Current, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients =
            self.client_ca.as_ref().map(|(path, content)| authorities(path, content)).transpose()?;
        let chain = certificates(&config.certificate_file, &self.certificate)?;
        let expiry = earliest_expiry(&config.certificate_file, &chain)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|cause| TlsError::Pem { path: config.key_file.clone(), cause })?;
        let certified = CertifiedKey::from_der(chain, key, &provider).map_err(TlsError::Key)?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Key)?;
        let builder = match &clients {
            Some((verifier, _)) => builder.with_client_cert_verifier(Arc::clone(verifier)),
            None => builder.with_no_client_auth(),
        };
        let mut server = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        tell_expiry("server", Some(expiry));
        tell_expiry("client_ca", clients.as_ref().map(|(_, expiry)| *expiry));
        Ok(Current { server: Arc::new(server), clients: clients.map(|(verifier, _)| verifier) })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|cause| TlsError::File { path: path.to_owned(), cause })
}

fn certificates(path: &Path, content: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(content).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|cause| TlsError::Pem { path: path.to_owned(), cause })?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(certificates)
}

/// Who vouches for clients, and when the first of them expires.
fn authorities(path: &Path, content: &[u8]) -> Result<(Arc<dyn ClientCertVerifier>, Timestamp), TlsError> {
    let certificates = certificates(path, content)?;
    let expiry = earliest_expiry(path, &certificates)?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        // One that cannot be used fails the whole file: a rotation that goes on without it would lock proxies out later.
        roots.add(certificate).map_err(|_| TlsError::Certificate { path: path.to_owned() })?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .allow_unauthenticated() // people's API clients have tokens; the routes of proxies ask for more
        .build()
        .map_err(|cause| TlsError::Authority { path: path.to_owned(), cause })?;
    Ok((verifier, expiry))
}

fn earliest_expiry(path: &Path, certificates: &[CertificateDer<'static>]) -> Result<Timestamp, TlsError> {
    let mut earliest = Timestamp::MAX;
    for certificate in certificates {
        let facts = Facts::of(certificate).ok_or_else(|| TlsError::Certificate { path: path.to_owned() })?;
        earliest = earliest.min(facts.expires_at);
    }
    Ok(earliest)
}

fn tell_expiry(certificate: &'static str, expires_at: Option<Timestamp>) {
    metrics::certificate_expiry(certificate, expires_at);
    let Some(expires_at) = expires_at else { return };
    let days = expires_at.duration_since(clock::now()).as_hours() / 24;
    if days < EXPIRY_WARNING_DAYS {
        tracing::warn!(certificate, %expires_at, days, "a certificate of the control plane is about to expire, or has");
    }
}

/// The first content of the files.
pub(super) fn first(config: &TlsConfig) -> Result<(Current, Fingerprint), TlsError> {
    let files = Files::read(config);
    let fingerprint = Files::fingerprint(&files);
    Ok((files?.load(config)?, fingerprint))
}

/// Puts later contents in force as they come, until the stop.
///
/// A content that cannot be used is looked at twice before it counts as broken: where two files are replaced one after the
/// other, the first look may see one of them new and one of them old.
pub(super) async fn follow(
    config: TlsConfig,
    current: watch::Sender<Arc<Current>>,
    mut seen: Fingerprint,
    mut stop: Stop,
) {
    let mut doubted = None;
    loop {
        tokio::select! {
            () = stop.stopped() => return,
            () = tokio::time::sleep(config.reload_interval) => {}
        }
        let files = config.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let content = Files::read(&files);
            let now = Files::fingerprint(&content);
            (now != seen).then(|| (now, content.and_then(|content| content.load(&files))))
        });
        let Ok(Some((now, loaded))) = looked.await else { continue };
        match loaded {
            Ok(loaded) => {
                (seen, doubted) = (now, None);
                current.send_replace(Arc::new(loaded));
                metrics::tls_reloaded();
                tracing::info!(file = ?config.certificate_file, "certificates reloaded");
            }
            Err(error) if doubted == Some(now) => {
                (seen, doubted) = (now, None);
                metrics::tls_reload_failed();
                tracing::error!(error = %chain(&error), "new certificates cannot be used, keeping the old");
            }
            Err(_) => doubted = Some(now),
        }
    }
}
