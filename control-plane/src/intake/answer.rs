//! What a producer is told.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mindweave_metering::{Certainty, EventId, NanoUsd};
use serde::Serialize;

use super::bounds::MAX_LISTED_FAULTS;
use super::fault::EventFault;
use crate::http::problem::{Code, Fault, Problem};
use crate::usage::EventCertainty;

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SentEventStatus)]
pub(super) enum Status {
    /// It is written down, and will be in the ledger, if it is not yet.
    Accepted,
    /// The request had it twice; the first one counts.
    Duplicate,
    /// Nothing was kept of it.
    Rejected,
}

/// The answer for one event.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = SentEventAnswer)]
pub(super) struct EventAnswer {
    /// Its place in the request, from 0.
    pub(super) index: usize,
    pub(super) status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(super) event_id: Option<EventId>,
    /// What it costs, as it will stand in the ledger; `null` where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    pub(super) cost_nano_usd: Option<Option<NanoUsd>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<EventCertainty>)]
    pub(super) certainty: Option<Certainty>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(super) errors: Vec<EventFault>,
}

/// How many events became what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) accepted: usize,
    pub(super) duplicates: usize,
    pub(super) rejected: usize,
}

impl Counts {
    pub(super) fn of(events: &[EventAnswer]) -> Self {
        let count = |status| events.iter().filter(|event| event.status == status).count();
        Self {
            accepted: count(Status::Accepted),
            duplicates: count(Status::Duplicate),
            rejected: count(Status::Rejected),
        }
    }
}

/// What became of events.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = SentEventsAnswer)]
pub(super) struct BatchAnswer {
    accepted: usize,
    duplicates: usize,
    rejected: usize,
    events: Vec<EventAnswer>,
}

/// The answer to a batch. A pointer into the body has `root` before the number of its event.
pub(super) fn of_batch(mut events: Vec<EventAnswer>, root: &str) -> Response {
    let Counts { accepted, duplicates, rejected } = Counts::of(&events);
    let mut left = MAX_LISTED_FAULTS;
    for event in &mut events {
        event.errors.truncate(left.max(1));
        left = left.saturating_sub(event.errors.len());
    }
    if accepted == 0 {
        let faults = events.iter().flat_map(|event| {
            event.errors.iter().map(|fault| {
                Fault::new(format!("{root}/{}{}", event.index, fault.pointer), fault.message.as_str())
            })
        });
        let detail = format!("none of the {rejected} events can be taken; errors says why, by JSON pointer");
        return Problem::with_errors(Code::InvalidEvent, detail, faults.collect()).into_response();
    }
    (StatusCode::ACCEPTED, Json(BatchAnswer { accepted, duplicates, rejected, events })).into_response()
}

/// The answer to a single event.
pub(super) fn of_single(events: Vec<EventAnswer>) -> Response {
    let Some(event) = events.into_iter().next() else {
        return Problem::new(Code::InvalidEvent, "there is no event").into_response();
    };
    if event.status == Status::Rejected {
        let faults = event.errors.into_iter().map(|fault| Fault::new(fault.pointer, fault.message));
        let detail = "the event cannot be taken; errors says why, by JSON pointer";
        return Problem::with_errors(Code::InvalidEvent, detail, faults.collect()).into_response();
    }
    let EventAnswer { status, event_id, cost_nano_usd, certainty, .. } = event;
    let cost_nano_usd = cost_nano_usd.flatten();
    (StatusCode::ACCEPTED, Json(SingleAnswer { event_id, status, cost_nano_usd, certainty })).into_response()
}

/// What became of an event.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = TrackedEvent)]
pub(super) struct SingleAnswer {
    #[schema(value_type = String, format = "uuid")]
    event_id: Option<EventId>,
    status: Status,
    /// `null` where it is not known.
    #[schema(value_type = Option<i64>)]
    cost_nano_usd: Option<NanoUsd>,
    #[schema(value_type = EventCertainty)]
    certainty: Option<Certainty>,
}
