//! `/v1/messages/batches`: create, list, get, cancel, delete and the results as JSON Lines.

mod results;
mod store;

use http::header::{CONTENT_DISPOSITION, RETRY_AFTER};
use http::{HeaderValue, Method};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::wrong_method;
use crate::answer::Answer;
use crate::clock::Moment;
use crate::exchange::{Exchange, internal};
use crate::fault::Fault;
use crate::heads::Content;
use crate::intake::RawBody;
use crate::state::State;
use store::{Batch, Item, RequestCounts, Status};

pub(crate) use store::BatchStore;

/// Most items of a batch, as the service has it.
const MAX_ITEMS: usize = 100_000;
/// Entries of a page unless the request says otherwise.
const DEFAULT_PAGE: usize = 20;
/// What a client polling an unfinished batch is told to wait.
const POLL_SECONDS: u64 = 10;

#[derive(Deserialize)]
struct CreateRequest<'a> {
    #[serde(borrow)]
    requests: Option<Vec<RequestedItem<'a>>>,
}

#[derive(Deserialize)]
struct RequestedItem<'a> {
    custom_id: String,
    #[serde(borrow)]
    params: &'a RawValue,
}

#[derive(Serialize)]
struct BatchObject {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    processing_status: Status,
    request_counts: RequestCounts,
    ended_at: Option<String>,
    created_at: String,
    expires_at: String,
    archived_at: Option<String>,
    cancel_initiated_at: Option<String>,
    results_url: Option<String>,
}

#[derive(Serialize)]
struct Page {
    first_id: Option<String>,
    last_id: Option<String>,
    data: Vec<BatchObject>,
    has_more: bool,
}

#[derive(Serialize)]
struct Deleted<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
}

pub(super) fn route(
    state: &State,
    exchange: &mut Exchange,
    rest: &[&str],
    body: &RawBody,
) -> Result<Answer, Fault> {
    let method = exchange.parts.method.clone();
    match (&method, rest) {
        (&Method::POST, []) => create(state, exchange, body),
        (&Method::GET, []) => list(state, exchange),
        (&Method::GET, [id]) => get(state, exchange, id),
        (&Method::DELETE, [id]) => delete(state, exchange, id),
        (&Method::POST, [id, "cancel"]) => cancel(state, exchange, id),
        (&Method::GET, [id, "results"]) => results(state, exchange, id),
        (_, [] | [_] | [_, "cancel" | "results"]) => Err(wrong_method()),
        _ => Err(Fault::not_found("Not Found")),
    }
}

fn create(state: &State, exchange: &mut Exchange, body: &RawBody) -> Result<Answer, Fault> {
    let body = body.decoded()?;
    let request: CreateRequest<'_> =
        serde_json::from_slice(&body).map_err(|_| Fault::invalid("The request body is not valid JSON"))?;
    let requested =
        request.requests.filter(|items| !items.is_empty()).ok_or_else(|| Fault::missing("requests"))?;
    if requested.len() > MAX_ITEMS {
        return Err(Fault::invalid(format!("requests: a batch has at most {MAX_ITEMS} items")));
    }
    let mut ids = std::collections::HashSet::new();
    if let Some(twice) = requested.iter().find(|item| !ids.insert(item.custom_id.as_str())) {
        return Err(Fault::invalid(format!("requests: the custom_id {} is not unique", twice.custom_id)));
    }
    let item = |item: RequestedItem<'_>| Item {
        custom_id: item.custom_id,
        params: body.slice_ref(item.params.get().as_bytes()),
    };
    let batch = Batch::new(
        exchange.dice.id("msgbatch_"),
        Moment::draw(&mut exchange.dice),
        exchange.dice.next(),
        requested.into_iter().map(item).collect(),
        exchange.steering.clone(),
        exchange.version,
    );
    let batch = state.batches.add(batch);
    let object = object(state, &batch, Status::InProgress);
    exchange.json(&object)
}

fn list(state: &State, exchange: &mut Exchange) -> Result<Answer, Fault> {
    let limit = exchange.query("limit").and_then(|limit| limit.parse().ok()).unwrap_or(DEFAULT_PAGE);
    let newest: Vec<_> = state.batches.all().into_iter().rev().collect();
    let place = |id: Option<&str>| id.and_then(|id| newest.iter().position(|batch| batch.id == id));
    let start = place(exchange.query("after_id")).map_or(0, |at| at.saturating_add(1));
    let end = place(exchange.query("before_id")).unwrap_or(newest.len());
    let shown = newest.iter().take(end).skip(start).take(limit);
    let data: Vec<BatchObject> = shown.map(|batch| object(state, batch, batch.status())).collect();
    let page = Page {
        has_more: start.saturating_add(data.len()) < end,
        first_id: data.first().map(|batch| batch.id.clone()),
        last_id: data.last().map(|batch| batch.id.clone()),
        data,
    };
    exchange.json(&page)
}

fn get(state: &State, exchange: &mut Exchange, id: &str) -> Result<Answer, Fault> {
    let batch = state.batches.find(id).ok_or_else(|| unknown(id))?;
    let status = batch.poll();
    let mut headers = exchange.head(Content::Json);
    if status != Status::Ended {
        headers.insert(RETRY_AFTER, HeaderValue::from(POLL_SECONDS));
    }
    exchange.json_with(headers, &object(state, &batch, status))
}

fn cancel(state: &State, exchange: &mut Exchange, id: &str) -> Result<Answer, Fault> {
    let batch = state.batches.find(id).ok_or_else(|| unknown(id))?;
    if !batch.cancel() {
        return Err(Fault::invalid(format!("Batch {id} cannot be canceled because it has already ended.")));
    }
    let object = object(state, &batch, Status::Canceling);
    exchange.json(&object)
}

fn delete(state: &State, exchange: &mut Exchange, id: &str) -> Result<Answer, Fault> {
    let batch = state.batches.find(id).ok_or_else(|| unknown(id))?;
    if batch.status() != Status::Ended {
        return Err(Fault::invalid(format!("Batch {id} cannot be deleted while it is in progress.")));
    }
    state.batches.remove(id);
    exchange.json(&Deleted { id, kind: "message_batch_deleted" })
}

fn results(state: &State, exchange: &mut Exchange, id: &str) -> Result<Answer, Fault> {
    let batch = state.batches.find(id).ok_or_else(|| unknown(id))?;
    if batch.status() != Status::Ended {
        return Err(Fault::not_found(format!("Message Batch {id} has no available results.")));
    }
    let mut headers = exchange.head(Content::JsonLines);
    let name = format!("attachment; filename*=utf-8''{id}_results.jsonl");
    if let Ok(disposition) = HeaderValue::try_from(name) {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    let encoding = exchange.encoding(true);
    let lines = Box::new(results::lines(batch));
    Answer::made(headers, lines, None, encoding, &exchange.steering).map_err(|_| internal())
}

fn object(state: &State, batch: &Batch, status: Status) -> BatchObject {
    let ended = status == Status::Ended;
    let origin = state.results_origin.resolve(&state.own_origin);
    BatchObject {
        id: batch.id.clone(),
        kind: "message_batch",
        processing_status: status,
        request_counts: batch.counts(status),
        ended_at: ended.then(|| batch.created.plus_seconds(124).with_offset()),
        created_at: batch.created.with_offset(),
        expires_at: batch.created.next_day_with_offset(),
        archived_at: None,
        cancel_initiated_at: batch.is_canceled().then(|| batch.created.plus_seconds(60).with_offset()),
        results_url: ended.then(|| format!("{origin}/v1/messages/batches/{}/results", batch.id)),
    }
}

fn unknown(id: &str) -> Fault {
    Fault::not_found(format!("Message Batch {id} not found."))
}
