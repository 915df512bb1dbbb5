//! HTTP/1.1: connections that nobody polls but the exchange they carry.
//!
//! A connection has no task. `send` polls it until the response head is there, then the response body polls it from its own
//! `poll_frame`. All frames that are already read reach the client's connection before anything is `Pending`, and leave in few
//! writes; with a task per connection each of them would cross a channel and be written alone (measured: four times the CPU for
//! a burst of events).
//!
//! A connection returns to the pool only from the clean end of a body, and only if hyper would accept another request on it
//! right away. In every other case it is dropped, which closes it: this is also how the upstream learns that a client left.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::task::unconstrained;
use tokio::time::{Duration, Instant, sleep_until};

use super::body::{Carrier, Driven, Received, UpstreamBody};
use super::error::UpstreamError;
use super::relay::Relay;
use super::silence::SilenceTimer;
use super::stream::{Reused, Stream};
use super::upload::{Progress, Upload};
use super::{Limits, RequestBody, Unsent};
use crate::metrics;

/// The size of the largest response head. Claude's heads are about 2 KB; the bound is hyper's default for its read buffer,
/// which also limits what one connection can hold.
const MAX_BUFFER_BYTES: usize = 416 * 1024;
/// How many header fields a response may have. A hundred, hyper's default, is enough for the API but not for every gateway
/// in front of it.
const MAX_HEADERS: usize = 256;

/// Unused connections, newest last.
pub(super) struct Pool<B: RequestBody> {
    idle: Mutex<Idle<B>>,
    idle_timeout: Duration,
    max_idle: usize,
}

struct Idle<B: RequestBody> {
    connections: VecDeque<(Box<Connection<B>>, Instant)>,
    sweeping: bool,
}

/// One connection and everything that lives as long.
pub(super) struct Connection<B: RequestBody> {
    sender: SendRequest<Upload<B>>,
    hyper: http1::Connection<TokioIo<Stream>, Upload<B>>,
    timer: SilenceTimer,
    progress: Arc<Progress>,
    reused: Reused,
    relay: Arc<Relay>,
    /// The relay as hyper and the socket get it: always the same, so they need not keep a new one at every poll.
    waker: Waker,
    pool: Weak<Pool<B>>,
}

impl<B: RequestBody> Pool<B> {
    pub(super) fn new(idle_timeout: Duration, max_idle: usize) -> Self {
        let idle = Mutex::new(Idle { connections: VecDeque::new(), sweeping: false });
        Self { idle, idle_timeout, max_idle }
    }

    /// The connection used last: the least likely to be closed by the other side, and the others may age out.
    pub(super) fn take(&self) -> Option<Box<Connection<B>>> {
        let mut idle = self.idle.lock();
        let (connection, since) = idle.connections.pop_back()?;
        if since.elapsed() >= self.idle_timeout {
            // The newest is too old, hence all are.
            let expired = std::mem::take(&mut idle.connections);
            drop(idle);
            metrics::upstream().connections_idle.set(0.0);
            drop((connection, expired));
            return None;
        }
        drop(idle);
        metrics::upstream().connections_idle.decrement(1.0);
        connection.reused.mark();
        Some(connection)
    }

    #[cfg(test)]
    pub(super) fn idle_count(&self) -> usize {
        self.idle.lock().connections.len()
    }

    /// Looks, as a checkout would, but puts the connection back where it was.
    #[cfg(test)]
    pub(super) fn newest_is_closed(&self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let mut idle = self.idle.lock();
        let Some((newest, _)) = idle.connections.back_mut() else { return true };
        Pin::new(&mut newest.hyper).poll_without_shutdown(&mut context).is_ready()
    }

    fn put(self: &Arc<Self>, connection: Box<Connection<B>>) {
        let mut idle = self.idle.lock();
        if idle.connections.len() >= self.max_idle {
            return;
        }
        idle.connections.push_back((connection, Instant::now()));
        let start_sweeping = !std::mem::replace(&mut idle.sweeping, true);
        drop(idle);
        metrics::upstream().connections_idle.increment(1.0);
        if start_sweeping {
            tokio::spawn(sweep(Arc::downgrade(self), self.idle_timeout));
        }
    }

    /// Drops what is too old; says when to look again, if there is anything left to look at.
    fn drop_expired(&self) -> Option<Instant> {
        let mut expired = Vec::new();
        let mut idle = self.idle.lock();
        while let Some((connection, _)) =
            idle.connections.pop_front_if(|(_, since)| since.elapsed() >= self.idle_timeout)
        {
            expired.push(connection);
        }
        let oldest = idle.connections.front().map(|(_, since)| *since + self.idle_timeout);
        idle.sweeping = oldest.is_some();
        let left = idle.connections.len();
        drop(idle);
        metrics::upstream().connections_idle.set(u32::try_from(left).unwrap_or(u32::MAX));
        oldest
    }
}

/// Closes idle connections when their time is over; ends with the last of them.
async fn sweep<B: RequestBody>(pool: Weak<Pool<B>>, first: Duration) {
    let mut look_at = Instant::now() + first;
    loop {
        sleep_until(look_at).await;
        let Some(pool) = pool.upgrade() else { return };
        let Some(next) = pool.drop_expired() else { return };
        look_at = next;
    }
}

impl<B: RequestBody> Connection<B> {
    pub(super) async fn start(
        stream: Stream,
        pool: &Arc<Pool<B>>,
        limits: &Limits,
    ) -> Result<Box<Self>, UpstreamError> {
        let reused = stream.reused();
        let (sender, hyper) = http1::Builder::new()
            .preserve_header_case(true)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_BUFFER_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(UpstreamError::ClosedEarly)?;
        let relay = Relay::new();
        Ok(Box::new(Self {
            sender,
            hyper,
            timer: SilenceTimer::new(limits.response.min(limits.body_idle)),
            progress: Arc::new(Progress::new()),
            reused,
            waker: Waker::from(Arc::clone(&relay)),
            relay,
            pool: Arc::downgrade(pool),
        }))
    }

    /// Sends one request and waits for the response head.
    ///
    /// # Errors
    ///
    /// With the request, where nothing of it has been sent: it may go out on another connection.
    pub(super) async fn send(
        mut self: Box<Self>,
        request: Request<B>,
        limits: &Limits,
    ) -> Result<Response<UpstreamBody>, Box<Unsent<B>>> {
        let progress = Arc::clone(&self.progress);
        let request = request.map(|body| Upload::start(body, &progress));
        // Becomes ready only while the connection is polled or dropped, both of which happen below: it needs no waker of its
        // own, and hence must not be held back by the runtime's budget either.
        let mut response = pin!(unconstrained(self.sender.try_send_request(request)));
        let mut connection = Some(self);
        poll_fn(|context| {
            // Errors of the connection reach us through `response`. A connection that closed before it took the request
            // gives it back when it is dropped.
            if let Some(open) = &mut connection
                && open.poll_hyper(context.waker()).is_ready()
            {
                connection = None;
            }
            match response.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(response)) => Poll::Ready(Ok(carry(response, connection.take(), limits))),
                Poll::Ready(Err(mut error)) => {
                    let request = error.take_message().map(|request| request.map(Upload::into_body));
                    Poll::Ready(Err(Unsent::boxed(
                        UpstreamError::before_response(error.into_error()),
                        request,
                    )))
                }
                Poll::Pending => {
                    let Some(open) = &mut connection else { return Poll::Pending };
                    let silence = open.timer.poll(context, limits.response, || progress.last());
                    silence.map(|()| Err(Unsent::boxed(progress.no_response(), None)))
                }
            }
        })
        .await
    }

    /// Moves bytes. What goes wrong is told to the response or the body that it happens to.
    fn poll_hyper(&mut self, task: &Waker) -> Poll<()> {
        self.relay.aim(task);
        let mut context = Context::from_waker(&self.waker);
        Pin::new(&mut self.hyper).poll(&mut context).map(|_told| ())
    }

    /// Puts the connection back if it can carry another request; otherwise it ends here.
    fn recycle(mut self: Box<Self>) {
        if !self.sender.is_ready() && self.poll_hyper(Waker::noop()).is_ready() {
            return;
        }
        self.relay.aim(Waker::noop()); // the task goes on to other things
        if self.sender.is_ready()
            && let Some(pool) = self.pool.upgrade()
        {
            pool.put(self);
        }
    }
}

/// Makes the response body responsible for its connection.
fn carry<B: RequestBody>(
    response: Response<Incoming>,
    connection: Option<Box<Connection<B>>>,
    limits: &Limits,
) -> Response<UpstreamBody> {
    let carrier = connection.map(|connection| -> Box<dyn Carrier> { connection });
    response.map(|incoming| UpstreamBody::new(incoming, carrier, limits.body_idle))
}

impl<B: RequestBody> Carrier for Connection<B> {
    fn poll_incoming(&mut self, incoming: &mut Incoming, context: &mut Context<'_>) -> (Driven, Received) {
        let driven = match self.poll_hyper(context.waker()) {
            Poll::Ready(()) => Driven::Over,
            Poll::Pending => Driven::Open,
        };
        // A frame can only come from the poll above, and taking it is no news to anybody.
        let mut without_waker = Context::from_waker(Waker::noop());
        (driven, self.relay.mute(|| Pin::new(incoming).poll_frame(&mut without_waker)))
    }

    fn poll_silence(&mut self, context: &mut Context<'_>, limit: Duration) -> Poll<()> {
        let Self { timer, progress, .. } = self;
        timer.poll(context, limit, || progress.last())
    }

    fn moved(&self) {
        self.progress.stamp();
    }

    fn finish(self: Box<Self>) {
        self.recycle();
    }
}
