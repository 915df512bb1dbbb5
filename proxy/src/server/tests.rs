//! The server side against raw bytes on real sockets.

mod framing;
mod lifecycle;
mod limits;
mod secure;

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::*;

/// How long anything that should happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

type TestBody = UnsyncBoxBody<Bytes, BoxError>;

fn full(bytes: impl Into<Bytes>) -> TestBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Answers by path; each answer says what the handler saw.
#[derive(Default)]
struct Echo {
    /// Opens `/held` answers, one for each permit.
    gate: Notify,
    entered: AtomicUsize,
    /// Handlers that were dropped before they answered.
    abandoned: AtomicUsize,
}

struct CountAbandoned<'a>(&'a Echo, bool);

impl Drop for CountAbandoned<'_> {
    fn drop(&mut self) {
        if !self.1 {
            self.0.abandoned.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Handler for Echo {
    type Body = TestBody;

    async fn handle(self: &Arc<Self>, request: Request<Incoming>, peer: Peer) -> Response<TestBody> {
        let mut guard = CountAbandoned(self, false);
        self.entered.fetch_add(1, Ordering::SeqCst);
        let (head, body) = request.into_parts();
        let mut response = match head.uri.path() {
            // Answers without reading the request.
            "/refuse" => {
                let mut response = Response::new(full("refused"));
                *response.status_mut() = http::StatusCode::PAYLOAD_TOO_LARGE;
                response
            }
            "/held" => {
                self.gate.notified().await;
                Response::new(full("held"))
            }
            "/cut" => Response::new(Cut { sent: false }.boxed_unsync()),
            "/endless" => Response::new(Endless.boxed_unsync()),
            "/fields" => Response::new(full(head.headers.len().to_string())),
            "/scheme" => Response::new(full(peer.scheme())),
            path => match body.collect().await {
                Ok(body) => {
                    let body = body.to_bytes();
                    let text = format!("{} {path} {} ", head.method, body.len());
                    Response::new(full([text.as_bytes(), body.get(..100).unwrap_or(&body)].concat()))
                }
                Err(_cut) => Response::new(full("upload cut")),
            },
        };
        // What a proxy does: letter case and reason travel in the extensions.
        *response.extensions_mut() = head.extensions;
        if let Some(value) = head.headers.get("x-echo-case") {
            response.headers_mut().insert("x-echo-case", value.clone());
        }
        guard.1 = true;
        response
    }
}

/// A body that breaks after its first frame.
struct Cut {
    sent: bool,
}

impl Body for Cut {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if std::mem::replace(&mut self.sent, true) {
            return Poll::Ready(Some(Err("cut".into())));
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"hello")))))
    }
}

/// A body that never ends and is always ready.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 16384])))))
    }
}

/// A server under test.
struct Running {
    server: Server,
    echo: Arc<Echo>,
}

impl Running {
    async fn start() -> Self {
        Self::with(ServerConfig::new(LOCAL)).await
    }

    async fn with(config: ServerConfig) -> Self {
        let echo = Arc::new(Echo::default());
        Self { server: Server::start(&config, Arc::clone(&echo)).await.unwrap(), echo }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.server.local_addrs()[0]).await.unwrap()
    }

    /// Sends bytes on a connection of their own and reads until the server closes it.
    async fn say(&self, bytes: &[u8]) -> String {
        let mut tcp = self.connect().await;
        tcp.write_all(bytes).await.unwrap();
        text(&read_all(&mut tcp).await.unwrap())
    }

    async fn until_entered(&self, count: usize) {
        until("the handler is called", || self.echo.entered.load(Ordering::SeqCst) >= count).await;
    }
}

async fn read_all(tcp: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    timeout(PATIENCE, tcp.read_to_end(&mut all)).await.expect("the server should close the connection")?;
    Ok(all)
}

/// Reads one response with a `content-length`.
async fn read_response(tcp: &mut TcpStream) -> String {
    let reading = async {
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\n") {
            response.push(tcp.read_u8().await.unwrap());
        }
        let head = text(&response);
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
        let mut body = vec![0; length.unwrap().parse().unwrap()];
        tcp.read_exact(&mut body).await.unwrap();
        head + &text(&body)
    };
    timeout(PATIENCE, reading).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Waits for a condition.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "{what}");
}
