//! The request body on its way upstream: counted, held to the API's size limit, and scanned in passing.

mod held;
mod held_bytes;
mod permission;
mod watch;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use mindweave_metering::RequestScan;
use tokio::task::yield_now;
use tokio::time::timeout;

use self::held::HeldBody;
pub(crate) use self::held_bytes::{HeldBytes, NoRoom, Share};
use self::permission::Awaited;
pub(crate) use self::permission::Permission;
pub(crate) use self::watch::{RequestEnd, RequestWatch};

/// For how long an answered request's remaining body is still read. Closing a connection with unread bytes makes the
/// kernel reset it, and the client may then lose the answer that tells it why. nginx lingers as long.
const LINGER_FOR: Duration = Duration::from_secs(5);
/// How much of it is read: the Messages limit twice, which covers a client that is a little over it.
const LINGER_BYTES: u64 = 64 * 1024 * 1024;

/// Why a request body could not be passed on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestBodyError {
    #[error("the request body is longer than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("the client did not send its whole request body")]
    Client(#[source] hyper::Error),
}

/// Why a request body could not be held.
#[derive(Debug)]
pub(crate) enum HoldFault {
    /// It is too long or did not arrive whole.
    Body(RequestBodyError),
    /// Nothing came for too long.
    Stalled,
    /// Other bodies take all the memory that there is for them.
    NoRoom,
}

impl From<NoRoom> for HoldFault {
    fn from(_: NoRoom) -> Self {
        Self::NoRoom
    }
}

/// A request body, unchanged: counted and scanned on its way, or held until somebody has decided on it.
#[derive(Debug)]
pub(crate) struct RequestBody {
    source: Source,
    /// What the client waits for before it sends the body. `None` when it waits for nothing, or no longer.
    awaited: Option<Awaited>,
    passed: u64,
    limit: u64,
    watch: Arc<RequestWatch>,
    /// A frame of which not all has been scanned yet.
    unread: Option<Unread>,
}

/// A frame on its way through the scan.
#[derive(Debug)]
struct Unread {
    data: Bytes,
    /// Where the scan goes on.
    at: usize,
    /// Whether it is the last frame.
    ended: bool,
}

#[derive(Debug)]
enum Source {
    Streaming(Incoming),
    Held(Box<HeldBody>),
    /// Only inside `drop` and while the source changes.
    Gone,
}

impl RequestBody {
    /// Wraps the body of the request with this head, which may have `limit` bytes.
    pub(crate) fn new(
        head: &Parts,
        inner: Incoming,
        limit: u64,
        scan: Option<RequestScan>,
    ) -> (Self, Arc<RequestWatch>) {
        let end = if inner.is_end_stream() { RequestEnd::Complete } else { RequestEnd::Open };
        let watch = RequestWatch::new(scan, end);
        let awaited = Awaited::by(head).filter(|_| end == RequestEnd::Open);
        let source = Source::Streaming(inner);
        (Self { source, awaited, passed: 0, limit, watch: Arc::clone(&watch), unread: None }, watch)
    }

    /// What has to be given before the body can be had, if anything.
    pub(crate) fn permission(&self) -> Option<Arc<Permission>> {
        self.awaited.as_ref().map(Awaited::permission)
    }

    /// Reads all of it and keeps it. A client that waits for permission gets it: there is no deciding without the body.
    ///
    /// # Errors
    /// When there is no room, nothing comes for `patience`, or the body is no good. What is left of it is read on for a
    /// while, as of any refused request.
    pub(crate) async fn hold(mut self, room: &Arc<HeldBytes>, patience: Duration) -> Result<Self, HoldFault> {
        self.awaited = None;
        let mut held = HeldBody::new(&self.size_hint(), room.share());
        loop {
            match timeout(patience, self.frame()).await {
                Ok(Some(Ok(frame))) => held.push(frame)?,
                Ok(Some(Err(error))) => return Err(HoldFault::Body(error)),
                Ok(None) => break,
                Err(_elapsed) => return Err(HoldFault::Stalled),
            }
        }
        held.finish();
        // All is here; none of it has gone on yet.
        if !held.is_end_stream() {
            self.watch.set_end(RequestEnd::Open);
        }
        self.source = Source::Held(Box::new(held));
        Ok(self)
    }

    /// All of a held body in one piece, and nothing of one that streams; see [`HeldBody::whole`].
    pub(crate) fn whole(&self, share: &mut Share) -> Result<Bytes, NoRoom> {
        match &self.source {
            Source::Held(held) => held.whole(share),
            Source::Streaming(_) | Source::Gone => Ok(Bytes::new()),
        }
    }

    /// Counts and scans what came from the client.
    fn observe(
        &mut self,
        frame: Option<Result<Frame<Bytes>, hyper::Error>>,
        ended: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                self.watch.set_end(RequestEnd::Broken);
                return Poll::Ready(Some(Err(RequestBodyError::Client(error))));
            }
            None => {
                self.watch.set_end(RequestEnd::Complete);
                return Poll::Ready(None);
            }
        };
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(other) => {
                if ended {
                    self.watch.set_end(RequestEnd::Complete);
                }
                return Poll::Ready(Some(Ok(other)));
            }
        };
        self.passed = self.passed.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        if self.passed > self.limit {
            self.watch.set_end(RequestEnd::TooLarge { limit: self.limit });
            return Poll::Ready(Some(Err(RequestBodyError::TooLarge { limit: self.limit })));
        }
        self.scan(Unread { data, at: 0, ended }, cx).map(|frame| Some(Ok(frame)))
    }

    /// Scans a slice of the frame. Others get a turn before the next slice: a few compressed bytes may take long.
    fn scan(&mut self, frame: Unread, cx: &mut Context<'_>) -> Poll<Frame<Bytes>> {
        let Unread { data, at, ended } = frame;
        let slice = self.watch.feed_slice(data.get(at..).unwrap_or_default());
        if slice.more {
            self.unread = Some(Unread { data, at: at.saturating_add(slice.consumed), ended });
            after_others(cx);
            return Poll::Pending;
        }
        if ended {
            self.watch.set_end(RequestEnd::Complete);
        }
        Poll::Ready(Frame::data(data))
    }
}

impl Default for RequestBody {
    /// No body.
    fn default() -> Self {
        let watch = RequestWatch::new(None, RequestEnd::Complete);
        Self { source: Source::Gone, awaited: None, passed: 0, limit: 0, watch, unread: None }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = self.get_mut();
        if let Some(unread) = this.unread.take() {
            return this.scan(unread, cx).map(|frame| Some(Ok(frame)));
        }
        match &mut this.source {
            Source::Gone => Poll::Ready(None),
            Source::Held(held) => {
                let frame = held.next_frame();
                if frame.is_none() || held.is_end_stream() {
                    this.watch.set_end(RequestEnd::Complete);
                }
                Poll::Ready(frame.map(Ok))
            }
            Source::Streaming(inner) => {
                if let Some(awaited) = &mut this.awaited {
                    ready!(awaited.poll(cx));
                    this.awaited = None;
                }
                let frame = ready!(Pin::new(&mut *inner).poll_frame(cx));
                let ended = inner.is_end_stream();
                this.observe(frame, ended, cx)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Streaming(inner) => self.unread.is_none() && inner.is_end_stream(),
            Source::Held(held) => held.is_end_stream(),
            Source::Gone => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Streaming(inner) => {
                let unread = self.unread.as_ref().map_or(0, |frame| frame.data.len());
                longer_by(inner.size_hint(), unread)
            }
            Source::Held(held) => held.size_hint(),
            Source::Gone => SizeHint::with_exact(0),
        }
    }
}

impl Drop for RequestBody {
    /// Nobody wants the rest: the API answered early, or could not be reached, or the limit was passed. A client that still
    /// waits for permission sends nothing, and reading on would give it.
    fn drop(&mut self) {
        let unfinished = self.awaited.is_none()
            && matches!(self.watch.end(), RequestEnd::Open | RequestEnd::TooLarge { .. });
        if let (true, Source::Streaming(rest)) =
            (unfinished, std::mem::replace(&mut self.source, Source::Gone))
        {
            discard(rest);
        }
    }
}

/// Has this task woken again once all others had a turn, and so had what the network brought for them. Merely woken, it would be
/// polled some sixty times in between.
pub(crate) fn after_others(cx: &mut Context<'_>) {
    if pin!(yield_now()).poll(cx).is_ready() {
        cx.waker().wake_by_ref();
    }
}

/// What a hint becomes for who has yet to get so many bytes more.
pub(crate) fn longer_by(mut hint: SizeHint, bytes: usize) -> SizeHint {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    if let Some(upper) = hint.upper() {
        hint.set_upper(upper.saturating_add(bytes));
    }
    hint.set_lower(hint.lower().saturating_add(bytes));
    hint
}

/// Reads what is left of a body whose request has been answered, within bounds, so that the client gets the answer.
pub(crate) fn discard(body: Incoming) {
    if body.is_end_stream() {
        return;
    }
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        // Ends with the connection, the body or the bound, whichever is first; nothing needs to wait for it.
        drop(runtime.spawn(timeout(LINGER_FOR, drain(body))));
    }
}

async fn drain(mut body: Incoming) {
    let mut left = LINGER_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        let read = frame.data_ref().map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX));
        left = left.saturating_sub(read);
        if left == 0 {
            break;
        }
    }
}
