//! Health and metrics, on a port of their own: never on the traffic port, where every path belongs to the API.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::task::JoinHandle;
use tokio::time::Duration;

use crate::metrics;
use crate::server::{Handler, Peer, Server, ServerConfig, ServerError};

/// Prometheus, a kubelet and a few curious people.
const MAX_CONNECTIONS: usize = 64;
/// Nobody sends large heads here.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// How long a scrape may take once the proxy stops.
pub(crate) const DRAIN_LIMIT: Duration = Duration::from_secs(1);
/// The version of Prometheus' text format.
const METRICS_TYPE: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Why a proxy should get no traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotReady {
    /// It has not finished starting.
    Starting,
    /// It finishes what it has and takes nothing new.
    Draining,
    /// It cannot record what it would forward, so it refuses it.
    JournalFull,
    /// It knows no keys and projects.
    NoSnapshot,
    /// It does not reach its database: it could answer nothing.
    NoDatabase,
}

impl NotReady {
    const ALL: [Self; 5] =
        [Self::Starting, Self::Draining, Self::JournalFull, Self::NoSnapshot, Self::NoDatabase];

    fn bit(self) -> u8 {
        match self {
            Self::Starting => 1,
            Self::Draining => 1 << 1,
            Self::JournalFull => 1 << 2,
            Self::NoSnapshot => 1 << 3,
            Self::NoDatabase => 1 << 4,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Draining => "draining",
            Self::JournalFull => "journal_full",
            Self::NoSnapshot => "no_snapshot",
            Self::NoDatabase => "no_database",
        }
    }
}

/// Whether the proxy should get traffic: yes, unless there is a reason not to.
#[derive(Debug)]
pub(crate) struct Readiness(AtomicU8);

impl Readiness {
    /// Not ready, because it is starting.
    pub(crate) fn starting() -> Arc<Self> {
        Arc::new(Self(AtomicU8::new(NotReady::Starting.bit())))
    }

    /// There is this reason now.
    pub(crate) fn raise(&self, reason: NotReady) {
        self.0.fetch_or(reason.bit(), Ordering::Relaxed);
    }

    /// The reason is gone.
    pub(crate) fn clear(&self, reason: NotReady) {
        self.0.fetch_and(!reason.bit(), Ordering::Relaxed);
    }

    fn reasons(&self) -> Vec<&'static str> {
        let raised = self.0.load(Ordering::Relaxed);
        NotReady::ALL.into_iter().filter(|reason| raised & reason.bit() != 0).map(NotReady::text).collect()
    }
}

/// Serves `/health/live`, `/health/ready` and `/metrics` on `address`.
///
/// # Errors
///
/// When the address cannot be listened on.
pub(crate) async fn start(address: SocketAddr, readiness: Arc<Readiness>) -> Result<Server, ServerError> {
    let config = ServerConfig {
        max_connections: MAX_CONNECTIONS,
        max_header_bytes: MAX_HEADER_BYTES,
        ..ServerConfig::new(address)
    };
    Server::start(&config, Arc::new(Admin { readiness })).await
}

/// Health and metrics of a process that has no proxy. See [`crate::Proxy`] for one that has.
#[derive(Debug)]
pub struct AdminServer {
    server: Server,
    local_addr: SocketAddr,
    readiness: Arc<Readiness>,
    upkeep: JoinHandle<()>,
}

impl AdminServer {
    /// Serves them; `/health/ready` says no until [`Self::ready`].
    ///
    /// # Errors
    ///
    /// When the address cannot be listened on.
    pub async fn start(address: SocketAddr) -> Result<Self, ServerError> {
        let readiness = Readiness::starting();
        let server = start(address, Arc::clone(&readiness)).await?;
        let local_addr = server.local_addrs().first().copied().ok_or(ServerError::NoAddress)?;
        let upkeep = tokio::spawn(metrics::upkeep(metrics::UPKEEP_INTERVAL));
        Ok(Self { server, local_addr, readiness, upkeep })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The process has finished starting.
    pub fn ready(&self) {
        self.readiness.clear(NotReady::Starting);
    }

    /// The process does or does not reach its database.
    pub fn database(&self, reached: bool) {
        if reached {
            self.readiness.clear(NotReady::NoDatabase);
        } else {
            self.readiness.raise(NotReady::NoDatabase);
        }
    }

    /// The process finishes what it has and takes nothing new.
    pub fn draining(&self) {
        self.readiness.raise(NotReady::Draining);
    }

    /// Stops serving.
    pub async fn stop(self) {
        self.server.drain(DRAIN_LIMIT).await;
        self.upkeep.abort();
    }
}

struct Admin {
    readiness: Arc<Readiness>,
}

impl Handler for Admin {
    type Body = Full<Bytes>;

    async fn handle(self: &Arc<Self>, request: Request<Incoming>, _peer: Peer) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "method not allowed\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            "/health/live" => answer(StatusCode::OK, TEXT, "live\n"),
            "/health/ready" => match self.readiness.reasons().as_slice() {
                [] => answer(StatusCode::OK, TEXT, "ready\n"),
                reasons => {
                    let text = format!("not ready: {}\n", reasons.join(", "));
                    answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, text)
                }
            },
            "/metrics" => answer(StatusCode::OK, METRICS_TYPE, metrics::render()),
            _ => answer(StatusCode::NOT_FOUND, TEXT, "not found\n"),
        }
    }
}

fn answer(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn ask(server: &Server, request_line: &str) -> String {
        let mut tcp = TcpStream::connect(server.local_addrs()[0]).await.unwrap();
        let request = format!("{request_line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_proxy_is_alive_at_once_and_ready_when_no_reason_is_left() {
        let readiness = Readiness::starting();
        let server = start((Ipv4Addr::LOCALHOST, 0).into(), Arc::clone(&readiness)).await.unwrap();
        assert!(ask(&server, "GET /health/live").await.starts_with("HTTP/1.1 200 "));
        readiness.raise(NotReady::JournalFull);
        let answer = ask(&server, "GET /health/ready").await;
        assert!(
            answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("not ready: starting, journal_full\n")
        );
        readiness.clear(NotReady::Starting);
        readiness.clear(NotReady::JournalFull);
        assert!(ask(&server, "GET /health/ready").await.starts_with("HTTP/1.1 200 "));
        readiness.raise(NotReady::Draining);
        assert!(ask(&server, "GET /health/ready").await.ends_with("not ready: draining\n"));
    }

    #[tokio::test]
    async fn metrics_are_described_and_other_paths_are_not_there() {
        let server = start((Ipv4Addr::LOCALHOST, 0).into(), Readiness::starting()).await.unwrap();
        let answer = ask(&server, "GET /metrics").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("# HELP mindweave_server_connections_open client connections"), "{answer}");
        assert!(
            answer.contains("mindweave_server_connections_closed_total{reason=\"drain_deadline\"}"),
            "{answer}"
        );
        assert!(ask(&server, "GET /v1/messages").await.starts_with("HTTP/1.1 404 "));
        assert!(ask(&server, "POST /metrics").await.starts_with("HTTP/1.1 405 "));
        assert!(ask(&server, "HEAD /health/live").await.ends_with("\r\n\r\n"));
    }
}
