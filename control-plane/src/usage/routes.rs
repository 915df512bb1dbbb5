//! `/v1/usage/events` and `/v1/usage/live`.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use mindweave_metering::{EventId, EventType, Outcome};
use serde_json::value::RawValue;

use super::list::{EventFilter, Order, Place, event_list};
use super::store::{event_type_text, outcome_text};
use crate::app::App;
use crate::http::Page;
use crate::http::cursor;
use crate::http::problem::{Code, Problem};
use crate::http::query::Parameters;

/// Every outcome, for the filter.
const OUTCOMES: [Outcome; 7] = [
    Outcome::Complete,
    Outcome::UpstreamError,
    Outcome::ClientGone,
    Outcome::UpstreamCut,
    Outcome::Deadline,
    Outcome::Denied,
    Outcome::Interrupted,
];

/// Every type, for the filter.
const EVENT_TYPES: [EventType; 3] = [EventType::ApiCall, EventType::McpTool, EventType::Session];

/// The routes of this module.
pub(crate) fn routes() -> Router<App> {
    Router::new().route("/v1/usage/events", get(event_page)).route("/v1/usage/live", get(live))
}

async fn event_page(
    State(app): State<App>,
    mut query: Parameters,
) -> Result<Json<Page<Box<RawValue>>>, Problem> {
    let limit = query.limit();
    let mut filter = read_filter(&mut query);
    let cursor = query.text("cursor");
    query.finish()?;
    let list = list_name(filter.order);
    filter.after = cursor.map(|text| read_place(list, &text)).transpose()?;
    let page = event_list(&app.db, &filter, limit).await?;
    let last = page.events.last().filter(|_| page.more).map(|listed| listed.place);
    let next_cursor = last.map(|place| cursor::write(list, &format!("{}:{}", place.ended_at, place.landed)));
    let data = page.events.into_iter().map(|listed| listed.event).collect();
    Ok(Json(Page { data, next_cursor }))
}

fn read_filter(query: &mut Parameters) -> EventFilter {
    let outcomes = OUTCOMES.map(|outcome| (outcome_text(outcome), Some(outcome_text(outcome))));
    let orders = [("desc", Order::NewestFirst), ("asc", Order::OldestFirst)];
    EventFilter {
        project_id: query.text("project_id"),
        key_id: query.text("key_id"),
        user_id: query.text("user_id"),
        model: query.text("model"),
        outcome: query.choice("outcome", &outcomes, None),
        event_type: read_event_type(query),
        flagged: query.choice("flagged", &[("false", false), ("true", true)], false),
        request_id: query.text("request_id"),
        event_id: read_event_id(query),
        from: query.time("from"),
        to: query.time("to"),
        order: query.choice("order", &orders, Order::NewestFirst),
        after: None,
    }
}

fn read_event_type(query: &mut Parameters) -> Option<&'static str> {
    let types =
        EVENT_TYPES.map(|event_type| (event_type_text(event_type), Some(event_type_text(event_type))));
    query.choice("event_type", &types, None)
}

fn read_event_id(query: &mut Parameters) -> Option<[u8; 16]> {
    let text = query.text("event_id")?;
    match text.parse::<EventId>() {
        Ok(id) => Some(*id.as_bytes()),
        Err(_) => {
            query.refuse("event_id", "must be a UUID");
            None
        }
    }
}

/// The kind of list in cursors: a cursor of one direction means something else in the other.
fn list_name(order: Order) -> &'static str {
    match order {
        Order::NewestFirst => "events-desc",
        Order::OldestFirst => "events-asc",
    }
}

fn read_place(list: &str, text: &str) -> Result<Place, Problem> {
    let position = cursor::read(list, text)?;
    let place = position.split_once(':').and_then(|(ended_at, landed)| {
        Some(Place { ended_at: ended_at.parse().ok()?, landed: landed.parse().ok()? })
    });
    place.ok_or_else(cursor::invalid)
}

async fn live(State(app): State<App>, mut query: Parameters) -> Result<Response, Problem> {
    let (project_id, event_type) = (query.text("project_id"), read_event_type(&mut query));
    query.finish()?;
    let Some(body) = app.live.subscribe(project_id, event_type, app.stop.clone()) else {
        return Err(Problem::new(
            Code::TooManySubscribers,
            "too many live streams are open; close one of them",
        ));
    };
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    Ok((headers, Body::new(body)).into_response())
}
