//! Lines of a response that does not end.

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::{Duration, timeout};

use super::client::CallError;

/// The longest line: the snapshot of an installation with a million keys has some 400 MB. What is longer comes from
/// something that is no control plane.
const MAX_LINE_BYTES: usize = 1 << 29;
/// Room that stays for the next line; a snapshot's is given back.
const KEPT_BYTES: usize = 64 * 1024;

/// Cuts a body into lines.
pub(super) struct Lines<B> {
    body: B,
    buffer: BytesMut,
    /// How much of the buffer has no line end in it.
    searched: usize,
    max_bytes: usize,
}

impl<B> Lines<B>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    pub(super) fn of(body: B) -> Self {
        Self { body, buffer: BytesMut::new(), searched: 0, max_bytes: MAX_LINE_BYTES }
    }

    /// The next line without its end; `None` at the end of the body. What comes after the last line end was cut off and
    /// is dropped. Safe to cancel.
    ///
    /// # Errors
    ///
    /// When the connection breaks, nothing arrives for as long as `silence`, or a line is too long.
    pub(super) async fn next(&mut self, silence: Duration) -> Result<Option<Bytes>, CallError> {
        loop {
            if let Some(line) = self.take() {
                return Ok(Some(line));
            }
            if self.buffer.len() > self.max_bytes {
                return Err(CallError::LineTooLong);
            }
            let frame = timeout(silence, self.body.frame()).await.map_err(|_elapsed| CallError::TimedOut)?;
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(CallError::Http(error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    fn take(&mut self) -> Option<Bytes> {
        let fresh = self.buffer.get(self.searched..)?;
        let Some(end) = memchr::memchr(b'\n', fresh) else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.buffer.split_to(self.searched + end);
        drop(self.buffer.split_to(1)); // the line end
        self.searched = 0;
        if self.buffer.is_empty() && line.len() > KEPT_BYTES {
            self.buffer = BytesMut::new(); // else the next lines would keep the long one's memory
        }
        Some(line.freeze())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body::Frame;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    /// Gives these pieces, then ends or hangs.
    struct Pieces(VecDeque<&'static [u8]>, bool);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = hyper::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
            match self.0.pop_front() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece))))),
                None if self.1 => Poll::Pending,
                None => Poll::Ready(None),
            }
        }
    }

    fn lines(pieces: &[&'static [u8]], hangs: bool) -> Lines<Pieces> {
        Lines::of(Pieces(pieces.iter().copied().collect(), hangs))
    }

    #[tokio::test]
    async fn lines_are_the_same_however_they_are_cut() {
        let whole: &'static [u8] = b"one\n\nthree is longer\nrest";
        for at in 0..=whole.len() {
            let (left, right) = whole.split_at(at);
            let mut lines = lines(&[left, right], false);
            for expected in [&b"one"[..], b"", b"three is longer"] {
                assert_eq!(lines.next(PATIENCE).await.unwrap().unwrap(), expected, "cut at {at}");
            }
            assert!(lines.next(PATIENCE).await.unwrap().is_none(), "an unfinished line is none");
        }
    }

    #[tokio::test]
    async fn a_line_that_does_not_end_is_given_up() {
        let mut lines = lines(&[b"12345", b"67890"], true);
        lines.max_bytes = 8;
        assert!(matches!(lines.next(PATIENCE).await, Err(CallError::LineTooLong)));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_borne_for_a_while_only() {
        let mut lines = lines(&[b"begun"], true);
        assert!(matches!(lines.next(PATIENCE).await, Err(CallError::TimedOut)));
    }
}
