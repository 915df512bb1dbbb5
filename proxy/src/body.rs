//! The request body on its way upstream: counted, held to the API's size limit, and scanned in passing.

mod permission;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use mindweave_metering::{RequestReading, RequestScan};
use parking_lot::Mutex;

use self::permission::Awaited;
pub(crate) use self::permission::Permission;

/// For how long an answered request's remaining body is still read. Closing a connection with unread bytes makes the
/// kernel reset it, and the client may then lose the answer that tells it why. nginx lingers as long.
const LINGER_FOR: Duration = Duration::from_secs(5);
/// How much of it is read: the Messages limit twice, which covers a client that is a little over it.
const LINGER_BYTES: u64 = 64 * 1024 * 1024;

/// How far a request body has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestEnd {
    /// More is to come.
    Open,
    /// All of it was passed on.
    Complete,
    /// It was longer than this many bytes.
    TooLarge { limit: u64 },
    /// The client went away or broke the framing.
    Broken,
}

/// What the exchange keeps of its request body while hyper owns the body itself.
#[derive(Debug)]
pub(crate) struct RequestWatch {
    state: Mutex<WatchState>,
}

#[derive(Debug)]
struct WatchState {
    scan: Option<RequestScan>,
    end: RequestEnd,
}

impl RequestWatch {
    /// How far the body has come.
    pub(crate) fn end(&self) -> RequestEnd {
        self.state.lock().end
    }

    /// What the scan has read by now. Answers may come before the request is complete, so this can be a partial reading.
    /// The first caller gets it.
    pub(crate) fn take_reading(&self) -> Option<RequestReading> {
        self.state.lock().scan.take().map(RequestScan::finish)
    }
}

/// Why a request body could not be passed on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestBodyError {
    #[error("the request body is longer than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("the client did not send its whole request body")]
    Client(#[source] hyper::Error),
}

/// A request body that streams through unchanged while it is counted and scanned.
#[derive(Debug)]
pub(crate) struct RequestBody {
    /// `None` only inside `drop`.
    inner: Option<Incoming>,
    /// What the client waits for before it sends the body. `None` when it waits for nothing, or no longer.
    awaited: Option<Awaited>,
    passed: u64,
    limit: u64,
    watch: Arc<RequestWatch>,
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
        let watch = Arc::new(RequestWatch { state: Mutex::new(WatchState { scan, end }) });
        let awaited = Awaited::by(head).filter(|_| end == RequestEnd::Open);
        (Self { inner: Some(inner), awaited, passed: 0, limit, watch: Arc::clone(&watch) }, watch)
    }

    /// What has to be given before the body can be had, if anything.
    pub(crate) fn permission(&self) -> Option<Arc<Permission>> {
        self.awaited.as_ref().map(Awaited::permission)
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
        let Some(inner) = this.inner.as_mut() else { return Poll::Ready(None) };
        if let Some(awaited) = &mut this.awaited {
            ready!(awaited.poll(cx));
            this.awaited = None;
        }
        let frame = ready!(Pin::new(&mut *inner).poll_frame(cx));
        let mut state = this.watch.state.lock();
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    this.passed = this.passed.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
                    if this.passed > this.limit {
                        state.end = RequestEnd::TooLarge { limit: this.limit };
                        return Poll::Ready(Some(Err(RequestBodyError::TooLarge { limit: this.limit })));
                    }
                    if let Some(scan) = &mut state.scan {
                        scan.feed(data);
                    }
                }
                if inner.is_end_stream() {
                    state.end = RequestEnd::Complete;
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                state.end = RequestEnd::Broken;
                Some(Err(RequestBodyError::Client(error)))
            }
            None => {
                state.end = RequestEnd::Complete;
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for RequestBody {
    /// Nobody wants the rest: the API answered early, or could not be reached, or the limit was passed. A client that still
    /// waits for permission sends nothing, and reading on would give it.
    fn drop(&mut self) {
        let unfinished = self.awaited.is_none()
            && matches!(self.watch.end(), RequestEnd::Open | RequestEnd::TooLarge { .. });
        if let (true, Some(rest)) = (unfinished, self.inner.take()) {
            discard(rest);
        }
    }
}

/// Reads what is left of a body whose request has been answered, within bounds, so that the client gets the answer.
pub(crate) fn discard(body: Incoming) {
    if body.is_end_stream() {
        return;
    }
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        // Ends with the connection, the body or the bound, whichever is first; nothing needs to wait for it.
        drop(runtime.spawn(tokio::time::timeout(LINGER_FOR, drain(body))));
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
