//! How many items of a batch go into one event: as many as a journal record certainly holds.

use mindweave_metering::{MeteredItem, Pass, TokenKind};

/// The most that the items of one event may take: a journal record's limit, less the rest of the event.
const MAX_ITEMS_BYTES: usize = 960 * 1024;
/// What an item takes without its id and its bill: ten names and numbers.
const ITEM_BYTES: usize = 320;
/// What a line of the bill takes, with the longest usual model id.
const BUCKET_BYTES: usize = 224;

/// Cuts items into events' worth, in order.
pub(crate) fn split(items: Vec<MeteredItem>) -> Vec<Vec<MeteredItem>> {
    let mut parts = Vec::new();
    let mut part = Vec::new();
    let mut bytes = 0_usize;
    for item in items {
        let size = estimate(&item);
        if !part.is_empty() && bytes.saturating_add(size) > MAX_ITEMS_BYTES {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes = bytes.saturating_add(size);
        part.push(item);
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// Its size as JSON, rather too large than too small.
fn estimate(item: &MeteredItem) -> usize {
    let of_pass = |pass: &Pass| TokenKind::ALL.iter().filter(|kind| pass.tokens.of(**kind) > 0).count();
    let searches = usize::from(item.answer.web_search_requests > 0);
    let lines = item.answer.passes.iter().map(of_pass).sum::<usize>().saturating_add(searches);
    let id = item.custom_id.len().saturating_mul(2); // escapes
    ITEM_BYTES.saturating_add(lines.saturating_mul(BUCKET_BYTES)).saturating_add(id)
}

#[cfg(test)]
mod tests {
    use mindweave_metering::MeteredResponse;

    use super::*;

    #[test]
    fn items_keep_their_order_and_no_part_is_too_large() {
        let item = |number: usize| MeteredItem {
            custom_id: format!("item-{number:06}").into(),
            answer: MeteredResponse::without_usage(None),
        };
        let parts = split((0..5_000).map(item).collect());
        assert!(parts.len() > 1);
        assert!(parts.iter().all(|part| part.iter().map(estimate).sum::<usize>() <= MAX_ITEMS_BYTES));
        let ids: Vec<String> = parts.iter().flatten().map(|item| item.custom_id.to_string()).collect();
        assert_eq!(ids.len(), 5_000);
        assert!(ids.is_sorted());
        assert!(split(Vec::new()).is_empty());
    }
}
