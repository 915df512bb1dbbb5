//! The listener: bounded connections, a limit on slow heads, and a stop that lets running requests end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::write_deadline::WriteDeadline;
use crate::tasks::Stop;

/// Open connections at a time; more wait in the kernel's queue. Each may hold [`MAX_HEAD_BYTES`].
const MAX_CONNECTIONS: usize = 1_024;
/// Longest time for a request's head to arrive, also of the next request on a kept connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Buffer of a connection, which bounds a request's head.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Pause after a failed accept. It fails when the process has no file descriptor left: trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a peer may leave what was sent unread, or the network may leave it unacknowledged. An answer that never ends would
/// not notice otherwise, and a proxy that is gone would count as alive.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(20);
/// How long running requests may take to end after the stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves until stopped, then until running requests have ended.
pub(crate) async fn serve(listener: TcpListener, router: Router, mut stop: Stop) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let next = tokio::select! {
            () = stop.stopped() => break,
            next = accept(&listener, &places) => next,
            Some(_) = connections.join_next() => continue,
        };
        match next {
            Ok((stream, place)) => {
                connections.spawn(connection(stream, router.clone(), stop.clone(), place));
            }
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let drained =
        tokio::time::timeout(DRAIN_TIMEOUT, async { while connections.join_next().await.is_some() {} });
    if drained.await.is_err() {
        tracing::warn!(open = connections.len(), "connections cut because they did not end in time");
        connections.shutdown().await;
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_user_timeout(Some(UNREAD_TIMEOUT))?;
    Ok((stream, place))
}

async fn connection(stream: TcpStream, router: Router, mut stop: Stop, _place: OwnedSemaphorePermit) {
    let service = TowerToHyperService::new(router);
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(WriteDeadline::new(stream, UNREAD_TIMEOUT)), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.stopped() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early"); // the client's business
    }
}
