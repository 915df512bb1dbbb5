//! `POST /v1/events` and `POST /v1/track`.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body::Body as _;
use mindweave_eventlog::AppendError;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use utoipa::openapi::OpenApi as Document;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use zeroize::Zeroizing;

use super::answer::{self, BatchAnswer, Counts, SingleAnswer};
use super::bounds::{MAX_BODY_BYTES, MAX_IDEMPOTENCY_KEY_BYTES, MAX_REQUESTS};
use super::caller::{Caller, Credential};
use super::desk::{Desk, Refusal, Taken};
use super::identity::IdempotencyKey;
use super::schema::{EventBatch, SentEvent};
use super::split::{self, Layout};
use crate::access::Origin;
use crate::app::App;
use crate::clock;
use crate::http::auth::Gate;
use crate::http::problem::{Code, Problem, chain};
use crate::metrics::{self, EventRefusal};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Content types of JSON in lines; none is registered, all are in use.
const LINES: [&str; 4] =
    ["application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"];

/// What these routes use.
#[derive(Clone)]
struct Counter {
    desk: Arc<Desk>,
    gate: Gate,
    requests: Arc<Semaphore>,
}

/// The routes of this module. They look at credentials themselves.
pub(crate) fn routes(desk: Arc<Desk>, gate: Gate) -> Router<App> {
    let counter = Counter { desk, gate, requests: Arc::new(Semaphore::new(MAX_REQUESTS)) };
    let (routes, _) = described().split_for_parts();
    routes.layer(DefaultBodyLimit::max(MAX_BODY_BYTES)).with_state(counter)
}

/// Their description, which there is also where they are not served.
pub(crate) fn document() -> Document {
    described().into_openapi()
}

fn described() -> OpenApiRouter<Counter> {
    OpenApiRouter::new().routes(routes!(batch)).routes(routes!(single))
}

/// What a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    Batch,
    Single,
}

/// Takes events of other producers in. Wants a MindWeave key (`x-api-key`, or as a bearer token), or a token of somebody who may deliver events of
/// the projects that the events name.
#[utoipa::path(
    post, path = "/v1/events", tag = "usage", operation_id = "events_send",
    request_body(content((EventBatch = "application/json"), (String = "application/x-ndjson"))),
    responses((status = 202, body = BatchAnswer)),
    extensions(("x-access" = json!("events:write"))),
)]
async fn batch(State(counter): State<Counter>, request: Request) -> Response {
    counter.answer(Load::Batch, request).await
}

/// Takes one event in, like `/v1/events`.
#[utoipa::path(
    post, path = "/v1/track", tag = "usage", operation_id = "event_track",
    request_body = SentEvent,
    responses((status = 202, body = SingleAnswer)),
    extensions(("x-access" = json!("events:write"))),
)]
async fn single(State(counter): State<Counter>, request: Request) -> Response {
    counter.answer(Load::Single, request).await
}

/// A request whose body is read.
struct Arrived {
    caller: Caller,
    key: Option<IdempotencyKey>,
    layout: Layout,
    is_compressed: bool,
    body: Bytes,
}

/// A refusal of everything, and how it is counted.
struct Refused(EventRefusal, Problem);

impl Refused {
    fn malformed(problem: Problem) -> Self {
        let reason = if problem.code() == Code::BodyTooLarge {
            EventRefusal::TooLarge
        } else {
            EventRefusal::Malformed
        };
        Self(reason, problem)
    }
}

impl Counter {
    async fn answer(self, load: Load, request: Request) -> Response {
        match self.take(load, request).await {
            Ok(response) => response,
            Err(Refused(reason, problem)) => {
                metrics::events_refused(reason);
                problem.into_response()
            }
        }
    }

    async fn caller(&self, headers: &HeaderMap, origin: Arc<Origin>) -> Result<Caller, Refused> {
        let unauthorized = |problem| Refused(EventRefusal::Unauthorized, problem);
        let credential = Credential::of(headers, &self.desk.snapshot(), clock::now())
            .map_err(|detail| unauthorized(Problem::new(Code::Unauthorized, detail)))?;
        let token = match credential {
            Credential::Key(principal) => return Ok(Caller::Key(principal)),
            Credential::Token(token) => Zeroizing::new(token.to_vec()),
        };
        let refused = |problem: Problem| match problem.code() {
            Code::Unauthorized | Code::Forbidden | Code::ScopeMissing => unauthorized(problem),
            _ => Refused(EventRefusal::Failed, problem),
        };
        let caller = self.gate.caller(&token, origin).await.map_err(refused)?;
        Caller::member(&self.gate.db, &caller).await.map_err(refused)
    }

    async fn take(self, load: Load, request: Request) -> Result<Response, Refused> {
        let origin = request.extensions().get::<Arc<Origin>>().cloned().unwrap_or_default();
        let caller = self.caller(request.headers(), origin).await?;
        let layout = layout(request.headers(), load).map_err(Refused::malformed)?;
        let is_compressed = is_compressed(request.headers()).map_err(Refused::malformed)?;
        let key = idempotency_key(request.headers(), &caller).map_err(Refused::malformed)?;
        if request.body().size_hint().lower() > u64::try_from(MAX_BODY_BYTES).unwrap_or(u64::MAX) {
            return Err(Refused::malformed(too_large()));
        }
        // Before the body is read: this is what bounds the memory. Never closed.
        let place = Arc::clone(&self.requests).acquire_owned().await;
        let body = read_body(request).await.map_err(Refused::malformed)?;
        let arrived = Arrived { caller, key, layout, is_compressed, body };
        let desk = Arc::clone(&self.desk);
        let work = spawn_blocking(move || {
            let answered = take_in(&desk, load, &arrived);
            drop(place);
            answered
        });
        let (response, last) =
            work.await.map_err(|error| Refused(EventRefusal::Failed, Problem::internal(&error)))??;
        if let Some(last) = last {
            let durable = self.desk.journal().admission_durable(last).await;
            durable.map_err(|error| Refused(EventRefusal::Failed, journal_failed(&error)))?;
        }
        Ok(response)
    }
}

/// Takes a request's events in. The answer holds once the journal has this sequence as safely as it promises.
fn take_in(
    desk: &Desk,
    load: Load,
    arrived: &Arrived,
) -> Result<(Response, Option<mindweave_eventlog::Sequence>), Refused> {
    let inflated = arrived.is_compressed.then(|| split::inflate(&arrived.body)).transpose();
    let inflated = inflated.map_err(Refused::malformed)?;
    let body = inflated.as_deref().unwrap_or(&arrived.body);
    let text = split::text(body).map_err(Refused::malformed)?;
    let take = |texts: &[&str]| {
        let taken = desk.take(texts, &arrived.caller, arrived.key.as_ref(), clock::now());
        let taken = taken.map_err(|refusal| refused(&refusal))?;
        let Counts { accepted, duplicates, rejected } = Counts::of(&taken.events);
        metrics::events_received(accepted, duplicates, rejected);
        Ok(taken)
    };
    Ok(match load {
        Load::Single => {
            let Taken { events, last } = take(&[text])?;
            (answer::of_single(events), last)
        }
        Load::Batch => {
            let batch = split::events(text, arrived.layout).map_err(Refused::malformed)?;
            let Taken { events, last } = take(&batch.events)?;
            (answer::of_batch(events, batch.root), last)
        }
    })
}

fn refused(refusal: &Refusal) -> Refused {
    match refusal {
        Refusal::Stopping | Refusal::Journal(AppendError::Closed) => Refused(
            EventRefusal::Stopping,
            Problem::new(Code::Busy, "this control plane is stopping; send the events again"),
        ),
        Refusal::Journal(AppendError::Full) => {
            let detail = "events wait for the ledger and there is no room for more; send them again later";
            Refused(EventRefusal::JournalFull, Problem::new(Code::JournalFull, detail))
        }
        Refusal::Journal(error) => Refused(EventRefusal::Failed, journal_failed(error)),
        Refusal::Entropy(error) => Refused(EventRefusal::Failed, Problem::internal(error)),
    }
}

fn journal_failed(error: &(dyn std::error::Error + 'static)) -> Problem {
    tracing::error!(error = %chain(error), "events cannot be written down");
    Problem::new(
        Code::JournalFailed,
        "events cannot be written down here; the log of the control plane says why",
    )
}

async fn read_body(request: Request) -> Result<Bytes, Problem> {
    Bytes::from_request(request, &()).await.map_err(|rejection| {
        if rejection.into_response().status() == StatusCode::PAYLOAD_TOO_LARGE {
            too_large()
        } else {
            Problem::new(Code::BodyUnreadable, "the body did not arrive in full")
        }
    })
}

fn too_large() -> Problem {
    let detail =
        format!("the body has more than {MAX_BODY_BYTES} bytes: send the events in several requests");
    Problem::new(Code::BodyTooLarge, detail)
}

fn layout(headers: &HeaderMap, load: Load) -> Result<Layout, Problem> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match load {
        Load::Batch if LINES.contains(&&*essence) => Ok(Layout::Lines),
        _ if essence == "application/json"
            || (essence.starts_with("application/") && essence.ends_with("+json")) =>
        {
            Ok(Layout::Json)
        }
        Load::Batch => Err(Problem::new(
            Code::UnsupportedMediaType,
            "send the events with the header content-type: application/json, or application/x-ndjson for one on each line",
        )),
        Load::Single => Err(Problem::new(
            Code::UnsupportedMediaType,
            "send the event as JSON, with the header content-type: application/json",
        )),
    }
}

fn is_compressed(headers: &HeaderMap) -> Result<bool, Problem> {
    let coding =
        headers.get(CONTENT_ENCODING).map(|value| value.as_bytes().trim_ascii().to_ascii_lowercase());
    match coding.as_deref() {
        None | Some(b"" | b"identity") => Ok(false),
        Some(b"gzip" | b"x-gzip") => Ok(true),
        Some(_) => Err(Problem::new(
            Code::UnsupportedMediaType,
            "the only content-encoding that is read here is gzip",
        )),
    }
}

fn idempotency_key(headers: &HeaderMap, caller: &Caller) -> Result<Option<IdempotencyKey>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = IdempotencyKey::new(caller.scope(), value.as_bytes());
    key.map(Some).ok_or_else(|| {
        let detail =
            format!("idempotency-key must have 1 to {MAX_IDEMPOTENCY_KEY_BYTES} visible ASCII characters");
        Problem::new(Code::InvalidField, detail)
    })
}
