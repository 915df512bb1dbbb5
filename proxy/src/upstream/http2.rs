//! HTTP/2: few connections, shared by many exchanges, each driven by a task of its own.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::Duration;

use super::body::{Carrier, Driven, Received, UpstreamBody};
use super::error::UpstreamError;
use super::silence::SilenceTimer;
use super::stream::Stream;
use super::upload::{Progress, Upload};
use super::{Limits, RequestBody, Unsent};

/// The same bound as for HTTP/1.1 heads; hyper's own default of 16 KB is below what gateways send.
const MAX_HEADER_LIST_BYTES: u32 = 416 * 1024;
/// How often a connection is asked whether it still lives, and how long it may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// The open connections.
pub(super) struct Connections<B> {
    open: Mutex<Vec<Connection<B>>>,
    /// Held by whoever opens a connection, so that a burst of requests does not open one each.
    pub(super) opening: tokio::sync::Mutex<()>,
    max_streams: usize,
    max_connections: usize,
}

struct Connection<B> {
    sender: SendRequest<Upload<B>>,
    load: Arc<Load>,
    _task: AbortOnDrop,
}

/// How busy a connection is.
#[derive(Debug)]
struct Load {
    streams: AtomicUsize,
    /// What the upstream allows at present.
    allowed: AtomicUsize,
}

/// Ends the driving task with the pool that owns the connection.
#[derive(Debug)]
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The right to one stream, counted for as long as it lives.
pub(super) struct Slot<B> {
    sender: SendRequest<Upload<B>>,
    stream: StreamCount,
}

#[derive(Debug)]
struct StreamCount(Arc<Load>);

impl StreamCount {
    fn new(load: &Arc<Load>) -> Self {
        load.streams.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(load))
    }
}

impl Drop for StreamCount {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<B: RequestBody> Connections<B> {
    pub(super) fn new(max_streams: usize, max_connections: usize) -> Self {
        Self {
            open: Mutex::new(Vec::new()),
            opening: tokio::sync::Mutex::new(()),
            max_streams: max_streams.max(1),
            max_connections: max_connections.max(1),
        }
    }

    /// A stream on an open connection with room; on the least busy one when no further connection may be opened.
    pub(super) fn take(&self) -> Option<Slot<B>> {
        let mut open = self.open.lock();
        open.retain(|connection| !connection.sender.is_closed());
        let full = open.len() >= self.max_connections;
        let streams = |connection: &Connection<B>| connection.load.streams.load(Ordering::Relaxed);
        let has_room = |connection: &&Connection<B>| {
            streams(connection) < self.max_streams.min(connection.load.allowed.load(Ordering::Relaxed))
        };
        let chosen = open
            .iter()
            .find(has_room)
            .or_else(|| if full { open.iter().min_by_key(|connection| streams(connection)) } else { None })?;
        Some(Slot { sender: chosen.sender.clone(), stream: StreamCount::new(&chosen.load) })
    }

    #[cfg(test)]
    pub(super) fn open_count(&self) -> usize {
        self.open.lock().iter().filter(|connection| !connection.sender.is_closed()).count()
    }

    /// Adds a connection and takes its first stream.
    pub(super) async fn start(&self, stream: Stream) -> Result<Slot<B>, UpstreamError> {
        let (sender, mut driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .max_header_list_size(MAX_HEADER_LIST_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(UpstreamError::ClosedEarly)?;
        let load = Arc::new(Load { streams: AtomicUsize::new(0), allowed: AtomicUsize::new(usize::MAX) });
        let allowed = Arc::clone(&load);
        let task = tokio::spawn(async move {
            let ended = poll_fn(|context| {
                let polled = Pin::new(&mut driver).poll(context);
                allowed.allowed.store(driver.current_max_send_streams(), Ordering::Relaxed);
                polled
            });
            if let Err(error) = ended.await {
                tracing::debug!(error = %error, "http2 connection to the upstream ended");
            }
        });
        let slot = Slot { sender: sender.clone(), stream: StreamCount::new(&load) };
        let connection = Connection { sender, load, _task: AbortOnDrop(task.abort_handle()) };
        self.open.lock().push(connection);
        Ok(slot)
    }
}

impl<B: RequestBody> Slot<B> {
    /// Sends one request and waits for the response head.
    ///
    /// # Errors
    ///
    /// With the request, where nothing of it has been sent: it may go out on another connection.
    pub(super) async fn send(
        mut self,
        request: Request<B>,
        limits: &Limits,
    ) -> Result<Response<UpstreamBody>, Box<Unsent<B>>> {
        let exchange = Exchange {
            timer: SilenceTimer::new(limits.response.min(limits.body_idle)),
            progress: Arc::new(Progress::new()),
            _stream: self.stream,
        };
        let request = request.map(|body| Upload::start(body, &exchange.progress));
        let mut response = pin!(self.sender.try_send_request(request));
        let mut exchange = Some(exchange);
        poll_fn(|context| match response.as_mut().poll(context) {
            Poll::Ready(Ok(response)) => {
                let carrier = exchange.take().map(|exchange| -> Box<dyn Carrier> { Box::new(exchange) });
                Poll::Ready(Ok(
                    response.map(|incoming| UpstreamBody::new(incoming, carrier, limits.body_idle))
                ))
            }
            Poll::Ready(Err(mut error)) => {
                let request = error.take_message().map(|request| request.map(Upload::into_body));
                Poll::Ready(Err(Unsent::boxed(UpstreamError::before_response(error.into_error()), request)))
            }
            Poll::Pending => {
                let Some(exchange) = &mut exchange else { return Poll::Pending };
                let silence = exchange.poll_silence(context, limits.response);
                silence.map(|()| Err(Unsent::boxed(exchange.progress.no_response(), None)))
            }
        })
        .await
    }
}

/// One stream's timer and place; the connection itself is driven elsewhere.
#[derive(Debug)]
struct Exchange {
    timer: SilenceTimer,
    progress: Arc<Progress>,
    _stream: StreamCount,
}

impl Carrier for Exchange {
    fn poll_incoming(&mut self, incoming: &mut Incoming, context: &mut Context<'_>) -> (Driven, Received) {
        (Driven::Open, Pin::new(incoming).poll_frame(context))
    }

    fn poll_silence(&mut self, context: &mut Context<'_>, limit: Duration) -> Poll<()> {
        let Self { timer, progress, .. } = self;
        timer.poll(context, limit, || progress.last())
    }

    fn moved(&self) {
        self.progress.stamp();
    }

    fn finish(self: Box<Self>) {}
}
