//! Requests that are sent again because no answer came: with the same `Idempotency-Key` they are carried out once, and get the
//! same answer (draft-ietf-httpapi-idempotency-key-header-07).
//!
//! A key belongs to one caller and one request (method, path, query, body), for a day. It is noted before the request is carried
//! out, its answer after; the change itself is a transaction of its own in between. So a second request waits for nothing: it is
//! refused while the first one runs, and answered from what was kept afterwards, by whichever control plane. A request is carried
//! out to its end also when its client has gone: that client is the one that asks again. Where a whole process died in between,
//! nobody knows what became of the change; the key is free again after [`GIVE_UP_AFTER`].
//!
//! Not kept are answers with 5xx, 401, 403, 404 and 429, so that trying again tries again. What comes before a sign-in has no caller, and no keys. Events
//! have identities of their own, by which they are booked once.

mod store;

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, ETAG, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body::Body as _;
use ring::digest;
use tracing::Instrument as _;

pub(crate) use store::requests_prune;

use self::store::{Begun, Running};
use super::problem::{Code, Problem};
use crate::access::{Actor, Caller};
use crate::app::App;

/// The header with the key.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// In answers that were given before.
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Longest key, in characters: a UUID fits seven times.
const MAX_KEY_CHARS: usize = 255;
/// Longest body that is read before anything knows which request it is: as long as any may be.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;
/// Longest answer that is kept. A single thing with all its fields fits; a policy with a megabyte of text can be read again.
const MAX_ANSWER_BYTES: u64 = 256 * 1024;
/// Longest time for a request; as long as without a key.
const RUN_TIMEOUT: Duration = Duration::from_secs(30);
/// After this, a request without an answer counts as dead: twice [`RUN_TIMEOUT`].
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);
/// How long an answer is kept.
const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// Headers of an answer that belong to it, and not to the request.
const KEPT_HEADERS: [HeaderName; 3] = [CONTENT_TYPE, LOCATION, ETAG];

/// Whose key it is, and for what.
#[derive(Clone, Debug)]
struct Asked {
    caller: String,
    key: String,
    request_hash: [u8; digest::SHA256_OUTPUT_LEN],
}

/// Carries out a request with a key at most once. Costs nothing without one.
pub(super) async fn once(State(app): State<App>, request: Request, next: Next) -> Response {
    let changes = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH | Method::DELETE);
    if !changes || !request.headers().contains_key(&IDEMPOTENCY_KEY) {
        return next.run(request).await;
    }
    // Boxed: every other request's future would be as large.
    Box::pin(with_key(app, request, next)).await.unwrap_or_else(IntoResponse::into_response)
}

async fn with_key(app: App, request: Request, next: Next) -> Result<Response, Problem> {
    let key = read_key(request.headers())?;
    let asking = request.extensions().get::<Caller>();
    let Some((caller, roles)) = asking.and_then(|caller| Some((scope(caller)?, roles(caller)))) else {
        return Ok(next.run(request).await);
    };
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY_BYTES).await.map_err(|_| {
        Problem::new(
            Code::BodyTooLarge,
            "the body is larger than any request of this API needs, or did not arrive",
        )
    })?;
    let target = parts.uri.path_and_query().map_or_else(|| parts.uri.path(), |target| target.as_str());
    let request_hash = hash(&parts.method, target, &roles, &body);
    let asked = Asked { caller, key, request_hash };
    match store::request_begin(&app, &asked).await? {
        Begun::Run(running) => {
            let request = Request::from_parts(parts, Body::from(body));
            let run = run(app, asked, running, request, next).in_current_span();
            // A task of its own: a client that goes away must not leave half of it undone, or all of it done and not noted.
            tokio::spawn(run).await.map_err(|error| Problem::internal(&error))
        }
        Begun::Running => {
            let detail =
                "the first request with this idempotency-key is still running; try again in a moment";
            Err(Problem::new(Code::RequestInProgress, detail).retry_after(1))
        }
        Begun::Other => Err(Problem::new(
            Code::IdempotencyKeyReused,
            "idempotency-key: was sent with another request before, or by somebody whose roles have changed since; every request needs a key of its own",
        )),
        Begun::Answered(answer) => Ok(answer.into_response()),
        Begun::NotKept => Err(Problem::new(
            Code::AnswerNotKept,
            "the request with this idempotency-key was carried out; its answer could not be kept, so read what it made",
        )),
    }
}

/// The key of a request.
fn read_key(headers: &HeaderMap) -> Result<String, Problem> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let (first, more) = (given.next(), given.next().is_some());
    let key = first.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let fits = (1..=MAX_KEY_CHARS).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    if fits && !more {
        return Ok(key.to_owned());
    }
    let detail =
        format!("idempotency-key: must be given once, with 1 to {MAX_KEY_CHARS} visible ASCII characters");
    Err(Problem::new(Code::InvalidIdempotencyKey, detail))
}

/// What the caller may, as a text that changes with it.
fn roles(caller: &Caller) -> String {
    format!("{} {:?}", caller.is_installation_admin(), caller.grants())
}

/// Whose keys: those of a person, or of one token, which may see less than its owner does.
fn scope(caller: &Caller) -> Option<String> {
    match caller.actor() {
        Actor::Anonymous => None,
        actor => Some(match actor.token_id() {
            Some(token_id) => format!("{}/{token_id}", actor.id()),
            None => actor.id().to_owned(),
        }),
    }
}

/// The roles belong to it: whoever has lost them since gets nothing again that they may not see any more.
fn hash(method: &Method, target: &str, roles: &str, body: &[u8]) -> [u8; digest::SHA256_OUTPUT_LEN] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [method.as_str().as_bytes(), target.as_bytes(), roles.as_bytes()] {
        context.update(part);
        context.update(b"\n"); // neither holds one
    }
    context.update(body);
    context.finish().as_ref().try_into().unwrap_or_default() // it has this length
}

/// Carries it out, and keeps the answer.
async fn run(app: App, asked: Asked, running: Running, request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(RUN_TIMEOUT, next.run(request)).await;
    let response = answer.unwrap_or_else(|_| {
        Problem::new(Code::Timeout, "the request took too long; try again").into_response()
    });
    if !is_kept(response.status()) {
        report(store::request_forget(&app, &asked, running).await.err());
        return response;
    }
    let (response, answer) = keepable(response).await;
    report(store::request_answered(&app, &asked, running, response.status(), answer).await.err());
    response
}

/// Whether an answer is kept. Nothing was done where it says that somebody may not, or not now; keeping such answers would let those fill
/// the database who may do nothing.
fn is_kept(status: StatusCode) -> bool {
    !status.is_server_error()
        && !matches!(
            status,
            StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::NOT_FOUND
                | StatusCode::TOO_MANY_REQUESTS
        )
}

/// The key then counts as running until it is given up. The answer is right all the same.
fn report(error: Option<Problem>) {
    if let Some(error) = error {
        tracing::warn!(code = ?error.code(), "an answer could not be noted with its idempotency key");
    }
}

/// An answer as it is kept.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

/// What can be kept of an answer, if it is text of a bounded length.
async fn keepable(response: Response) -> (Response, Option<Answer>) {
    let bounded = response.body().size_hint().exact().is_some_and(|bytes| bytes <= MAX_ANSWER_BYTES);
    if !bounded {
        return (response, None);
    }
    let (parts, body) = response.into_parts();
    let body = match to_bytes(body, usize::MAX).await {
        Ok(body) => body,
        Err(error) => return (Problem::internal(&error).into_response(), None), // a body in memory does not fail
    };
    let answer = text(&body).map(|body| Answer {
        status: parts.status.as_u16(),
        headers: kept_headers(&parts.headers),
        body,
    });
    (Response::from_parts(parts, Body::from(body)), answer)
}

fn text(body: &Bytes) -> Option<String> {
    std::str::from_utf8(body).ok().map(str::to_owned)
}

fn kept_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let kept = KEPT_HEADERS.iter().filter_map(|name| Some((name, headers.get(name)?.to_str().ok()?)));
    kept.map(|(name, value)| (name.to_string(), value.to_owned())).collect()
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        if let Ok(status) = self.status.try_into() {
            *response.status_mut() = status;
        }
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().insert(name, value);
            }
        }
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
        response
    }
}
