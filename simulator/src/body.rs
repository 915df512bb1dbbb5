//! The body of an answer on its way out: pacing, stalls, cuts, and noticing that the client went away.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use crate::answer::{Answer, Delivery, Payload};
use crate::request_log::{Ending, ExchangeWatch};
use crate::wire::CutSwitch;

/// What was sent has this long to leave the machine before the connection is broken.
const SETTLE: Duration = Duration::from_millis(20);
/// Sent by half when a body is to be cut where it would have ended.
const STUB: &[u8] = b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",";

/// The body ends here because it was told to.
#[derive(Debug, thiserror::Error)]
#[error("cut on demand")]
pub(crate) struct CutOnDemand;

/// What protocol the answer travels over, and the means to break the connection.
pub(crate) enum Line {
    Http1(CutSwitch),
    /// A cut resets the stream only: the connection carries others.
    Http2,
}

enum Stage {
    Flowing,
    /// Everything before the cut has been flushed.
    Breaking,
    Broken,
}

/// A body that hyper polls.
pub(crate) struct AnswerBody {
    payload: Payload,
    at: usize,
    delivery: Delivery,
    sleep: Option<Pin<Box<Sleep>>>,
    flush_now: bool,
    stage: Stage,
    line: Line,
    watch: ExchangeWatch,
}

impl AnswerBody {
    pub(crate) fn new(payload: Payload, delivery: Delivery, line: Line, watch: ExchangeWatch) -> Self {
        let mut body = Self {
            payload,
            at: 0,
            delivery,
            sleep: None,
            flush_now: false,
            stage: Stage::Flowing,
            line,
            watch,
        };
        if body.is_end_stream() {
            body.watch.end(Ending::Complete); // hyper does not poll a body that is empty from the start
        }
        body
    }

    /// The HTTP message of an answer. A HEAD request is answered once its head is made: its body is never polled.
    pub(crate) fn response(
        answer: Answer,
        method: &http::Method,
        line: Line,
        mut watch: ExchangeWatch,
    ) -> http::Response<Self> {
        if method == http::Method::HEAD {
            watch.end(Ending::Complete);
        }
        let mut response = http::Response::new(Self::new(answer.payload, answer.delivery, line, watch));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        response
    }

    fn next_piece(&mut self) -> Option<Bytes> {
        match &mut self.payload {
            Payload::Ready(pieces) => pieces.get(self.at).cloned(),
            Payload::Made(pieces) => pieces.next(),
        }
    }

    fn has_more(&mut self) -> bool {
        match &mut self.payload {
            Payload::Ready(pieces) => self.at < pieces.len(),
            Payload::Made(pieces) => pieces.peek().is_some(),
        }
    }

    fn wait(&mut self, delay: Duration) {
        if !delay.is_zero() {
            self.sleep = Some(Box::pin(tokio::time::sleep(delay)));
        }
    }

    /// Sends the next piece and prepares what comes before the one after it.
    fn flow(&mut self) -> Option<Bytes> {
        let piece = self.next_piece()?;
        self.at = self.at.saturating_add(1);
        if self.has_more() {
            self.flush_now = self.delivery.flush_each;
            self.wait(self.delivery.piece_delay);
        } else if self.delivery.cut.is_none() {
            // hyper may stop polling once a known length is reached
            self.watch.end(Ending::Complete);
        }
        Some(piece)
    }

    /// The last, halved piece of a broken answer.
    fn break_off(&mut self) -> Option<Result<Frame<Bytes>, CutOnDemand>> {
        self.watch.end(Ending::Cut);
        self.stage = Stage::Broken;
        let (Line::Http1(switch), Some((cut, _))) = (&self.line, self.delivery.cut) else {
            return Some(Err(CutOnDemand));
        };
        switch.arm(cut);
        self.wait(SETTLE);
        Some(Ok(Frame::data(self.next_piece().unwrap_or(Bytes::from_static(STUB)))))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = CutOnDemand;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOnDemand>>> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                std::task::ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
            }
            match self.stage {
                Stage::Broken => return Poll::Ready(Some(Err(CutOnDemand))),
                Stage::Breaking => return Poll::Ready(self.break_off()),
                Stage::Flowing => {}
            }
            if std::mem::take(&mut self.flush_now) {
                cx.waker().wake_by_ref(); // hyper flushes whenever a body has nothing to give
                return Poll::Pending;
            }
            if self.delivery.cut.is_some_and(|(_, at)| self.at >= at) {
                self.stage = Stage::Breaking;
                self.wait(SETTLE);
                continue;
            }
            let at = self.at;
            if let Some((_, delay)) = self.delivery.stall.take_if(|(from, _)| at >= *from) {
                self.wait(delay);
                continue;
            }
            let piece = self.flow();
            if let (None, Some((_, at))) = (&piece, &mut self.delivery.cut) {
                *at = 0; // the cut lies beyond the end: break off where the body would have ended
                continue;
            }
            return Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))));
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.payload {
            Payload::Ready(pieces) => self.at >= pieces.len() && self.delivery.cut.is_none(),
            Payload::Made(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default() // chunked unless a content-length header says otherwise, as the real service
    }
}
