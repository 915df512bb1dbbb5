//! What a client connection is doing, seen from its bytes and its requests.
//!
//! hyper can time request heads itself, but arms a timer for each and counts the idle time between requests as time for the
//! next head. Here one timer per connection looks at these marks now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use http::header::CONTENT_LENGTH;
use memchr::memmem;
use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

use crate::metrics;

/// How much of a head's copy is kept allocated between requests.
const KEPT_HEAD_CAPACITY: usize = 8 * 1024;

/// Marks of one connection, relaxed: they are written by the connection's own task, and a look that comes too early is
/// repeated.
#[derive(Debug)]
pub(super) struct Activity {
    started: Instant,
    /// Requests whose response has not ended.
    in_flight: AtomicUsize,
    /// A head has begun and is not complete. HTTP/1 only.
    within_head: AtomicBool,
    /// When the connection began to be idle or within a head, in milliseconds since `started`.
    since_ms: AtomicU64,
    /// Counts reads and writes that moved something.
    moves: AtomicU64,
    /// HTTP/1 only: a body has failed and waits until everything before its failure is written.
    flush_awaited: AtomicBool,
    /// HTTP/1 only: what was read while no request was under way, hence the raw bytes of the next head.
    head: Option<Mutex<HeadCopy>>,
}

#[derive(Debug)]
struct HeadCopy {
    bytes: Vec<u8>,
    limit: usize,
}

/// What a connection does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Between requests, since then.
    Idle(Instant),
    /// Within a request head that began then.
    Head(Instant),
    /// With requests under way; the number changes when bytes move.
    Busy(u64),
}

impl Activity {
    /// A connection that is expected to send its first head now.
    pub(super) fn http1(max_header_bytes: usize) -> Self {
        let head = HeadCopy { bytes: Vec::new(), limit: max_header_bytes };
        Self { within_head: AtomicBool::new(true), head: Some(Mutex::new(head)), ..Self::http2() }
    }

    /// A connection whose heads are frames among others.
    pub(super) fn http2() -> Self {
        Self {
            started: Instant::now(),
            in_flight: AtomicUsize::new(0),
            within_head: AtomicBool::new(false),
            since_ms: AtomicU64::new(0),
            moves: AtomicU64::new(0),
            flush_awaited: AtomicBool::new(false),
            head: None,
        }
    }

    /// These bytes came from the client.
    pub(super) fn read(&self, bytes: &[u8]) {
        self.moved();
        if let Some(head) = &self.head
            && self.in_flight.load(Ordering::Relaxed) == 0
        {
            if !self.within_head.swap(true, Ordering::Relaxed) {
                self.mark();
            }
            let mut head = head.lock();
            let room = head.limit.saturating_sub(head.bytes.len());
            head.bytes.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        }
    }

    /// Bytes went either way.
    pub(super) fn moved(&self) {
        self.moves.fetch_add(1, Ordering::Relaxed);
    }

    /// All that hyper had buffered is written. True when somebody waits for that.
    pub(super) fn flushed(&self) -> bool {
        self.flush_awaited.load(Ordering::Relaxed) && self.flush_awaited.swap(false, Ordering::Relaxed)
    }

    /// A request head is complete. The request is under way until what this returns is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.within_head.store(false, Ordering::Relaxed);
        metrics::server().requests_in_flight.increment(1.0);
        InFlight(Arc::clone(self))
    }

    /// Whether the raw head that starts with `request_line` has a `content-length`; forgets the raw bytes.
    ///
    /// Asked for requests with `transfer-encoding`. hyper obeys that field, removes `content-length` and closes the connection
    /// after the response, as RFC 9112, section 6.3, allows. A proxy in front of us may have read it the other way, so the
    /// safe answer is a refusal, and only the raw bytes tell. They are not there for pipelined requests, which clients do not
    /// send with bodies: those keep hyper's treatment.
    pub(super) fn head_declares_length(&self, request_line: &[u8]) -> bool {
        let Some(head) = &self.head else { return false };
        let head = head.lock();
        let Some(start) = memmem::find(&head.bytes, request_line) else { return false };
        head.bytes
            .get(start..)
            .unwrap_or_default()
            .split(|byte| *byte == b'\n')
            .skip(1)
            .take_while(|line| !line.trim_ascii().is_empty())
            .filter_map(|line| line.split(|byte| *byte == b':').next())
            .any(|name| name.eq_ignore_ascii_case(CONTENT_LENGTH.as_str().as_bytes()))
    }

    /// Forgets the raw head.
    pub(super) fn head_done(&self) {
        if let Some(head) = &self.head {
            let mut head = head.lock();
            head.bytes.clear();
            head.bytes.shrink_to(KEPT_HEAD_CAPACITY);
        }
    }

    pub(super) fn phase(&self) -> Phase {
        let since = || self.started + Duration::from_millis(self.since_ms.load(Ordering::Relaxed));
        if self.in_flight.load(Ordering::Relaxed) > 0 {
            Phase::Busy(self.moves.load(Ordering::Relaxed))
        } else if self.within_head.load(Ordering::Relaxed) {
            Phase::Head(since())
        } else {
            Phase::Idle(since())
        }
    }

    fn mark(&self) {
        let elapsed = self.started.elapsed().as_millis();
        self.since_ms.store(u64::try_from(elapsed).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// A request under way.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl InFlight {
    /// Asks to be polled again once all that hyper has buffered is written. `None` over HTTP/2, where another task writes.
    pub(super) fn await_flush(&self) -> Option<()> {
        self.0.head.as_ref()?;
        self.0.flush_awaited.store(true, Ordering::Relaxed);
        Some(())
    }

    /// Whether what was asked for has not happened yet.
    pub(super) fn awaits_flush(&self) -> bool {
        self.0.flush_awaited.load(Ordering::Relaxed)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.mark();
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        metrics::server().requests_in_flight.decrement(1.0);
    }
}
