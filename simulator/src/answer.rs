//! An answer ready to be sent: status, headers, pieces of the body and how they travel.

use std::io;
use std::iter::Peekable;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::encoding::{Compressor, Encoding};
use crate::steering::{Cut, EncodingChoice, Framing, Steering, Writes};

/// Pieces that are made while they are sent.
pub(crate) type Pieces = Peekable<Box<dyn Iterator<Item = Bytes> + Send>>;

/// A body before it is sent.
pub(crate) enum Payload {
    /// Ready, and possibly shared with other answers.
    Ready(Arc<[Bytes]>),
    /// Made piece by piece: downloads of any size.
    Made(Pieces),
}

/// How the pieces of a body travel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    /// Waited before the head of the answer.
    pub(crate) first_byte_delay: Duration,
    /// Waited before every piece but the first.
    pub(crate) piece_delay: Duration,
    /// Waited once, before the piece of this index.
    pub(crate) stall: Option<(usize, Duration)>,
    /// Break off at the piece of this index.
    pub(crate) cut: Option<(Cut, usize)>,
    /// Flush after every piece.
    pub(crate) flush_each: bool,
}

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
    pub(crate) delivery: Delivery,
}

impl Answer {
    /// An answer whose pieces are at hand; they are encoded, cut up and broken off as steered.
    pub(crate) fn ready(
        status: StatusCode,
        mut headers: HeaderMap,
        pieces: Vec<Bytes>,
        encoding: Encoding,
        steering: &Steering,
    ) -> io::Result<Self> {
        let mut pieces = match encoding {
            Encoding::Identity => pieces,
            _ => Compressor::all(encoding, &pieces)?,
        };
        pieces.retain(|piece| !piece.is_empty());
        let index = |events: u64| usize::try_from(events).unwrap_or(usize::MAX);
        let mut cut = steering.cut.map(|kind| (kind, index(steering.cut_after_events)));
        let whole_length: usize = pieces.iter().map(Bytes::len).sum();
        if let Some((Cut::Clean, at)) = cut {
            end_early(&mut pieces, at);
            cut = None;
        }
        let stall = steering.stall_after_events.map(index);
        let marks = [cut.map_or(0, |(_, at)| at), stall.unwrap_or(0)];
        let (pieces, [cut_at, stall_at]) = resliced(pieces, steering, marks);
        set_encoding(&mut headers, encoding);
        if steering.framing == Framing::Length {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(whole_length));
        }
        Ok(Self {
            status,
            headers,
            payload: Payload::Ready(pieces.into()),
            delivery: Delivery {
                cut: cut.map(|(kind, _)| (kind, cut_at)),
                stall: stall.map(|_| (stall_at, Duration::from_millis(steering.stall_ms))),
                ..Delivery::steered(steering)
            },
        })
    }

    /// An answer of these very pieces, sent at once.
    pub(crate) fn plain(status: StatusCode, headers: HeaderMap, pieces: Vec<Bytes>) -> Self {
        let delivery = Delivery::steered(&Steering::default());
        Self { status, headers, payload: Payload::Ready(pieces.into()), delivery }
    }

    /// An answer whose pieces are made while they are sent; `length` is told when it is known.
    pub(crate) fn made(
        headers: HeaderMap,
        pieces: Box<dyn Iterator<Item = Bytes> + Send>,
        length: Option<u64>,
        encoding: Encoding,
        steering: &Steering,
    ) -> io::Result<Self> {
        let mut headers = headers;
        set_encoding(&mut headers, encoding);
        let pieces = match encoding {
            Encoding::Identity => pieces,
            _ => Box::new(Encoded { pieces, compressor: Some(Compressor::new(encoding)?) }),
        };
        if let (Some(length), Encoding::Identity) = (length, encoding) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        let index = |events: u64| usize::try_from(events).unwrap_or(usize::MAX);
        let mut delivery = Delivery::steered(steering);
        let pieces: Box<dyn Iterator<Item = Bytes> + Send> = match steering.cut {
            Some(Cut::Clean) => Box::new(pieces.take(index(steering.cut_after_events))),
            Some(kind) => {
                delivery.cut = Some((kind, index(steering.cut_after_events)));
                pieces
            }
            None => pieces,
        };
        let payload = Payload::Made(pieces.peekable());
        Ok(Self { status: StatusCode::OK, headers, payload, delivery })
    }
}

impl Delivery {
    /// What needs no knowledge of the pieces.
    pub(crate) fn steered(steering: &Steering) -> Self {
        Self {
            first_byte_delay: Duration::from_millis(steering.first_byte_delay_ms),
            piece_delay: Duration::from_millis(steering.chunk_delay_ms),
            stall: None,
            cut: None,
            flush_each: steering.writes == Writes::Event,
        }
    }
}

/// The coding an answer gets. Nothing smaller than a network packet is worth it to the real service either.
pub(crate) fn negotiate(steering: &Steering, accept: &str, streamed: bool) -> Encoding {
    match steering.encoding {
        EncodingChoice::Forced(encoding) => encoding,
        EncodingChoice::Accept => Encoding::best_of(accept),
        EncodingChoice::Natural if !streamed && Encoding::Gzip.accepted_by(accept) => Encoding::Gzip,
        EncodingChoice::Natural => Encoding::Identity,
    }
}

fn set_encoding(headers: &mut HeaderMap, encoding: Encoding) {
    if let Some(name) = encoding.header_value() {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
    }
}

/// Drops what follows piece `at`; a body of a single piece keeps its first half.
fn end_early(pieces: &mut Vec<Bytes>, at: usize) {
    match pieces.first_mut() {
        Some(only) if at == 0 => {
            let half = only.len() / 2;
            only.truncate(half);
            pieces.truncate(1);
        }
        _ => pieces.truncate(at),
    }
}

/// Joins or splits the pieces as steered, and moves the marks (piece indexes) along.
fn resliced<const N: usize>(
    pieces: Vec<Bytes>,
    steering: &Steering,
    marks: [usize; N],
) -> (Vec<Bytes>, [usize; N]) {
    let chunk = match (steering.chunk_bytes, steering.writes) {
        (Some(bytes), _) => usize::try_from(bytes).unwrap_or(usize::MAX).max(1),
        (None, Writes::Whole) => usize::MAX,
        (None, Writes::Burst | Writes::Event) => return (pieces, marks),
    };
    let offset = |mark: usize| pieces.iter().take(mark).map(Bytes::len).sum::<usize>();
    let marks = marks.map(|mark| offset(mark).div_ceil(chunk));
    let mut rest = Bytes::from(pieces.concat());
    let mut split = Vec::new();
    while !rest.is_empty() {
        split.push(rest.split_to(chunk.min(rest.len())));
    }
    (split, marks)
}

/// Compresses pieces on their way out.
struct Encoded<I> {
    pieces: I,
    compressor: Option<Compressor>,
}

impl<I: Iterator<Item = Bytes>> Iterator for Encoded<I> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        // Compressing into memory cannot fail; were it to, the body would end early and be seen as broken.
        match self.pieces.next() {
            Some(piece) => self.compressor.as_mut()?.piece(&piece).ok(),
            None => self.compressor.take()?.finish().ok().filter(|last| !last.is_empty()),
        }
    }
}
