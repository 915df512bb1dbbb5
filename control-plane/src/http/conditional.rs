//! Answers that the client has already: `If-None-Match` on reads (RFC 9110, section 13.1.2).

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::etag::{Comparison, Tags};

/// Replaces an answer by 304 where its `ETag` is one of those that the client has. Weak comparison: it is about a copy for
/// reading.
pub(super) async fn not_modified(request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let known = if reads { Tags::of(request.headers(), &IF_NONE_MATCH) } else { None };
    let mut response = next.run(request).await;
    let Some(known) = known else { return response };
    if response.status() == StatusCode::OK && has(&known, response.headers()) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::empty();
        response.headers_mut().remove(CONTENT_TYPE);
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    response
}

fn has(known: &Tags, headers: &HeaderMap) -> bool {
    let tag = headers.get(ETAG).map(HeaderValue::as_bytes).and_then(|tag| std::str::from_utf8(tag).ok());
    tag.is_some_and(|tag| known.contain(tag, Comparison::Weak))
}
