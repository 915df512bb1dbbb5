//! A body that was read ahead, up to a bound, and goes on where the reading stopped.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

use crate::upstream::{UpstreamBody, UpstreamError};

/// The frames read so far and what comes after them.
#[derive(Debug)]
pub(crate) struct HeldBody {
    frames: VecDeque<Frame<Bytes>>,
    rest: Rest,
}

#[derive(Debug)]
enum Rest {
    /// All was read.
    Nothing,
    /// The bound was reached first.
    Unread(UpstreamBody),
    /// Reading failed here. A broken body stays broken.
    Broken(UpstreamError),
}

impl HeldBody {
    /// Reads until the end, a failure, or more than `limit` bytes.
    pub(crate) async fn read(mut body: UpstreamBody, limit: usize) -> Self {
        let mut frames = VecDeque::new();
        let mut bytes = 0_usize;
        while bytes <= limit {
            match body.frame().await {
                Some(Ok(frame)) => {
                    bytes = bytes.saturating_add(frame.data_ref().map_or(0, Bytes::len));
                    frames.push_back(frame);
                }
                Some(Err(error)) => return Self { frames, rest: Rest::Broken(error) },
                None => return Self { frames, rest: Rest::Nothing },
            }
        }
        Self { frames, rest: Rest::Unread(body) }
    }

    /// The bytes of the whole body, if the reading came to its end.
    pub(crate) fn whole(&self) -> Option<Bytes> {
        let Rest::Nothing = self.rest else { return None };
        let mut data = self.frames.iter().filter_map(Frame::data_ref);
        match (data.next(), data.next()) {
            (None, _) => Some(Bytes::new()),
            (Some(only), None) => Some(only.clone()),
            (Some(_), Some(_)) => {
                let mut whole = BytesMut::new();
                for part in self.frames.iter().filter_map(Frame::data_ref) {
                    whole.extend_from_slice(part);
                }
                Some(whole.freeze())
            }
        }
    }

    /// Puts other bytes in the place of the data; trailers stay.
    pub(crate) fn replace(&mut self, data: Bytes) {
        self.frames.retain(Frame::is_trailers);
        self.frames.push_front(Frame::data(data));
    }
}

impl Body for HeldBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let this = self.get_mut();
        if let Some(frame) = this.frames.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match std::mem::replace(&mut this.rest, Rest::Nothing) {
            Rest::Nothing => Poll::Ready(None),
            Rest::Broken(error) => Poll::Ready(Some(Err(error))),
            Rest::Unread(mut body) => {
                let frame = Pin::new(&mut body).poll_frame(cx);
                this.rest = Rest::Unread(body);
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
            && match &self.rest {
                Rest::Nothing => true,
                Rest::Unread(body) => body.is_end_stream(),
                Rest::Broken(_) => false,
            }
    }

    /// Not told: the answer's own header says the length, and one without must not get any.
    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
