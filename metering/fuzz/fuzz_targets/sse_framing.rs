//! An event stream: neither chunking nor the kind of line end changes what was metered.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mindweave_metering::{Endpoint, MeteredResponse, Outcome, ResponseHead, ResponseTap};

fuzz_target!(|input: (u8, &[u8])| {
    let (size, body) = input;
    let whole = meter([body]);
    assert_eq!(whole, meter(body.chunks(usize::from(size).max(1))));
    if !body.contains(&b'\r') {
        let crlf: Vec<u8> = body
            .iter()
            .flat_map(|&byte| if byte == b'\n' { vec![b'\r', b'\n'] } else { vec![byte] })
            .collect();
        assert_eq!(whole, meter([crlf.as_slice()]));
    }
});

fn meter<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> MeteredResponse {
    let mut tap = ResponseTap::new(&ResponseHead {
        endpoint: &Endpoint::of("POST", "/v1/messages"),
        status: 200,
        content_type: Some("text/event-stream; charset=utf-8"),
        content_encoding: None,
    });
    for chunk in chunks {
        tap.feed(chunk);
    }
    tap.finish(Outcome::Complete)
}
