//! The response body: passes frames on and drives whatever carries them.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Duration;

use super::error::UpstreamError;

/// What a body needs from the connection under it. One virtual call a poll, so that the body's type does not depend on the
/// request body's.
pub(super) trait Carrier: Send {
    /// Moves bytes. Ready when the connection is over, for better or worse: the incoming body knows which.
    fn poll_drive(&mut self, context: &mut Context<'_>) -> Poll<()>;
    /// Ready once nothing has moved for `limit`.
    fn poll_silence(&mut self, context: &mut Context<'_>, limit: Duration) -> Poll<()>;
    /// Something moved.
    fn moved(&self);
    /// The body ended cleanly.
    fn finish(self: Box<Self>, context: &mut Context<'_>);
}

/// A response body from the upstream.
///
/// It ends cleanly only if the upstream ended it cleanly. Dropping it before its end closes an HTTP/1.1 connection and resets
/// an HTTP/2 stream.
pub(crate) struct UpstreamBody {
    incoming: Incoming,
    carrier: Option<Box<dyn Carrier>>,
    idle_limit: Duration,
    /// The head, or frames, were passed on since the last stamp: one look at the clock a wake-up, not one a frame.
    moved: bool,
    over: bool,
}

impl UpstreamBody {
    pub(super) fn new(
        incoming: Incoming,
        carrier: Option<Box<dyn Carrier>>,
        idle_limit: Duration,
        context: &mut Context<'_>,
    ) -> Self {
        let mut body = Self { incoming, carrier, idle_limit, moved: true, over: false };
        if body.incoming.is_end_stream() {
            body.finish(context);
        }
        body
    }

    fn finish(&mut self, context: &mut Context<'_>) {
        self.over = true;
        if let Some(carrier) = self.carrier.take() {
            carrier.finish(context);
        }
    }

    fn fail(&mut self, error: UpstreamError) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        self.over = true;
        self.carrier = None;
        error.count();
        Poll::Ready(Some(Err(error)))
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

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        if let Some(carrier) = &mut this.carrier
            && carrier.poll_drive(context).is_ready()
        {
            // Dropping the connection is what tells the incoming body that nothing more will come.
            this.carrier = None;
        }
        match Pin::new(&mut this.incoming).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                this.moved = true;
                // Nobody polls again after the last byte of a known length, or after trailers.
                if frame.is_trailers() || this.incoming.is_end_stream() {
                    this.finish(context);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => this.fail(UpstreamError::Cut(error)),
            Poll::Ready(None) => {
                this.finish(context);
                Poll::Ready(None)
            }
            Poll::Pending => {
                let Some(carrier) = &mut this.carrier else { return Poll::Pending };
                if std::mem::take(&mut this.moved) {
                    carrier.moved();
                }
                match carrier.poll_silence(context, this.idle_limit) {
                    Poll::Ready(()) => this.fail(UpstreamError::IdleTimeout),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
