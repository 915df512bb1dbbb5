//! Answers as gzip or zstd, for clients that accept it.
//!
//! An answer that holds a secret may be compressed too: the attack on compressed secrets (BREACH) wants a secret and a text of
//! the attacker's choice in one body, asked for often by somebody else's browser with the browser's own credentials. Secrets are
//! in one answer only, nothing of a request is repeated beside them, and browsers have no credentials for this API.

use axum::extract::Request;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use http_body::Body;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::Predicate;

use super::etag;

/// Shortest answer that is compressed: below it, what is saved fits into the packet anyway.
const LEAST_BYTES: u64 = 1_024;
/// Kinds of answers that end in their own time: a compressor would hold back what is to be read at once.
const STREAMS: [&str; 2] = ["text/event-stream", "application/x-ndjson"];

/// What may be compressed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Worthwhile;

impl Predicate for Worthwhile {
    fn should_compress<B: Body>(&self, response: &axum::http::Response<B>) -> bool {
        let size = response.body().size_hint();
        let large = size.exact().is_none_or(|bytes| bytes >= LEAST_BYTES);
        large && !is_stream(response.headers())
    }
}

fn is_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    STREAMS.iter().any(|stream| kind.starts_with(stream.as_bytes()))
}

/// Compresses at the fastest level: most of what can be saved of JSON is saved at once.
pub(super) fn layer() -> CompressionLayer<Worthwhile> {
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(Worthwhile)
}

/// Gives a compressed answer a tag of its own: its bytes are others. See [`etag`].
pub(super) async fn tag_codings(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if let (Some(coding), Some(tag)) = (headers.get(CONTENT_ENCODING), headers.get(ETAG))
        && let Some(tag) = etag::of_coding(tag, coding)
    {
        headers.insert(ETAG, tag);
    }
    response
}
