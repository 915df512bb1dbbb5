//! When certificates expire, for metrics and warnings.

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// When the first certificate of a chain expires; `None` for an empty one, and for one that holds something unreadable.
pub(crate) fn earliest(chain: &[CertificateDer<'_>]) -> Option<Timestamp> {
    // `None` is less than any time.
    chain.iter().map(expires_at).min().flatten()
}

fn expires_at(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Timestamp::from_second(parsed.validity().not_after.timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn until(year: i32) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["x".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 3, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn the_first_end_of_a_chain_is_its_end() {
        let first: Timestamp = "2031-03-01T00:00:00Z".parse().unwrap();
        assert_eq!(earliest(&[until(2040), until(2031), until(2035)]), Some(first));
        assert_eq!(earliest(&[until(2040), CertificateDer::from(vec![1, 2, 3])]), None);
        assert_eq!(earliest(&[]), None);
    }
}
