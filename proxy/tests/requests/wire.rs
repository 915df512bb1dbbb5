//! Raw HTTP/1.1 over loopback: a scripted upstream, a client that sees every byte, and the comparison of what they saw.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

/// No single step of a test takes longer; a step that does has hung.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// One thing a scripted upstream does after it has read a request.
#[derive(Clone)]
pub(crate) enum Step {
    Send(Vec<u8>),
    /// Goes on when the test says so.
    Await(Arc<Notify>),
    Close,
    /// Closes so that the peer gets a reset.
    Reset,
    /// Answers nothing more and keeps the connection open.
    Hang,
    /// Waits until the peer has closed, then tells the test.
    AwaitClose(Arc<Notify>),
}

pub(crate) fn send(bytes: impl AsRef<[u8]>) -> Step {
    Step::Send(bytes.as_ref().to_vec())
}

/// A message as it came off the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Request line or status line.
    pub(crate) first_line: Vec<u8>,
    /// Names as sent, values trimmed, in order.
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Without chunk framing.
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether the body came to its proper end.
    pub(crate) whole: bool,
}

impl Message {
    pub(crate) fn line(&self) -> String {
        String::from_utf8_lossy(&self.first_line).into_owned()
    }

    pub(crate) fn status(&self) -> u16 {
        self.line().split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.headers
            .iter()
            .find(|(one, _)| one.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.headers.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect()
    }

    /// What is compared between a direct exchange and one through the proxy: all but what belongs to a connection.
    pub(crate) fn end_to_end(mut self) -> Self {
        const HOP: [&str; 4] = ["connection", "keep-alive", "host", "transfer-encoding"];
        self.headers.retain(|(name, _)| !HOP.iter().any(|hop| name.eq_ignore_ascii_case(hop.as_bytes())));
        self
    }
}

/// Which side sent a message decides how its body is framed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
    /// A response that has no body whatever its headers say.
    ResponseToHead,
}

/// Reads messages off one connection.
pub(crate) struct Reader {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

impl Reader {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Reads more bytes; `false` at the end of the stream or on a reset.
    async fn more(&mut self) -> bool {
        self.buffer.reserve(16 * 1024);
        let read = timeout(DEADLINE, self.stream.read_buf(&mut self.buffer)).await;
        matches!(read.expect("no byte within the deadline"), Ok(1..))
    }

    /// Reads until the bytes read and not yet taken contain `needle`.
    pub(crate) async fn until(&mut self, needle: &[u8]) -> Vec<u8> {
        while !contains(&self.buffer, needle) {
            assert!(self.more().await, "closed before {:?}", String::from_utf8_lossy(needle));
        }
        std::mem::take(&mut self.buffer)
    }

    async fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.buffer[..end].to_vec();
                self.buffer.drain(..end + 2);
                return Some(line);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn fields(&mut self) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Some(fields);
            }
            let colon = line.iter().position(|byte| *byte == b':').expect("a header line");
            fields.push((line[..colon].to_vec(), line[colon + 1..].trim_ascii().to_vec()));
        }
    }

    async fn exactly(&mut self, count: usize) -> (Vec<u8>, bool) {
        while self.buffer.len() < count {
            if !self.more().await {
                return (std::mem::take(&mut self.buffer), false);
            }
        }
        (self.buffer.drain(..count).collect(), true)
    }

    /// The next message; `None` when the peer closed instead.
    pub(crate) async fn message(&mut self, kind: Kind) -> Option<Message> {
        let (first_line, headers) = loop {
            let first_line = self.line().await?;
            let headers = self.fields().await?;
            if !(kind != Kind::Request && first_line.starts_with(b"HTTP/1.1 100")) {
                break (first_line, headers);
            }
        };
        let mut message =
            Message { first_line, headers, body: Vec::new(), trailers: Vec::new(), whole: true };
        let bodyless =
            kind == Kind::ResponseToHead || (kind == Kind::Response && matches!(message.status(), 204 | 304));
        if bodyless {
            return Some(message);
        }
        if message.header("transfer-encoding").is_some() {
            self.chunks(&mut message).await;
        } else if let Some(length) = message.header("content-length") {
            (message.body, message.whole) = self.exactly(length.parse().unwrap()).await;
        } else if kind == Kind::Response {
            while self.more().await {}
            message.body = std::mem::take(&mut self.buffer);
        }
        Some(message)
    }

    async fn chunks(&mut self, message: &mut Message) {
        message.whole = false;
        while let Some(size) = self.line().await {
            let size = usize::from_str_radix(std::str::from_utf8(&size).unwrap().trim(), 16).unwrap();
            if size == 0 {
                if let Some(trailers) = self.fields().await {
                    message.trailers = trailers;
                    message.whole = true;
                }
                return;
            }
            let (data, whole) = self.exactly(size).await;
            message.body.extend(data);
            if !whole || self.line().await.is_none() {
                return;
            }
        }
    }
}

/// What an upstream does after a request.
type Script = dyn Fn(&Message) -> Vec<Step> + Send + Sync;

/// An upstream that follows a script after every request.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    requests: mpsc::Receiver<Message>,
}

impl Upstream {
    /// Plays the same steps after every request.
    pub(crate) async fn start(steps: Vec<Step>) -> Self {
        Self::knowing_itself(|_| steps).await
    }

    /// An upstream whose steps depend on its own address.
    pub(crate) async fn knowing_itself(steps: impl FnOnce(SocketAddr) -> Vec<Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let steps = steps(listener.local_addr().unwrap());
        Self::following(listener, move |_| steps.clone())
    }

    /// Plays what the script says for each request.
    pub(crate) async fn scripted(script: impl Fn(&Message) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::following(TcpListener::bind("127.0.0.1:0").await.unwrap(), script)
    }

    fn following(
        listener: TcpListener,
        script: impl Fn(&Message) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let script: Arc<Script> = Arc::new(script);
        let (seen, requests) = mpsc::channel(1_000);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(play(stream, Arc::clone(&script), seen.clone()));
            }
        });
        Self { address, requests }
    }

    /// An upstream that answers every request with these bytes.
    pub(crate) async fn answering(bytes: impl AsRef<[u8]>) -> Self {
        Self::start(vec![send(bytes)]).await
    }

    /// The next request that arrived.
    pub(crate) async fn request(&mut self) -> Message {
        timeout(DEADLINE, self.requests.recv()).await.expect("no request within the deadline").unwrap()
    }

    /// Whether no request has arrived that was not taken yet.
    pub(crate) fn is_untouched(&mut self) -> bool {
        self.requests.try_recv().is_err()
    }
}

async fn play(stream: TcpStream, script: Arc<Script>, seen: mpsc::Sender<Message>) {
    let mut reader = Reader::new(stream);
    // The peer may keep an idle connection for longer than the deadline of a read: wait without one.
    while reader.stream.readable().await.is_ok() {
        let Some(request) = reader.message(Kind::Request).await else { return };
        let steps = script(&request);
        if !request.whole || seen.send(request).await.is_err() {
            return;
        }
        for step in &steps {
            match step {
                Step::Send(bytes) => {
                    if reader.stream.write_all(bytes).await.is_err() {
                        return;
                    }
                }
                Step::Await(gate) => gate.notified().await,
                Step::Close => return,
                Step::Reset => {
                    reader.stream.set_zero_linger().unwrap();
                    return;
                }
                Step::Hang => std::future::pending().await,
                Step::AwaitClose(closed) => {
                    while reader.more().await {}
                    closed.notify_one();
                    return;
                }
            }
        }
    }
}

/// Sends bytes on a new connection.
pub(crate) async fn open(address: SocketAddr, request: impl AsRef<[u8]>) -> Reader {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(request.as_ref()).await.unwrap();
    Reader::new(stream)
}

/// One request on its own connection, and the answer to it.
pub(crate) async fn call(address: SocketAddr, request: impl AsRef<[u8]>) -> Message {
    let request = request.as_ref();
    let kind = if request.starts_with(b"HEAD ") { Kind::ResponseToHead } else { Kind::Response };
    open(address, request).await.message(kind).await.expect("an answer")
}

pub(crate) fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
