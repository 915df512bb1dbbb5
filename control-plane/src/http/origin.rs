//! Where a request came from, and the id by which logs, answers and the audit log name it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::USER_AGENT;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

use super::forwarded::TrustedProxies;
use crate::access::Origin;
use crate::{clock, entropy};

/// The header with the id of a request, in requests and answers.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that a client may give.
const MAX_REQUEST_ID_BYTES: usize = 128;
/// Longest name of a client that is kept.
const MAX_USER_AGENT_CHARS: usize = 200;

/// The peer of a connection, as an extension of its requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerAddress(pub(crate) SocketAddr);

/// Notes where a request came from, as an extension, and says its id in the answer and in every line of the log that is about it.
pub(super) async fn note(
    State(trusted): State<TrustedProxies>,
    mut request: Request,
    next: Next,
) -> Response {
    let request_id = request_id(request.headers());
    let peer = request.extensions().get::<PeerAddress>().map(|peer| peer.0.ip());
    let origin = Origin {
        request_id: Arc::clone(&request_id),
        address: peer.map(|peer| trusted.client(peer, request.headers())),
        user_agent: user_agent(request.headers()),
    };
    request.extensions_mut().insert(Arc::new(origin));
    let span = tracing::info_span!("request", %request_id, method = %request.method());
    let mut response = next.run(request).instrument(span).await;
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// What the client says, if it is harmless in a log, or a new one.
fn request_id(headers: &HeaderMap) -> Arc<str> {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let harmless = |text: &&str| {
        (1..=MAX_REQUEST_ID_BYTES).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(&byte))
    };
    given.filter(harmless).map_or_else(
        || {
            let random = entropy::bytes().unwrap_or_default(); // an id, not a secret
            mindweave_metering::EventId::generate(clock::now(), random).to_string().into()
        },
        Into::into,
    )
}

fn user_agent(headers: &HeaderMap) -> Option<Arc<str>> {
    let text = String::from_utf8_lossy(headers.get(USER_AGENT)?.as_bytes());
    Some(text.chars().filter(|char| !char.is_control()).take(MAX_USER_AGENT_CHARS).collect::<String>().into())
}
