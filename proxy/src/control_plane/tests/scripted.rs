//! A control plane that answers what a test says.

use std::collections::VecDeque;
use std::sync::Arc;

use mindweave_policy::{DemandReport, ShareAnswer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

/// What is answered to one request.
#[derive(Clone)]
pub(super) enum Answer {
    /// A status and a body; the connection stays.
    Whole(u16, Vec<u8>),
    /// Pieces of a stream that stays open after them.
    Open(Vec<u8>),
    /// Pieces of a stream that ends with them.
    Ended(Vec<u8>),
    /// Nothing: the connection is closed.
    Closed,
}

/// What was reported of demand, and what that is answered with: without an answer, as by a control plane that knows no such thing.
#[derive(Clone, Default)]
pub(super) struct Demand {
    reports: Arc<Mutex<Vec<Vec<u8>>>>,
    answer: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Demand {
    pub(super) fn reports(&self) -> Vec<DemandReport> {
        self.reports.lock().iter().map(|report| serde_json::from_slice(report).unwrap()).collect()
    }

    /// Answers so from now on.
    pub(super) fn answer(&self, answer: &ShareAnswer) {
        *self.answer.lock() = Some(serde_json::to_vec(answer).unwrap());
    }

    fn take(&self, report: Vec<u8>) -> Vec<u8> {
        self.reports.lock().push(report);
        let (status, body) = match &*self.answer.lock() {
            Some(answer) => (200, answer.clone()),
            None => (404, Vec::new()),
        };
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
        [head.as_bytes(), &body].concat()
    }
}

/// The running server. Ends when dropped.
pub(super) struct Scripted {
    pub(super) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    /// Reports of demand come beside everything else, and are answered apart.
    pub(super) demand: Demand,
    /// Appended to every open stream.
    more: watch::Sender<Vec<u8>>,
    _tasks: JoinSet<()>,
}

impl Scripted {
    /// Answers these in turn, then closes every connection that asks for more.
    pub(super) async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self::start_with(None, answers).await
    }

    /// The same, behind TLS where there is an acceptor.
    pub(super) async fn start_with(
        tls: Option<TlsAcceptor>,
        answers: impl IntoIterator<Item = Answer>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answers = Arc::new(Mutex::new(answers.into_iter().collect::<VecDeque<_>>()));
        let (more, watched) = watch::channel(Vec::new());
        let mut tasks = JoinSet::new();
        let (log, script) = (Arc::clone(&asked), Arc::clone(&answers));
        let demand = Demand::default();
        let reported = demand.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (log, script, watched) = (Arc::clone(&log), Arc::clone(&script), watched.clone());
                let (tls, demand) = (tls.clone(), reported.clone());
                connections.spawn(async move {
                    let Some(tls) = tls else { return serve(stream, log, script, demand, watched).await };
                    // One that does not trust us goes away.
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, log, script, demand, watched).await;
                    }
                });
            }
        });
        Self { url, asked, answers, demand, more, _tasks: tasks }
    }

    /// Everything asked so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }

    /// Answers this after what is already planned.
    pub(super) fn then(&self, answer: Answer) {
        self.answers.lock().push_back(answer);
    }

    /// Sends this on every open stream.
    pub(super) fn say(&self, line: &[u8]) {
        self.more.send_modify(|said| said.extend_from_slice(line));
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    log: Arc<Mutex<Vec<Asked>>>,
    script: Arc<Mutex<VecDeque<Answer>>>,
    demand: Demand,
    mut more: watch::Receiver<Vec<u8>>,
) {
    while let Some(asked) = read(&mut stream).await {
        if asked.head.starts_with("POST /internal/v1/demand ") {
            if stream.write_all(&demand.take(asked.body)).await.is_err() {
                return;
            }
            continue;
        }
        log.lock().push(asked);
        let answer = script.lock().pop_front();
        match answer {
            Some(Answer::Whole(status, body)) => {
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
            }
            Some(Answer::Ended(body)) => {
                stream.write_all(&[b"HTTP/1.1 200 X\r\n\r\n", &body[..]].concat()).await.unwrap();
                return;
            }
            Some(Answer::Open(body)) => {
                let mut sent = more.borrow_and_update().len();
                stream.write_all(&[b"HTTP/1.1 200 X\r\n\r\n", &body[..]].concat()).await.unwrap();
                while more.changed().await.is_ok() {
                    let said = more.borrow_and_update()[sent..].to_vec();
                    sent += said.len();
                    if stream.write_all(&said).await.is_err() {
                        return;
                    }
                }
            }
            Some(Answer::Closed) | None => return,
        }
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Asked> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().unwrap());
    while bytes.len() < end + length {
        stream.read_buf(&mut bytes).await.ok()?;
    }
    Some(Asked { head, body: bytes[end..end + length].to_vec() })
}
