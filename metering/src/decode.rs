//! Undoes `content-encoding` on the side copy that metering reads; the bytes on the wire are never touched.
//!
//! Every coding that clients of the API offer is understood: gzip, deflate (with and without its zlib frame, both occur),
//! br and zstd. Output appears as soon as the encoder flushed it, so a compressed event stream is metered event by event.

mod brotli;
mod inflate;
#[cfg(test)]
mod tests;
mod zstd;

use brotli::Brotli;
use inflate::Inflate;
use zstd::Zstd;

/// Decoded bytes that any body may have, whatever its compressed size: the API's own limit for message bodies, doubled.
pub const MAX_DECODED_BASE_BYTES: u64 = 64 << 20;

/// Decoded bytes that each compressed byte may add to [`MAX_DECODED_BASE_BYTES`]. Repetitive JSON reaches about 100;
/// more is an attempt to keep us busy.
pub const MAX_DECODED_RATIO: u64 = 200;

/// Size of the pieces in which decoded bytes are delivered, held by every started decoder.
const PIECE_BYTES: usize = 8 << 10;

/// About how many bytes, before or after decoding, one slice has: a fraction of a millisecond of decoding and reading.
const SLICE_BYTES: usize = 32 << 10;

/// Calls of a codec in one slice. Thousands of gzip members without content fit into a frame, and each one costs.
const SLICE_STEPS: usize = 64;

/// A content coding of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// The body as it is.
    Identity,
    /// RFC 1952, also written `x-gzip`.
    Gzip,
    /// RFC 1950, or bare RFC 1951 as some servers send it.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
    /// A coding that we cannot undo, or several on top of each other.
    Unknown,
}

impl Encoding {
    /// Reads a `content-encoding` header.
    pub fn from_header(value: Option<&str>) -> Self {
        let Some(value) = value else { return Self::Identity };
        let mut codings = value
            .split(',')
            .map(str::trim)
            .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"));
        let coding = match (codings.next(), codings.next()) {
            (None, _) => return Self::Identity,
            (Some(coding), None) => coding.to_ascii_lowercase(),
            (Some(_), Some(_)) => return Self::Unknown,
        };
        match coding.as_str() {
            "gzip" | "x-gzip" => Self::Gzip,
            "deflate" => Self::Deflate,
            "br" => Self::Brotli,
            "zstd" => Self::Zstd,
            _ => Self::Unknown,
        }
    }
}

/// Why a body could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DecodeError {
    /// The coding is not one that we can undo.
    #[error("unsupported content encoding")]
    Unsupported,
    /// The bytes are not what the header says.
    #[error("invalid compressed data")]
    Corrupt,
    /// The body ended inside the compressed data.
    #[error("compressed data ended early")]
    Truncated,
    /// The decoded size passed [`MAX_DECODED_BASE_BYTES`] plus [`MAX_DECODED_RATIO`] times the compressed one, or what the
    /// decoder was told to hand over at most.
    #[error("decoded data is too large")]
    TooLarge,
}

/// Decodes a body that arrives in pieces. Decoder memory is allocated with the first byte.
pub struct SideDecoder {
    stage: Stage,
    consumed: u64,
    produced: u64,
    /// What may be produced, apart from the bounds that hold for all data.
    limit: u64,
}

/// How far a call came that stops after a bounded amount of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Bytes of the input that are done with.
    pub consumed: usize,
    /// Whether to call again with the rest of the input, which may be empty: decoders keep bytes back.
    pub more: bool,
}

enum Stage {
    Waiting(Encoding),
    Decoding(Codec, Box<[u8; PIECE_BYTES]>),
    Failed(DecodeError),
}

enum Codec {
    Inflate(Inflate),
    Brotli(Box<Brotli>),
    Zstd(Zstd),
}

/// What one call of a codec did.
struct Step {
    consumed: usize,
    produced: usize,
}

impl std::fmt::Debug for SideDecoder {
    /// Without the data inside the codecs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SideDecoder")
            .field("consumed", &self.consumed)
            .field("produced", &self.produced)
            .finish_non_exhaustive()
    }
}

impl SideDecoder {
    /// A decoder before the first byte.
    pub fn new(encoding: Encoding) -> Self {
        Self { stage: Stage::Waiting(encoding), consumed: 0, produced: 0, limit: u64::MAX }
    }

    /// The same decoder, which fails where compressed data are longer than so many bytes when they are decoded.
    #[must_use]
    pub fn at_most(mut self, decoded_bytes: u64) -> Self {
        self.limit = decoded_bytes;
        self
    }

    /// Decodes the next bytes and hands everything they complete to `sink`, in bounded pieces. Identity hands over parts of
    /// the input itself. What follows a complete gzip member and is not another one is ignored, as clients do.
    ///
    /// # Errors
    /// The first fault of the data; `sink` has got what came before it. Every later call returns it again.
    pub fn feed(&mut self, mut input: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<(), DecodeError> {
        loop {
            let Slice { consumed, more } = self.feed_slice(input, sink)?;
            if !more {
                return Ok(());
            }
            input = input.get(consumed..).unwrap_or_default();
        }
    }

    /// The same in slices, for who must not work long without a pause: the little that is compressed may be much.
    ///
    /// # Errors
    /// As [`SideDecoder::feed`].
    pub fn feed_slice(&mut self, input: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<Slice, DecodeError> {
        let outcome = match &mut self.stage {
            Stage::Failed(error) => Err(*error),
            Stage::Waiting(_) if input.is_empty() => Ok(Slice { consumed: 0, more: false }),
            Stage::Waiting(Encoding::Identity) => {
                let slice = input.get(..SLICE_BYTES).unwrap_or(input);
                sink(slice);
                Ok(Slice { consumed: slice.len(), more: slice.len() < input.len() })
            }
            Stage::Waiting(encoding) => match Codec::start(*encoding) {
                Ok(codec) => {
                    self.stage = Stage::Decoding(codec, Box::new([0; PIECE_BYTES]));
                    self.decode(input, sink)
                }
                Err(error) => Err(error),
            },
            Stage::Decoding(..) => self.decode(input, sink),
        };
        match outcome {
            Ok(slice) => self.consumed = self.consumed.saturating_add(length(slice.consumed)),
            Err(error) => self.stage = Stage::Failed(error), // gives the codec's memory back at once
        }
        outcome
    }

    /// Ends the data. An empty body is complete in every coding.
    ///
    /// # Errors
    /// The first fault of the data; [`DecodeError::Truncated`] when more compressed data should have followed.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match &self.stage {
            Stage::Waiting(_) => Ok(()),
            Stage::Decoding(codec, _) if codec.is_ended() => Ok(()),
            Stage::Decoding(..) => Err(DecodeError::Truncated),
            Stage::Failed(error) => Err(*error),
        }
    }

    fn decode(&mut self, input: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<Slice, DecodeError> {
        let Stage::Decoding(codec, piece) = &mut self.stage else {
            return Ok(Slice { consumed: 0, more: false });
        };
        let offered = self.consumed.saturating_add(length(input.len()));
        let limit = MAX_DECODED_BASE_BYTES.saturating_add(offered.saturating_mul(MAX_DECODED_RATIO));
        let limit = limit.min(self.limit);
        let slice = input.get(..SLICE_BYTES).unwrap_or(input);
        let (mut consumed, mut produced) = (0_usize, 0_usize);
        for _ in 0..SLICE_STEPS {
            let rest = slice.get(consumed..).unwrap_or_default();
            let step = codec.step(rest, &mut piece[..])?;
            self.produced = self.produced.saturating_add(length(step.produced));
            if self.produced > limit {
                return Err(DecodeError::TooLarge);
            }
            if let Some(decoded) = piece.get(..step.produced).filter(|decoded| !decoded.is_empty()) {
                sink(decoded);
            }
            consumed = consumed.saturating_add(step.consumed);
            produced = produced.saturating_add(step.produced);
            let is_taken = consumed >= slice.len();
            // A full piece may have more behind it even when all input is taken.
            if is_taken && step.produced < piece.len() {
                return Ok(Slice { consumed, more: consumed < input.len() });
            }
            if step.consumed == 0 && step.produced == 0 {
                return Err(DecodeError::Corrupt);
            }
            if produced >= SLICE_BYTES {
                break;
            }
        }
        Ok(Slice { consumed, more: true })
    }
}

impl Codec {
    fn start(encoding: Encoding) -> Result<Self, DecodeError> {
        Ok(match encoding {
            Encoding::Gzip => Self::Inflate(Inflate::gzip()),
            Encoding::Deflate => Self::Inflate(Inflate::deflate()),
            Encoding::Brotli => Self::Brotli(Box::new(Brotli::new())),
            Encoding::Zstd => Self::Zstd(Zstd::new()?),
            Encoding::Identity | Encoding::Unknown => return Err(DecodeError::Unsupported),
        })
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, DecodeError> {
        match self {
            Self::Inflate(codec) => codec.step(input, output),
            Self::Brotli(codec) => codec.step(input, output),
            Self::Zstd(codec) => codec.step(input, output),
        }
    }

    fn is_ended(&self) -> bool {
        match self {
            Self::Inflate(codec) => codec.is_ended(),
            Self::Brotli(codec) => codec.is_ended(),
            Self::Zstd(codec) => codec.is_ended(),
        }
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
