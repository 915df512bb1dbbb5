//! `/v1/usage/events` and `/v1/usage/live`.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use mindweave_metering::{EventId, EventType, Outcome};
use serde_json::value::RawValue;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::exposition;
use super::list::{EventFilter, Order, Place, event_list};
use super::live::Viewer;
use super::schema::{EventOutcome, EventShown, EventTypeWord};
use super::store::{event_type_text, outcome_text};
use crate::access::{Access, Area, Caller};
use crate::app::App;
use crate::http::Page;
use crate::http::auth::bearer;
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

/// What it takes to look at usage.
const NEED: Access = Access::read(Area::Usage);

/// Which way a list runs.
#[derive(utoipa::ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "describes the words of a parameter")]
enum ListOrder {
    Desc,
    Asc,
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(event_page)).routes(routes!(live)).merge(exposition::routes())
}

/// Events, newest first. A page of large events ends early: go on while there is a `next_cursor`.
#[utoipa::path(
    get, path = "/v1/usage/events", tag = "usage", operation_id = "usage_event_list",
    params(
        ("project_id" = Option<String>, Query, description = "Only of this project"),
        ("key_id" = Option<String>, Query, description = "Only of this key"),
        ("user_id" = Option<String>, Query, description = "Only of this user"),
        ("model" = Option<String>, Query, description = "Only of this model"),
        ("outcome" = Option<EventOutcome>, Query, description = "Only what ended so"),
        ("event_type" = Option<EventTypeWord>, Query, description = "Only of this type"),
        ("flagged" = Option<bool>, Query, description = "Only what was refused, or of what a policy said something"),
        ("request_id" = Option<String>, Query, description = "Only the one that the API gave this id"),
        ("event_id" = Option<String>, Query, pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", description = "Only this one, a UUID"),
        ("from" = Option<jiff::Timestamp>, Query, description = "At or after"),
        ("to" = Option<jiff::Timestamp>, Query, description = "Before"),
        ("order" = inline(Option<ListOrder>), Query, description = "`desc`, newest first, by default"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1_000, description = "Most entries of a page"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, body = Page<EventShown>)),
    extensions(("x-access" = json!("usage:read"))),
)]
async fn event_page(
    State(app): State<App>,
    caller: Caller,
    mut query: Parameters,
) -> Result<Json<Page<Box<RawValue>>>, Problem> {
    let limit = query.limit();
    let mut filter = read_filter(&mut query);
    let cursor = query.text("cursor");
    query.finish()?;
    let reach = caller.reach(NEED)?;
    let list = list_name(filter.order);
    filter.after = cursor.map(|text| read_place(list, &text)).transpose()?;
    let page = event_list(&app.db, &reach, &filter, limit).await?;
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

/// Events as they land, as server-sent events: `event: usage` with one event as JSON; `event: lagged` with the number of events that a slow
/// reader missed, `null` for who does not see all of them. Ends when the token does, or the access.
#[utoipa::path(
    get, path = "/v1/usage/live", tag = "usage", operation_id = "usage_live",
    params(
        ("project_id" = Option<String>, Query, description = "Only of this project"),
        ("event_type" = Option<EventTypeWord>, Query, description = "Only of this type"),
    ),
    responses((status = 200, content_type = "text/event-stream", body = String)),
    extensions(("x-access" = json!("usage:read"))),
)]
async fn live(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    mut query: Parameters,
) -> Result<Response, Problem> {
    let (project_id, event_type) = (query.text("project_id"), read_event_type(&mut query));
    query.finish()?;
    if let Some(project_id) = &project_id
        && !caller.is_installation_admin()
    {
        caller.project(&mut *app.db.begin_read().await?, project_id, NEED).await?;
    }
    let token = headers.get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
    let viewer = Viewer::new(&app.db, &caller, token).await?;
    let Some(body) = app.live.subscribe(viewer, project_id, event_type, app.stop.clone()) else {
        return Err(Problem::new(
            Code::TooManySubscribers,
            "too many live streams are open; close one of them",
        ));
    };
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    Ok((headers, Body::new(body)).into_response())
}
