//! A request body: any chunking gives the same reading, and nothing is accepted that serde_json refuses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mindweave_metering::{BatchCall, Encoding, EndpointKind, RequestReading, RequestScan};

fuzz_target!(|input: (bool, u8, &[u8])| {
    let (batch, size, body) = input;
    let kind = if batch { EndpointKind::Batches(BatchCall::Create) } else { EndpointKind::Messages };
    let whole = read(kind, [body]);
    assert_eq!(whole, read(kind, body.chunks(usize::from(size).max(1))));
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
