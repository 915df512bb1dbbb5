//! The server side: listeners, connections and their limits, and the drain.
//!
//! A request is served by the task of its connection: nothing is spawned for it (HTTP/2 apart, where hyper spawns one task a
//! stream). Whatever cannot be read in exactly one way is refused: hyper answers 400 to conflicting or malformed lengths,
//! folded lines, spaces before a colon and codings that do not end in `chunked`; 431 and 414 to what is too large; we answer
//! 400 to `content-length` beside `transfer-encoding`.

mod accept;
mod activity;
mod body;
mod config;
mod connection;
mod stream;
mod tls;
mod watchdog;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Duration, Instant, timeout_at};

pub use self::config::{
    DEFAULT_HEADER_TIMEOUT, DEFAULT_HTTP2_MAX_STREAMS, DEFAULT_IDLE_TIMEOUT, DEFAULT_MAX_CONNECTIONS,
    DEFAULT_MAX_HEADER_BYTES, DEFAULT_MAX_HEADERS, DEFAULT_STALL_TIMEOUT, DEFAULT_TLS_RELOAD_INTERVAL,
    ServerConfig, ServerError, TlsConfig,
};
use self::connection::Shared;
use crate::metrics;
use crate::upstream::BoxError;

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) addr: SocketAddr,
    pub(crate) tls: bool,
}

impl Peer {
    /// The scheme of the URL that the client used.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

/// What answers requests.
pub(crate) trait Handler: Send + Sync + 'static {
    /// What answers are made of.
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;

    /// Answers one request. Dropped when the client goes away.
    fn handle(
        self: &Arc<Self>,
        request: Request<Incoming>,
        peer: Peer,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// Running listeners and the connections they have accepted. Dropping it ends all of them at once; see `drain`.
#[derive(Debug)]
pub(crate) struct Server {
    local_addrs: Vec<SocketAddr>,
    shutdown: watch::Sender<bool>,
    listeners: Vec<JoinHandle<JoinSet<()>>>,
    _certificate_watch: Option<tls::AbortOnDrop>,
}

/// What a drain had to leave undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Drained {
    /// Connections that were still busy at the deadline.
    pub(crate) aborted: usize,
}

impl Server {
    /// Listens and serves.
    ///
    /// # Errors
    ///
    /// When an address cannot be listened on or a certificate cannot be used. Nothing is served then.
    #[expect(clippy::unused_async, reason = "it spawns tasks: an async caller surely has a runtime")]
    pub(crate) async fn start<H: Handler>(
        config: &ServerConfig,
        handler: Arc<H>,
    ) -> Result<Self, ServerError> {
        if config.listen.is_empty() {
            return Err(ServerError::NoAddress);
        }
        let (acceptor, certificate_watch) = config.tls.as_ref().map(tls::start).transpose()?.unzip();
        let mut listeners = Vec::with_capacity(config.listen.len());
        for address in &config.listen {
            let bind = |cause| ServerError::Bind { address: *address, cause };
            let listener = listen(*address).map_err(bind)?;
            let local = listener.local_addr().map_err(bind)?;
            listeners.push((listener, local));
        }
        let shared = Arc::new(Shared::new(config, handler, acceptor));
        let permits = Arc::new(Semaphore::new(config.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
        let (shutdown, _) = watch::channel(false);
        Ok(Self {
            local_addrs: listeners.iter().map(|(_, local)| *local).collect(),
            listeners: listeners
                .into_iter()
                .map(|(listener, _)| {
                    let accepting = accept::Accepting {
                        listener,
                        shared: Arc::clone(&shared),
                        permits: Arc::clone(&permits),
                        shutdown: shutdown.subscribe(),
                    };
                    tokio::spawn(accepting.run())
                })
                .collect(),
            shutdown,
            _certificate_watch: certificate_watch,
        })
    }

    /// Where it listens, in the order of the configuration.
    pub(crate) fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// Stops accepting, lets requests under way finish, and cuts what is left at the deadline.
    pub(crate) async fn drain(self, limit: Duration) -> Drained {
        let deadline = Instant::now() + limit;
        self.shutdown.send_replace(true);
        let mut aborted: usize = 0;
        for listener in self.listeners {
            // A listener's task does nothing that could panic or be cancelled.
            let Ok(mut connections) = listener.await else { continue };
            let all_done = async { while connections.join_next().await.is_some() {} };
            if timeout_at(deadline, all_done).await.is_err() {
                aborted = aborted.saturating_add(connections.len());
                connections.shutdown().await;
            }
        }
        metrics::server().drain_aborts.increment(u64::try_from(aborted).unwrap_or(u64::MAX));
        Drained { aborted }
    }
}

/// Connections that may wait to be accepted. The usual 128 overflow when a few hundred clients come at once, and the kernel then
/// lets them wait for seconds or resets them. The system's own bound (`net.core.somaxconn`) is 4096 since Linux 5.4.
const ACCEPT_BACKLOG: u32 = 4_096;

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?; // or a restart would wait for the last process' connections
    socket.bind(address)?;
    socket.listen(ACCEPT_BACKLOG)
}

#[cfg(test)]
mod tests;
