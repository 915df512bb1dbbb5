//! Takes connections from a listener, as many as are allowed and no faster than they can be had.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep};

use super::Handler;
use super::connection::Shared;
use crate::metrics;

/// How long to wait after `accept` failed for want of something, usually file descriptors: trying at once would spin.
const MIN_PAUSE: Duration = Duration::from_millis(10);
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// After how much silence the kernel asks whether a client is still there, and how often it asks again.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// One listener at work.
pub(super) struct Accepting<H> {
    pub(super) listener: TcpListener,
    pub(super) shared: Arc<Shared<H>>,
    pub(super) permits: Arc<Semaphore>,
    pub(super) shutdown: watch::Receiver<bool>,
}

impl<H: Handler> Accepting<H> {
    /// Accepts until shutdown. The listening socket is closed then; the connections that are open are returned.
    pub(super) async fn run(mut self) -> JoinSet<()> {
        let mut connections = JoinSet::new();
        let mut pause = MIN_PAUSE;
        loop {
            let accepted = tokio::select! {
                biased;
                _ = self.shutdown.changed() => return connections,
                Some(ended) = connections.join_next() => {
                    if let Err(failure) = ended {
                        tracing::error!(error = %failure, "a connection's task failed");
                    }
                    continue;
                }
                accepted = accept(&self.listener, &self.permits) => accepted,
            };
            match accepted {
                Ok((permit, tcp, addr)) => {
                    pause = MIN_PAUSE;
                    connections.spawn(connection(
                        Arc::clone(&self.shared),
                        permit,
                        tcp,
                        addr,
                        self.shutdown.clone(),
                    ));
                }
                Err(error) if concerns_one_connection(&error) => {
                    metrics::server().accept_errors.increment(1);
                }
                Err(error) => {
                    metrics::server().accept_errors.increment(1);
                    tracing::warn!(%error, ?pause, "cannot accept connections, waiting");
                    sleep(pause).await;
                    pause = pause.saturating_mul(2).min(MAX_PAUSE);
                }
            }
        }
    }
}

/// A permit first: what is not accepted waits in the kernel's backlog. Safe to drop at any point.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(OwnedSemaphorePermit, TcpStream, SocketAddr)> {
    let permit = match Arc::clone(permits).try_acquire_owned() {
        Ok(permit) => permit,
        Err(_all_taken) => {
            metrics::server().connections_limited.increment(1);
            Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?
        }
    };
    let (tcp, addr) = listener.accept().await?;
    Ok((permit, tcp, addr))
}

/// Errors of a connection that died in the backlog (accept(2)): the next one may be fine.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

async fn connection<H: Handler>(
    shared: Arc<Shared<H>>,
    permit: OwnedSemaphorePermit,
    tcp: TcpStream,
    addr: SocketAddr,
    shutdown: watch::Receiver<bool>,
) {
    let _open = Open::count();
    set_options(&tcp);
    shared.serve(tcp, addr, shutdown).await;
    drop(permit);
}

/// Options make a connection better, not possible: a kernel that refuses one does not stop it.
fn set_options(tcp: &TcpStream) {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    let outcome = tcp.set_nodelay(true).and_then(|()| SockRef::from(tcp).set_tcp_keepalive(&keepalive));
    if let Err(error) = outcome {
        tracing::debug!(%error, "socket options refused");
    }
}

/// Counts an open connection for as long as it lives, also if its task is aborted.
struct Open;

impl Open {
    fn count() -> Self {
        metrics::server().connections_accepted.increment(1);
        metrics::server().connections_open.increment(1.0);
        Self
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::server().connections_open.decrement(1.0);
    }
}
