//! What was answered with 202 is in the ledger, once, whatever becomes of the process.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::harness::apart::ControlPlane;
use crate::harness::server::MindWeave;
use crate::harness::{eventually, ledger::Ledger};
use crate::{As, NOWHERE, cost, event, post, try_post};

#[test]
fn a_kill_right_after_the_answer_loses_nothing_and_sending_again_doubles_nothing() {
    let mut server = MindWeave::start(NOWHERE);
    let (_, key) = server.ledger().project_with_key("jobs");
    for round in 0..5 {
        let batch: Vec<Value> = (round * 50..round * 50 + 50).map(event).collect();
        let told = post(server.control_plane, "/v1/events", As::Key(&key), &json!(batch));
        assert_eq!((told.status, &told.body["accepted"]), (202, &json!(50)), "{told:?}");
        server.restart(); // kills it
        let again = post(server.control_plane, "/v1/events", As::Key(&key), &json!({ "events": batch }));
        assert_eq!((again.status, &again.body["accepted"]), (202, &json!(50)), "{again:?}");
    }
    let events = server.ledger().await_events("", 250);
    check(&events, 0..250);
    // The repetitions are behind the events themselves by now, and have changed nothing.
    let last = post(server.control_plane, "/v1/track", As::Key(&key), &event(999));
    assert_eq!(last.status, 202);
    check(&server.ledger().await_events("", 251), (0..250).chain([999]));
    sums_are_of(&server.ledger(), (0..250).chain([999]));
}

/// Producers that send on and on, each batch until it is answered.
#[test]
fn kills_under_load_lose_nothing_and_double_nothing() {
    const KILLS: usize = 4;
    const BATCHES_BEFORE_KILL: usize = 25;
    let mut server = MindWeave::start(NOWHERE);
    let (_, key) = server.ledger().project_with_key("jobs");
    let (next, answered, stop) = (AtomicU64::new(0), Mutex::new(BTreeSet::new()), AtomicBool::new(false));
    let addr = Mutex::new(server.control_plane);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| keep_sending(&addr, &key, &next, &answered, &stop));
        }
        for _ in 0..KILLS {
            let before = answered.lock().expect("nobody panics").len();
            eventually("enough batches are answered", || {
                let now = answered.lock().expect("nobody panics").len();
                (now >= before + BATCHES_BEFORE_KILL).then_some(())
            });
            server.restart();
            *addr.lock().expect("nobody panics") = server.control_plane;
        }
        stop.store(true, Ordering::SeqCst);
    });
    let answered = answered.into_inner().expect("nobody panics");
    let numbers = || answered.iter().flat_map(|batch| batch * 3..batch * 3 + 3);
    let events = server.ledger().await_events("", answered.len() * 3);
    check(&events, numbers());
    sums_are_of(&server.ledger(), numbers());
}

fn keep_sending(
    addr: &Mutex<SocketAddr>,
    key: &str,
    next: &AtomicU64,
    answered: &Mutex<BTreeSet<u64>>,
    stop: &AtomicBool,
) {
    while !stop.load(Ordering::SeqCst) {
        let number = next.fetch_add(1, Ordering::SeqCst);
        // Without ids of their own: the idempotency key alone makes a repetition one.
        let batch: Vec<Value> =
            (number * 3..number * 3 + 3).map(|number| without_id(event(number))).collect();
        let headers = format!("content-type: application/json\r\nidempotency-key: batch-{number}\r\n");
        eventually("the batch is answered", || {
            let to = *addr.lock().expect("nobody panics");
            let told =
                try_post(to, "/v1/events", As::Key(key), &headers, json!(batch).to_string().as_bytes())?;
            (told.status == 202).then_some(())
        });
        answered.lock().expect("nobody panics").insert(number);
    }
}

fn without_id(mut event: Value) -> Value {
    event.as_object_mut().expect("an object").remove("event_id");
    event
}

#[test]
fn an_orderly_stop_leaves_nothing_for_the_next_start() {
    let mut control_plane = ControlPlane::start();
    let (_, key) = control_plane.ledger().project_with_key("jobs");
    let batch: Vec<Value> = (0..200).map(event).collect();
    assert_eq!(post(control_plane.api, "/v1/events", As::Key(&key), &json!(batch)).status, 202);
    assert!(control_plane.process.stop());
    control_plane.start_again();
    assert_eq!(control_plane.ledger().events("").len(), 200);
}

/// Each event once, with its own figures and cost.
pub(crate) fn check(events: &[Value], expected: impl Iterator<Item = u64>) {
    let mut by_number: BTreeMap<u64, &Value> = BTreeMap::new();
    for event in events {
        let number =
            event["session_id"].as_str().and_then(|text| text.parse().ok()).expect("a numbered event");
        assert!(by_number.insert(number, event).is_none(), "{number} is in the ledger twice");
    }
    let mut count = 0;
    for number in expected {
        let event = by_number.get(&number).unwrap_or_else(|| panic!("{number} is not in the ledger"));
        assert_eq!(event["cost_nano_usd"], cost(number), "{event:#}");
        assert_eq!(event["output_tokens"], number % 97 + 1, "{event:#}");
        count += 1;
    }
    assert_eq!(events.len(), count, "nothing else is in the ledger");
}

/// What finance reads adds up to the nano-dollar.
pub(crate) fn sums_are_of(ledger: &Ledger, numbers: impl Iterator<Item = u64>) {
    let (mut requests, mut nano) = (0, 0);
    for number in numbers {
        requests += 1;
        nano += cost(number);
    }
    for interval in ["minute", "hour", "day"] {
        let rows = ledger.get(&format!("/analytics/usage?interval={interval}&group_by=project"));
        let total = |field: &str| -> u64 {
            let rows = rows["data"].as_array().expect("rows");
            rows.iter().filter_map(|row| row[field].as_u64()).sum()
        };
        assert_eq!((total("requests"), total("cost_nano_usd")), (requests, nano), "{interval}: {rows:#}");
    }
}
