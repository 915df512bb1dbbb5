//! A request body that was read to its end before anything of it was sent on.
//!
//! Same bytes, same framing: the API sees a `content-length` where the client sent one, and chunks where it sent chunks, even
//! around a body without a byte. Only the sizes of the chunks, which belong to the connection, may differ.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use super::held_bytes::{NoRoom, Share};

/// Frames from this length on are kept as they came. Shorter ones are put together in pieces of this size, or a body of
/// one-byte chunks would take forty times its length.
const PIECE_BYTES: usize = 16 * 1024;

/// All of a body.
#[derive(Debug)]
pub(super) struct HeldBody {
    pieces: VecDeque<Bytes>,
    /// Short frames since the last piece.
    short: BytesMut,
    trailers: Option<HeaderMap>,
    /// Bytes that have not gone on yet.
    left: u64,
    /// Whether the client said how long the body is.
    length_known: bool,
    /// Whether a frame has been asked for.
    begun: bool,
    share: Share,
}

impl HeldBody {
    /// Of a body with this hint, before its first frame.
    pub(super) fn new(hint: &SizeHint, share: Share) -> Self {
        Self {
            pieces: VecDeque::new(),
            short: BytesMut::new(),
            trailers: None,
            left: 0,
            length_known: hint.exact().is_some(),
            begun: false,
            share,
        }
    }

    /// Keeps the next frame.
    pub(super) fn push(&mut self, frame: Frame<Bytes>) -> Result<(), NoRoom> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                self.trailers = frame.into_trailers().ok();
                return Ok(());
            }
        };
        let first = self.left == 0;
        self.left = self.left.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        if data.is_empty() {
            return Ok(());
        }
        if first || data.len() >= PIECE_BYTES {
            self.cut();
            self.share.grow(data.len())?;
            self.pieces.push_back(data); // most bodies are one frame: no copy
            return Ok(());
        }
        if self.short.len().saturating_add(data.len()) > self.short.capacity() {
            self.cut();
            self.share.grow(PIECE_BYTES)?;
            self.short.reserve(PIECE_BYTES);
        }
        self.short.extend_from_slice(&data);
        Ok(())
    }

    /// No more frames will come.
    pub(super) fn finish(&mut self) {
        self.cut();
    }

    fn cut(&mut self) {
        let short = std::mem::take(&mut self.short);
        if !short.is_empty() {
            self.pieces.push_back(short.freeze());
        }
    }

    /// The whole body in one piece. Where it came in several, that is a copy, which takes its room from `share`.
    pub(super) fn whole(&self, share: &mut Share) -> Result<Bytes, NoRoom> {
        match (self.pieces.front(), self.pieces.len()) {
            (None, _) => Ok(Bytes::new()),
            (Some(only), 1) => Ok(only.clone()),
            (Some(_), _) => {
                let length = self.pieces.iter().map(Bytes::len).sum();
                share.grow(length)?;
                let mut whole = BytesMut::with_capacity(length);
                self.pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
                Ok(whole.freeze())
            }
        }
    }

    pub(super) fn next_frame(&mut self) -> Option<Frame<Bytes>> {
        self.begun = true;
        if let Some(piece) = self.pieces.pop_front() {
            self.left = self.left.saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            return Some(Frame::data(piece));
        }
        self.trailers.take().map(Frame::trailers)
    }

    /// As a body from the client would say: one of unknown length does not know its end before it was asked.
    pub(super) fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.trailers.is_none() && (self.length_known || self.begun)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        if self.length_known { SizeHint::with_exact(self.left) } else { SizeHint::default() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::body::HeldBytes;

    /// Of these frames, of which a client did or did not say how long they are together.
    fn held(frames: &[Vec<u8>], length_known: bool, account: u64) -> Result<HeldBody, NoRoom> {
        let length = u64::try_from(frames.iter().map(Vec::len).sum::<usize>()).unwrap();
        let hint = if length_known { SizeHint::with_exact(length) } else { SizeHint::default() };
        let mut held = HeldBody::new(&hint, HeldBytes::new(account).share());
        for frame in frames {
            held.push(Frame::data(Bytes::copy_from_slice(frame)))?;
        }
        held.finish();
        Ok(held)
    }

    fn drained(mut held: HeldBody) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(frame) = held.next_frame() {
            all.extend(frame.into_data().unwrap());
        }
        assert!(held.is_end_stream());
        all
    }

    proptest! {
        #[test]
        fn whatever_the_frames_the_bytes_are_the_same(
            frames in prop::collection::vec(prop_oneof![
                prop::collection::vec(any::<u8>(), 0..5),
                prop::collection::vec(any::<u8>(), 16_380..16_390),
                prop::collection::vec(any::<u8>(), 9_000..9_001),
            ], 0..12),
            length_known in any::<bool>(),
        ) {
            let held = held(&frames, length_known, u64::MAX).unwrap();
            let all = frames.concat();
            let whole = held.whole(&mut HeldBytes::new(u64::MAX).share()).unwrap();
            prop_assert_eq!(&whole[..], &all[..]);
            prop_assert_eq!(held.size_hint().exact(), length_known.then(|| u64::try_from(all.len()).unwrap()));
            prop_assert_eq!(drained(held), all);
        }
    }

    #[test]
    fn a_body_of_one_byte_frames_takes_about_as_much_memory_as_it_has_bytes() {
        let frames = vec![vec![b'x']; 200_000];
        assert!(held(&frames, false, 200_000 + 2 * 16 * 1024).is_ok());
        let held = held(&frames, false, u64::MAX).unwrap();
        assert!(held.pieces.len() < 20, "{} pieces", held.pieces.len());
        assert!(self::held(&frames, false, 199_999).is_err(), "and never less than it has bytes");
    }

    #[test]
    fn a_body_of_unknown_length_ends_only_when_it_is_asked_for_more() {
        let mut empty = held(&[], false, 0).unwrap();
        assert!(!empty.is_end_stream());
        assert!(empty.next_frame().is_none());
        assert!(empty.is_end_stream());
        assert!(held(&[], true, 0).unwrap().is_end_stream());
    }

    #[test]
    fn trailers_stay_behind_the_data() {
        let mut held = held(&[b"data".to_vec()], false, 100).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "4".parse().unwrap());
        held.push(Frame::trailers(trailers.clone())).unwrap();
        assert_eq!(held.next_frame().unwrap().into_data().unwrap(), "data");
        assert!(!held.is_end_stream());
        assert_eq!(held.next_frame().unwrap().into_trailers().unwrap(), trailers);
        assert!(held.is_end_stream());
    }
}
