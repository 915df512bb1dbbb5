//! Whom this machine trusts.

use std::path::Path;
use std::sync::Arc;

use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

/// The machine's authorities, else the bundled ones, and those of the file.
pub(crate) fn trusted(ca_file: Option<&Path>) -> Result<RootCerts, String> {
    let native = rustls_native_certs::load_native_certs().certs;
    let mut certificates: Vec<Certificate<'static>> =
        native.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    let Some(file) = ca_file else {
        return Ok(if certificates.is_empty() {
            RootCerts::WebPki
        } else {
            RootCerts::Specific(Arc::new(certificates))
        });
    };
    let pem = std::fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let own = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let before = certificates.len();
    certificates.extend(own);
    if certificates.len() == before {
        return Err(format!("{} holds no certificate", file.display()));
    }
    Ok(RootCerts::Specific(Arc::new(certificates)))
}
