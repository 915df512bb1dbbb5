//! Compressed bytes: any chunking decodes alike, and no input gets more output than the bounds allow.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mindweave_metering::{DecodeError, Encoding, MAX_DECODED_BASE_BYTES, MAX_DECODED_RATIO, SideDecoder};

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (coding, size, bytes) = input;
    let codings = [Encoding::Gzip, Encoding::Deflate, Encoding::Brotli, Encoding::Zstd];
    let encoding = codings[usize::from(coding) % codings.len()];
    let (whole, outcome) = decode(encoding, [bytes]);
    let (cut, cut_outcome) = decode(encoding, bytes.chunks(usize::from(size).max(1)));
    assert_eq!(outcome.is_ok(), cut_outcome.is_ok());
    if outcome.is_ok() {
        assert_eq!(whole, cut);
    }
    let bound = MAX_DECODED_BASE_BYTES + MAX_DECODED_RATIO * u64::try_from(bytes.len()).expect("fits");
    assert!(u64::try_from(whole.len()).expect("fits") <= bound);
});

fn decode<'a>(
    encoding: Encoding,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<u8>, Result<(), DecodeError>) {
    let mut decoder = SideDecoder::new(encoding);
    let mut decoded = Vec::new();
    for chunk in chunks {
        if let Err(error) = decoder.feed(chunk, &mut |piece| decoded.extend_from_slice(piece)) {
            return (decoded, Err(error));
        }
    }
    (decoded, decoder.finish())
}
