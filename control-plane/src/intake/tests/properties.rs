use mindweave_eventlog::Record;
use mindweave_metering::{Envelope, UsageEvent};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::*;
use crate::usage::decode;

/// The names that mean something, and some that do not.
const NAMES: [&str; 47] = [
    "event_id",
    "timestamp",
    "org_id",
    "project_id",
    "team_id",
    "user_id",
    "key_id",
    "event_type",
    "method",
    "endpoint",
    "model",
    "requested_model",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "thinking_tokens",
    "web_search_requests",
    "buckets",
    "cost_nano_usd",
    "cost_usd",
    "certainty",
    "certainty_reason",
    "outcome",
    "status",
    "latency_ms",
    "ttft_ms",
    "overhead_us",
    "streamed",
    "request_id",
    "service_tier",
    "session_id",
    "retry_count",
    "tool_calls",
    "decision",
    "price_book",
    "request",
    "metadata",
    "usage",
    "speed",
    "inference_geo",
    "source",
    "data",
    "version",
    "nonsense",
    "cache_read_input_tokens",
];

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0_u64..2_000).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        select(vec![
            "claude-sonnet-4-5",
            "api_call",
            "complete",
            "exact",
            "unknown",
            "standard",
            "batch",
            "1.0",
            "prj_1",
            "input",
            "0.25",
            "2026-11-21T12:00:00Z",
            "018f0000-0000-4000-8000-000000000001",
            "/v1/messages",
            "message",
        ])
        .prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        let names = select(vec![
            "kind",
            "quantity",
            "source",
            "unit_price_pico_usd",
            "name",
            "input_tokens",
            "output_tokens",
            "x",
        ]);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((names, inner), 0..4).prop_map(|entries| entries
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()),
        ]
    })
}

/// A sound event with some fields replaced.
fn event() -> impl Strategy<Value = Value> {
    proptest::collection::vec((select(NAMES.to_vec()), value()), 0..5).prop_map(|changes| {
        let sound = json!({ "model": "claude-sonnet-4-5", "input_tokens": 10, "output_tokens": 5, "project_id": "prj_1" });
        let Value::Object(mut event) = sound else { return Value::Null };
        event.extend(changes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>());
        Value::Object(event)
    })
}

proptest! {
    /// What is accepted can be booked: the ledger takes it, and any reader of the schema reads it.
    #[test]
    fn whatever_is_sent_is_refused_by_its_places_or_becomes_an_event_of_the_ledger(sent in event()) {
        let office = office();
        let answer = office.take(&admin(), std::slice::from_ref(&sent)).remove(0);
        if answer.status == Status::Rejected {
            prop_assert!(!answer.errors.is_empty());
            for fault in &answer.errors {
                let place = sent.pointer(&fault.pointer).is_some() || fault.message.contains("is required");
                prop_assert!(place || fault.pointer.ends_with("/project_id") || fault.pointer.contains("cost"), "{:?} in {}", fault, sent);
            }
            return Ok(());
        }
        let stored = office.journal.tail(Sequence::ZERO).read(ReadLimits { max_records: 100_000, max_bytes: 1 << 30 });
        let (_, payload) = stored.records.last().unwrap();
        let read: Envelope<UsageEvent> = serde_json::from_slice(payload).unwrap();
        let record = Record { sequence: Sequence::new(1), origin: None, payload: payload.clone() };
        let booked = decode(&record).unwrap();
        prop_assert_eq!(booked.fields.event_id, answer.event_id.unwrap());
        prop_assert_eq!(read.data.cost_nano_usd, answer.cost_nano_usd.unwrap());
        prop_assert_eq!(read.data.cost_usd, read.data.cost_nano_usd.map(|cost| cost.to_string()));
    }

    #[test]
    fn any_bytes_are_refused_or_read(body in proptest::collection::vec(any::<u8>(), 0..200), near in "[\\[\\]{}:,\"a1. e-]{0,60}") {
        drop(super::super::split::inflate(&body));
        for text in [super::super::split::text(&body).ok(), Some(&*near)].into_iter().flatten() {
            drop(super::super::split::events(text, super::super::split::Layout::Json));
            drop(super::super::split::events(text, super::super::split::Layout::Lines));
        }
    }
}

/// One for all cases: opening a journal takes longer than all else.
fn office() -> &'static Office {
    static OFFICE: std::sync::OnceLock<Office> = std::sync::OnceLock::new();
    OFFICE.get_or_init(Office::new)
}
