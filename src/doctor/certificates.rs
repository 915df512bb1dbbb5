//! Certificates and keys in files: whether they can be used, together, and for how long.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Check;
use crate::config::Config;

/// A certificate that has less than this left is about to expire. Public authorities renew a month before the end: whoever has
/// two weeks left was forgotten.
const EXPIRY_WARNING_DAYS: i64 = 14;
/// Names that are told of a certificate; the others are counted.
const NAMES_SHOWN: usize = 4;

/// What a certificate is shown as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To clients, who compare its names.
    Server,
    /// To a server.
    Client,
}

/// The certificate that the proxy shows to its clients, if it is to speak TLS.
pub(super) fn of_listener(config: &Config) -> Option<Check> {
    let files = config.proxy_tls_cert_file.as_ref().zip(config.proxy_tls_key_file.as_ref());
    files.map(|(certificate, key)| pair("TLS files", Purpose::Server, certificate, key))
}

/// What the control plane shows to its clients and whom it believes, or that it speaks in the clear.
pub(super) fn of_control_plane(config: &Config) -> Vec<Check> {
    const NAME: &str = "control plane TLS";
    let files = config.control_plane_tls_cert_file.as_ref().zip(config.control_plane_tls_key_file.as_ref());
    let Some((certificate, key)) = files else {
        let listen = config.control_plane_listen;
        if listen.ip().is_loopback() {
            return Vec::new();
        }
        return vec![Check::warn(
            NAME,
            format!("tokens and Claude keys travel in the clear to and from {listen}"),
            "set control_plane.tls.cert_file and control_plane.tls.key_file, unless something in front of it speaks TLS on this machine",
        )];
    };
    let mut checks = vec![pair(NAME, Purpose::Server, certificate, key)];
    checks.extend(config.control_plane_tls_client_ca_file.as_deref().map(authorities));
    checks
}

/// The certificate that the proxy shows to its control plane, if it is to show one.
pub(super) fn of_proxy(config: &Config) -> Option<Check> {
    let files =
        config.proxy_control_plane_cert_file.as_ref().zip(config.proxy_control_plane_key_file.as_ref());
    files.map(|(certificate, key)| pair("client certificate", Purpose::Client, certificate, key))
}

/// A certificate chain and its key.
fn pair(name: &'static str, purpose: Purpose, certificate: &Path, key: &Path) -> Check {
    let chain = match certificates(certificate) {
        Ok(chain) => chain,
        Err(problem) => return unreadable(name, problem),
    };
    let private = match PrivateKeyDer::from_pem_file(key) {
        Ok(private) => private,
        Err(rustls::pki_types::pem::Error::NoItemsFound) => {
            return unreadable(name, format!("{} holds no private key", key.display()));
        }
        Err(error) => return unreadable(name, format!("{} cannot be read: {error}", key.display())),
    };
    let provider = rustls::crypto::ring::default_provider();
    if let Err(error) = CertifiedKey::from_der(chain.clone(), private, &provider) {
        let detail = format!("{} and {} do not go together: {error}", certificate.display(), key.display());
        return Check::fail(name, detail, "put the key beside the certificate that was made for it");
    }
    let Some((end, rest)) = chain.split_first() else {
        return unreadable(name, format!("{} holds no certificate", certificate.display()));
    };
    if let Some((top, intermediates)) = rest.split_last()
        && let Err(error) = leads_up(purpose, end, intermediates, top)
    {
        let detail = format!(
            "the certificates in {} do not lead from one to the next: {error}",
            certificate.display()
        );
        return Check::fail(
            name,
            detail,
            "the first must be the own one, each next one the authority of the one before",
        );
    }
    match facts(end) {
        Some(facts) if facts.names.is_empty() && purpose == Purpose::Server => Check::fail(
            name,
            format!("the certificate in {} has no subject alternative name", certificate.display()),
            "make it anew with the names that clients call: they look nowhere else",
        ),
        Some(facts) => lasting(name, &facts.shown_names(), earliest(&chain).unwrap_or(facts.expires_at)),
        None => {
            unreadable(name, format!("{} holds a certificate that cannot be read", certificate.display()))
        }
    }
}

/// The authorities that vouch for proxies.
fn authorities(file: &Path) -> Check {
    const NAME: &str = "client authorities";
    let certificates = match certificates(file) {
        Ok(certificates) => certificates,
        Err(problem) => return unreadable(NAME, problem),
    };
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        let is_authority = X509Certificate::from_der(certificate).is_ok_and(|(_, parsed)| parsed.is_ca());
        if !is_authority || roots.add(certificate.clone()).is_err() {
            let detail = format!("{} holds a certificate that is no authority's", file.display());
            return Check::fail(
                NAME,
                detail,
                "put the authority there that signs the certificates of proxies",
            );
        }
    }
    let Some(expires_at) = earliest(&certificates) else {
        return unreadable(NAME, format!("{} holds a certificate that cannot be read", file.display()));
    };
    lasting(NAME, &format!("{} in {}", certificates.len(), file.display()), expires_at)
}

fn unreadable(name: &'static str, problem: String) -> Check {
    Check::fail(name, problem, "run this as the server's user, and check the path; files must be PEM")
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(format!("{} holds no certificate", file.display()))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("{} cannot be read: {error}", file.display())),
    }
}

/// Whether the last certificate of a chain vouches for the first, by those between.
fn leads_up(
    purpose: Purpose,
    end: &CertificateDer<'static>,
    intermediates: &[CertificateDer<'static>],
    top: &CertificateDer<'static>,
) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    roots.add(top.clone()).map_err(|error| error.to_string())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    match purpose {
        Purpose::Server => {
            let parsed =
                rustls::server::ParsedCertificate::try_from(end).map_err(|error| error.to_string())?;
            let algorithms = provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                &parsed,
                &roots,
                intermediates,
                UnixTime::now(),
                algorithms,
            )
        }
        Purpose::Client => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = verifier.build().map_err(|error| error.to_string())?;
            verifier.verify_client_cert(end, intermediates, UnixTime::now()).map(drop)
        }
    }
    .or_else(|error| match error {
        // Said better, with the day, by the check of how long it lasts.
        rustls::Error::InvalidCertificate(
            rustls::CertificateError::Expired | rustls::CertificateError::ExpiredContext { .. },
        ) => Ok(()),
        error => Err(error.to_string()),
    })
}

/// What a certificate says of itself.
struct Facts {
    names: Vec<String>,
    expires_at: Timestamp,
}

impl Facts {
    fn shown_names(&self) -> String {
        let shown = self.names.iter().take(NAMES_SHOWN).cloned().collect::<Vec<_>>().join(", ");
        match self.names.len().saturating_sub(NAMES_SHOWN) {
            0 if shown.is_empty() => "without a name".to_owned(),
            0 => format!("for {shown}"),
            more => format!("for {shown} and {more} more"),
        }
    }
}

fn facts(certificate: &CertificateDer<'static>) -> Option<Facts> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()?.map(|extension| {
        let names = extension.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::URI(name) | GeneralName::RFC822Name(name) => {
                Some((*name).to_owned())
            }
            GeneralName::IPAddress(bytes) => ip(bytes),
            _ => None,
        });
        names.collect()
    });
    let expires_at = Timestamp::from_second(parsed.validity().not_after.timestamp()).ok()?;
    Some(Facts { names: names.unwrap_or_default(), expires_at })
}

fn ip(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(std::net::IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(bytes).map(std::net::IpAddr::from);
    v4.or_else(|_| v6()).ok().map(|ip| ip.to_string())
}

fn earliest(certificates: &[CertificateDer<'static>]) -> Option<Timestamp> {
    certificates.iter().map(|certificate| facts(certificate).map(|facts| facts.expires_at)).min().flatten()
}

/// How long something lasts that expires then.
fn lasting(name: &'static str, what: &str, expires_at: Timestamp) -> Check {
    let left = expires_at.duration_since(Timestamp::now());
    let (days, day) = (left.as_hours() / 24, expires_at.strftime("%Y-%m-%d"));
    if left.is_negative() {
        let detail = format!("{what}: expired on {day}");
        return Check::fail(name, detail, "replace it: it is read again by itself, without a restart");
    }
    let detail = format!("{what}, until {day} ({days} days)");
    if days < EXPIRY_WARNING_DAYS {
        return Check::warn(
            name,
            detail,
            "replace it in time: it is read again by itself, without a restart",
        );
    }
    Check::ok(name, detail)
}

#[cfg(test)]
mod tests;
