//! What an ID token must say (OpenID Connect Core 1.0, section 3.1.3.7).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mindweave_policy::Secret;
use ring::digest::digest;
use serde_json::{Map, Value};

use super::fault::TokenFault;
use super::jws::Algorithm;

/// How far clocks may differ, in seconds.
const CLOCK_SKEW: i64 = 60;
/// How long ago a token that was just handed out may have been made, in seconds.
const MAX_AGE: i64 = 600;
/// Longest subject (section 2 of the same).
const MAX_SUBJECT_BYTES: usize = 255;

/// What the token is compared with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    /// What came along with the token, and how the token was signed.
    pub(super) access_token: Option<(&'a Secret, Algorithm)>,
    /// Seconds since 1970.
    pub(super) now: i64,
}

/// Checks the claims of a token whose signature was verified.
pub(super) fn check(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), TokenFault> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(expected.issuer) {
        return Err(TokenFault::Issuer);
    }
    check_audience(claims, expected.client_id)?;
    check_times(claims, expected.now)?;
    if text("nonce") != Some(expected.nonce) {
        return Err(TokenFault::Nonce);
    }
    if let (Some((token, algorithm)), Some(given)) = (expected.access_token, claims.get("at_hash"))
        && given.as_str() != Some(&*access_token_hash(token, algorithm))
    {
        return Err(TokenFault::AccessTokenHash);
    }
    subject(claims).map(drop).ok_or(TokenFault::Subject)
}

/// Whom the claims are about.
pub(super) fn subject(claims: &Map<String, Value>) -> Option<&str> {
    let subject = claims.get("sub")?.as_str()?;
    let fits = (1..=MAX_SUBJECT_BYTES).contains(&subject.len()) && !subject.contains(char::is_control);
    fits.then_some(subject)
}

fn check_audience(claims: &Map<String, Value>, client_id: &str) -> Result<(), TokenFault> {
    let (contains, several) = match claims.get("aud") {
        Some(Value::String(audience)) => (audience == client_id, false),
        Some(Value::Array(audiences)) => {
            (audiences.iter().any(|audience| audience.as_str() == Some(client_id)), audiences.len() > 1)
        }
        _ => (false, false),
    };
    if !contains {
        return Err(TokenFault::Audience);
    }
    match claims.get("azp") {
        Some(party) if party.as_str() == Some(client_id) => Ok(()),
        Some(_) => Err(TokenFault::AuthorizedParty),
        None if several => Err(TokenFault::AuthorizedParty),
        None => Ok(()),
    }
}

fn check_times(claims: &Map<String, Value>, now: i64) -> Result<(), TokenFault> {
    let time = |name: &str| claims.get(name).and_then(Value::as_i64);
    let expires = time("exp").ok_or(TokenFault::Expired)?;
    if expires <= now.saturating_sub(CLOCK_SKEW) {
        return Err(TokenFault::Expired);
    }
    let issued = time("iat").ok_or(TokenFault::IssuedAt)?;
    if issued > now.saturating_add(CLOCK_SKEW) || issued < now.saturating_sub(MAX_AGE) {
        return Err(TokenFault::IssuedAt);
    }
    match claims.get("nbf") {
        Some(from) if from.as_i64().is_none_or(|from| from > now.saturating_add(CLOCK_SKEW)) => {
            Err(TokenFault::IssuedAt)
        }
        _ => Ok(()),
    }
}

fn access_token_hash(token: &Secret, algorithm: Algorithm) -> String {
    let hash = digest(algorithm.hash(), token.expose_secret().as_bytes());
    let hash = hash.as_ref();
    URL_SAFE_NO_PAD.encode(hash.get(..hash.len() / 2).unwrap_or_default())
}
