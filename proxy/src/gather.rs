//! Small frames that are already there travel together.
//!
//! An event stream arrives in bursts: hyper reads several events at once and yields each chunk as a frame. Every frame costs
//! a pass through hyper's encoder and a slot in its write queue, which is flushed every sixteen. Gathering never waits: it
//! ends with the first `Pending`, so no byte is later than it would have been.

use std::fmt::Debug;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

/// How much is gathered at most: two read buffers' worth, small enough to copy in about a microsecond.
const GATHERED_BYTES: usize = 16 * 1024;
/// A frame from this size on travels alone, because copying it would cost more than the frame does.
const LARGE_FRAME_BYTES: usize = 4 * 1024;

/// A body whose small frames are merged as far as they are ready.
#[derive(Debug)]
pub(crate) struct Gathered<B: Body<Error: Debug>> {
    inner: B,
    /// What came behind gathered data and could not be merged with it.
    next: Option<Next<B::Error>>,
}

#[derive(Debug)]
enum Next<E> {
    Frame(Frame<Bytes>),
    Error(E),
    End,
}

impl<B: Body<Data = Bytes, Error: Debug> + Unpin> Gathered<B> {
    pub(crate) fn new(inner: B) -> Self {
        Self { inner, next: None }
    }

    /// Adds to `first` what is ready behind it.
    fn gather(&mut self, first: Bytes, context: &mut Context<'_>) -> Bytes {
        let mut gathered: Option<BytesMut> = None;
        let mut length = first.len();
        while length < GATHERED_BYTES && !self.inner.is_end_stream() {
            let next = match Pin::new(&mut self.inner).poll_frame(context) {
                Poll::Pending => break,
                Poll::Ready(None) => Next::End,
                Poll::Ready(Some(Err(error))) => Next::Error(error),
                Poll::Ready(Some(Ok(frame))) => match small(&frame) {
                    Some(data) => {
                        let all = gathered.get_or_insert_with(|| {
                            let mut all = BytesMut::with_capacity(GATHERED_BYTES + LARGE_FRAME_BYTES);
                            all.extend_from_slice(&first);
                            all
                        });
                        all.extend_from_slice(data);
                        length = all.len();
                        continue;
                    }
                    None => Next::Frame(frame),
                },
            };
            self.next = Some(next);
            break;
        }
        gathered.map_or(first, BytesMut::freeze)
    }
}

/// The data of a frame that is worth merging.
fn small(frame: &Frame<Bytes>) -> Option<&Bytes> {
    frame.data_ref().filter(|data| data.len() < LARGE_FRAME_BYTES)
}

impl<B: Body<Data = Bytes, Error: Debug + Unpin> + Unpin> Body for Gathered<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let frame = match this.next.take() {
            Some(Next::Frame(frame)) => frame,
            Some(Next::Error(error)) => return Poll::Ready(Some(Err(error))),
            Some(Next::End) => return Poll::Ready(None),
            None => match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            },
        };
        let Some(data) = small(&frame).cloned() else { return Poll::Ready(Some(Ok(frame))) };
        Poll::Ready(Some(Ok(Frame::data(this.gather(data, context)))))
    }

    fn is_end_stream(&self) -> bool {
        match self.next {
            Some(Next::End) => true,
            Some(Next::Frame(_) | Next::Error(_)) => false,
            None => self.inner.is_end_stream(),
        }
    }

    /// What is left to be handed on, a frame that waits here included.
    fn size_hint(&self) -> SizeHint {
        let Some(Next::Frame(frame)) = &self.next else { return self.inner.size_hint() };
        let waiting = frame.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX));
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(waiting));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(waiting));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::task::Waker;

    use super::*;

    /// Yields these polls one after the other.
    struct Script(VecDeque<Poll<Option<Result<Frame<Bytes>, &'static str>>>>);

    impl Body for Script {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            self.0.pop_front().unwrap_or(Poll::Ready(None))
        }
    }

    fn data(text: &str) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(text.to_owned())))))
    }

    /// What a reader sees: data as text, `...` where it has to wait, `!` and the text of an error.
    fn seen(script: Vec<Poll<Option<Result<Frame<Bytes>, &'static str>>>>) -> Vec<String> {
        let mut body = Gathered::new(Script(script.into()));
        let mut context = Context::from_waker(Waker::noop());
        let mut seen = Vec::new();
        loop {
            seen.push(match Pin::new(&mut body).poll_frame(&mut context) {
                Poll::Pending => "...".to_owned(),
                Poll::Ready(None) => return seen,
                Poll::Ready(Some(Err(error))) => format!("!{error}"),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => String::from_utf8_lossy(&data).into_owned(),
                    Err(_) => "trailers".to_owned(),
                },
            });
        }
    }

    #[test]
    fn frames_that_are_ready_travel_together_and_nothing_waits() {
        // The first `Pending` ends the gathering, the second one is the reader's own.
        assert_eq!(
            seen(vec![data("a"), data("b"), Poll::Pending, Poll::Pending, data("c")]),
            ["ab", "...", "c"]
        );
    }

    #[test]
    fn what_cannot_be_merged_comes_after_what_was_gathered() {
        let trailers = Poll::Ready(Some(Ok(Frame::trailers(http::HeaderMap::new()))));
        assert_eq!(seen(vec![data("a"), data("b"), trailers]), ["ab", "trailers"]);
        assert_eq!(seen(vec![data("a"), data("b"), Poll::Ready(Some(Err("cut")))]), ["ab", "!cut"]);
        let large = "x".repeat(LARGE_FRAME_BYTES);
        assert_eq!(seen(vec![data("a"), data(&large), data("b")]), ["a", &large, "b"]);
    }

    #[test]
    fn gathering_ends_at_its_bound() {
        let frame = "x".repeat(1_000);
        let sizes: Vec<usize> =
            seen((0..40).map(|_| data(&frame)).collect()).iter().map(String::len).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 40_000);
        assert!(sizes.iter().all(|size| *size <= GATHERED_BYTES + LARGE_FRAME_BYTES), "{sizes:?}");
        assert!(sizes.len() <= 4, "{sizes:?}");
    }
}
