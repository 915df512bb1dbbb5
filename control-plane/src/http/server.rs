//! The listener: bounded connections, plain or over TLS, a limit on slow heads, and a stop that lets running requests end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::origin::PeerAddress;
use super::tls::{Handshaken, PeerCertificate, Tls};
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
const UNREAD_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 120 } else { 20 }); // tests run on busy machines
/// How long running requests may take to end after the stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections that may wait to be accepted. The usual 128 overflow when a fleet of proxies comes back at once, and the kernel
/// then lets some wait for seconds. The system's own bound (`net.core.somaxconn`) is 4096 since Linux 5.4.
const ACCEPT_BACKLOG: u32 = 1_024;

/// Listens at this address; port 0 takes a free one.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?; // or a restart would wait for the last process' connections
    socket.bind(address)?;
    socket.listen(ACCEPT_BACKLOG)
}

/// Serves until stopped, then until running requests have ended. Every connection speaks TLS where there is some, and a
/// request then carries the certificate that its client has shown, as an extension.
pub(crate) async fn serve(listener: TcpListener, router: Router, tls: Option<Tls>, mut stop: Stop) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let next = tokio::select! {
            () = stop.stopped() => break,
            next = accept(&listener, &places) => next,
            Some(_) = connections.join_next() => continue,
        };
        match next {
            Ok((stream, address, place)) => {
                // As a layer of this connection: its requests carry who sends them.
                let router = router.clone().layer(Extension(address));
                connections.spawn(connection(stream, router, tls.clone(), stop.clone(), place));
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
) -> io::Result<(TcpStream, PeerAddress, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_user_timeout(Some(UNREAD_TIMEOUT))?;
    Ok((stream, PeerAddress(address), place))
}

async fn connection(
    stream: TcpStream,
    router: Router,
    tls: Option<Tls>,
    mut stop: Stop,
    _place: OwnedSemaphorePermit,
) {
    let Some(tls) = tls else { return exchange(stream, None, router, stop).await };
    let handshaken = tokio::select! {
        handshaken = tls.accept(stream) => handshaken,
        () = stop.stopped() => return,
    };
    if let Some(Handshaken { stream, peer }) = handshaken {
        // Boxed: a task is as large as its largest state.
        Box::pin(exchange(stream, peer, router, stop)).await;
    }
}

/// Answers the requests of one connection until it ends.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Option<PeerCertificate>,
    router: Router,
    mut stop: Stop,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(peer) = &peer {
            request.extensions_mut().insert(peer.clone());
        }
        router.call(request)
    });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fleet_of_proxies_that_connects_at_once_is_let_wait_and_not_turned_away() {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let connect = async {
            let mut waiting = Vec::new();
            for _ in 0..500 {
                waiting.push(TcpStream::connect(address).await.unwrap());
            }
            waiting.len()
        };
        // The kernel tries a connection that did not fit again after a second, and in vain: nobody accepts.
        assert_eq!(tokio::time::timeout(Duration::from_secs(5), connect).await, Ok(500));
    }
}
