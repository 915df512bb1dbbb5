//! A request body: any chunking gives the same reading, nothing is accepted that serde_json refuses, and what is accepted
//! has an estimate and can be priced.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mindweave_metering::{BatchCall, Encoding, EndpointKind, PriceBook, RequestReading, RequestScan};

/// Every model has a price then.
const NOW: &str = "2026-11-21T00:00:00Z";

static BOOK: LazyLock<PriceBook> = LazyLock::new(|| PriceBook::bundled().expect("a good book"));

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (kind, size, body) = input;
    let kind = match kind % 4 {
        0 => EndpointKind::Messages,
        1 => EndpointKind::Batches(BatchCall::Create),
        2 => EndpointKind::ChatCompletions,
        _ => EndpointKind::Complete,
    };
    let whole = read(kind, [body]);
    assert_eq!(whole, read(kind, body.chunks(usize::from(size).max(1))));
    assert_eq!(whole.fault.is_none(), whole.facts.estimated_input_tokens.is_some());
    let input = whole.facts.estimated_input_tokens.unwrap_or_default();
    let output = whole.facts.max_tokens_sum.unwrap_or_default();
    BOOK.ceiling(&whole.facts, input, output, NOW.parse().expect("a time"));
    if whole.fault.is_none() {
        assert!(serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok());
    }
});

fn read<'a>(kind: EndpointKind, chunks: impl IntoIterator<Item = &'a [u8]>) -> RequestReading {
    let mut scan = RequestScan::new(kind, Encoding::Identity).expect("a scanned endpoint");
    for chunk in chunks {
        scan.feed(chunk);
    }
    scan.finish()
}
