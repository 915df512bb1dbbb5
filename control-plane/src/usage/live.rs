//! Events as they land: server-sent events (WHATWG HTML, section 9.2).

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use http_body::Frame;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::decode::Decoded;
use super::store::event_type_text;
use crate::metrics;
use crate::tasks::Stop;

/// Events kept for the slowest subscriber. One that falls further behind is told how many it missed.
const BACKLOG_EVENTS: usize = 4_096;
/// Subscribers at a time. Each is a connection that does not end by itself.
const MAX_SUBSCRIBERS: usize = 64;
/// Silence after which a comment is sent, so that proxies between do not take the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// An event that landed.
#[derive(Clone, Debug)]
struct LiveEvent {
    project_id: Arc<str>,
    event_type: &'static str,
    /// The whole server-sent event.
    text: Bytes,
}

/// Tells subscribers what landed. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct LiveEvents {
    sender: broadcast::Sender<LiveEvent>,
    places: Arc<Semaphore>,
}

impl LiveEvents {
    /// Without subscribers.
    pub(crate) fn new() -> Self {
        Self {
            sender: broadcast::Sender::new(BACKLOG_EVENTS),
            places: Arc::new(Semaphore::new(MAX_SUBSCRIBERS)),
        }
    }

    /// Tells every subscriber. Only to be called once the events are committed. Never waits.
    pub(crate) fn announce(&self, events: &[Decoded<'_>]) {
        if self.sender.receiver_count() == 0 {
            return;
        }
        for Decoded { fields, json, .. } in events {
            let text = format!("event: usage\nid: {}\ndata: {json}\n\n", fields.event_id);
            let event_type = event_type_text(fields.event_type);
            let live = LiveEvent { project_id: (*fields.project_id).into(), event_type, text: text.into() };
            if self.sender.send(live).is_err() {
                return; // the last subscriber left meanwhile
            }
        }
    }

    /// A stream of what lands from now on; `None` when there are too many subscribers.
    pub(crate) fn subscribe(
        &self,
        project_id: Option<String>,
        event_type: Option<&'static str>,
        stop: Stop,
    ) -> Option<LiveBody> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let receiver = self.sender.subscribe();
        let feed = Feed { receiver, project_id, event_type, stop, greeted: false, _place: place };
        Some(LiveBody { next: Box::pin(feed.next()) })
    }
}

/// One subscriber's view.
struct Feed {
    receiver: broadcast::Receiver<LiveEvent>,
    project_id: Option<String>,
    event_type: Option<&'static str>,
    stop: Stop,
    greeted: bool,
    _place: OwnedSemaphorePermit,
}

impl Feed {
    fn wants(&self, event: &LiveEvent) -> bool {
        self.project_id.as_deref().is_none_or(|id| id == &*event.project_id)
            && self.event_type.is_none_or(|event_type| event_type == event.event_type)
    }

    /// The next piece of the stream; `None` ends it.
    async fn next(mut self) -> (Self, Option<Bytes>) {
        if !self.greeted {
            self.greeted = true;
            // Tells the client that it is subscribed: whatever lands from now on will be sent.
            return (self, Some(Bytes::from_static(b": subscribed\n\n")));
        }
        loop {
            let received = tokio::select! {
                () = self.stop.stopped() => return (self, None),
                received = self.receiver.recv() => received,
                () = tokio::time::sleep(KEEP_ALIVE) => {
                    return (self, Some(Bytes::from_static(b": keep-alive\n\n")));
                }
            };
            match received {
                Ok(event) if self.wants(&event) => return (self, Some(event.text)),
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => {
                    metrics::live_lagged(missed);
                    let text = format!("event: lagged\ndata: {{\"missed_events\":{missed}}}\n\n");
                    return (self, Some(text.into()));
                }
                Err(RecvError::Closed) => return (self, None),
            }
        }
    }
}

/// A response body that never ends by itself.
pub(crate) struct LiveBody {
    next: Pin<Box<dyn Future<Output = (Feed, Option<Bytes>)> + Send>>,
}

impl http_body::Body for LiveBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Poll::Ready((feed, piece)) = self.next.as_mut().poll(context) else { return Poll::Pending };
        self.next = Box::pin(feed.next());
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }
}
