//! What every answer tells browsers, whoever made it.

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use super::tls::Tls;

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Where an answer sets none of its own: an API's answers load nothing, run nothing and are shown in no frame.
const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
/// Where an answer sets none of its own: answers are about people, money and keys, and no cache is to hold them.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// Two years, which lists of browsers want. Names below this one are not ours to decide about.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=63072000");

/// How the listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Plain,
    Tls,
}

impl Transport {
    /// What a listener speaks that has this.
    pub(crate) fn of(tls: Option<&Tls>) -> Self {
        if tls.is_some() { Self::Tls } else { Self::Plain }
    }
}

/// Adds what an answer does not say itself.
pub(super) async fn add(State(transport): State<Transport>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(POLICY);
    headers.entry(CACHE_CONTROL).or_insert(NO_STORE);
    if transport == Transport::Tls {
        headers.insert(STRICT_TRANSPORT_SECURITY, HSTS);
    }
    response
}
