//! What the simulator was asked, for tests: the latest requests and how each ended.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use http::request::Parts;
use parking_lot::Mutex;
use serde::Serialize;

/// How an exchange ended, or that it has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The answer is still under way.
    InFlight,
    /// The whole answer was handed over.
    Complete,
    /// The client went away before the answer's end.
    ClientGone,
    /// The simulator broke the answer off, as it was told to.
    Cut,
}

impl Ending {
    fn from_code(code: u8) -> Self {
        match code {
            0 => Self::InFlight,
            1 => Self::Complete,
            2 => Self::ClientGone,
            _ => Self::Cut,
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::InFlight => 0,
            Self::Complete => 1,
            Self::ClientGone => 2,
            Self::Cut => 3,
        }
    }
}

/// One request as it arrived.
#[derive(Clone, Debug, Serialize)]
pub struct LoggedRequest {
    /// Counts from 1 in order of arrival.
    pub number: u64,
    /// The method.
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// All headers, in order, repeated ones repeated. Names are lower case.
    pub headers: Vec<(String, String)>,
    /// SHA-256 of the body in hexadecimal; none while the body has not been read to its end.
    pub body_sha256: Option<String>,
    /// Bytes of the body; none while it has not been read to its end.
    pub body_bytes: Option<u64>,
    /// How the exchange ended.
    pub ending: Ending,
    /// Whether the client went away before the answer's end.
    pub aborted: bool,
}

/// How many requests there were, by ending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RequestCounts {
    /// All requests, those to the simulator's own pages left out.
    pub total: u64,
    /// Still under way.
    pub in_flight: u64,
    /// Answered to the end.
    pub complete: u64,
    /// Given up by the client.
    pub client_gone: u64,
    /// Broken off on demand.
    pub cut: u64,
    /// Connections accepted.
    pub connections: u64,
}

/// The ring of the latest requests and the counters over all of them.
#[derive(Debug)]
pub(crate) struct RequestLog {
    capacity: usize,
    ring: Mutex<VecDeque<Arc<Entry>>>,
    total: AtomicU64,
    connections: AtomicU64,
    endings: [AtomicU64; 3],
}

/// A request in the ring. The head is kept in one allocation: this is on the path of every benchmark request.
#[derive(Debug)]
struct Entry {
    number: u64,
    method: http::Method,
    version: http::Version,
    target: String,
    head: Vec<u8>,
    body: OnceLock<(u64, [u8; 32])>,
    ending: AtomicU8,
}

impl RequestLog {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            ring: Mutex::new(VecDeque::with_capacity(capacity.min(4_096))),
            total: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            endings: [const { AtomicU64::new(0) }; 3],
        }
    }

    pub(crate) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes a request; the returned watch records how it ends.
    pub(crate) fn begin(self: &Arc<Self>, parts: &Parts) -> ExchangeWatch {
        let number = self.total.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let entry = (self.capacity > 0).then(|| {
            let entry = Arc::new(Entry::new(number, parts));
            let mut ring = self.ring.lock();
            if ring.len() >= self.capacity {
                ring.pop_front();
            }
            ring.push_back(Arc::clone(&entry));
            entry
        });
        ExchangeWatch { log: Arc::clone(self), entry, ended: false }
    }

    pub(crate) fn counts(&self) -> RequestCounts {
        let [complete, client_gone, cut] = [0, 1, 2]
            .map(|at| self.endings.get(at).map_or(0, |counter: &AtomicU64| counter.load(Ordering::Relaxed)));
        let total = self.total.load(Ordering::Relaxed);
        let ended = complete.saturating_add(client_gone).saturating_add(cut);
        RequestCounts {
            total,
            in_flight: total.saturating_sub(ended),
            complete,
            client_gone,
            cut,
            connections: self.connections.load(Ordering::Relaxed),
        }
    }

    /// The requests kept, oldest first.
    pub(crate) fn requests(&self) -> Vec<LoggedRequest> {
        let entries: Vec<Arc<Entry>> = self.ring.lock().iter().cloned().collect();
        entries.iter().map(|entry| entry.logged()).collect()
    }

    pub(crate) fn clear(&self) {
        self.ring.lock().clear();
    }
}

impl Entry {
    fn new(number: u64, parts: &Parts) -> Self {
        let mut head = Vec::with_capacity(1_024);
        for (name, value) in &parts.headers {
            head.extend_from_slice(name.as_str().as_bytes());
            head.push(b':');
            head.extend_from_slice(value.as_bytes());
            head.push(b'\n'); // no header holds a line feed
        }
        let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
        Self {
            number,
            method: parts.method.clone(),
            version: parts.version,
            target,
            head,
            body: OnceLock::new(),
            ending: AtomicU8::new(0),
        }
    }

    fn logged(&self) -> LoggedRequest {
        let lines = self.head.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let pair = |line: &[u8]| {
            let text = String::from_utf8_lossy(line);
            let (name, value) = text.split_once(':').unwrap_or((&text, ""));
            (name.to_owned(), value.to_owned())
        };
        let body = self.body.get();
        let ending = Ending::from_code(self.ending.load(Ordering::Acquire));
        LoggedRequest {
            number: self.number,
            method: self.method.to_string(),
            target: self.target.clone(),
            version: format!("{:?}", self.version),
            headers: lines.map(pair).collect(),
            body_sha256: body.map(|(_, digest)| digest.iter().map(|byte| format!("{byte:02x}")).collect()),
            body_bytes: body.map(|(bytes, _)| *bytes),
            ending,
            aborted: ending == Ending::ClientGone,
        }
    }
}

/// Records how one exchange ends, exactly once. Dropped early means the client went away.
#[derive(Debug)]
pub(crate) struct ExchangeWatch {
    log: Arc<RequestLog>,
    entry: Option<Arc<Entry>>,
    ended: bool,
}

impl ExchangeWatch {
    /// A watch over an exchange that is not counted: one with the simulator's own pages.
    pub(crate) fn unlogged(log: &Arc<RequestLog>) -> Self {
        Self { log: Arc::clone(log), entry: None, ended: true }
    }

    pub(crate) fn body_read(&self, bytes: u64, digest: [u8; 32]) {
        if let Some(entry) = &self.entry {
            entry.body.get_or_init(|| (bytes, digest));
        }
    }

    pub(crate) fn end(&mut self, ending: Ending) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let counter = usize::from(ending.code()).checked_sub(1).and_then(|at| self.log.endings.get(at));
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(entry) = &self.entry {
            entry.ending.store(ending.code(), Ordering::Release);
        }
    }
}

impl Drop for ExchangeWatch {
    fn drop(&mut self) {
        self.end(Ending::ClientGone);
    }
}
