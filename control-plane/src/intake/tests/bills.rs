use mindweave_metering::{Endpoint, Outcome, ResponseHead, ResponseTap};
use serde_json::{Value, json};

use super::*;

fn event(more: &Value) -> Value {
    let mut event = json!({ "model": "claude-sonnet-4-5", "input_tokens": 1_000, "output_tokens": 7 });
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

/// Nano-dollars, and how they are known.
fn bill(event: &Value) -> (Option<u64>, &str, &str) {
    let reason = event["certainty_reason"].as_str().unwrap_or_default();
    (event["cost_nano_usd"].as_u64(), event["certainty"].as_str().unwrap(), reason)
}

#[test]
fn an_event_without_a_cost_is_priced_by_the_book_on_its_terms() {
    let office = Office::new();
    for (more, cost, certainty, reason) in [
        (json!({}), Some(3_105_000), "exact", ""),
        (json!({ "service_tier": "batch" }), Some(1_552_500), "exact", ""),
        (
            json!({ "cache_read_input_tokens": 10, "cache_creation_input_tokens": 10 }),
            Some(3_145_500),
            "exact",
            "",
        ),
        (json!({ "web_search_requests": 2 }), Some(23_105_000), "exact", ""),
        (json!({ "service_tier": "priority" }), Some(3_105_000), "estimated", "priority_tier_list_price"),
        (json!({ "certainty": "estimated" }), Some(3_105_000), "estimated", "estimated_by_producer"),
        (
            json!({ "certainty": "estimated", "certainty_reason": "counted_by_tokenizer" }),
            Some(3_105_000),
            "estimated",
            "counted_by_tokenizer",
        ),
        (json!({ "certainty": "unknown" }), None, "unknown", "unknown_to_producer"),
        (json!({ "model": "claude-99" }), None, "unknown", "unknown_model"),
    ] {
        let stored = office.accept(&office.holder(), &event(&more));
        assert_eq!(bill(&stored), (cost, certainty, reason), "{more}");
        assert_eq!(stored["input_tokens"], 1_000, "{more}");
        assert_eq!(stored["price_book"], **PriceBook::bundled().unwrap().version(), "{more}");
    }
}

#[test]
fn a_cost_that_is_given_is_kept_and_said_to_be_the_producers() {
    let office = Office::new();
    let line =
        json!({ "kind": "input", "quantity": 1_000, "unit_price_pico_usd": 5, "amount_pico_usd": 5_000 });
    let output = json!({ "kind": "output", "quantity": 7, "unit_price_pico_usd": 0 });
    for (more, cost, certainty, book) in [
        (json!({ "cost_nano_usd": 12 }), 12, "estimated", "producer"),
        (json!({ "cost_usd": "0.000000012" }), 12, "estimated", "producer"),
        (json!({ "cost_nano_usd": 0, "certainty": "exact" }), 0, "exact", "producer"),
        (
            json!({ "cost_nano_usd": 5, "buckets": [line, output], "price_book": "ours-7" }),
            5,
            "estimated",
            "producer:ours-7",
        ),
        (json!({ "buckets": [line, output] }), 5, "estimated", "producer"),
    ] {
        let stored = office.accept(&office.holder(), &event(&more));
        let (known, how, _) = bill(&stored);
        assert_eq!(
            (known, how, stored["price_book"].as_str()),
            (Some(cost), certainty, Some(book)),
            "{more}"
        );
        assert_eq!(
            stored["buckets"].as_array().unwrap().len(),
            more["buckets"].as_array().map_or(0, Vec::len)
        );
    }
}

#[test]
fn a_bill_that_contradicts_itself_is_refused() {
    let office = Office::new();
    let line = |quantity: u64| json!({ "kind": "input", "quantity": quantity, "unit_price_pico_usd": 5_000 });
    let output = json!({ "kind": "output", "quantity": 7, "unit_price_pico_usd": 0 });
    let unpriced = json!({ "kind": "output", "quantity": 7 });
    for (more, places) in [
        (json!({ "cost_nano_usd": 6_000, "buckets": [line(1_000), output] }), ["/cost_nano_usd"].as_slice()),
        (json!({ "cost_nano_usd": 5_000, "buckets": [line(1_000), unpriced] }), &["/cost_nano_usd"]),
        (json!({ "buckets": [line(999), output] }), &["/buckets"]),
        (json!({ "cost_nano_usd": 1, "cost_usd": "1" }), &["/cost_usd"]),
        (json!({ "cost_nano_usd": 1, "certainty": "unknown" }), &["/certainty"]),
        (json!({ "usage": { "input_tokens": 1, "output_tokens": 1 } }), &["/usage"]),
        (json!({ "input_tokens": 900_000_000_000_u64 }), &[""]),
    ] {
        assert_eq!(office.refuse(&office.holder(), &event(&more)), places, "{more}");
    }
}

#[test]
fn lines_without_prices_are_priced_each_at_its_own_model() {
    let office = Office::new();
    let lines = json!([
        { "kind": "input", "quantity": 1_000 }, { "kind": "output", "quantity": 7 },
        { "source": "advisor", "model": "claude-opus-4-1", "kind": "output", "quantity": 10 },
    ]);
    let stored = office.accept(&office.holder(), &event(&json!({ "buckets": lines })));
    assert_eq!(bill(&stored), (Some(3_105_000 + 750_000), "exact", ""));
    assert_eq!(stored["input_tokens"], 1_000);
}

#[test]
fn the_apis_own_usage_costs_what_the_proxy_makes_of_the_answer() {
    let office = Office::new();
    let usage = json!({
        "input_tokens": 12, "cache_creation_input_tokens": 500, "cache_read_input_tokens": 70_000,
        "cache_creation": { "ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 100 },
        "output_tokens": 321, "service_tier": "standard", "inference_geo": "us",
        "server_tool_use": { "web_search_requests": 3 },
        "iterations": [
            { "type": "compaction", "input_tokens": 900, "output_tokens": 55, "cache_read_input_tokens": 0,
              "cache_creation_input_tokens": 0 },
            { "type": "message", "input_tokens": 12, "output_tokens": 321, "cache_read_input_tokens": 70_000,
              "cache_creation_input_tokens": 500,
              "cache_creation": { "ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 100 } },
        ],
    });
    let model = "claude-sonnet-4-5-20250929";
    let answer = json!({
        "type": "message", "model": model, "content": [{ "type": "text", "text": "x" }], "usage": usage,
    });
    let endpoint = Endpoint::of("POST", "/v1/messages");
    let mut tap = ResponseTap::new(&ResponseHead {
        endpoint: &endpoint,
        status: 200,
        content_type: Some("application/json"),
        content_encoding: None,
    });
    tap.feed(answer.to_string().as_bytes());
    let metered = tap.finish(Outcome::Complete);
    let expected = PriceBook::bundled().unwrap().price(&metered, None, clock::now());
    let stored = office.accept(&office.holder(), &json!({ "model": model, "usage": usage }));
    assert!(expected.buckets.iter().any(|line| line.source == mindweave_metering::BucketSource::Compaction));
    assert_eq!(stored["buckets"], serde_json::to_value(&expected.buckets).unwrap());
    assert_eq!(stored["cost_nano_usd"], serde_json::to_value(expected.cost).unwrap());
    assert_eq!(
        (&stored["cache_write_5m_tokens"], &stored["service_tier"]),
        (&json!(400), &json!("standard"))
    );
}

#[test]
fn prices_are_those_of_the_time_of_the_event() {
    let prices = PriceBook::parse(
        &std::fs::read_to_string(format!("{}/../metering/src/prices.toml", env!("CARGO_MANIFEST_DIR")))
            .unwrap(),
    )
    .unwrap();
    let office = Office::new();
    let at = ago(6 * 24 * 60 * 60);
    let sent = event(&json!({ "timestamp": at.to_string() }));
    let stored = office.accept(&office.holder(), &sent);
    let unit =
        prices.list_price("claude-sonnet-4-5", mindweave_metering::TokenKind::Input, 1_000, at).unwrap();
    assert_eq!(stored["buckets"][0]["unit_price_pico_usd"], unit.0);
}
