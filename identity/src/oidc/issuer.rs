//! What may be an issuer.

use std::net::IpAddr;

use url::{Host, Url};

/// Longest issuer. Those of the large providers stay below 100.
const MAX_CHARS: usize = 512;

/// The address by which a provider is known, exactly as it writes it itself. `https`, or `http` on this very machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Issuer(String);

/// Why a text is no issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssuerFault {
    /// Not a URL.
    #[error("must be a URL, for example https://accounts.google.com")]
    NoUrl,
    /// Could be read on its way.
    #[error("must be an https URL (http only for this very machine)")]
    Insecure,
    /// Has what no issuer has.
    #[error("must not have a user, a query or a fragment")]
    Surplus,
    /// Too long.
    #[error("must have at most {MAX_CHARS} characters")]
    TooLong,
}

impl Issuer {
    /// Checks a text.
    ///
    /// # Errors
    /// See [`IssuerFault`].
    pub fn new(text: &str) -> Result<Self, IssuerFault> {
        if text.len() > MAX_CHARS {
            return Err(IssuerFault::TooLong);
        }
        let url = Url::parse(text).map_err(|_| IssuerFault::NoUrl)?;
        if url.cannot_be_a_base() || text.contains(|char: char| char.is_whitespace() || char.is_control()) {
            return Err(IssuerFault::NoUrl);
        }
        if !is_safe(&url) {
            return Err(IssuerFault::Insecure);
        }
        let named = !url.username().is_empty() || url.password().is_some();
        if named || url.query().is_some() || url.fragment().is_some() {
            return Err(IssuerFault::Surplus);
        }
        Ok(Self(text.to_owned()))
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is called without TLS, which is possible on this very machine only.
    pub fn is_in_the_clear(&self) -> bool {
        Url::parse(&self.0).is_ok_and(|url| url.scheme() != "https")
    }

    /// Where its discovery document is (OpenID Connect Discovery 1.0, section 4.1).
    pub(super) fn discovery_url(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.0.trim_end_matches('/'))
    }
}

/// Whether what is sent there can be read by nobody on its way.
pub(super) fn is_safe(url: &Url) -> bool {
    match url.scheme() {
        "https" => url.host().is_some(),
        "http" => is_loopback(url),
        _ => false,
    }
}

/// Whether it is this very machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}
