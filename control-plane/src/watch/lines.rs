//! The lines of one watch, made as the connection takes them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use http_body::Frame;
use mindweave_policy::{Heartbeat, Snapshot, WatchLine};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Interval, MissedTickBehavior};

use super::past::{NoLine, Past};
use crate::clock;
use crate::http::problem::chain;
use crate::tasks::Stop;
use crate::usage::{UsageFeeds, UsageSubscription};

/// How often a heartbeat is sent.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// One connected proxy.
pub(super) struct Watch {
    past: Past,
    published: watch::Receiver<u64>,
    /// The snapshot that the proxy has.
    known: Option<Arc<Snapshot>>,
    feeds: UsageFeeds,
    usage: UsageSubscription,
    heartbeat: Interval,
    stop: Stop,
    _place: OwnedSemaphorePermit,
}

impl Watch {
    pub(super) fn new(
        past: Past,
        known: Option<Arc<Snapshot>>,
        feeds: UsageFeeds,
        journal: &str,
        stop: Stop,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (published, usage) = (past.published(), feeds.subscribe(journal));
        Self { past, published, known, feeds, usage, heartbeat, stop, _place: place }
    }

    /// The body of the answer.
    pub(super) fn into_body(self) -> WatchBody {
        WatchBody { next: Box::pin(self.next()) }
    }

    /// The next line; `None` ends the answer.
    async fn next(mut self) -> (Self, Option<Result<Bytes, NoLine>>) {
        let line = self.line().await;
        if let Some(Err(error)) = &line {
            tracing::error!(error = %chain(error), "watch ended");
        }
        (self, line)
    }

    async fn line(&mut self) -> Option<Result<Bytes, NoLine>> {
        loop {
            let current = self.past.current();
            if self.known.as_ref().is_none_or(|known| known.revision != current.revision) {
                let line = self.past.line(self.known.as_ref(), &current).await;
                self.known = Some(current);
                return Some(line);
            }
            let line = tokio::select! {
                biased;
                () = self.stop.stopped() => return None,
                Ok(()) = self.published.changed() => continue,
                feed = self.usage.next() => WatchLine::Usage(feed?),
                _ = self.heartbeat.tick() => WatchLine::Heartbeat(Heartbeat {
                    at: clock::now(),
                    revision: current.revision,
                    live_proxies: self.feeds.live_proxies(),
                }),
            };
            return Some(line.encode().map(Bytes::from).map_err(|_| NoLine));
        }
    }
}

/// The state that comes back with a line, and the line.
type Next = Pin<Box<dyn Future<Output = (Watch, Option<Result<Bytes, NoLine>>)> + Send>>;

/// An answer that never ends by itself.
pub(super) struct WatchBody {
    next: Next,
}

impl http_body::Body for WatchBody {
    type Data = Bytes;
    type Error = NoLine;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, NoLine>>> {
        let Poll::Ready((watch, line)) = self.next.as_mut().poll(context) else { return Poll::Pending };
        self.next = Box::pin(watch.next());
        Poll::Ready(line.map(|line| line.map(Frame::data)))
    }
}
