use std::io::Write as _;

use ::zstd::stream::raw::{Encoder as ZstdEncoder, Operation as _};
use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;

use super::*;

/// A wire format: what a header names, in each of the forms that occur.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wire {
    Gzip,
    Zlib,
    RawDeflate,
    Brotli,
    Zstd,
}

const WIRES: [Wire; 5] = [Wire::Gzip, Wire::Zlib, Wire::RawDeflate, Wire::Brotli, Wire::Zstd];

impl Wire {
    fn encoding(self) -> Encoding {
        match self {
            Self::Gzip => Encoding::Gzip,
            Self::Zlib | Self::RawDeflate => Encoding::Deflate,
            Self::Brotli => Encoding::Brotli,
            Self::Zstd => Encoding::Zstd,
        }
    }

    /// Compresses the parts with a flush after each, as streaming servers do: one piece of wire per part, and the end.
    fn compress(self, parts: &[&[u8]]) -> Vec<Vec<u8>> {
        match self {
            Self::Gzip => deflated(Compress::new_gzip(Compression::default(), 15), parts),
            Self::Zlib => deflated(Compress::new(Compression::default(), true), parts),
            Self::RawDeflate => deflated(Compress::new(Compression::default(), false), parts),
            Self::Brotli => brotlied(parts),
            Self::Zstd => zstded(parts),
        }
    }
}

fn deflated(mut encoder: Compress, parts: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut run = |part: &[u8], flush| {
        let mut piece = Vec::with_capacity(part.len() * 2 + 1024);
        encoder.compress_vec(part, &mut piece, flush).unwrap();
        pieces.push(piece);
    };
    for part in parts {
        run(part, FlushCompress::Sync);
    }
    run(b"", FlushCompress::Finish);
    pieces
}

fn brotlied(parts: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut encoder = ::brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20);
    for part in parts {
        encoder.write_all(part).unwrap();
        encoder.flush().unwrap();
        pieces.push(std::mem::take(encoder.get_mut()));
    }
    pieces.push(encoder.into_inner());
    pieces
}

fn zstded(parts: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut encoder = ZstdEncoder::new(3).unwrap();
    let mut pieces = Vec::new();
    let mut memory = vec![0; 1 << 20];
    for part in parts {
        let mut output = ::zstd::stream::raw::OutBuffer::around(&mut memory[..]);
        let mut input = ::zstd::stream::raw::InBuffer::around(part);
        encoder.run(&mut input, &mut output).unwrap();
        assert_eq!(input.pos(), part.len());
        assert_eq!(encoder.flush(&mut output).unwrap(), 0);
        pieces.push(output.as_slice().to_vec());
    }
    let mut output = ::zstd::stream::raw::OutBuffer::around(&mut memory[..]);
    assert_eq!(encoder.finish(&mut output, true).unwrap(), 0);
    pieces.push(output.as_slice().to_vec());
    pieces
}

fn decode<'a>(
    encoding: Encoding,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<u8>, Result<(), DecodeError>) {
    let mut decoder = SideDecoder::new(encoding);
    let mut decoded = Vec::new();
    for chunk in chunks {
        let outcome = decoder.feed(chunk, &mut |piece| decoded.extend_from_slice(piece));
        if outcome.is_err() {
            return (decoded, outcome);
        }
    }
    (decoded, decoder.finish())
}

fn sample() -> Vec<u8> {
    (0..2_000_u32)
        .flat_map(|n| {
            format!("event: ping\ndata: {{\"n\":{}}}\n\n", n.wrapping_mul(2_654_435_761)).into_bytes()
        })
        .collect()
}

#[test]
fn headers_name_their_coding_in_any_case_and_stacks_are_unknown() {
    let cases = [
        (None, Encoding::Identity),
        (Some(""), Encoding::Identity),
        (Some("identity"), Encoding::Identity),
        (Some("Identity"), Encoding::Identity),
        (Some("GZip"), Encoding::Gzip),
        (Some(" x-gzip "), Encoding::Gzip),
        (Some("identity, gzip"), Encoding::Gzip),
        (Some("deflate"), Encoding::Deflate),
        (Some("br"), Encoding::Brotli),
        (Some("zstd"), Encoding::Zstd),
        (Some("gzip, gzip"), Encoding::Unknown),
        (Some("GZIP, BR"), Encoding::Unknown),
        (Some("compress"), Encoding::Unknown),
    ];
    for (header, encoding) in cases {
        assert_eq!(Encoding::from_header(header), encoding, "{header:?}");
    }
}

#[test]
fn what_the_encoder_flushed_is_delivered_at_once() {
    let parts: Vec<Vec<u8>> = (0..50)
        .map(|n| format!("event: content_block_delta\ndata: {{\"text\":\"number {n}\"}}\n\n").into_bytes())
        .collect();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    for wire in WIRES {
        let mut decoder = SideDecoder::new(wire.encoding());
        for (piece, part) in wire.compress(&parts).iter().zip(&parts) {
            let mut decoded = Vec::new();
            decoder.feed(piece, &mut |bytes| decoded.extend_from_slice(bytes)).unwrap();
            assert_eq!(decoded, *part, "{wire:?}");
        }
    }
}

#[test]
fn truncated_data_gives_what_was_there_and_says_so() {
    let text = sample();
    let (first, second) = text.split_at(text.len() / 2);
    for wire in WIRES {
        let pieces = wire.compress(&[first, second]);
        let (decoded, outcome) =
            decode(wire.encoding(), [pieces[0].as_slice(), &pieces[1][..pieces[1].len() / 2]]);
        assert_eq!(outcome, Err(DecodeError::Truncated), "{wire:?}");
        assert!(decoded.len() >= first.len() && text.starts_with(&decoded), "{wire:?}");
    }
}

#[test]
fn gzip_headers_may_have_all_optional_fields_and_members_may_follow_each_other() {
    let plain = Wire::Gzip.compress(&[b"hello"]).concat();
    let body = &plain[10..];
    let mut rich = vec![0x1f, 0x8b, 8, 0x04 | 0x08 | 0x10, 0, 0, 0, 0, 0, 3];
    rich.extend_from_slice(&[4, 0, b'x', b'y', b'z', b'w']);
    rich.extend_from_slice(b"name\0comment\0");
    rich.extend_from_slice(body);
    let two = [rich.as_slice(), &plain].concat();
    for size in 1..two.len() {
        let (decoded, outcome) = decode(Encoding::Gzip, two.chunks(size));
        assert_eq!((decoded.as_slice(), outcome), (&b"hellohello"[..], Ok(())), "chunks of {size}");
    }
    let (decoded, outcome) = decode(Encoding::Gzip, [two.as_slice(), &[0; 512]]);
    assert_eq!((decoded.as_slice(), outcome), (&b"hellohello"[..], Ok(())), "padding after the end");
}

#[test]
fn zstd_frames_may_follow_each_other() {
    let two = [Wire::Zstd.compress(&[b"one"]).concat(), Wire::Zstd.compress(&[b"two"]).concat()].concat();
    for size in 1..two.len() {
        assert_eq!(
            decode(Encoding::Zstd, two.chunks(size)),
            (b"onetwo".to_vec(), Ok(())),
            "chunks of {size}"
        );
    }
}

#[test]
fn a_bomb_stops_at_the_named_bound() {
    let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..80 {
        encoder.write_all(&zeros).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    let mut delivered = 0_u64;
    let mut decoder = SideDecoder::new(Encoding::Zstd);
    let outcome = decoder.feed(&bomb, &mut |piece| delivered += length(piece.len()));
    assert_eq!(outcome, Err(DecodeError::TooLarge));
    assert!(delivered <= MAX_DECODED_BASE_BYTES + length(bomb.len()) * MAX_DECODED_RATIO);
    assert_eq!(decoder.feed(b"more", &mut |_| panic!("nothing after a fault")), Err(DecodeError::TooLarge));
    assert_eq!(decoder.finish(), Err(DecodeError::TooLarge));
}

#[test]
fn an_unknown_coding_is_refused_and_identity_is_not_copied() {
    assert_eq!(decode(Encoding::Unknown, [&b"x"[..]]), (vec![], Err(DecodeError::Unsupported)));
    let input = b"as it is";
    let mut seen = None;
    SideDecoder::new(Encoding::Identity).feed(input, &mut |piece| seen = Some(piece.as_ptr())).unwrap();
    assert_eq!(seen, Some(input.as_ptr()));
    for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Deflate, Encoding::Brotli, Encoding::Zstd]
    {
        assert_eq!(decode(encoding, []), (vec![], Ok(())), "an empty body is complete: {encoding:?}");
    }
}

#[test]
fn zstd_windows_beyond_what_http_allows_are_refused() {
    let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(24).unwrap();
    encoder.write_all(&sample().repeat(300)).unwrap();
    assert_eq!(decode(Encoding::Zstd, [encoder.finish().unwrap().as_slice()]).1, Err(DecodeError::Corrupt));
}

fn wires() -> impl Strategy<Value = Wire> {
    proptest::sample::select(WIRES.to_vec())
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_text(
        wire in wires(),
        parts in proptest::collection::vec("[a-c \"{}:]{0,3000}", 0..5),
        sizes in proptest::collection::vec(1_usize..200, 1..6),
    ) {
        let parts: Vec<&[u8]> = parts.iter().map(String::as_bytes).collect();
        let wire_bytes = wire.compress(&parts).concat();
        let mut rest = wire_bytes.as_slice();
        let mut chunks = Vec::new();
        for &size in sizes.iter().cycle() {
            let (chunk, after) = rest.split_at(size.min(rest.len()));
            chunks.push(chunk);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(decode(wire.encoding(), chunks), (parts.concat(), Ok(())));
    }

    #[test]
    fn garbage_is_an_error_or_text_but_never_a_panic(
        wire in wires(),
        garbage in proptest::collection::vec(any::<u8>(), 1..400),
        good in any::<bool>(),
        at in 0_usize..400,
        size in 1_usize..50,
    ) {
        let bytes = if good {
            let mut bytes = wire.compress(&[&sample()]).concat();
            let at = at.min(bytes.len() - 1);
            bytes.splice(at..bytes.len().min(at + garbage.len()), garbage);
            bytes
        } else {
            garbage
        };
        let whole = decode(wire.encoding(), [bytes.as_slice()]);
        let cut = decode(wire.encoding(), bytes.chunks(size));
        prop_assert_eq!(whole.1.is_err(), cut.1.is_err());
        if whole.1.is_ok() {
            prop_assert_eq!(whole.0, cut.0);
        }
    }
}

#[test]
fn a_slice_of_a_bomb_decodes_little_and_all_slices_decode_all() {
    let zeros = vec![0_u8; 4 << 20];
    for wire in WIRES {
        let bomb = wire.compress(&[&zeros]).concat();
        let (mut rest, mut total, mut slices) = (bomb.as_slice(), 0, 0);
        let mut decoder = SideDecoder::new(wire.encoding());
        loop {
            let mut decoded = 0;
            let slice = decoder.feed_slice(rest, &mut |piece| decoded += piece.len()).unwrap();
            assert!(decoded <= SLICE_BYTES + PIECE_BYTES, "{wire:?}: {decoded}");
            (rest, total, slices) = (&rest[slice.consumed..], total + decoded, slices + 1);
            if !slice.more {
                break;
            }
        }
        assert_eq!((rest.len(), total, decoder.finish()), (0, zeros.len(), Ok(())), "{wire:?}");
        assert!(slices > 100, "{wire:?}: {slices}");
    }
}

#[test]
fn a_slice_takes_few_of_many_members_without_content() {
    let member = Wire::Gzip.compress(&[b""]).concat();
    let many = member.repeat(10_000);
    let slice = SideDecoder::new(Encoding::Gzip).feed_slice(&many, &mut |_| {}).unwrap();
    assert!(slice.more && slice.consumed <= SLICE_STEPS * member.len(), "{slice:?}");
    assert_eq!(decode(Encoding::Gzip, [many.as_slice()]), (vec![], Ok(())));
}

#[test]
fn a_decoder_that_may_hand_over_so_many_bytes_fails_at_the_next_one() {
    let text = sample();
    for wire in WIRES {
        let packed = wire.compress(&[&text]).concat();
        let feed = |limit| SideDecoder::new(wire.encoding()).at_most(limit).feed(&packed, &mut |_| {});
        assert_eq!(feed(length(text.len())), Ok(()), "{wire:?}");
        assert_eq!(feed(length(text.len()) - 1), Err(DecodeError::TooLarge), "{wire:?}");
    }
}
