use serde_json::{Value, json};

use super::*;

#[test]
fn everything_that_is_wrong_with_an_event_is_named_at_once() {
    let office = Office::new();
    let sent = json!({
        "model": 7, "input_tokens": -1, "output_tokens": 1.5, "cache_read_tokens": 1_000_000_000_001_u64,
        "timestamp": "yesterday", "event_type": "call", "outcome": "denied", "status": 42_000, "streamed": "yes",
        "endpoint": "v1/messages", "metadata": { "a/b": 7, "long": "x".repeat(257), "": "x" }, "user_id": "a\nb",
        "tool_calls": [{ "name": "x" }], "request": { "client_ip": "here", "prompt": "x" }, "inputTokens": 3,
        "buckets": [{ "kind": "input", "quantity": 1, "unit_price_pico_usd": 2, "amount_pico_usd": 3 }],
        "batch": {}, "decision": { "effect": "deny" }, "cost_nano_usd": 1.0, "certainty_reason": "Because it is",
    });
    let mut wrong = office.refuse(&office.holder(), &sent);
    wrong.sort();
    let expected = [
        "/batch",
        "/buckets/0/amount_pico_usd",
        "/buckets/0/model",
        "/cache_read_tokens",
        "/certainty_reason",
        "/cost_nano_usd",
        "/decision",
        "/endpoint",
        "/event_type",
        "/input_tokens",
        "/inputTokens",
        "/metadata/",
        "/metadata/a~1b",
        "/metadata/long",
        "/model",
        "/outcome",
        "/output_tokens",
        "/request/client_ip",
        "/request/prompt",
        "/status",
        "/streamed",
        "/timestamp",
        "/tool_calls/0",
        "/user_id",
    ];
    for place in expected {
        assert!(wrong.contains(&place.to_owned()), "{place} is not in {wrong:?}");
    }
}

#[test]
fn no_fault_repeats_what_was_sent() {
    let office = Office::new();
    let secret = "the-prompt-of-somebody";
    let sent = json!({
        "model": { "x": secret }, "input_tokens": secret, "timestamp": secret, "event_id": secret, "outcome": secret,
        "metadata": { "x": [secret] }, "buckets": secret, "project_id": secret, "certainty_reason": secret, "usage": secret,
    });
    let answers = office.take(&office.holder(), &[sent]);
    let told = format!("{:?}", answers[0].errors);
    assert!(answers[0].errors.len() > 5 && !told.contains(secret), "{told}");
}

#[test]
fn a_misspelled_field_is_refused_with_the_one_that_is_meant() {
    let office = Office::new();
    let sent = json!({ "model": "m", "inputTokens": 1, "output_tokens": 1 });
    let answers = office.take(&office.holder(), &[sent]);
    let told: Vec<_> = answers[0].errors.iter().map(|fault| (&*fault.pointer, &*fault.message)).collect();
    assert_eq!(
        told,
        [
            ("/input_tokens", "is required"),
            ("/inputTokens", "is not a field of this; is input_tokens meant?")
        ]
    );
}

#[test]
fn good_events_of_a_batch_are_taken_and_bad_ones_are_not() {
    let office = Office::new();
    let good = |id: u8| {
        json!({
            "event_id": format!("018f0000-0000-4000-8000-0000000000{id:02}"), "model": "m", "input_tokens": 1, "output_tokens": 1,
        })
    };
    let batch = [good(1), json!({}), good(2), good(1), json!(null)];
    let statuses: Vec<_> = office.take(&office.holder(), &batch).iter().map(|answer| answer.status).collect();
    let expected =
        [Status::Accepted, Status::Rejected, Status::Accepted, Status::Duplicate, Status::Rejected];
    assert_eq!(statuses, expected);
    assert_eq!(office.stored().len(), 2);
}

#[test]
fn times_far_ahead_and_beyond_what_is_kept_are_refused() {
    let office = Office::new();
    let at = |time: Timestamp| json!({ "model": "m", "input_tokens": 1, "output_tokens": 1, "timestamp": time.to_string() });
    let day = 24 * 60 * 60;
    for (seconds, taken) in
        [(-280, true), (-320, false), (6 * day, true), (7 * day - 60, false), (8 * day, false)]
    {
        let status = office.take(&office.holder(), &[at(ago(seconds))])[0].status;
        assert_eq!(status == Status::Accepted, taken, "{seconds} seconds ago");
    }
}

#[test]
fn a_full_journal_takes_nothing_of_a_batch_that_does_not_fit() {
    let office = Office::with_journal(|config| JournalConfig {
        segment_bytes: 16 << 10,
        max_bytes: 64 << 10,
        finished_budget_bytes: 1 << 10,
        ..config
    });
    let event =
        json!({ "model": "m", "input_tokens": 1, "output_tokens": 1, "metadata": { "x": "y".repeat(200) } });
    let batch: Vec<Value> = std::iter::repeat_n(event, 20).collect();
    let mut taken = 0;
    let refusal = loop {
        match office.try_take(&office.holder(), None, &batch) {
            Ok(_) => taken += batch.len(),
            Err(refusal) => break refusal,
        }
        assert!(taken < 1_000, "the journal is never full");
    };
    assert!(matches!(refusal, Refusal::Journal(mindweave_eventlog::AppendError::Full)), "{refusal}");
    assert_eq!(office.stored().len(), taken);
}

#[test]
fn a_closed_desk_takes_nothing() {
    let office = Office::new();
    office.desk.close();
    let event = json!({ "model": "m", "input_tokens": 1, "output_tokens": 1 });
    assert!(matches!(office.try_take(&office.holder(), None, &[event]), Err(Refusal::Stopping)));
    assert!(office.stored().is_empty());
}
