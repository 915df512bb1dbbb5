//! How we trust an upstream: as the machine does, plus a configured authority.

use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::config::{UpstreamConfig, UpstreamConfigError, UpstreamProtocol};

/// A certificate to show to a server, with its chain and its key.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// The settings of every TLS connection to a server. Sessions are resumed, for the store is in these settings, unless there is
/// a certificate to show: a resumed session would be about the one shown first.
pub(super) fn client_config(
    config: &UpstreamConfig,
    identity: Option<Identity>,
) -> Result<Arc<ClientConfig>, UpstreamConfigError> {
    let mut roots = machine_roots();
    if let Some(path) = &config.extra_ca_file {
        trust_file(&mut roots, path)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(UpstreamConfigError::Tls)?
        .with_root_certificates(roots);
    let mut tls = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { chain, key }) => {
            let mut tls = builder.with_client_auth_cert(chain, key).map_err(UpstreamConfigError::Identity)?;
            tls.resumption = Resumption::disabled();
            tls
        }
    };
    tls.alpn_protocols = match config.protocol {
        UpstreamProtocol::Http1 => vec![b"http/1.1".to_vec()],
        UpstreamProtocol::Http2 => vec![b"h2".to_vec()],
        UpstreamProtocol::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    };
    Ok(Arc::new(tls))
}

/// What the machine trusts, so that company CAs work; Mozilla's list where there is nothing, as in slim containers.
fn machine_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(error = %error, "part of the machine's certificate store cannot be read");
    }
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::info!(ignored, "no usable certificate authorities on this machine, using the bundled list");
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

fn trust_file(roots: &mut RootCertStore, path: &Path) -> Result<(), UpstreamConfigError> {
    let unreadable = |cause| UpstreamConfigError::ExtraCa { path: path.to_owned(), cause };
    let certificates = CertificateDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    let (added, _ignored) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(UpstreamConfigError::NoExtraCa { path: path.to_owned() });
    }
    Ok(())
}
