//! From the code that the browser brought to the claims of the ID token.

use mindweave_policy::Secret;
use serde_json::{Map, Value};
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::binding::Binding;
use super::client::Registration;
use super::fault::{Document, FetchFault, MetadataFault, OidcError};
use super::fetch::{Credentials, Deadline, Http};
use super::metadata::Metadata;

/// What the browser came back with.
#[derive(Clone, Debug)]
pub struct Callback {
    /// `code`.
    pub code: Secret,
    /// `iss`, if the provider says it (RFC 9207).
    pub issuer: Option<String>,
    /// The very address that the request named.
    pub redirect_uri: String,
}

/// What the token endpoint gave.
pub(super) struct Tokens {
    pub(super) id_token: Zeroizing<String>,
    pub(super) access_token: Option<Secret>,
}

/// Refuses an answer that another provider sent the browser back with.
pub(super) fn check_answer(
    registration: &Registration,
    metadata: &Metadata,
    callback: &Callback,
) -> Result<(), OidcError> {
    match callback.issuer.as_deref() {
        Some(issuer) if issuer == registration.issuer.as_str() => Ok(()),
        None if !metadata.names_issuer_in_answers => Ok(()),
        _ => Err(OidcError::OtherIssuerAnswered),
    }
}

/// Exchanges the code.
pub(super) fn exchange(
    http: &Http,
    registration: &Registration,
    metadata: &Metadata,
    callback: &Callback,
    binding: &Binding,
    deadline: Deadline,
) -> Result<Tokens, OidcError> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "authorization_code")
        .append_pair("code", callback.code.expose_secret())
        .append_pair("redirect_uri", &callback.redirect_uri)
        .append_pair("code_verifier", &binding.verifier());
    let id = registration.client_id.as_str();
    let credentials = match &registration.client_secret {
        Some(secret) if metadata.secret_in_basic => Credentials::Basic { id, secret },
        Some(secret) if metadata.secret_in_post => {
            form.append_pair("client_id", id).append_pair("client_secret", secret.expose_secret());
            Credentials::None
        }
        Some(_) => return Err(MetadataFault::NoClientAuthentication.into()),
        None => {
            form.append_pair("client_id", id);
            Credentials::None
        }
    };
    let form = Zeroizing::new(form.finish());
    let (status, answer) =
        http.post(Document::Token, &metadata.token_endpoint, &credentials, &form, deadline)?;
    read(status, answer)
}

fn read(status: u16, answer: Map<String, Value>) -> Result<Tokens, OidcError> {
    let failed = |fault| OidcError::Fetch { document: Document::Token, fault };
    if status != 200 {
        let error = answer.get("error").and_then(Value::as_str);
        return Err(
            error.map_or(failed(FetchFault::Status(status)), |error| OidcError::Refused(known(error)))
        );
    }
    let mut tokens = answer;
    let mut take = |name: &str| match tokens.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let id_token = Zeroizing::new(take("id_token").ok_or(failed(FetchFault::NotJson))?);
    Ok(Tokens { id_token, access_token: take("access_token").map(Secret::new) })
}

/// The error's name, if it is one of RFC 6749, section 5.2: what a provider says is not repeated.
fn known(error: &str) -> &'static str {
    const KNOWN: [&str; 6] = [
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    ];
    KNOWN.into_iter().find(|known| *known == error).unwrap_or("for a reason of its own")
}
