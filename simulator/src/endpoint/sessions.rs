//! Managed agents: a session object, and its events as a stream over GET.

use http::Method;
use serde_json::{Value, json};

use super::wrong_method;
use crate::answer::Answer;
use crate::clock::Moment;
use crate::exchange::Exchange;
use crate::fault::Fault;
use crate::heads::Content;
use crate::prose;
use crate::sse::EventWriter;

/// Rounds of the agent that a stream shows unless `events` says otherwise.
const DEFAULT_ROUNDS: u64 = 2;

pub(super) fn route(exchange: &mut Exchange, rest: &[&str]) -> Result<Answer, Fault> {
    let method = exchange.parts.method.clone();
    match (&method, rest) {
        (&Method::POST, []) => {
            let id = exchange.dice.id("sesn_");
            session(exchange, &id)
        }
        (&Method::GET, [id]) => session(exchange, id),
        (&Method::GET, [id, "events", "stream"] | [id, "threads", _, "stream"]) => stream(exchange, id),
        (&Method::GET, [_, "events"]) => exchange.json(&json!({"data": [], "next_page": null})),
        (&Method::POST, [_, "events"]) => exchange.json(&json!({"data": []})),
        (_, [] | [_] | [_, "events"] | [_, "events", "stream"]) => Err(wrong_method()),
        _ => Err(Fault::not_found("Not Found")),
    }
}

fn session(exchange: &mut Exchange, id: &str) -> Result<Answer, Fault> {
    let created = Moment::draw(&mut exchange.dice);
    let body = json!({
        "id": id, "type": "session", "status": "idle", "title": null, "metadata": {},
        "created_at": created.rfc3339(), "updated_at": created.plus_seconds(9).rfc3339(), "archived_at": null,
        "environment_id": exchange.dice.id("env_"), "resources": [], "outcome_evaluations": [], "vault_ids": [],
        "agent": {"type": "agent", "id": exchange.dice.id("agent_"), "version": 1},
        "stats": {"active_seconds": 9, "duration_seconds": 12},
        "usage": {
            "input_tokens": 5_120, "output_tokens": 640, "cache_read_input_tokens": 40_960,
            "cache_creation": {"ephemeral_5m_input_tokens": 2_048, "ephemeral_1h_input_tokens": 0},
        },
    });
    exchange.json(&body)
}

/// A few rounds of work, each with the usage of its model request, then the session rests.
fn stream(exchange: &mut Exchange, session_id: &str) -> Result<Answer, Fault> {
    let rounds = exchange.steering.events.unwrap_or(DEFAULT_ROUNDS);
    let headers = exchange.head(Content::EventStream);
    let dice = &mut exchange.dice;
    let mut made: Vec<(&'static str, Value)> = vec![("session.status_running", json!({}))];
    for _ in 0..rounds {
        let span = dice.id("sevt_");
        made.push(("span.model_request_start", json!({"id": span})));
        let text = prose::prose(dice, 20);
        made.push(("agent.message", json!({"content": [{"type": "text", "text": text}]})));
        let usage = json!({
            "input_tokens": dice.between(200, 4_000), "output_tokens": dice.between(20, 200),
            "cache_creation_input_tokens": 0, "cache_read_input_tokens": dice.between(0, 9_000), "speed": "standard",
        });
        let end = json!({"model_request_start_id": span, "model_usage": usage, "is_error": false});
        made.push(("span.model_request_end", end));
    }
    made.push(("session.status_idle", json!({"stop_reason": {"type": "end_turn"}})));
    let ids: Vec<String> = made.iter().map(|_| dice.id("sevt_")).collect();
    let moment = Moment::draw(dice).rfc3339();
    let mut writer = EventWriter::new(dice);
    writer.raw(": connected\n\n");
    for ((name, mut data), id) in made.into_iter().zip(ids) {
        if let Some(fields) = data.as_object_mut() {
            fields.insert("type".to_owned(), name.into());
            fields.entry("id").or_insert_with(|| id.into());
            fields.insert("session_id".to_owned(), session_id.into());
            fields.insert("processed_at".to_owned(), moment.as_str().into());
        }
        writer.event(name, &data);
    }
    let events = writer.finish();
    exchange.pieces(headers, events, true)
}
