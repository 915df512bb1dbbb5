//! The response body: passes frames on and drives whatever carries them.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Duration;

use super::error::UpstreamError;

/// What a body needs from the connection under it. One virtual call a poll, so that the body's type does not depend on the
/// request body's.
pub(super) trait Carrier: Send {
    /// Moves bytes and takes the next frame.
    fn poll_incoming(&mut self, incoming: &mut Incoming, context: &mut Context<'_>) -> (Driven, Received);
    /// Ready once nothing has moved for `limit`.
    fn poll_silence(&mut self, context: &mut Context<'_>, limit: Duration) -> Poll<()>;
    /// Something moved.
    fn moved(&self);
    /// The body ended cleanly.
    fn finish(self: Box<Self>);
}

/// What hyper's body gives.
pub(super) type Received = Poll<Option<Result<Frame<Bytes>, hyper::Error>>>;

/// What became of the connection.
pub(super) enum Driven {
    Open,
    /// It is over, for better or worse: the incoming body knows which.
    Over,
}

/// Frames shorter than this are merged with what has arrived behind them. An event of a stream is a hundred bytes or so, and
/// every frame costs its share of framing and of a system call further down (measured: a burst of 100 events costs half as
/// much when merged). Longer frames are not worth the copy.
const SMALL_FRAME_BYTES: usize = 2 * 1024;
/// How long a merged frame gets.
const MERGED_BYTES: usize = 16 * 1024;

type Polled = Poll<Option<Result<Frame<Bytes>, UpstreamError>>>;

/// A response body from the upstream.
///
/// Nothing waits for company: only what has already arrived is merged.
///
/// It ends cleanly only if the upstream ended it cleanly. Dropping it before its end closes an HTTP/1.1 connection and resets
/// an HTTP/2 stream.
pub(crate) struct UpstreamBody {
    incoming: Incoming,
    carrier: Option<Box<dyn Carrier>>,
    idle_limit: Duration,
    /// The head, or frames, were passed on since the last stamp: one look at the clock a wake-up, not one a frame.
    moved: bool,
    /// Found behind merged frames, and not to be merged: a long frame, trailers or a failure.
    held: Option<Result<Frame<Bytes>, UpstreamError>>,
    over: bool,
}

impl UpstreamBody {
    pub(super) fn new(incoming: Incoming, carrier: Option<Box<dyn Carrier>>, idle_limit: Duration) -> Self {
        let mut body = Self { incoming, carrier, idle_limit, moved: true, held: None, over: false };
        if body.incoming.is_end_stream() {
            body.finish();
        }
        body
    }

    fn finish(&mut self) {
        self.over = true;
        if let Some(carrier) = self.carrier.take() {
            carrier.finish();
        }
    }

    fn fail(&mut self, error: UpstreamError) -> Polled {
        self.over = true;
        self.carrier = None;
        error.count();
        Poll::Ready(Some(Err(error)))
    }

    /// The next frame as it came.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Polled {
        if self.over {
            return Poll::Ready(None);
        }
        let mut received = Poll::Pending;
        if let Some(carrier) = &mut self.carrier {
            let driven;
            (driven, received) = carrier.poll_incoming(&mut self.incoming, context);
            if matches!(driven, Driven::Over) {
                // Dropping the connection is what tells the incoming body that nothing more will come.
                self.carrier = None;
            }
        }
        if received.is_pending() && self.carrier.is_none() {
            received = Pin::new(&mut self.incoming).poll_frame(context);
        }
        match received {
            Poll::Ready(Some(Ok(frame))) => {
                self.moved = true;
                // Nobody polls again after the last byte of a known length, or after trailers.
                if frame.is_trailers() || self.incoming.is_end_stream() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => self.fail(UpstreamError::Cut(error)),
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let Some(carrier) = &mut self.carrier else { return Poll::Pending };
                if std::mem::take(&mut self.moved) {
                    carrier.moved();
                }
                match carrier.poll_silence(context, self.idle_limit) {
                    Poll::Ready(()) => self.fail(UpstreamError::IdleTimeout),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    /// Puts the short frames that have arrived behind `first`.
    fn merge(&mut self, first: Bytes, context: &mut Context<'_>) -> Bytes {
        let mut merged: Option<BytesMut> = None;
        while merged.as_ref().is_none_or(|merged| merged.len() < MERGED_BYTES) {
            let Poll::Ready(Some(next)) = self.poll_next(context) else { break };
            match next.map(Frame::into_data) {
                Ok(Ok(data)) if data.len() < SMALL_FRAME_BYTES => {
                    let merged = merged.get_or_insert_with(|| {
                        let mut merged = BytesMut::with_capacity(MERGED_BYTES + SMALL_FRAME_BYTES);
                        merged.extend_from_slice(&first);
                        merged
                    });
                    merged.extend_from_slice(&data);
                }
                Ok(Ok(long)) => self.held = Some(Ok(Frame::data(long))),
                Ok(Err(trailers)) => self.held = Some(Ok(trailers)),
                Err(error) => self.held = Some(Err(error)),
            }
            if self.held.is_some() {
                break;
            }
        }
        merged.map_or(first, BytesMut::freeze)
    }
}

impl fmt::Debug for UpstreamBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("UpstreamBody").field("over", &self.over).finish_non_exhaustive()
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        let this = self.get_mut();
        if let Some(held) = this.held.take() {
            return Poll::Ready(Some(held));
        }
        let frame = match ready!(this.poll_next(context)) {
            Some(Ok(frame)) => frame,
            end => return Poll::Ready(end),
        };
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(data) if data.len() < SMALL_FRAME_BYTES && !this.over => {
                Frame::data(this.merge(data, context))
            }
            Ok(data) => Frame::data(data),
            Err(trailers) => trailers,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && (self.over || self.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
