//! Events of batch results.

use mindweave_metering::{BatchItem, BatchResults, Bucket, BucketKind, BucketSource, PicoUsd, UsageEvent};

/// An item's model (a place in [`ITEM_MODELS`]), input tokens, and cost in pico-dollars.
pub(super) type Item = (usize, u64, i64);

const ITEM_MODELS: [&str; 3] = ["claude-sonnet-4-5", "claude-opus-4-1", "claude-haiku-4-5"];

/// Makes it an event of batch results, as a proxy writes it: its figures are the sums over the items, its cost is rounded once.
pub(super) fn make_download(event: &mut UsageEvent, number: u64, priced: bool, items: &[Item]) {
    let item = |(place, (model, tokens, pico)): (usize, &Item)| BatchItem {
        custom_id: format!("item-{place}").into(),
        input_tokens: *tokens,
        output_tokens: tokens / 2,
        cache_read_tokens: 0,
        cache_write_5m_tokens: 0,
        cache_write_1h_tokens: 0,
        thinking_tokens: 0,
        web_search_requests: 0,
        buckets: vec![Bucket {
            source: BucketSource::Message,
            model: ITEM_MODELS[*model].into(),
            kind: BucketKind::Input,
            quantity: 1,
            unit_price_pico_usd: priced.then_some(PicoUsd(*pico)),
            amount_pico_usd: priced.then_some(PicoUsd(*pico)),
        }],
    };
    let items: Vec<_> = items.iter().enumerate().map(item).collect();
    let same = items.iter().all(|item| item.buckets[0].model == items[0].buckets[0].model);
    event.model = same.then(|| items[0].buckets[0].model.clone());
    event.requested_model = None;
    event.input_tokens = items.iter().map(|item| item.input_tokens).sum();
    event.output_tokens = items.iter().map(|item| item.output_tokens).sum();
    (event.cache_read_tokens, event.cache_write_5m_tokens, event.cache_write_1h_tokens) = (0, 0, 0);
    event.buckets = items.iter().flat_map(|item| item.buckets.clone()).collect();
    let pico = event.buckets.iter().map(|bucket| bucket.amount_pico_usd.map_or(0, |amount| amount.0)).sum();
    event.cost_nano_usd = priced.then(|| PicoUsd(pico).round_to_nano());
    event.batch = Some(BatchResults { batch_id: format!("msgbatch_{number}").into(), items });
}
