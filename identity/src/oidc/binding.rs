//! What ties a sign-on to the browser that began it.
//!
//! The browser keeps one random value in a cookie. The nonce and the PKCE verifier are made from it, so that MindWeave stores neither,
//! and nobody else's browser can finish the sign-on: without the cookie there is no verifier for the code, and no nonce that fits.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

/// Random bytes of the value.
const BYTES: usize = 32;

/// The random value, wiped when dropped.
pub struct Binding(Zeroizing<[u8; BYTES]>);

impl Binding {
    /// A new one. `None` when the operating system has no random bytes.
    pub fn generate() -> Option<Self> {
        let mut bytes = Zeroizing::new([0; BYTES]);
        SystemRandom::new().fill(bytes.as_mut_slice()).ok()?;
        Some(Self(bytes))
    }

    /// Reads the value of a cookie.
    pub fn from_cookie(text: &str) -> Option<Self> {
        let decoded = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).ok()?);
        Some(Self(Zeroizing::new(<[u8; BYTES]>::try_from(decoded.as_slice()).ok()?)))
    }

    /// The value of the cookie.
    pub fn cookie(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(self.0.as_slice()))
    }

    /// What is stored to recognise it.
    pub fn fingerprint(&self) -> String {
        self.derive(b"fingerprint").to_string()
    }

    /// The `nonce` of the request, which the ID token must repeat.
    pub fn nonce(&self) -> String {
        self.derive(b"nonce").to_string()
    }

    /// The PKCE verifier: 43 characters (RFC 7636, section 4.1).
    pub fn verifier(&self) -> Zeroizing<String> {
        self.derive(b"verifier")
    }

    /// The PKCE challenge, S256.
    pub fn challenge(&self) -> String {
        s256(&self.verifier())
    }

    fn derive(&self, purpose: &[u8]) -> Zeroizing<String> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_slice());
        Zeroizing::new(URL_SAFE_NO_PAD.encode(hmac::sign(&key, purpose)))
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Binding(..)")
    }
}

/// `BASE64URL(SHA256(verifier))`.
fn s256(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

/// Whether a verifier is the one of a challenge (RFC 7636, section 4.6).
pub(super) fn verifies(verifier: &str, challenge: &str) -> bool {
    s256(verifier) == challenge
}

impl Binding {
    /// Whether a client that gave this challenge has shown its verifier (RFC 7636, section 4.6): 43 to 128 characters.
    pub fn verifier_fits(verifier: &str, challenge: &str) -> bool {
        (43..=128).contains(&verifier.len()) && verifies(verifier, challenge)
    }
}
