//! Any answer of any endpoint: metering never panics, and chunking does not change what was metered.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mindweave_metering::{Endpoint, MeteredResponse, Outcome, ResponseHead, ResponseTap};

const ENDPOINTS: &[(&str, &str)] = &[
    ("POST", "/v1/messages"),
    ("GET", "/v1/messages/batches/msgbatch_01/results"),
    ("POST", "/v1/messages/count_tokens"),
    ("POST", "/v1/complete"),
    ("POST", "/v1/chat/completions"),
    ("GET", "/v1/models"),
];
const TYPES: &[Option<&str>] =
    &[Some("application/json"), Some("text/event-stream"), Some("application/x-jsonl"), None];
const ENCODINGS: &[Option<&str>] =
    &[None, Some("gzip"), Some("br"), Some("zstd"), Some("deflate"), Some("?")];

fuzz_target!(|input: (u8, u8, u8, bool, u8, &[u8])| {
    let (endpoint, content_type, encoding, failed, size, body) = input;
    let pick = |at: u8, length: usize| usize::from(at) % length;
    let (method, path) = ENDPOINTS[pick(endpoint, ENDPOINTS.len())];
    let head = ResponseHead {
        endpoint: &Endpoint::of(method, path),
        status: if failed { 400 } else { 200 },
        content_type: TYPES[pick(content_type, TYPES.len())],
        content_encoding: ENCODINGS[pick(encoding, ENCODINGS.len())],
    };
    let whole = meter(&head, [body]);
    // How much a broken compressed body yields before its fault may depend on the chunks.
    if head.content_encoding.is_none() {
        assert_eq!(whole, meter(&head, body.chunks(usize::from(size).max(1))));
    }
});

fn meter<'a>(head: &ResponseHead<'_>, chunks: impl IntoIterator<Item = &'a [u8]>) -> MeteredResponse {
    let mut tap = ResponseTap::new(head);
    for chunk in chunks {
        tap.feed(chunk);
    }
    tap.finish(Outcome::Complete)
}
