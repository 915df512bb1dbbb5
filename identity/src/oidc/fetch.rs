//! HTTP with a provider: bounded in time and size, no redirects, the machine's trust.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mindweave_policy::Secret;
use serde_json::{Map, Value};
use ureq::http::{Request, Response};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body};
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use super::fault::{Document, FetchFault, OidcError};
use super::issuer::is_loopback;

/// Longest wait for one answer. Providers answer within a second.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// Longest answer: hundreds of keys, or thousands of groups.
const MAX_ANSWER_BYTES: u64 = 512 * 1024;

/// When everything that belongs to one sign-on has to be over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Instant);

impl Deadline {
    pub(super) fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    fn left(self) -> Option<Duration> {
        let left = self.0.saturating_duration_since(Instant::now());
        (!left.is_zero()).then(|| left.min(ANSWER_TIMEOUT))
    }
}

/// How the client proves itself to the token endpoint.
pub(super) enum Credentials<'a> {
    None,
    Basic { id: &'a str, secret: &'a Secret },
    Bearer(&'a Secret),
}

/// A client of providers.
pub(super) struct Http(Agent);

impl Http {
    /// Trusts what this machine trusts, so that a company's own authority works.
    pub(super) fn new() -> Self {
        let native = rustls_native_certs::load_native_certs().certs;
        let certificates: Vec<Certificate<'static>> =
            native.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        let roots = if certificates.is_empty() {
            RootCerts::WebPki
        } else {
            RootCerts::Specific(Arc::new(certificates))
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .user_agent("mindweave")
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build();
        Self(config.into())
    }

    /// A JSON object.
    pub(super) fn get(
        &self,
        document: Document,
        url: &Url,
        credentials: &Credentials<'_>,
        deadline: Deadline,
    ) -> Result<Map<String, Value>, OidcError> {
        let (status, object) = self.call(document, url, credentials, None, deadline)?;
        match status {
            200 => object.ok_or(OidcError::Fetch { document, fault: FetchFault::NotJson }),
            status => Err(OidcError::Fetch { document, fault: FetchFault::Status(status) }),
        }
    }

    /// A form's answer, with its status: refusals of the token endpoint are objects as well.
    pub(super) fn post(
        &self,
        document: Document,
        url: &Url,
        credentials: &Credentials<'_>,
        form: &str,
        deadline: Deadline,
    ) -> Result<(u16, Map<String, Value>), OidcError> {
        let (status, object) = self.call(document, url, credentials, Some(form), deadline)?;
        let fault = if status == 200 { FetchFault::NotJson } else { FetchFault::Status(status) };
        object.map(|object| (status, object)).ok_or(OidcError::Fetch { document, fault })
    }

    fn call(
        &self,
        document: Document,
        url: &Url,
        credentials: &Credentials<'_>,
        form: Option<&str>,
        deadline: Deadline,
    ) -> Result<(u16, Option<Map<String, Value>>), OidcError> {
        let failed = |fault| OidcError::Fetch { document, fault };
        let left = deadline.left().ok_or(failed(FetchFault::Timeout))?;
        let response = self.run(url, credentials, form, left).map_err(|error| failed(fault_of(&error)))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(failed(FetchFault::Redirected));
        }
        let mut body = response.into_body();
        let bytes = body.with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
        let bytes = Zeroizing::new(bytes.map_err(|error| failed(fault_of(&error)))?);
        let object = match serde_json::from_slice(&bytes) {
            Ok(Value::Object(object)) => Some(object),
            _ => None,
        };
        Ok((status.as_u16(), object))
    }

    fn run(
        &self,
        url: &Url,
        credentials: &Credentials<'_>,
        form: Option<&str>,
        left: Duration,
    ) -> Result<Response<Body>, ureq::Error> {
        let mut request = Request::builder()
            .method(if form.is_some() { "POST" } else { "GET" })
            .uri(url.as_str())
            .header("accept", "application/json");
        if let Some(value) = authorization(credentials) {
            request = request.header("authorization", value.as_str());
        }
        if form.is_some() {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        // A proxy of the environment is for other machines.
        let direct = is_loopback(url);
        match form {
            Some(form) => {
                let request = request.body(form.as_bytes().to_vec())?;
                let config = self.0.configure_request(request).timeout_global(Some(left));
                let config = if direct { config.proxy(None) } else { config };
                self.0.run(config.build())
            }
            None => {
                let request = request.body(())?;
                let config = self.0.configure_request(request).timeout_global(Some(left));
                let config = if direct { config.proxy(None) } else { config };
                self.0.run(config.build())
            }
        }
    }
}

/// Id and secret are encoded as in a form first (RFC 6749, section 2.3.1).
fn authorization(credentials: &Credentials<'_>) -> Option<Zeroizing<String>> {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    Some(Zeroizing::new(match credentials {
        Credentials::None => return None,
        Credentials::Basic { id, secret } => {
            let pair = Zeroizing::new(format!(
                "{}:{}",
                encoded(id),
                *Zeroizing::new(encoded(secret.expose_secret()))
            ));
            format!("Basic {}", STANDARD.encode(pair.as_bytes()))
        }
        Credentials::Bearer(token) => format!("Bearer {}", token.expose_secret()),
    }))
}

fn fault_of(error: &ureq::Error) -> FetchFault {
    use ureq::Error;
    match error {
        Error::Timeout(_) => FetchFault::Timeout,
        Error::HostNotFound => FetchFault::UnknownHost,
        Error::BodyExceedsLimit(_) => FetchFault::TooLarge,
        Error::TooManyRedirects | Error::RedirectFailed => FetchFault::Redirected,
        Error::Tls(_) | Error::Pem(_) | Error::Rustls(_) => FetchFault::Tls,
        // rustls' refusals come as data that makes no sense.
        Error::Io(cause) if cause.kind() == std::io::ErrorKind::InvalidData => FetchFault::Tls,
        Error::Io(cause) if cause.kind() == std::io::ErrorKind::TimedOut => FetchFault::Timeout,
        _ => FetchFault::Unreachable,
    }
}
