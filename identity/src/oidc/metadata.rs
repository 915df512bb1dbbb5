//! The discovery document.

use serde_json::{Map, Value};
use url::Url;

use super::fault::MetadataFault;
use super::issuer::{Issuer, is_safe};
use super::jws::Algorithm;

/// Entra ID's issuer in the documents for more than one tenant:
/// <https://learn.microsoft.com/entra/identity-platform/access-tokens#validate-the-issuer>.
const TENANT_PLACEHOLDER: &str = "{tenantid}";
/// Longest issuer that is repeated in an error.
const MAX_SHOWN_CHARS: usize = 200;

/// What a provider says of itself, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    pub(super) userinfo_endpoint: Option<Url>,
    pub(super) jwks_uri: Url,
    pub(super) secret_in_basic: bool,
    pub(super) secret_in_post: bool,
    /// Whether every answer to the browser names its issuer (RFC 9207).
    pub(super) names_issuer_in_answers: bool,
}

impl Metadata {
    /// Reads and checks a document.
    ///
    /// # Errors
    /// See [`MetadataFault`].
    pub fn read(issuer: &Issuer, document: &Map<String, Value>) -> Result<Self, MetadataFault> {
        let said = text(document, "issuer").ok_or(MetadataFault::Missing("issuer"))?;
        if said != issuer.as_str() {
            return Err(if said.contains(TENANT_PLACEHOLDER) {
                MetadataFault::AllTenants
            } else {
                MetadataFault::OtherIssuer(said.chars().take(MAX_SHOWN_CHARS).collect())
            });
        }
        if !offers(document, "response_types_supported", "code", false) {
            return Err(MetadataFault::NoCodeFlow);
        }
        // Entra ID takes S256 and does not say so.
        if !offers(document, "code_challenge_methods_supported", "S256", true) {
            return Err(MetadataFault::NoS256);
        }
        let algorithms = texts(document, "id_token_signing_alg_values_supported");
        if algorithms.is_some_and(|names| !names.iter().any(|name| Algorithm::from_name(name).is_some())) {
            return Err(MetadataFault::NoAlgorithm);
        }
        const METHODS: &str = "token_endpoint_auth_methods_supported";
        let endpoint = |name| endpoint(issuer, document, name);
        let required = |name| endpoint(name)?.ok_or(MetadataFault::Missing(name));
        Ok(Self {
            authorization_endpoint: required("authorization_endpoint")?,
            token_endpoint: required("token_endpoint")?,
            userinfo_endpoint: endpoint("userinfo_endpoint")?,
            jwks_uri: required("jwks_uri")?,
            secret_in_basic: offers(document, METHODS, "client_secret_basic", true),
            secret_in_post: offers(document, METHODS, "client_secret_post", false),
            names_issuer_in_answers: document.get("authorization_response_iss_parameter_supported")
                == Some(&Value::Bool(true)),
        })
    }
}

fn text<'a>(document: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    document.get(name).and_then(Value::as_str)
}

fn texts<'a>(document: &'a Map<String, Value>, name: &str) -> Option<Vec<&'a str>> {
    Some(document.get(name)?.as_array()?.iter().filter_map(Value::as_str).collect())
}

/// Whether a list has an entry; `otherwise`: what holds if there is no list.
fn offers(document: &Map<String, Value>, list: &str, entry: &str, otherwise: bool) -> bool {
    texts(document, list).map_or(otherwise, |entries| entries.contains(&entry))
}

/// An endpoint in the clear is on this very machine, and only an issuer in the clear, which is on it as well, may name one: else any
/// provider could have MindWeave send what it likes to what listens here.
fn endpoint(
    issuer: &Issuer,
    document: &Map<String, Value>,
    name: &'static str,
) -> Result<Option<Url>, MetadataFault> {
    let Some(text) = text(document, name) else { return Ok(None) };
    let fits = |url: &Url| {
        let named = !url.username().is_empty() || url.password().is_some();
        is_safe(url)
            && (url.scheme() == "https" || issuer.is_in_the_clear())
            && url.fragment().is_none()
            && !named
    };
    let url = Url::parse(text).ok().filter(fits);
    url.map(Some).ok_or(MetadataFault::Insecure(name))
}
