//! Versions of what the API shows: `ETag` in answers, `If-Match` in changes (RFC 9110, section 13.1.1).

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::header::{ETAG, IF_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde::Serialize;

use super::problem::{Code, Problem};

/// Bytes of a hash that make a tag: two versions of one thing do not meet by chance.
const TAG_BYTES: usize = 16;

/// An answer that says which version it shows.
#[derive(Debug)]
pub(crate) struct Tagged<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let tag = tag(&self.0).parse::<HeaderValue>();
        let mut response = Json(self.0).into_response();
        if let (StatusCode::OK, Ok(tag)) = (response.status(), tag) {
            response.headers_mut().insert(ETAG, tag);
        }
        response
    }
}

/// What a change is based on: the version of `If-Match`, if there is one.
#[derive(Clone, Debug)]
pub(crate) struct IfMatch(Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(read(&parts.headers)))
    }
}

fn read(headers: &HeaderMap) -> Option<String> {
    let given: Vec<_> =
        headers.get_all(IF_MATCH).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    (!given.is_empty()).then(|| given.join(","))
}

impl IfMatch {
    /// Refuses a change that is based on another version than this one, which the API shows now.
    ///
    /// # Errors
    /// 412 `precondition_failed`.
    pub(crate) fn check(&self, shown: &impl Serialize) -> Result<(), Problem> {
        let Some(given) = &self.0 else { return Ok(()) };
        let tag = tag(shown);
        if given.split(',').map(str::trim).any(|given| given == "*" || given == tag) {
            return Ok(());
        }
        Err(Problem::new(
            Code::PreconditionFailed,
            "this was changed since you read it: read it again, and send its etag as if-match",
        ))
    }
}

fn tag(shown: &impl Serialize) -> String {
    let json = serde_json::to_vec(shown).unwrap_or_default(); // what the API answers is JSON
    let hash = digest(&SHA256, &json);
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(hash.as_ref().get(..TAG_BYTES).unwrap_or_default()))
}
