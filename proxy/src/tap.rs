//! The response body that metering watches: data, trailers and the way it ends pass unchanged.
//!
//! The exchange is settled before the frame that ends the answer is handed on. Whoever has read the end of an answer
//! therefore finds it in the journal, also after a kill -9 in the very next instruction.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use mindweave_metering::Outcome;

use crate::body::{after_others, longer_by};
use crate::exchange::OpenExchange;
use crate::held::HeldBody;
use crate::upstream::{UpstreamBody, UpstreamError};

/// The body of an answer to a client.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    /// Made by us. `None` once it was sent.
    Own(Option<Bytes>),
    /// From upstream, metered in passing.
    Tapped(Box<TapBody>),
}

/// Where an upstream answer's bytes come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// Straight from the connection.
    Upstream(UpstreamBody),
    /// Read ahead, because it might have to be changed.
    Held(HeldBody),
}

/// How the end of an empty body is told to hyper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EmptyBody {
    /// At once. hyper then drops the `content-length` of 204 and 304 answers and moves that of others to the end.
    Declared,
    /// Only when asked for a frame, so that hyper sends a `content-length` as it came.
    Discovered,
}

impl EmptyBody {
    /// How the end of this body has to be told where the answer has a `content-length`.
    pub(crate) fn of(body: &Source) -> Self {
        if body.is_end_stream() || body.size_hint().exact() == Some(0) {
            Self::Discovered
        } else {
            Self::Declared
        }
    }
}

/// An upstream body with its exchange still open.
#[derive(Debug)]
pub(crate) struct TapBody {
    source: Source,
    /// Settles itself as abandoned when dropped unfinished.
    exchange: Option<OpenExchange>,
    /// Bytes to come, where the length is known: hyper does not ask for more once it has sent that many.
    left: Option<u64>,
    empty: EmptyBody,
    /// An error that waits for what came before it to be written.
    broken: Option<UpstreamError>,
    /// A frame that metering has read up to there.
    unread: Option<(Bytes, usize)>,
}

impl TapBody {
    /// Watches this body for the exchange. A body without bytes ends the exchange here and now.
    pub(crate) fn new(source: Source, exchange: OpenExchange, empty: EmptyBody) -> Self {
        let left = source.size_hint().exact();
        let mut body = Self { source, exchange: Some(exchange), left, empty, broken: None, unread: None };
        if body.left == Some(0) || body.source.is_end_stream() {
            body.finish(Outcome::Complete);
        }
        body
    }

    fn finish(&mut self, outcome: Outcome) {
        if let Some(exchange) = self.exchange.take() {
            exchange.finish(outcome);
        }
    }

    /// Shows a frame from there on to metering; settles if it is the last one that matters. Others get a turn before each
    /// further slice: a few compressed bytes may take long.
    fn observe(&mut self, data: Bytes, at: usize, cx: &mut Context<'_>) -> Poll<Frame<Bytes>> {
        let Some(exchange) = &mut self.exchange else { return Poll::Ready(Frame::data(data)) };
        let (last, slice) = exchange.observe(data.get(at..).unwrap_or_default());
        if slice.more && !last {
            self.unread = Some((data, at.saturating_add(slice.consumed)));
            after_others(cx);
            return Poll::Pending;
        }
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        self.left = self.left.map(|left| left.saturating_sub(length));
        if last || self.left == Some(0) || self.source.is_end_stream() {
            self.finish(Outcome::Complete);
        }
        Poll::Ready(Frame::data(data))
    }
}

impl Body for TapBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let this = self.get_mut();
        if let Some(error) = this.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        if let Some((data, at)) = this.unread.take() {
            return this.observe(data, at, cx).map(|frame| Some(Ok(frame)));
        }
        match ready!(Pin::new(&mut this.source).poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => this.observe(data, 0, cx).map(|frame| Some(Ok(frame))),
                Err(trailers) => {
                    this.finish(Outcome::Complete);
                    Poll::Ready(Some(Ok(trailers)))
                }
            },
            // hyper drops what it has not written when a body fails, so it gets a turn to write first. Without it a client
            // could lose the whole answer to an upstream that broke off right behind it.
            Some(Err(error)) => {
                this.finish(error.outcome());
                this.broken = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => {
                this.finish(Outcome::Complete);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.empty == EmptyBody::Declared && self.unread.is_none() && self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.empty {
            EmptyBody::Declared => {
                longer_by(self.source.size_hint(), self.unread.as_ref().map_or(0, |(data, _)| data.len()))
            }
            EmptyBody::Discovered => SizeHint::default(),
        }
    }
}

impl Body for Source {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        match self.get_mut() {
            Self::Upstream(body) => Pin::new(body).poll_frame(cx),
            Self::Held(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Upstream(body) => body.is_end_stream(),
            Self::Held(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Upstream(body) => body.size_hint(),
            Self::Held(body) => body.size_hint(),
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        match self.get_mut() {
            Self::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Tapped(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_none(),
            Self::Tapped(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(
                bytes.as_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            ),
            Self::Tapped(body) => body.size_hint(),
        }
    }
}
