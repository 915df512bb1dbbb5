//! What is known of a certificate that a client has shown.

use std::sync::Arc;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What a certificate says of itself.
#[derive(Debug)]
pub(super) struct Facts {
    /// Its subject alternative names: DNS names, URIs and e-mail addresses. Where it has no such extension, its common name.
    pub(super) names: Vec<String>,
    /// From then on it is not valid any more.
    pub(super) expires_at: Timestamp,
}

impl Facts {
    /// Reads a certificate; `None` when it is none.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let expires_at = Timestamp::from_second(parsed.validity().not_after.timestamp()).ok()?;
        let names = match parsed.subject_alternative_name().ok()? {
            Some(extension) => extension.value.general_names.iter().filter_map(name).collect(),
            None => parsed
                .subject()
                .iter_common_name()
                .filter_map(|name| name.as_str().ok())
                .map(str::to_owned)
                .collect(),
        };
        Some(Self { names, expires_at })
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) | GeneralName::RFC822Name(name) => {
            Some((*name).to_owned())
        }
        _ => None,
    }
}

/// The certificate of a client, verified when it connected. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct PeerCertificate(Arc<Shown>);

#[derive(Debug)]
struct Shown {
    end: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
    facts: Facts,
}

impl PeerCertificate {
    /// The chain as the client sent it, its own certificate first; `None` when that cannot be read.
    pub(super) fn of(chain: &[CertificateDer<'static>]) -> Option<Self> {
        let (end, intermediates) = chain.split_first()?;
        let facts = Facts::of(end)?;
        Some(Self(Arc::new(Shown { end: end.clone(), intermediates: intermediates.to_vec(), facts })))
    }

    /// Whether it is made out to this name, letter case aside.
    pub(crate) fn is_for(&self, name: &str) -> bool {
        self.0.facts.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// The first of its names, for the log.
    pub(crate) fn name(&self) -> Option<&str> {
        self.0.facts.names.first().map(String::as_str)
    }

    /// From then on it is not valid any more.
    pub(crate) fn expires_at(&self) -> Timestamp {
        self.0.facts.expires_at
    }

    pub(super) fn with_chain<T>(
        &self,
        look: impl FnOnce(&CertificateDer<'static>, &[CertificateDer<'static>]) -> T,
    ) -> T {
        look(&self.0.end, &self.0.intermediates)
    }
}
