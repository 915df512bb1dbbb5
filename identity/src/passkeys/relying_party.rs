//! Who we are to authenticators and browsers.

use std::net::IpAddr;

use http::Uri;
use webauthn_rp::request::{AsciiDomain, RpId};

/// This installation, as passkeys know it: the domain for which they are made, and the origin from which they are used.
#[derive(Clone, Debug)]
pub struct RelyingParty {
    pub(super) rp_id: RpId,
    pub(super) origin: String,
}

/// Why no passkeys can be made for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelyingPartyError {
    /// Passkeys belong to a domain (WebAuthn, section 5.1.3, step 7).
    #[error("passkeys need a host name: an address of digits has none")]
    NotADomain,
    /// Browsers offer passkeys in secure contexts only: HTTPS, or the machine itself
    /// (<https://w3c.github.io/webappsec-secure-contexts/#is-origin-trustworthy>).
    #[error("passkeys need https, but for localhost")]
    NotSecure,
}

impl RelyingParty {
    /// For the address under which people reach us.
    ///
    /// # Errors
    /// See [`RelyingPartyError`].
    pub fn new(public_url: &str) -> Result<Self, RelyingPartyError> {
        let uri: Uri = public_url.parse().map_err(|_| RelyingPartyError::NotADomain)?;
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        if host.is_empty() || host.starts_with('[') || host.parse::<IpAddr>().is_ok() {
            return Err(RelyingPartyError::NotADomain);
        }
        let local = host == "localhost" || host.ends_with(".localhost");
        let (scheme, usual_port) = match uri.scheme_str() {
            Some("https") => ("https", 443),
            Some("http") if local => ("http", 80),
            _ => return Err(RelyingPartyError::NotSecure),
        };
        // As browsers write an origin: without the port that goes without saying (RFC 6454, section 6.2).
        let origin = match uri.port_u16() {
            Some(port) if port != usual_port => format!("{scheme}://{host}:{port}"),
            _ => format!("{scheme}://{host}"),
        };
        let domain = AsciiDomain::try_from(host).map_err(|_| RelyingPartyError::NotADomain)?;
        Ok(Self { rp_id: RpId::Domain(domain), origin })
    }
}
