//! Takes batch items that were booked before out of the event of a later download.
//!
//! An event's figures are the sums over its items; an item's bill is part of the event's. So what is taken out is known
//! exactly, and an event of a repeated download is left with nothing.

use std::collections::HashSet;

use super::dims::without_nul;
use mindweave_metering::{BatchItem, Bucket, Certainty, NanoUsd, PicoUsd, UsageEvent};

/// Keeps the first occurrence of each item that is in `new`, by its batch's id and its own, and takes it out of there; subtracts
/// every other item from the event.
pub(crate) fn keep_only(event: &mut UsageEvent, new: &mut HashSet<(String, String)>) {
    let Some(batch) = &mut event.batch else { return };
    let batch_id = without_nul(&batch.batch_id).into_owned();
    let (kept, repeated): (Vec<_>, Vec<_>) = std::mem::take(&mut batch.items)
        .into_iter()
        .partition(|item| new.remove(&(batch_id.clone(), without_nul(&item.custom_id).into_owned())));
    batch.items = kept;
    if repeated.is_empty() {
        return;
    }
    let nothing_left = batch.items.is_empty();
    let price_was_missing = event.buckets.iter().any(|bucket| bucket.amount_pico_usd.is_none());
    for item in &repeated {
        subtract(event, item);
    }
    event.buckets.retain(|bucket| bucket.quantity > 0);
    // A cost that was unknown only for want of a price is known once what had no price is gone; one that was unknown for
    // another reason stays so, unless there is nothing left that could cost anything.
    if event.cost_nano_usd.is_some() || price_was_missing || nothing_left {
        let was_unknown = event.cost_nano_usd.is_none();
        event.cost_nano_usd = cost(&event.buckets);
        event.cost_usd = event.cost_nano_usd.map(|cost| cost.to_string());
        if was_unknown && event.cost_nano_usd.is_some() {
            (event.certainty, event.certainty_reason) = (Certainty::Exact, None);
        }
    }
}

fn subtract(event: &mut UsageEvent, item: &BatchItem) {
    let less = |figure: &mut u64, by: u64| *figure = figure.saturating_sub(by);
    less(&mut event.input_tokens, item.input_tokens);
    less(&mut event.output_tokens, item.output_tokens);
    less(&mut event.cache_read_tokens, item.cache_read_tokens);
    less(&mut event.cache_write_5m_tokens, item.cache_write_5m_tokens);
    less(&mut event.cache_write_1h_tokens, item.cache_write_1h_tokens);
    less(&mut event.thinking_tokens, item.thinking_tokens);
    less(&mut event.web_search_requests, item.web_search_requests);
    for bucket in &item.buckets {
        take(&mut event.buckets, bucket);
    }
}

/// Takes a bucket's quantity out of those of the same kind and price, of which there may be one or several.
fn take(buckets: &mut [Bucket], taken: &Bucket) {
    let mut rest = taken.quantity;
    for bucket in buckets.iter_mut().filter(|bucket| is_same_line(bucket, taken)) {
        let part = rest.min(bucket.quantity);
        bucket.quantity = bucket.quantity.saturating_sub(part);
        rest = rest.saturating_sub(part);
        bucket.amount_pico_usd =
            bucket.unit_price_pico_usd.and_then(|price| price.checked_mul(bucket.quantity));
    }
}

fn is_same_line(a: &Bucket, b: &Bucket) -> bool {
    a.source == b.source
        && a.kind == b.kind
        && a.model == b.model
        && a.unit_price_pico_usd == b.unit_price_pico_usd
}

/// The cost of these lines, rounded once; `None` when one has no price.
fn cost(buckets: &[Bucket]) -> Option<NanoUsd> {
    let sum = buckets.iter().try_fold(PicoUsd(0), |sum, bucket| sum.checked_add(bucket.amount_pico_usd?));
    sum.map(PicoUsd::round_to_nano)
}
