//! `/internal/v1`.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use http_body::Body as _;
use mindweave_eventlog::{
    CODE_FENCED, CODE_UNDECODABLE, ClaimAnswer, ClaimRequest, DELIVERY_CONTENT_TYPE, Delivery,
    DeliveryAnswer, MAX_DELIVERY_BYTES, MAX_SOURCE_BYTES,
};
use mindweave_policy::{DemandReport, MAX_REPORTED_LIMITS, ShareAnswer};
use serde::Serialize;
use tokio::sync::Semaphore;

use super::deliveries::RemoteSources;
use super::lines::{Lease, Watch};
use super::past::Past;
use crate::app::App;
use crate::http::problem::{Code, Problem};
use crate::http::query::Parameters;
use crate::proxies::Pass;
use crate::shares::{ShareError, Shares};
use crate::tasks::Stop;
use crate::usage::{IngestError, UsageFeeds};

/// Proxies connected at a time: half of the listener's connections, so that the API and deliveries keep theirs.
const MAX_WATCHES: usize = 512;
/// Deliveries held in memory at a time; more wait. Each has up to [`MAX_DELIVERY_BYTES`], twice while it is taken apart.
const MAX_DELIVERIES: usize = 4;
/// Longest report of demand: each limit it may name, with ids of twice the usual length.
const MAX_REPORT_BYTES: usize = 512 * MAX_REPORTED_LIMITS;
/// Longest name of a proxy, for the log.
const MAX_PROXY_ID_CHARS: usize = 100;

/// What these routes use.
#[derive(Clone)]
struct Internal {
    past: Past,
    feeds: UsageFeeds,
    sources: RemoteSources,
    shares: Shares,
    stop: Stop,
    watches: Arc<Semaphore>,
    deliveries: Arc<Semaphore>,
}

/// The routes of this module, not yet guarded.
pub(crate) fn routes(
    past: Past,
    feeds: UsageFeeds,
    sources: RemoteSources,
    shares: Shares,
    stop: Stop,
) -> Router<App> {
    let internal = Internal {
        past,
        feeds,
        sources,
        shares,
        stop,
        watches: Arc::new(Semaphore::new(MAX_WATCHES)),
        deliveries: Arc::new(Semaphore::new(MAX_DELIVERIES)),
    };
    let deliver = post(deliver).layer(DefaultBodyLimit::max(MAX_DELIVERY_BYTES));
    let report = post(report).layer(DefaultBodyLimit::max(MAX_REPORT_BYTES));
    Router::new()
        .route("/internal/v1/watch", get(watch))
        .route("/internal/v1/demand", report)
        .route("/internal/v1/events/claim", post(claim))
        .route("/internal/v1/events", deliver)
        .with_state(internal)
}

async fn watch(
    State(internal): State<Internal>,
    Extension(pass): Extension<Pass>,
    mut query: Parameters,
) -> Result<Response, Problem> {
    let (journal, proxy_id) = (query.text("journal"), query.text("proxy_id"));
    let (revision, lineage) = (query.text("revision"), query.text("lineage"));
    if journal.as_ref().is_none_or(|journal| journal.len() > MAX_SOURCE_BYTES) {
        query.refuse("journal", "must be the id of the proxy's journal");
    }
    if proxy_id.as_ref().is_some_and(|id| id.chars().count() > MAX_PROXY_ID_CHARS) {
        query.refuse("proxy_id", "is too long");
    }
    let revision = revision.map(|text| text.parse::<u64>());
    if matches!(revision, Some(Err(_))) {
        query.refuse("revision", "must be a number");
    }
    query.finish()?;
    let Ok(place) = Arc::clone(&internal.watches).try_acquire_owned() else {
        let detail = "too many proxies are connected; start another control plane for more";
        return Err(Problem::new(Code::TooManySubscribers, detail));
    };
    let known = match (revision, lineage) {
        (Some(Ok(revision)), Some(lineage)) => internal.past.known(&lineage, revision),
        _ => None,
    };
    let (token_id, certificate) = pass.owner();
    let whole_snapshot = known.is_none();
    tracing::info!(proxy_id = proxy_id.as_deref(), token_id, certificate, whole_snapshot, "proxy connected");
    let journal = journal.unwrap_or_default();
    let Internal { past, feeds, stop, .. } = internal;
    let lines = Watch::new(past, known, feeds, &journal, Lease { pass, stop, _place: place });
    let headers = [(CONTENT_TYPE, "application/x-ndjson"), (CACHE_CONTROL, "no-store")];
    Ok((headers, Body::new(lines.into_body())).into_response())
}

async fn report(State(internal): State<Internal>, body: Bytes) -> Result<Json<ShareAnswer>, Problem> {
    let report: DemandReport = serde_json::from_slice(&body)
        .map_err(|_| Problem::new(Code::InvalidJson, "the body must be a report of demand"))?;
    if !(1..=MAX_SOURCE_BYTES).contains(&report.journal.len()) {
        return Err(Problem::new(Code::InvalidField, "journal: must be the id of the proxy's journal"));
    }
    if report.limits.len() > MAX_REPORTED_LIMITS || i64::try_from(report.number).is_err() {
        return Err(Problem::new(Code::InvalidField, "limits, number: are more than any proxy sends"));
    }
    internal.shares.report(report).await.map(Json).map_err(|error| match error {
        ShareError::Unavailable => Problem::new(Code::Busy, error.to_string()),
        ShareError::Stale(_) => Problem::new(Code::ChangedMeanwhile, error.to_string()),
    })
}

async fn claim(State(internal): State<Internal>, body: Bytes) -> Result<Json<ClaimAnswer>, Problem> {
    let request: ClaimRequest = serde_json::from_slice(&body)
        .map_err(|_| Problem::new(Code::InvalidJson, "the body must be {\"source\": \"..\"}"))?;
    if !(1..=MAX_SOURCE_BYTES).contains(&request.source.len()) {
        return Err(Problem::new(Code::InvalidField, "source: must be the id of a journal"));
    }
    Ok(Json(internal.sources.claim(request.source).await?))
}

async fn deliver(State(internal): State<Internal>, request: Request) -> Result<Response, Problem> {
    let content_type = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if content_type != Some(DELIVERY_CONTENT_TYPE.as_bytes()) {
        let detail = format!("the content type must be {DELIVERY_CONTENT_TYPE}");
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    if request.body().size_hint().lower() > u64::try_from(MAX_DELIVERY_BYTES).unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    // Before the body is read: this is what bounds the memory. Never closed.
    let _place = internal.deliveries.acquire().await;
    let body = Bytes::from_request(request, &()).await.map_err(|rejection| {
        if rejection.into_response().status() == StatusCode::PAYLOAD_TOO_LARGE {
            too_large()
        } else {
            Problem::new(Code::BodyUnreadable, "the body did not arrive in full")
        }
    })?;
    let delivery =
        Delivery::decode(&body).map_err(|error| Problem::new(Code::BodyUnreadable, error.to_string()))?;
    drop(body);
    match internal.sources.deliver(&delivery).await {
        Ok(new) => {
            let new = u64::try_from(new).unwrap_or(u64::MAX);
            Ok(Json(DeliveryAnswer { new }).into_response())
        }
        Err(IngestError::Store(error)) => Err(error.into()),
        Err(error @ IngestError::Fenced(_)) => {
            tracing::warn!(source = delivery.batch.source, "delivery under a claim that was taken over");
            Ok(Refusal::new(StatusCode::CONFLICT, CODE_FENCED, error.to_string()).into_response())
        }
        Err(IngestError::Undecodable(poison)) => {
            let refusal =
                Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, CODE_UNDECODABLE, poison.to_string());
            Ok(refusal.about(poison.sequence, poison.reason).into_response())
        }
        Err(error @ IngestError::Sequence(sequence)) => {
            let refusal = Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, CODE_UNDECODABLE, error.to_string());
            Ok(refusal.about(sequence, error.to_string()).into_response())
        }
    }
}

fn too_large() -> Problem {
    Problem::new(Code::BodyTooLarge, "the delivery is larger than any that a proxy makes")
}

/// A problem (RFC 9457) whose `code` belongs to the protocol of deliveries.
#[derive(Serialize)]
struct Refusal {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, detail: String) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        let status = status.as_u16();
        Self { kind: "about:blank", title, status, code, detail, sequence: None, reason: None }
    }

    fn about(self, sequence: u64, reason: String) -> Self {
        Self { sequence: Some(sequence), reason: Some(reason), ..self }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(CONTENT_TYPE, "application/problem+json")], Json(self)).into_response()
    }
}
