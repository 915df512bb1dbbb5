//! What an exchange keeps of its request body while hyper owns the body itself.

use std::sync::Arc;

use mindweave_metering::{RequestReading, RequestScan, Slice};
use parking_lot::Mutex;

/// How far a request body has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestEnd {
    /// More is to come.
    Open,
    /// All of it was passed on.
    Complete,
    /// It was longer than this many bytes.
    TooLarge { limit: u64 },
    /// The client went away or broke the framing.
    Broken,
}

/// The state of one request body, shared by whoever moves it and whoever settles its exchange.
#[derive(Debug)]
pub(crate) struct RequestWatch {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    facts: Facts,
    end: RequestEnd,
}

#[derive(Debug)]
enum Facts {
    /// Bodies of this endpoint are not read.
    Unread,
    /// Being read. Boxed, for most requests end with it finished.
    Reading(Box<RequestScan>),
    Read(Arc<RequestReading>),
}

impl RequestWatch {
    pub(super) fn new(scan: Option<RequestScan>, end: RequestEnd) -> Arc<Self> {
        let facts = scan.map_or(Facts::Unread, |scan| Facts::Reading(Box::new(scan)));
        Arc::new(Self { state: Mutex::new(State { facts, end }) })
    }

    /// How far the body has come.
    pub(crate) fn end(&self) -> RequestEnd {
        self.state.lock().end
    }

    /// Whether the body is one that is read.
    pub(crate) fn is_read(&self) -> bool {
        !matches!(self.state.lock().facts, Facts::Unread)
    }

    /// What the body says, as far as it has come: answers may come before the request is complete. Ends the reading.
    pub(crate) fn reading(&self) -> Option<Arc<RequestReading>> {
        let mut state = self.state.lock();
        let reading = match std::mem::replace(&mut state.facts, Facts::Unread) {
            Facts::Unread => return None,
            Facts::Reading(scan) => Arc::new(scan.finish()),
            Facts::Read(reading) => reading,
        };
        state.facts = Facts::Read(Arc::clone(&reading));
        Some(reading)
    }

    /// Reads some of these bytes, which have come.
    pub(super) fn feed_slice(&self, data: &[u8]) -> Slice {
        match &mut self.state.lock().facts {
            Facts::Reading(scan) => scan.feed_slice(data),
            Facts::Unread | Facts::Read(_) => Slice { consumed: data.len(), more: false },
        }
    }

    pub(super) fn set_end(&self, end: RequestEnd) {
        self.state.lock().end = end;
    }
}
