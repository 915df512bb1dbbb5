use std::sync::Arc;

use mindweave_metering::{BatchItem, BatchResults, Bucket, BucketKind, BucketSource, PicoUsd};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn event() -> UsageEvent {
    let json = json!({
        "event_id": "0190b5a0-0000-7000-8000-000000000001", "timestamp": "2026-11-21T12:00:00Z",
        "org_id": "org_1", "project_id": "prj_1", "key_id": "key_1", "event_type": "api_call",
        "method": "GET", "endpoint": "/v1/messages/batches/{id}/results", "model": null,
        "requested_model": null, "input_tokens": 0, "output_tokens": 0, "cache_read_tokens": 0,
        "cache_write_5m_tokens": 0, "cache_write_1h_tokens": 0, "thinking_tokens": 0,
        "web_search_requests": 0, "buckets": [], "certainty": "exact", "outcome": "complete", "status": 200,
        "latency_ms": 1, "overhead_us": 1, "streamed": false, "retry_count": 0, "tool_calls": [],
        "price_book": "1", "snapshot_revision": 1, "proxy_id": "pxy_1",
        "decision": {"effect": "allow", "reasons": [], "policy_revision": 0, "shadow": []},
    });
    serde_json::from_value(json).unwrap()
}

fn item(number: usize, model: &str, input: u64, output: u64, pico: i64) -> BatchItem {
    let bucket = |source, model: &str, kind, quantity, amount| Bucket {
        source,
        model: model.into(),
        kind,
        quantity,
        unit_price_pico_usd: Some(PicoUsd(1)),
        amount_pico_usd: Some(PicoUsd(amount)),
    };
    BatchItem {
        custom_id: format!("item-{number}").into(),
        input_tokens: input,
        output_tokens: output,
        cache_read_tokens: 0,
        cache_write_5m_tokens: 0,
        cache_write_1h_tokens: 0,
        thinking_tokens: 0,
        web_search_requests: 0,
        buckets: vec![
            bucket(BucketSource::FallbackHop, "claude-declined", BucketKind::Output, 1, 0),
            bucket(BucketSource::Message, model, BucketKind::Input, input, pico),
        ],
    }
}

/// An event of these items, as a proxy writes it.
fn results(items: Vec<BatchItem>) -> UsageEvent {
    let sum = |of: fn(&BatchItem) -> u64| items.iter().map(of).sum();
    let pico =
        items.iter().flat_map(|item| &item.buckets).map(|bucket| bucket.amount_pico_usd.unwrap().0).sum();
    UsageEvent {
        input_tokens: sum(|item| item.input_tokens),
        output_tokens: sum(|item| item.output_tokens),
        cost_nano_usd: Some(PicoUsd(pico).round_to_nano()),
        batch: Some(BatchResults { batch_id: "msgbatch_1".into(), items }),
        ..event()
    }
}

/// Three items of two models. Opus: 330 tokens and 66.4 nano-dollars; haiku: 11 tokens and 33.2 nano-dollars.
pub(crate) fn mixed_results() -> (UsageEvent, [(&'static str, i64); 2]) {
    let items = vec![
        item(1, "claude-opus-4-1", 10, 100, 33_200),
        item(2, "claude-haiku-4-5", 1, 10, 33_200),
        item(3, "claude-opus-4-1", 20, 200, 33_200),
    ];
    (results(items), [("claude-opus-4-1", 66), ("claude-haiku-4-5", 34)])
}

#[test]
fn results_of_several_models_are_split_by_item_and_add_up_to_the_event() {
    let (event, costs) = mixed_results();
    let parts = ChargeParts::of(&event);
    let told: Vec<_> =
        parts.iter().map(|part| (part.model.as_deref().unwrap(), part.charge.cost.0)).collect();
    assert_eq!(told, costs);
    let tokens: Vec<_> = parts.iter().map(|part| (part.charge.requests, part.charge.tokens)).collect();
    assert_eq!(tokens, [(1, 330), (0, 11)]);
    assert_eq!(parts.total(), Charge::of(&event));
}

#[test]
fn any_other_event_is_one_part_whatever_its_bill_names() {
    let (mixed, _) = mixed_results();
    let listed = UsageEvent { requested_model: Some("claude-opus-4-1".into()), ..mixed.clone() };
    let denied = UsageEvent { outcome: Outcome::Denied, ..mixed.clone() };
    let hops = UsageEvent {
        model: Some("claude-haiku-4-5".into()),
        buckets: mixed.batch.as_ref().unwrap().items[0].buckets.clone(),
        batch: None,
        ..mixed
    };
    for (event, model) in [(listed, "claude-opus-4-1"), (hops, "claude-haiku-4-5")] {
        let parts = ChargeParts::of(&event);
        assert_eq!(parts, ChargeParts::one(Charge::of(&event), Some(model.into())));
    }
    assert_eq!(ChargeParts::of(&denied).total(), Charge::default());
}

#[test]
fn an_event_whose_cost_is_not_known_costs_no_model_anything() {
    let (mut event, _) = mixed_results();
    event.cost_nano_usd = None;
    let parts = ChargeParts::of(&event);
    assert_eq!(parts.total(), Charge::of(&event));
    assert!(parts.iter().all(|part| part.charge.cost.0 == 0));
}

proptest! {
    #[test]
    fn parts_add_up_to_the_event_and_to_each_models_items(
        items in prop::collection::vec((0..100_usize, 0..1_000_u64, 0..1_000_u64, 0..5_000_i64), 1..150),
        lost in 0..200_u64,
    ) {
        let items: Vec<_> = items
            .into_iter()
            .enumerate()
            .map(|(number, (model, input, output, pico))| item(number, &format!("model-{model}"), input, output, pico))
            .collect();
        let mut event = results(items.clone());
        let whole = ChargeParts::of(&event);
        prop_assert_eq!(whole.total(), Charge::of(&event));
        for part in whole.iter().filter(|part| part.model.is_some()) {
            let own = items.iter().filter(|item| item.buckets[1].model == *part.model.as_ref().unwrap());
            let (tokens, pico) = own.fold((0, 0), |(tokens, pico), item| {
                (tokens + item.input_tokens + item.output_tokens, pico + item.buckets[1].amount_pico_usd.unwrap().0)
            });
            prop_assert_eq!(part.charge.tokens, tokens);
            prop_assert!((part.charge.cost.0 * 1_000).abs_diff(pico) <= 1_000, "rounded once");
        }
        prop_assert!(whole.iter().count() <= 65);
        event.input_tokens = event.input_tokens.saturating_sub(lost);
        event.cost_nano_usd = event.cost_nano_usd.map(|cost| NanoUsd(cost.0 / 2));
        prop_assert_eq!(ChargeParts::of(&event).total(), Charge::of(&event), "also where items say more");
        let parts: Vec<EventPart> = EventPart::all(&event).into_iter().collect();
        prop_assert_eq!(parts.iter().map(|part| part.input_tokens).sum::<u64>(), event.input_tokens);
    }
}

#[test]
fn an_item_without_a_bill_stays_with_the_rest() {
    let (mut event, _) = mixed_results();
    let batch = event.batch.as_mut().unwrap();
    batch.items[1].buckets.clear();
    let parts = ChargeParts::of(&event);
    let models: Vec<_> = parts.iter().map(|part| part.model.clone()).collect();
    assert_eq!(models, [Some(Arc::from("claude-opus-4-1")), None]);
    assert_eq!(parts.total(), Charge::of(&event));
}
