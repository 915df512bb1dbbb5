//! Nothing lost, nothing twice: the proxy is killed again and again under load, and the ledger still tells the truth.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use harness::server::MindWeave;
use harness::upstream::{Answer, Upstream};
use harness::{eventually, http};
use serde_json::Value;

/// How often the process is killed.
const KILLS: usize = 12;
/// Clients that keep requests open all the time.
const CLIENTS: usize = 8;
/// Answers that a round waits for before the kill, so that every round has finished and open requests.
const ANSWERS_BEFORE_KILL: usize = 60;
/// Carries the identity of a request into its event.
const SESSION: &str = "x-claude-code-session-id";

/// What the clients know to be true.
#[derive(Default)]
struct Truth {
    /// Requests whose whole answer was received.
    answered: Mutex<BTreeSet<u64>>,
    stop: AtomicBool,
    next: AtomicUsize,
}

#[test]
fn a_dozen_kills_under_load_lose_nothing_and_double_nothing() {
    let upstream = Upstream::start(|request| answer_to(number_of(request)));
    let mut server = MindWeave::start(&upstream.url());
    let truth = Truth::default();
    for _ in 0..KILLS {
        truth.stop.store(false, Ordering::SeqCst);
        let before = truth.answered.lock().expect("no client panics").len();
        let proxy = server.proxy;
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| keep_asking(proxy, &truth));
            }
            eventually("enough answers in this round", || {
                let answered = truth.answered.lock().expect("no client panics").len();
                (answered >= before + ANSWERS_BEFORE_KILL).then_some(())
            });
            server.kill();
            truth.stop.store(true, Ordering::SeqCst);
        });
        server.restart();
    }

    let forwarded: BTreeSet<u64> = upstream.seen().iter().map(number_of).collect();
    let answered = truth.answered.lock().expect("no client panics").clone();
    let events = eventually("every forwarded request is in the ledger", || {
        let events = server.ledger().events("");
        let known: BTreeSet<u64> = events.iter().map(number_in).collect();
        known.is_superset(&forwarded).then_some(events)
    });
    check(&events, &forwarded, &answered);
}

/// Sends one request after the other until told to stop; a killed server only ends the request at hand.
fn keep_asking(proxy: SocketAddr, truth: &Truth) {
    while !truth.stop.load(Ordering::SeqCst) {
        let number = u64::try_from(truth.next.fetch_add(1, Ordering::SeqCst)).expect("a small number");
        let body = format!(
            r#"{{"model":"claude-opus-5","max_tokens":9,"stream":{},"messages":[]}}"#,
            streams(number)
        );
        let request = format!(
            "POST /v1/messages HTTP/1.1\r\nhost: x\r\n{SESSION}: {number}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if http::exchange(proxy, request.as_bytes())
            .is_ok_and(|answer| answer.complete && answer.status() == 200)
        {
            truth.answered.lock().expect("no client panics").insert(number);
        }
    }
}

fn streams(number: u64) -> bool {
    number.is_multiple_of(2)
}

/// Every request has its own figures, so that an event can be checked against the request it is for.
fn output_tokens(number: u64) -> u64 {
    number % 97 + 1
}

fn number_of(request: &http::Message) -> u64 {
    request.header(SESSION).and_then(|text| text.parse().ok()).expect("a numbered request")
}

fn number_in(event: &Value) -> u64 {
    event["session_id"].as_str().and_then(|text| text.parse().ok()).expect("a numbered event")
}

fn answer_to(number: u64) -> Answer {
    let output = output_tokens(number);
    if !streams(number) {
        let body = format!(
            r#"{{"id":"msg_{number}","type":"message","role":"assistant","model":"claude-opus-5","content":[],"stop_reason":"end_turn","usage":{{"input_tokens":11,"output_tokens":{output}}}}}"#
        );
        return Answer::whole(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ));
    }
    let start = format!(
        "event: message_start\ndata: {{\"type\":\"message_start\",\"message\":{{\"id\":\"msg_{number}\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-opus-5\",\"content\":[],\"stop_reason\":null,\"usage\":{{\"input_tokens\":11,\"output_tokens\":1}}}}}}\n\n"
    );
    let end = format!(
        "event: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"end_turn\",\"stop_sequence\":null}},\"usage\":{{\"output_tokens\":{output}}}}}\n\nevent: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n"
    );
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    Answer {
        parts: vec![format!("{head}{}", chunk(&start)).into(), chunk(&end).into(), b"0\r\n\r\n".to_vec()],
        then: harness::upstream::Then::KeepAlive,
    }
}

/// Every forwarded request has one event, every answered one has it complete and with its own figures.
fn check(events: &[Value], forwarded: &BTreeSet<u64>, answered: &BTreeSet<u64>) {
    let mut by_number: BTreeMap<u64, &Value> = BTreeMap::new();
    for event in events {
        let number = number_in(event);
        if let Some(other) = by_number.insert(number, event) {
            panic!("request {number} is in the ledger twice:\n{event:#}\n{other:#}");
        }
    }
    for number in forwarded {
        assert!(by_number.contains_key(number), "request {number} was forwarded and is not in the ledger");
    }
    for number in answered {
        let event = by_number[number];
        assert_eq!(event["outcome"], "complete", "request {number} was answered: {event:#}");
        assert_eq!(event["output_tokens"], output_tokens(*number), "request {number}");
        assert_eq!(event["certainty"], "exact", "request {number}");
    }
    let interrupted = events.iter().filter(|event| event["outcome"] == "interrupted");
    for event in interrupted {
        assert_eq!(event["certainty"], "unknown", "nobody knows what an interrupted request cost: {event:#}");
    }
}
