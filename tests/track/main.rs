//! Events of other producers, sent to the real binary as programs without any library send them.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../harness/mod.rs"]
mod harness;

mod budgets;
mod deaths;
mod examples;
mod hostile;
mod prices;
mod replicas;

use std::net::SocketAddr;

use harness::http;
use harness::server::ADMIN_TOKEN;
use serde_json::{Value, json};

/// An upstream that nobody calls.
const NOWHERE: &str = "http://127.0.0.1:1";

/// Who sends.
#[derive(Clone, Copy)]
enum As<'a> {
    Key(&'a str),
    Admin,
}

/// An answer: its status, and its body as JSON.
#[derive(Debug)]
struct Told {
    status: u16,
    body: Value,
}

/// POSTs a body with these further header lines; `None` when there is no whole answer.
fn try_post(to: SocketAddr, path: &str, who: As<'_>, headers: &str, body: &[u8]) -> Option<Told> {
    let credential = match who {
        As::Key(key) => format!("x-api-key: {key}"),
        As::Admin => format!("authorization: Bearer {ADMIN_TOKEN}"),
    };
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\n{credential}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    let answer = http::exchange(to, &request).ok().filter(|answer| answer.complete)?;
    let body = serde_json::from_slice(&answer.body).ok()?;
    Some(Told { status: answer.status(), body })
}

/// POSTs JSON.
fn post(to: SocketAddr, path: &str, who: As<'_>, body: &Value) -> Told {
    let sent = try_post(to, path, who, "content-type: application/json\r\n", body.to_string().as_bytes());
    sent.expect("the control plane answers")
}

/// An event with figures of its own, and an id by which it is known whenever it is sent.
fn event(number: u64) -> Value {
    json!({
        "event_id": format!("5ca1ab1e-0000-4000-8000-{number:012x}"),
        "model": "claude-sonnet-4-5",
        "input_tokens": 100 + number,
        "output_tokens": number % 97 + 1,
        "session_id": number.to_string(),
    })
}

/// What such an event costs, in nano-dollars: three dollars a million for input, fifteen for output.
fn cost(number: u64) -> u64 {
    (100 + number) * 3_000 + (number % 97 + 1) * 15_000
}
