//! One client connection from its first byte to its last.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::TRANSFER_ENCODING;
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Duration, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::activity::{Activity, InFlight};
use super::body::ServedBody;
use super::config::ServerConfig;
use super::stream::Watched;
use super::watchdog::{Limits, Verdict, Watchdog};
use super::{Handler, Peer};
use crate::metrics;

/// What an HTTP/2 client says first (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long to wait for the rest of a preface of which some bytes are there.
const PREFACE_PAUSE: Duration = Duration::from_millis(5);
/// HTTP/2 flow-control windows. The protocol's 64 KB limits an upload to 64 KB per round trip; these allow 20 MB/s at 50 ms per
/// stream while one connection cannot make us hold more than 4 MB.
const HTTP2_STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// How often an HTTP/2 client is asked whether it is still there, and how long it may take to say so.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(60);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);
/// hyper's read and write buffers grow up to this; it must hold the largest head.
const MIN_BUFFER_BYTES: usize = 256 * 1024;

/// What all connections of a server share.
pub(super) struct Shared<H> {
    handler: Arc<H>,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    max_header_bytes: usize,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

enum Protocol {
    Http1,
    Http2,
}

impl<H: Handler> Shared<H> {
    pub(super) fn new(config: &ServerConfig, handler: Arc<H>, tls: Option<TlsAcceptor>) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .preserve_header_case(true)
            .auto_date_header(false) // responses pass as they are
            .max_headers(config.max_headers)
            .max_header_size(config.max_header_bytes)
            .max_buf_size(config.max_header_bytes.max(MIN_BUFFER_BYTES))
            .header_read_timeout(None); // the watchdog's business
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .auto_date_header(false)
            .initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
            .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(config.http2_max_streams)
            .max_header_list_size(u32::try_from(config.max_header_bytes).unwrap_or(u32::MAX))
            .keep_alive_interval(HTTP2_PING_INTERVAL)
            .keep_alive_timeout(HTTP2_PING_TIMEOUT);
        let limits =
            Limits { header: config.header_timeout, idle: config.idle_timeout, stall: config.stall_timeout };
        Self { handler, tls, limits, max_header_bytes: config.max_header_bytes, http1, http2 }
    }

    /// Serves a connection until it ends, or until `shutdown` lets it end.
    ///
    /// What is rare is boxed: a task is as large as its largest state, and most connections are plain HTTP/1.1.
    pub(super) async fn serve(&self, tcp: TcpStream, addr: SocketAddr, mut shutdown: watch::Receiver<bool>) {
        let peer = Peer { addr, tls: self.tls.is_some() };
        if let Some(acceptor) = &self.tls {
            return Box::pin(self.serve_tls(acceptor, tcp, peer, shutdown)).await;
        }
        let detected = tokio::select! {
            detected = timeout(self.limits.header, detect(&tcp)) => detected,
            _ = shutdown.changed() => return,
        };
        match detected {
            Ok(Some(Protocol::Http1)) => self.serve_http1(tcp, peer, shutdown).await,
            Ok(Some(Protocol::Http2)) => Box::pin(self.serve_http2(tcp, peer, shutdown)).await,
            Ok(None) => {}
            Err(_elapsed) => metrics::server().header_timeouts.increment(1),
        }
    }

    async fn serve_tls(
        &self,
        acceptor: &TlsAcceptor,
        tcp: TcpStream,
        peer: Peer,
        mut shutdown: watch::Receiver<bool>,
    ) {
        let accepted = tokio::select! {
            accepted = timeout(self.limits.header, acceptor.accept(tcp)) => accepted,
            _ = shutdown.changed() => return,
        };
        let Ok(Ok(stream)) = accepted else {
            metrics::server().tls_handshake_failures.increment(1);
            return;
        };
        match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => self.serve_http2(stream, peer, shutdown).await,
            Some(_) | None => self.serve_http1(stream, peer, shutdown).await,
        }
    }

    async fn serve_http1<T: Transport>(&self, stream: T, peer: Peer, shutdown: watch::Receiver<bool>) {
        let activity = Arc::new(Activity::http1(self.max_header_bytes));
        let watchdog = Watchdog::new(Arc::clone(&activity), self.limits);
        let io = TokioIo::new(Watched::new(stream, Arc::clone(&activity)));
        let close_delimited = Arc::new(AtomicBool::new(false));
        let http10 = Arc::clone(&close_delimited);
        let handler = Arc::clone(&self.handler);
        let service = service_fn(move |request: Request<Incoming>| {
            let in_flight = activity.begin();
            http10.store(request.version() == Version::HTTP_10, Ordering::Relaxed);
            let ambiguous = request.headers().contains_key(TRANSFER_ENCODING)
                && activity.head_declares_length(&request_line(&request));
            activity.head_done();
            let handler = Arc::clone(&handler);
            async move {
                if ambiguous {
                    return Ok(ServedBody::ambiguous_framing(in_flight));
                }
                answer(&handler, request, peer, in_flight).await
            }
        });
        let mut connection = self.http1.serve_connection(io, service);
        let end = drive(Pin::new(&mut connection), watchdog, shutdown).await;
        let stream = connection.into_parts().io.into_inner();
        match end {
            End::Said => stream.linger().await,
            // Where only the end of the connection ends a body, a polite end would make a cut body look complete.
            End::Cut if close_delimited.load(Ordering::Relaxed) => {
                socket_option(SockRef::from(stream.get_ref().tcp()).set_linger(Some(Duration::ZERO)));
            }
            // No more than the end of TCP's stream: TLS has an end of its own, which would say that all is well.
            End::Cut => {
                socket_option(SockRef::from(stream.get_ref().tcp()).shutdown(Shutdown::Write));
                stream.linger().await;
            }
            End::Broken => {}
        }
    }

    async fn serve_http2<T: Transport>(&self, stream: T, peer: Peer, shutdown: watch::Receiver<bool>) {
        let activity = Arc::new(Activity::http2());
        let watchdog = Watchdog::new(Arc::clone(&activity), self.limits);
        let io = TokioIo::new(Watched::new(stream, Arc::clone(&activity)));
        let handler = Arc::clone(&self.handler);
        let service = service_fn(move |request: Request<Incoming>| {
            let in_flight = activity.begin();
            let handler = Arc::clone(&handler);
            async move { answer(&handler, request, peer, in_flight).await }
        });
        let connection = pin!(self.http2.serve_connection(io, service));
        drive(connection, watchdog, shutdown).await;
    }
}

/// A kernel that refuses has seen the connection end already.
fn socket_option(outcome: io::Result<()>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, "connection cannot be ended as it should");
    }
}

async fn answer<H: Handler>(
    handler: &Arc<H>,
    request: Request<Incoming>,
    peer: Peer,
    in_flight: InFlight,
) -> Result<Response<ServedBody<H::Body>>, Infallible> {
    let response = handler.handle(request, peer).await;
    Ok(response.map(|body| ServedBody::of_handler(body, in_flight)))
}

/// How a connection ended.
enum End {
    /// All was said; the client may not have read it yet.
    Said,
    /// The response body failed, and what came before that is written.
    Cut,
    /// In the middle of something.
    Broken,
}

/// Polls a connection to its end, which a shutdown or the watchdog may bring nearer.
async fn drive<C>(
    mut connection: Pin<&mut C>,
    mut watchdog: Watchdog,
    mut shutdown: watch::Receiver<bool>,
) -> End
where
    C: GracefulConnection<Error = hyper::Error>,
{
    let mut ending = false;
    loop {
        let verdict = tokio::select! {
            biased;
            outcome = connection.as_mut() => return ended(outcome),
            // An error means that the server is gone without a drain.
            _ = shutdown.changed(), if !ending => None,
            verdict = watchdog.verdict() => Some(verdict),
        };
        match verdict {
            // Requests under way are finished; how long that may take is the drain's business.
            None => {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
            // A request may be arriving just now, so even this end is a polite one.
            Some(Verdict::Idle) if !ending => {
                ending = true;
                metrics::server().idle_closes.increment(1);
                connection.as_mut().graceful_shutdown();
            }
            Some(Verdict::Idle) => return End::Broken,
            Some(Verdict::SlowHead) => {
                metrics::server().header_timeouts.increment(1);
                return End::Broken;
            }
            Some(Verdict::Stalled) => {
                metrics::server().stalled_closes.increment(1);
                tracing::debug!("client connection stalled with a request under way");
                return End::Broken;
            }
        }
    }
}

fn ended(outcome: Result<(), hyper::Error>) -> End {
    match outcome {
        Ok(()) => End::Said,
        // hyper has answered with an error status of its own.
        Err(error) if error.is_parse() => {
            let error: &dyn Error = &error;
            tracing::debug!(error, "client sent what is not http");
            End::Said
        }
        Err(error) => {
            let end = if error.is_user() { End::Cut } else { End::Broken };
            let error: &dyn Error = &error;
            tracing::debug!(error, "client connection broke");
            end
        }
    }
}

/// Finds out what a plain connection speaks, without taking any byte. `None` when the client has gone.
async fn detect(tcp: &TcpStream) -> Option<Protocol> {
    let mut seen = [0; HTTP2_PREFACE.len()];
    loop {
        let count = tcp.peek(&mut seen).await.ok().filter(|count| *count > 0)?;
        let seen = seen.get(..count)?;
        if !HTTP2_PREFACE.starts_with(seen) {
            return Some(Protocol::Http1);
        }
        if count == HTTP2_PREFACE.len() {
            return Some(Protocol::Http2);
        }
        // Peeking leaves the socket readable, so waiting for readability would spin.
        sleep(PREFACE_PAUSE).await;
    }
}

/// The line that a request began with, as its client wrote it.
fn request_line<B>(request: &Request<B>) -> Vec<u8> {
    format!("{} {} ", request.method(), request.uri()).into_bytes()
}

/// A byte stream from a client.
trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    fn tcp(&self) -> &TcpStream;
}

impl Transport for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Transport for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}
