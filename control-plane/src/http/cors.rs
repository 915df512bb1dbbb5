//! Whether pages of other origins may call the API from a browser (the Fetch standard, section 3.3). Off unless origins are
//! configured. Tokens travel in `authorization`, which a page must know itself: credentials of the browser are never allowed.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, if-match, if-none-match, x-request-id",
);
const ANSWER_HEADERS: HeaderValue = HeaderValue::from_static(
    "etag, location, retry-after, idempotency-replayed, ratelimit, ratelimit-policy, x-request-id",
);
/// Seconds for which browsers may remember an answer. Chromium takes no more than two hours; a changed setting should not
/// take that long to work.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
/// Stands for every origin.
const ANY: &str = "*";

/// Origins whose pages may call. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowedOrigins(Arc<[String]>);

impl AllowedOrigins {
    /// As configured: `https://app.example.com`, or `*`.
    pub(crate) fn new(origins: Vec<String>) -> Self {
        Self(origins.into())
    }

    /// What `access-control-allow-origin` says to a page of this origin.
    fn answer(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        if self.0.iter().any(|allowed| allowed == ANY) {
            return Some(HeaderValue::from_static(ANY));
        }
        self.0.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then(|| origin.clone())
    }
}

/// Answers preflights, and lets pages of allowed origins read what they are answered. A request of any other origin is served
/// all the same: it is the browser that keeps the answer from the page.
pub(super) async fn guard(State(origins): State<AllowedOrigins>, request: Request, next: Next) -> Response {
    if origins.0.is_empty() {
        return next.run(request).await;
    }
    let allowed = request.headers().get(ORIGIN).and_then(|origin| origins.answer(origin));
    let mut response =
        if is_preflight(&request) { preflight(allowed.is_some()) } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("origin")); // also without one: caches must not mix them up
    if let Some(origin) = allowed {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, ANSWER_HEADERS);
        headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    }
    response
}

fn is_preflight(request: &Request) -> bool {
    let has = |headers: &HeaderMap, name| headers.contains_key(name);
    request.method() == Method::OPTIONS
        && has(request.headers(), ORIGIN)
        && has(request.headers(), ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight(allowed: bool) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if allowed {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
    response
}
