//! The client side against scripted upstreams on real sockets.

mod exchange;
mod failures;
mod multiplexed;
mod pooling;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;

/// How long anything that should happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

type TestBody = UnsyncBoxBody<Bytes, BoxError>;

fn empty() -> TestBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

fn full(bytes: impl Into<Bytes>) -> TestBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

fn get(path: &str) -> Request<TestBody> {
    Request::get(path).header("host", "test").body(empty()).unwrap()
}

fn post(path: &str, body: TestBody) -> Request<TestBody> {
    Request::post(path).header("host", "test").body(body).unwrap()
}

/// A body made of what a test sends, for uploads that the test holds in its hand.
struct Fed(mpsc::Receiver<Result<Frame<Bytes>, BoxError>>);

impl Body for Fed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(context)
    }
}

fn fed() -> (mpsc::Sender<Result<Frame<Bytes>, BoxError>>, TestBody) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Fed(receiver).boxed_unsync())
}

/// An upstream whose every connection runs a script.
struct Scripted {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Scripted {
    /// `script` gets each connection and its number, from 0.
    #[expect(clippy::unused_async, reason = "it spawns tasks: an async caller surely has a runtime")]
    async fn start<F, R>(script: F) -> Self
    where
        F: Fn(usize, TcpStream) -> R + Send + 'static,
        R: Future<Output = io::Result<()>> + Send + 'static,
    {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1_024).unwrap(); // the usual backlog resets some of a test's hundreds of connections
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tcp.set_nodelay(true).unwrap();
                tokio::spawn(script(count.fetch_add(1, Ordering::SeqCst), tcp));
            }
        });
        Self { address, connections }
    }

    /// Every request on every connection is answered with these bytes.
    async fn answering(bytes: &'static [u8]) -> Self {
        Self::start(move |_, mut tcp| async move {
            loop {
                read_head(&mut tcp).await?;
                tcp.write_all(bytes).await?;
            }
        })
        .await
    }

    /// The first request on a connection is answered with these bytes, then the connection ends.
    async fn answering_once(bytes: &'static [u8]) -> Self {
        Self::start(move |_, mut tcp| async move {
            read_head(&mut tcp).await?;
            tcp.write_all(bytes).await
        })
        .await
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn config(&self) -> UpstreamConfig {
        UpstreamConfig::new(format!("http://{}", self.address))
    }

    fn upstream(&self) -> Upstream<TestBody> {
        Upstream::new(&self.config()).unwrap()
    }
}

/// Reads up to the empty line, which is included.
async fn read_head(tcp: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await?);
    }
    Ok(head.into_iter().map(char::from).collect())
}

/// Sends, and reads the whole body.
async fn fetch(upstream: &Upstream<TestBody>, request: Request<TestBody>) -> Response<Bytes> {
    let response = timeout(PATIENCE, upstream.send(request)).await.unwrap().unwrap();
    let (head, body) = response.into_parts();
    let bytes = timeout(PATIENCE, body.collect()).await.unwrap().unwrap().to_bytes();
    Response::from_parts(head, bytes)
}

/// Sends, and reads the body up to its error.
async fn fetch_broken(upstream: &Upstream<TestBody>, request: Request<TestBody>) -> (Bytes, UpstreamError) {
    let mut body = timeout(PATIENCE, upstream.send(request)).await.unwrap().unwrap().into_body();
    let mut bytes = Vec::new();
    loop {
        match timeout(PATIENCE, body.frame()).await.unwrap() {
            Some(Ok(frame)) => bytes.extend_from_slice(&frame.into_data().unwrap()),
            Some(Err(error)) => return (bytes.into(), error),
            None => panic!("the body ended cleanly after {} bytes", bytes.len()),
        }
    }
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
