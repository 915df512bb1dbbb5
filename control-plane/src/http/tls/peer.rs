//! What is known of a certificate that a client has shown.

use std::sync::{Arc, Weak};

use jiff::Timestamp;
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Current;
use crate::clock;

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
    names: Vec<String>,
    /// When the first certificate of the chain expires.
    expires_at: Timestamp,
    /// Who has vouched for it: neither signatures nor authorities change, so that only time can end that.
    vouched_by: Mutex<Weak<Current>>,
}

impl PeerCertificate {
    /// The chain as the client sent it, its own certificate first; `None` when that cannot be read.
    pub(super) fn of(chain: &[CertificateDer<'static>]) -> Option<Self> {
        let (end, intermediates) = chain.split_first()?;
        let Facts { names, mut expires_at } = Facts::of(end)?;
        for intermediate in intermediates {
            expires_at = expires_at.min(Facts::of(intermediate)?.expires_at);
        }
        let (end, intermediates) = (end.clone(), intermediates.to_vec());
        let vouched_by = Mutex::default();
        Some(Self(Arc::new(Shown { end, intermediates, names, expires_at, vouched_by })))
    }

    /// Whether it is made out to this name, letter case aside.
    pub(crate) fn is_for(&self, name: &str) -> bool {
        self.0.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// The first of its names, for the log.
    pub(crate) fn name(&self) -> Option<&str> {
        self.0.names.first().map(String::as_str)
    }

    /// Whether these authorities vouch for it now, by `verify` where that is not known.
    pub(super) fn vouched_for(
        &self,
        by: &Arc<Current>,
        verify: impl FnOnce(&CertificateDer<'static>, &[CertificateDer<'static>]) -> bool,
    ) -> bool {
        let mut vouched_by = self.0.vouched_by.lock();
        if vouched_by.ptr_eq(&Arc::downgrade(by)) && clock::now() < self.0.expires_at {
            return true;
        }
        let vouched_for = verify(&self.0.end, &self.0.intermediates);
        *vouched_by = if vouched_for { Arc::downgrade(by) } else { Weak::new() };
        vouched_for
    }
}
