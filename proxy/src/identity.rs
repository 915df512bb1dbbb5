//! Whose request is this? From credentials to a principal, and what becomes of the client's credential.
//!
//! In order: a MindWeave key in `x-mindweave-key`, which leaves the client's own Claude credential alone; a MindWeave key
//! where a Claude key belongs ("virtual key"), which is exchanged for the project's Claude key; a Claude credential that is
//! registered to a project; anything else, for which the configuration decides. A MindWeave key is never sent upstream.

use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use mindweave_policy::{CredentialKind, Fingerprint, Principal, Snapshot};

use crate::config::Unregistered;
use crate::error::ProxyError;
use crate::headers::{CredentialPlan, X_API_KEY};

/// Names the project of a request and leaves the Claude credential to the client.
const X_MINDWEAVE_KEY: HeaderName = HeaderName::from_static("x-mindweave-key");
/// What every MindWeave key starts with.
const KEY_PREFIX: &[u8] = b"mw_";
/// OAuth and workload-identity tokens: accepted by the API as a bearer only, unlike API keys.
pub(crate) const OAUTH_PREFIX: &str = "sk-ant-oat";

/// The owner of a request and what to do with its credential.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) principal: Arc<Principal>,
    pub(crate) credential: CredentialPlan,
    /// By what it was known.
    pub(crate) kind: CredentialKind,
}

/// Finds the owner of a request with these headers at this moment.
pub(crate) fn identify(
    headers: &HeaderMap,
    snapshot: &Snapshot,
    unregistered: Unregistered,
    now: Timestamp,
) -> Result<Identity, ProxyError> {
    if snapshot.revision == 0 {
        return Err(ProxyError::NoSnapshot); // a key that is not known yet is not an unknown key
    }
    let virtual_key = virtual_key(headers);
    let own_key = headers.get(X_MINDWEAVE_KEY).map(|value| value.as_bytes().trim_ascii());
    if let Some(key) = own_key.or(virtual_key.as_ref().map(|(_, key)| *key)) {
        let principal = key_owner(key, snapshot, now)?;
        // A MindWeave key in the place of a Claude key must not travel on, whichever key named the project.
        let (credential, kind) = match virtual_key {
            Some((header, _)) => (exchange(&header, &principal, snapshot)?, CredentialKind::VirtualKey),
            None => (CredentialPlan::Untouched, CredentialKind::MindweaveKey),
        };
        return Ok(Identity { principal, credential, kind });
    }

    let registered = registered_owner(headers, snapshot);
    let (principal, kind) = match (registered, unregistered) {
        (Some(principal), _) => (principal, CredentialKind::Registered),
        (None, Unregistered::Reject) => return Err(ProxyError::CredentialNotRegistered),
        (None, Unregistered::DefaultProject) => {
            let principal = snapshot.default_principal.clone().ok_or(ProxyError::DefaultProjectMissing)?;
            (principal, CredentialKind::Unregistered)
        }
    };
    Ok(Identity { principal, credential: CredentialPlan::Untouched, kind })
}

/// The MindWeave key that stands where a Claude key belongs, and in which header.
fn virtual_key(headers: &HeaderMap) -> Option<(HeaderName, &[u8])> {
    credentials(headers).find(|(_, credential)| credential.starts_with(KEY_PREFIX))
}

/// Every credential in the headers that the API reads, `x-api-key` first.
pub(crate) fn credentials(headers: &HeaderMap) -> impl Iterator<Item = (HeaderName, &[u8])> {
    let keys = headers.get_all(X_API_KEY).iter().map(|value| (X_API_KEY, value.as_bytes().trim_ascii()));
    let bearers =
        headers.get_all(AUTHORIZATION).iter().filter_map(|value| Some((AUTHORIZATION, bearer(value)?)));
    keys.chain(bearers)
}

/// The token of a `Bearer` credential. The scheme's case is free (RFC 9110, section 11.1). A MindWeave key without any
/// scheme counts as well: it is a mistake, but one that must not reach the API.
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    if value.as_bytes().starts_with(KEY_PREFIX) {
        return Some(value.as_bytes().trim_ascii());
    }
    let (scheme, token) = value.as_bytes().split_at_checked(b"bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

fn key_owner(key: &[u8], snapshot: &Snapshot, now: Timestamp) -> Result<Arc<Principal>, ProxyError> {
    let entry = snapshot.keys.get(&Fingerprint::of(key)).ok_or(ProxyError::KeyUnknown)?;
    match entry.expires_at {
        Some(expiry) if expiry <= now => Err(ProxyError::KeyExpired),
        Some(_) | None => Ok(Arc::clone(&entry.principal)),
    }
}

/// The project's Claude key in the header that the client used, because that is where its API generation looks for one.
fn exchange(
    client_header: &HeaderName,
    principal: &Principal,
    snapshot: &Snapshot,
) -> Result<CredentialPlan, ProxyError> {
    let secret = snapshot
        .projects
        .get(&principal.project_id)
        .and_then(|project| project.upstream_key.as_ref())
        .ok_or(ProxyError::UpstreamKeyMissing)?
        .expose_secret();
    let as_bearer = *client_header == AUTHORIZATION || secret.starts_with(OAUTH_PREFIX);
    let (name, text) =
        if as_bearer { (AUTHORIZATION, format!("Bearer {secret}")) } else { (X_API_KEY, secret.to_owned()) };
    let mut value = HeaderValue::try_from(text).map_err(|_| ProxyError::UpstreamKeyMissing)?; // a key with control characters is no key
    value.set_sensitive(true); // kept out of Debug output and of HTTP/2 header tables
    Ok(CredentialPlan::Replace { instead_of: client_header.clone(), name, value })
}

fn registered_owner(headers: &HeaderMap, snapshot: &Snapshot) -> Option<Arc<Principal>> {
    if snapshot.client_credentials.is_empty() {
        return None; // saves the hash where nobody registers credentials
    }
    credentials(headers)
        .find_map(|(_, credential)| snapshot.client_credentials.get(&Fingerprint::of(credential)).cloned())
}
