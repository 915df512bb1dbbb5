//! From a request to its answer: receive, judge the head, ask the endpoint, log how it ends.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;

use crate::answer::Answer;
use crate::body::{AnswerBody, Line};
use crate::endpoint::{self, Received, UploadReader};
use crate::exchange::Exchange;
use crate::fault::Fault;
use crate::inquiry::ApiVersion;
use crate::inspect;
use crate::intake::Intake;
use crate::request_log::ExchangeWatch;
use crate::state::{AnswerKey, State};
use crate::steering::Steering;
use crate::wire::CutSwitch;

/// What a credential contains that the simulated service takes for invalid.
const INVALID_MARK: &str = "invalid";
/// A MindWeave key must never reach the service.
const FOREIGN_PREFIX: &str = "mw_";
const OAUTH_PREFIX: &str = "sk-ant-oat";
const OAUTH_BETA: &str = "oauth-2025-04-20";

/// Answers one request.
pub(crate) async fn handle(
    state: Arc<State>,
    switch: CutSwitch,
    request: Request<Incoming>,
) -> Response<AnswerBody> {
    let (parts, body) = request.into_parts();
    let line = if parts.version == Version::HTTP_2 { Line::Http2 } else { Line::Http1(switch) };
    if let Some(page) = parts.uri.path().strip_prefix("/_simulator/") {
        let answer = inspect::answer(&state.log, &parts, page);
        return AnswerBody::response(answer, &parts.method, line, ExchangeWatch::unlogged(&state.log));
    }
    let watch = state.log.begin(&parts);
    let method = parts.method.clone();
    let answer = answered(&state, parts, body, &watch).await;
    if !answer.delivery.first_byte_delay.is_zero() {
        // Dropped with the connection when the client does not wait: the watch then tells so.
        tokio::time::sleep(answer.delivery.first_byte_delay).await;
    }
    AnswerBody::response(answer, &method, line, watch)
}

async fn answered(state: &State, parts: Parts, body: Incoming, watch: &ExchangeWatch) -> Answer {
    let received = match receive(&parts, body, watch).await {
        Ok(received) => received,
        Err(fault) => return refused(state, parts, &fault),
    };
    let digest = received.digest();
    let cacheable = state.is_repeatable() && parts.uri.path() == "/v1/messages";
    let key =
        (cacheable && credentials(state, &parts.headers).is_ok()).then(|| AnswerKey::of(&parts, digest));
    if let Some(hit) = key.as_ref().and_then(|key| state.cache.get(key)) {
        return hit;
    }
    let steering = match state.steering(&parts.headers) {
        Ok(steering) => steering,
        Err(error) => return refused(state, parts, &Fault::invalid(error.to_string())),
    };
    let seed = state.seed_for(&steering, &parts, &digest);
    let version = ApiVersion::named(text(&parts.headers, "anthropic-version"));
    let mut exchange = Exchange::new(parts, steering, version.unwrap_or(ApiVersion::June2023), seed);
    let outcome = judged(state, &exchange, version).and_then(|()| {
        hello(&mut exchange).unwrap_or_else(|| endpoint::answer(state, &mut exchange, &received))
    });
    match (outcome, key) {
        (Ok(answer), Some(key)) => {
            if exchange.steering.until_retry.is_none() {
                state.cache.put(key, &answer);
            }
            answer
        }
        (Ok(answer), None) => answer,
        (Err(fault), _) => exchange.fault(&fault),
    }
}

/// Reads the body, whole or through, and notes its size and hash.
async fn receive(parts: &Parts, body: Incoming, watch: &ExchangeWatch) -> Result<Received, Fault> {
    let path = parts.uri.path();
    let mut intake = Intake::new(body, endpoint::body_limit(path), text(&parts.headers, "content-encoding"));
    if parts.method == Method::POST && endpoint::is_upload(path) {
        let mut reader = UploadReader::new(text(&parts.headers, "content-type"))?;
        while let Some(bytes) = intake.next().await? {
            reader.feed(&bytes);
        }
        let (bytes, digest) = intake.finish();
        watch.body_read(bytes, digest);
        return Ok(Received::Upload(reader.finish(digest)?));
    }
    let raw = intake.raw().await?;
    raw.note(watch);
    Ok(Received::Whole(raw))
}

/// What is decided by the head alone.
fn judged(state: &State, exchange: &Exchange, version: Option<ApiVersion>) -> Result<(), Fault> {
    let retry_count = exchange.header("x-stainless-retry-count").parse().unwrap_or(0);
    if let Some(fault) = Fault::steered(&exchange.steering, retry_count) {
        return Err(fault);
    }
    if !exchange.parts.uri.path().starts_with("/v1/") {
        return Ok(());
    }
    credentials(state, &exchange.parts.headers)?;
    match version {
        Some(_) => Ok(()),
        None if exchange.header("anthropic-version").is_empty() => {
            Err(Fault::invalid("anthropic-version: header is required"))
        }
        None => Err(Fault::invalid("anthropic-version: unknown version")),
    }
}

/// The service takes a key in either header, and an OAuth token only with its beta.
fn credentials(state: &State, headers: &HeaderMap) -> Result<(), Fault> {
    let key = Some(text(headers, "x-api-key")).filter(|key| !key.is_empty());
    let bearer = text(headers, "authorization").strip_prefix("Bearer ").filter(|token| !token.is_empty());
    let Some(credential) = key.or(bearer) else {
        return Err(Fault::unauthorized("x-api-key header is required"));
    };
    let accepted = if state.accepted_keys.is_empty() {
        !credential.contains(INVALID_MARK) && !credential.starts_with(FOREIGN_PREFIX)
    } else {
        state.accepted_keys.iter().any(|accepted| accepted == credential)
    };
    if !accepted {
        let message = if key.is_some() { "invalid x-api-key" } else { "Invalid bearer token" };
        return Err(Fault::unauthorized(message));
    }
    let betas = headers.get_all("anthropic-beta");
    let has_beta = betas.iter().any(|line| line.to_str().is_ok_and(|line| line.contains(OAUTH_BETA)));
    if bearer.is_some_and(|token| token.starts_with(OAUTH_PREFIX)) && !has_beta {
        return Err(Fault::unauthorized("OAuth authentication is currently not supported."));
    }
    Ok(())
}

/// The warm-up request of Claude Code, answered without credentials.
fn hello(exchange: &mut Exchange) -> Option<Result<Answer, Fault>> {
    (exchange.parts.uri.path() == "/api/hello")
        .then(|| exchange.json(&serde_json::json!({"message": "hello"})))
}

/// The answer to a request that cannot be steered: its body broke off or its steering is wrong.
fn refused(state: &State, parts: Parts, fault: &Fault) -> Answer {
    let steering = Steering::default();
    let seed = state.seed_for(&steering, &parts, &[0; 32]);
    let mut exchange = Exchange::new(parts, steering, ApiVersion::June2023, seed);
    let mut answer = exchange.fault(fault);
    if fault.status == StatusCode::PAYLOAD_TOO_LARGE {
        // The rest of the body may not have been read: the connection cannot carry another request.
        answer.headers.insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
    }
    answer
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// A page of the simulator itself.
pub(crate) fn page(status: StatusCode, body: String) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    Answer::plain(status, headers, vec![Bytes::from(body)])
}
