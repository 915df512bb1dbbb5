//! Traffic whose truth is known: every request has a number, and every number its own figures.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::Value;

use super::governed::{INPUT_NANO, MODEL, OUTPUT_NANO};
use super::http;
use super::upstream::{Answer, Then, Upstream};

/// Carries the number of a request into its event.
const SESSION: &str = "x-claude-code-session-id";
/// Input tokens of every request.
const INPUT_TOKENS: u64 = 11;

/// Clients, the upstream that answers them, and what they know to be true.
pub struct Traffic {
    upstream: Upstream,
    next: AtomicU64,
    stop: AtomicBool,
    answered: Mutex<BTreeSet<u64>>,
}

impl Traffic {
    /// Starts the upstream.
    pub fn new() -> Self {
        Self {
            upstream: Upstream::start(|request| answer_to(number_of(request))),
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            answered: Mutex::default(),
        }
    }

    /// The upstream's base URL.
    pub fn url(&self) -> String {
        self.upstream.url()
    }

    /// Sends one request after the other until told to stop; a proxy that is gone only ends the request at hand. `proxy` is
    /// asked before each request: a restarted one has another address.
    pub fn keep_asking(&self, proxy: impl Fn() -> SocketAddr, key: Option<&str>) {
        while !self.stop.load(Ordering::SeqCst) {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            if self.ask(proxy(), key, number) {
                self.answered.lock().expect("no client panics").insert(number);
            }
        }
    }

    /// Sends a request; whether its whole answer came.
    fn ask(&self, proxy: SocketAddr, key: Option<&str>, number: u64) -> bool {
        let body =
            format!(r#"{{"model":"{MODEL}","max_tokens":9,"stream":{},"messages":[]}}"#, streams(number));
        let key = key.map(|key| format!("x-api-key: {key}\r\n")).unwrap_or_default();
        let request = format!(
            "POST /v1/messages HTTP/1.1\r\nhost: x\r\n{key}{SESSION}: {number}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        http::exchange(proxy, request.as_bytes())
            .is_ok_and(|answer| answer.complete && answer.status() == 200)
    }

    /// Lets clients ask.
    pub fn go(&self) {
        self.stop.store(false, Ordering::SeqCst);
    }

    /// Tells every client to end after its request.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// How many requests were answered in whole so far.
    pub fn answered(&self) -> usize {
        self.answered.lock().expect("no client panics").len()
    }

    /// The numbers that reached the upstream.
    pub fn forwarded(&self) -> BTreeSet<u64> {
        self.upstream.seen().iter().map(number_of).collect()
    }

    /// Every forwarded request has one event, every answered one has it complete and with its own figures; an interrupted
    /// one claims to know nothing.
    pub fn check(&self, events: &[Value]) {
        let mut by_number: BTreeMap<u64, &Value> = BTreeMap::new();
        for event in events {
            let number = number_in(event);
            if let Some(other) = by_number.insert(number, event) {
                panic!("request {number} is in the ledger twice:\n{event:#}\n{other:#}");
            }
        }
        for number in self.forwarded() {
            assert!(
                by_number.contains_key(&number),
                "request {number} was forwarded and is not in the ledger"
            );
        }
        for number in self.answered.lock().expect("no client panics").iter() {
            let event = by_number[number];
            assert_eq!(event["outcome"], "complete", "request {number} was answered: {event:#}");
            assert_eq!(event["output_tokens"], output_tokens(*number), "request {number}");
            assert_eq!(event["certainty"], "exact", "request {number}");
            assert_eq!(event["cost_nano_usd"], cost(*number), "request {number}");
        }
        for event in events.iter().filter(|event| event["outcome"] == "interrupted") {
            assert_eq!(
                event["certainty"], "unknown",
                "nobody knows what an interrupted request cost: {event:#}"
            );
        }
    }
}

/// The number that an event is of.
pub fn number_in(event: &Value) -> u64 {
    event["session_id"].as_str().and_then(|text| text.parse().ok()).expect("a numbered event")
}

fn number_of(request: &http::Message) -> u64 {
    request.header(SESSION).and_then(|text| text.parse().ok()).expect("a numbered request")
}

fn streams(number: u64) -> bool {
    number.is_multiple_of(2)
}

fn output_tokens(number: u64) -> u64 {
    number % 97 + 1
}

/// What a request costs, in nano-dollars.
fn cost(number: u64) -> i64 {
    let tokens = |tokens: u64| i64::try_from(tokens).expect("few tokens");
    tokens(INPUT_TOKENS) * INPUT_NANO + tokens(output_tokens(number)) * OUTPUT_NANO
}

fn answer_to(number: u64) -> Answer {
    let output = output_tokens(number);
    if !streams(number) {
        let body = format!(
            r#"{{"id":"msg_{number}","type":"message","role":"assistant","model":"{MODEL}","content":[],"stop_reason":"end_turn","usage":{{"input_tokens":{INPUT_TOKENS},"output_tokens":{output}}}}}"#
        );
        return Answer::whole(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ));
    }
    let start = format!(
        "event: message_start\ndata: {{\"type\":\"message_start\",\"message\":{{\"id\":\"msg_{number}\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"{MODEL}\",\"content\":[],\"stop_reason\":null,\"usage\":{{\"input_tokens\":{INPUT_TOKENS},\"output_tokens\":1}}}}}}\n\n"
    );
    let end = format!(
        "event: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"end_turn\",\"stop_sequence\":null}},\"usage\":{{\"output_tokens\":{output}}}}}\n\nevent: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n"
    );
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    Answer {
        parts: vec![format!("{head}{}", chunk(&start)).into(), chunk(&end).into(), b"0\r\n\r\n".to_vec()],
        then: Then::KeepAlive,
    }
}
