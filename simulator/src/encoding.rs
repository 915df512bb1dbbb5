//! Content encodings: compressing answers piece by piece, and undoing what clients compressed.

use std::io::{self, Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

/// Brotli quality and window: fast, and the window of the default decoder.
const BROTLI_BUFFER_BYTES: usize = 4096;
const BROTLI_QUALITY: u32 = 4;
const BROTLI_WINDOW_BITS: u32 = 22;
const ZSTD_LEVEL: i32 = 3;

/// A content coding that the simulator speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Encoding {
    /// The coding of this name, or `None` for one the service does not know.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            "br" => Some(Self::Brotli),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The value of `content-encoding`; none for identity.
    pub(crate) fn header_value(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Deflate => Some("deflate"),
            Self::Brotli => Some("br"),
            Self::Zstd => Some("zstd"),
        }
    }

    /// Whether an `accept-encoding` value names this coding without refusing it.
    pub(crate) fn accepted_by(self, accept: &str) -> bool {
        accept.split(',').any(|offer| {
            let mut parts = offer.split(';').map(str::trim);
            let named = parts.next().and_then(Self::named) == Some(self);
            named && !parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        })
    }

    /// The densest coding that an `accept-encoding` value allows.
    pub(crate) fn best_of(accept: &str) -> Self {
        let preference = [Self::Zstd, Self::Brotli, Self::Gzip, Self::Deflate];
        preference.into_iter().find(|coding| coding.accepted_by(accept)).unwrap_or(Self::Identity)
    }
}

/// Compresses an answer so that every piece can be decoded as soon as it arrives.
pub(crate) enum Compressor {
    Identity,
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Compressor {
    pub(crate) fn new(encoding: Encoding) -> io::Result<Self> {
        Ok(match encoding {
            Encoding::Identity => Self::Identity,
            Encoding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::default())),
            // "deflate" in HTTP is the zlib format (RFC 9110 section 8.4.1.2).
            Encoding::Deflate => Self::Deflate(ZlibEncoder::new(Vec::new(), Compression::default())),
            Encoding::Brotli => Self::Brotli(Box::new(brotli::CompressorWriter::new(
                Vec::new(),
                BROTLI_BUFFER_BYTES,
                BROTLI_QUALITY,
                BROTLI_WINDOW_BITS,
            ))),
            Encoding::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?),
        })
    }

    /// Compresses one piece and flushes, so that the returned bytes suffice to decode it.
    pub(crate) fn piece(&mut self, piece: &Bytes) -> io::Result<Bytes> {
        fn through<W: Write>(
            writer: &mut W,
            piece: &[u8],
            taken: impl FnOnce(&mut W) -> Vec<u8>,
        ) -> io::Result<Bytes> {
            writer.write_all(piece)?;
            writer.flush()?;
            Ok(taken(writer).into())
        }
        match self {
            Self::Identity => Ok(piece.clone()),
            Self::Gzip(writer) => through(writer, piece, |writer| std::mem::take(writer.get_mut())),
            Self::Deflate(writer) => through(writer, piece, |writer| std::mem::take(writer.get_mut())),
            Self::Brotli(writer) => through(&mut **writer, piece, |writer| std::mem::take(writer.get_mut())),
            Self::Zstd(writer) => through(writer, piece, |writer| std::mem::take(writer.get_mut())),
        }
    }

    /// Ends the stream and returns its last bytes, possibly none.
    pub(crate) fn finish(self) -> io::Result<Bytes> {
        Ok(match self {
            Self::Identity => Bytes::new(),
            Self::Gzip(writer) => writer.finish()?.into(),
            Self::Deflate(writer) => writer.finish()?.into(),
            Self::Brotli(writer) => writer.into_inner().into(),
            Self::Zstd(writer) => writer.finish()?.into(),
        })
    }

    /// Compresses a whole list of pieces; the last bytes become a piece of their own.
    pub(crate) fn all(encoding: Encoding, pieces: &[Bytes]) -> io::Result<Vec<Bytes>> {
        let mut compressor = Self::new(encoding)?;
        let mut done = pieces.iter().map(|piece| compressor.piece(piece)).collect::<io::Result<Vec<_>>>()?;
        let last = compressor.finish()?;
        match done.last_mut() {
            // A stream of one piece stays one piece: the end belongs to it.
            Some(only) if pieces.len() == 1 => *only = [only.as_ref(), last.as_ref()].concat().into(),
            _ if last.is_empty() => {}
            _ => done.push(last),
        }
        Ok(done)
    }
}

/// Why a compressed request body was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    /// The bytes are not what `content-encoding` says.
    #[error("the request body is not valid in its content encoding")]
    Invalid,
    /// More than `limit` bytes came out.
    #[error("the decoded request body exceeds {limit} bytes")]
    TooLarge { limit: u64 },
}

/// Undoes the coding of a request body, up to `limit` bytes.
pub(crate) fn decode(encoding: Encoding, body: &Bytes, limit: u64) -> Result<Bytes, DecodeError> {
    let reader: Box<dyn Read + '_> = match encoding {
        Encoding::Identity => return Ok(body.clone()),
        Encoding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(body.as_ref())),
        Encoding::Deflate => Box::new(flate2::read::ZlibDecoder::new(body.as_ref())),
        Encoding::Brotli => Box::new(brotli::Decompressor::new(body.as_ref(), BROTLI_BUFFER_BYTES)),
        Encoding::Zstd => {
            Box::new(zstd::stream::read::Decoder::new(body.as_ref()).map_err(|_| DecodeError::Invalid)?)
        }
    };
    let mut decoded = Vec::new();
    let read = reader.take(limit.saturating_add(1)).read_to_end(&mut decoded);
    match read {
        Err(_) => Err(DecodeError::Invalid),
        Ok(_) if u64::try_from(decoded.len()).unwrap_or(u64::MAX) > limit => {
            Err(DecodeError::TooLarge { limit })
        }
        Ok(_) => Ok(decoded.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_of_a_compressed_stream_that_ends_at_a_piece_decodes_to_the_pieces_so_far() {
        let pieces = ["event: a\n\n", "event: b\n\n", "event: ü→✅\n\n"].map(Bytes::from);
        for encoding in [Encoding::Gzip, Encoding::Deflate, Encoding::Brotli, Encoding::Zstd] {
            let mut compressor = Compressor::new(encoding).unwrap();
            let (mut wire, mut plain) = (Vec::new(), Vec::new());
            for piece in &pieces {
                wire.extend_from_slice(&compressor.piece(piece).unwrap());
                plain.extend_from_slice(piece);
                let mut seen = vec![0; plain.len()];
                let mut reader: Box<dyn Read> = match encoding {
                    Encoding::Gzip => Box::new(flate2::read::GzDecoder::new(wire.as_slice())),
                    Encoding::Deflate => Box::new(flate2::read::ZlibDecoder::new(wire.as_slice())),
                    Encoding::Brotli => Box::new(brotli::Decompressor::new(wire.as_slice(), 64)),
                    _ => Box::new(zstd::stream::read::Decoder::new(wire.as_slice()).unwrap()),
                };
                reader.read_exact(&mut seen).unwrap();
                assert_eq!(seen, plain, "{encoding:?}");
            }
            wire.extend_from_slice(&compressor.finish().unwrap());
            assert_eq!(decode(encoding, &wire.into(), 1_000).unwrap(), plain, "{encoding:?}");
        }
    }

    #[test]
    fn a_decoded_body_over_its_limit_is_refused_and_garbage_is_told_apart() {
        let zeros = Compressor::all(Encoding::Gzip, &[Bytes::from(vec![0; 10_000])]).unwrap();
        let body = zeros.first().unwrap();
        assert!(matches!(decode(Encoding::Gzip, body, 9_999), Err(DecodeError::TooLarge { .. })));
        assert_eq!(decode(Encoding::Gzip, body, 10_000).unwrap().len(), 10_000);
        let garbage = Bytes::from_static(b"not gzip");
        assert!(matches!(decode(Encoding::Gzip, &garbage, 100), Err(DecodeError::Invalid)));
    }

    #[test]
    fn a_coding_refused_with_q_zero_is_not_chosen() {
        assert_eq!(Encoding::best_of("gzip, deflate, br;q=0"), Encoding::Gzip);
        assert_eq!(Encoding::best_of("gzip, deflate, br, zstd"), Encoding::Zstd);
        assert_eq!(Encoding::best_of("identity"), Encoding::Identity);
        assert_eq!(Encoding::best_of("*"), Encoding::Identity);
    }
}
