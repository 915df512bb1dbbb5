//! Events as they land: server-sent events (WHATWG HTML, section 9.2).

mod arrivals;
mod viewer;

use std::convert::Infallible;
use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use http_body::Frame;
use parking_lot::Mutex;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until};

use super::decode::Decoded;
use super::store::event_type_text;
use crate::db::{Db, Engine};
use crate::metrics;
use crate::tasks::Stop;

use arrivals::Follower;
pub(super) use arrivals::arrivals_note;
pub(crate) use viewer::Viewer;

/// Events kept for the slowest subscriber. One that falls further behind is told how many it missed.
const BACKLOG_EVENTS: usize = 4_096;
/// Subscribers at a time. Each is a connection that does not end by itself.
const MAX_SUBSCRIBERS: usize = 64;
/// Pause in which subscribers take what they were told, before they are told more of what one transaction booked.
const ROOM_PAUSE: Duration = Duration::from_millis(5);
/// Such pauses at most: then the slow ones are told how many they missed.
const ROOM_TRIES: u32 = 40;
/// Silence after which a comment is sent, so that proxies between do not take the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// An event that landed.
#[derive(Clone, Debug)]
struct LiveEvent {
    project_id: Arc<str>,
    event_type: Arc<str>,
    /// The whole server-sent event.
    text: Bytes,
}

impl LiveEvent {
    fn new(project_id: &str, event_type: &str, id: impl Display, json: &str) -> Self {
        let text = format!("event: usage\nid: {id}\ndata: {json}\n\n").into();
        Self { project_id: project_id.into(), event_type: event_type.into(), text }
    }
}

/// What subscribers are told.
#[derive(Clone, Debug)]
enum Told {
    Event(LiveEvent),
    /// What was booked meanwhile is not known: the stream ends, so that who watches asks for it and begins anew.
    Lost,
}

/// Tells subscribers what landed. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct LiveEvents {
    sender: broadcast::Sender<Told>,
    places: Arc<Semaphore>,
    engine: Engine,
    /// Whether what lands from now on will be told. Locked while a subscriber joins, and while it is decided that there is none.
    follows: Arc<Mutex<watch::Sender<bool>>>,
    joined: Arc<Notify>,
}

impl LiveEvents {
    /// Without subscribers.
    pub(crate) fn new(engine: Engine) -> Self {
        Self {
            sender: broadcast::Sender::new(BACKLOG_EVENTS),
            places: Arc::new(Semaphore::new(MAX_SUBSCRIBERS)),
            engine,
            follows: Arc::new(Mutex::new(watch::Sender::new(engine == Engine::Sqlite))),
            joined: Arc::default(),
        }
    }

    /// Tells every subscriber. Only to be called once the events are committed. Never waits.
    ///
    /// For a file only: of what goes into a server, also by other control planes, is told what comes back from there.
    pub(super) fn announce(&self, events: &[Decoded<'_>]) {
        if self.engine != Engine::Sqlite || self.sender.receiver_count() == 0 {
            return;
        }
        for Decoded { fields, json, .. } in events {
            let event_type = event_type_text(fields.event_type);
            self.tell(LiveEvent::new(&fields.project_id, event_type, fields.event_id, json));
        }
    }

    fn tell(&self, event: LiveEvent) {
        drop(self.sender.send(Told::Event(event))); // fails when the last subscriber has just left
    }

    /// Tells what any control plane of the server books, while somebody wants to know, until the stop.
    pub(crate) async fn follow(self, db: Db, mut stop: Stop) {
        if self.engine == Engine::Sqlite {
            return;
        }
        let mut follower = Follower::new(self, db);
        tokio::select! {
            () = stop.stopped() => {}
            () = follower.run() => {}
        }
        follower.leave().await;
    }

    /// A stream of what lands from now on and the viewer sees; `None` when there are too many subscribers.
    pub(crate) fn subscribe(
        &self,
        viewer: Viewer,
        project_id: Option<String>,
        event_type: Option<&'static str>,
        stop: Stop,
    ) -> Option<LiveBody> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let (receiver, follows) = {
            let follows = self.follows.lock();
            (self.sender.subscribe(), follows.subscribe())
        };
        self.joined.notify_one();
        let feed =
            Feed { receiver, viewer, project_id, event_type, stop, follows: Some(follows), _place: place };
        Some(LiveBody { next: Box::pin(feed.next()) })
    }

    /// Waits until somebody subscribes.
    async fn wanted(&self) {
        while self.sender.receiver_count() == 0 {
            self.joined.notified().await;
        }
    }

    /// Whether nobody is subscribed, in which case nothing is told from now on.
    fn is_left(&self) -> bool {
        let follows = self.follows.lock();
        let left = self.sender.receiver_count() == 0;
        if left {
            follows.send_replace(false);
        }
        left
    }

    fn begin(&self) {
        self.follows.lock().send_replace(true);
    }

    /// Ends every stream: something was missed.
    fn lose(&self) {
        let follows = self.follows.lock();
        follows.send_replace(false);
        drop(self.sender.send(Told::Lost));
    }

    /// Waits, not for long, until the subscribers have room for more.
    async fn room(&self) {
        for _ in 0..ROOM_TRIES {
            if self.sender.len() <= BACKLOG_EVENTS / 2 {
                return;
            }
            tokio::time::sleep(ROOM_PAUSE).await;
        }
    }
}

/// One subscriber's view.
struct Feed {
    receiver: broadcast::Receiver<Told>,
    viewer: Viewer,
    project_id: Option<String>,
    event_type: Option<&'static str>,
    stop: Stop,
    /// Until the client was told that it is subscribed.
    follows: Option<watch::Receiver<bool>>,
    _place: OwnedSemaphorePermit,
}

impl Feed {
    fn wants(&self, event: &LiveEvent) -> bool {
        self.project_id.as_deref().is_none_or(|id| id == &*event.project_id)
            && self.event_type.is_none_or(|event_type| event_type == &*event.event_type)
            && self.viewer.sees(&event.project_id)
    }

    /// The next piece of the stream; `None` ends it.
    async fn next(mut self) -> (Self, Option<Bytes>) {
        let keep_alive = || Some(Bytes::from_static(b": keep-alive\n\n"));
        if let Some(mut follows) = self.follows.take() {
            let followed = tokio::select! {
                () = self.stop.stopped() => return (self, None),
                followed = follows.wait_for(|follows| *follows) => Some(followed.is_ok()),
                () = tokio::time::sleep(KEEP_ALIVE) => None,
            };
            let Some(followed) = followed else {
                self.follows = Some(follows);
                return (self, keep_alive());
            };
            // Tells the client that it is subscribed: whatever lands from now on will be sent.
            return (self, followed.then(|| Bytes::from_static(b": subscribed\n\n")));
        }
        let silence = Instant::now() + KEEP_ALIVE;
        loop {
            // Before anything is said, however much there is to say.
            let due = self.viewer.due();
            if due.is_some_and(|due| due <= Instant::now()) && !self.may_go_on().await {
                return (self, None);
            }
            let received = tokio::select! {
                () = self.stop.stopped() => return (self, None),
                received = self.receiver.recv() => received,
                () = sleep_until(silence) => return (self, keep_alive()),
                () = sleep_until(due.unwrap_or(silence)), if due.is_some() => continue,
            };
            match received {
                Ok(Told::Event(event)) if self.wants(&event) => return (self, Some(event.text)),
                Ok(Told::Event(_)) => {}
                Err(RecvError::Lagged(missed)) => {
                    metrics::live_lagged(missed);
                    let text = self.lagged(missed);
                    return (self, Some(text));
                }
                Ok(Told::Lost) | Err(RecvError::Closed) => return (self, None),
            }
        }
    }

    /// Looks at the viewer again; a stream of one project ends with the access to it.
    async fn may_go_on(&mut self) -> bool {
        self.viewer.check().await && self.project_id.as_deref().is_none_or(|id| self.viewer.sees(id))
    }

    /// How many events were missed, to whom that says nothing about others.
    fn lagged(&self, missed: u64) -> Bytes {
        let missed = if self.viewer.sees_everything() { missed.to_string() } else { "null".to_owned() };
        format!("event: lagged\ndata: {{\"missed_events\":{missed}}}\n\n").into()
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

#[cfg(test)]
mod tests;
