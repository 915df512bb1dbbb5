//! The lines of one watch, made as the connection takes them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use http_body::Frame;
use mindweave_policy::{Heartbeat, Snapshot, UsageFeed, WatchLine};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Interval, MissedTickBehavior};

use super::past::{NoLine, Past, make};
use crate::clock;
use crate::http::problem::chain;
use crate::proxies::Pass;
use crate::tasks::Stop;
use crate::usage::{UsageFeeds, UsageSubscription};

/// How often a heartbeat is sent.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// The next figures, and what the ones behind them come from.
type Figures = Pin<Box<dyn Future<Output = (UsageSubscription, Option<UsageFeed>)> + Send>>;

fn figures_of(mut subscription: UsageSubscription) -> Figures {
    Box::pin(async move {
        let feed = subscription.next().await;
        (subscription, feed)
    })
}

/// What a watch lasts for.
pub(super) struct Lease {
    /// What its proxy came in with.
    pub(super) pass: Pass,
    /// The process goes on until then.
    pub(super) stop: Stop,
    /// One of those that there are.
    pub(super) _place: OwnedSemaphorePermit,
}

/// One connected proxy.
pub(super) struct Watch {
    past: Past,
    published: watch::Receiver<u64>,
    /// The snapshot that the proxy has.
    known: Option<Arc<Snapshot>>,
    feeds: UsageFeeds,
    /// Kept from line to line: all figures may take longer to read than a heartbeat waits, which must not begin it anew.
    figures: Figures,
    heartbeat: Interval,
    lease: Lease,
}

impl Watch {
    pub(super) fn new(
        past: Past,
        known: Option<Arc<Snapshot>>,
        feeds: UsageFeeds,
        journal: &str,
        lease: Lease,
    ) -> Self {
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (published, figures) = (past.published(), figures_of(feeds.subscribe(journal)));
        Self { past, published, known, feeds, figures, heartbeat, lease }
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
            // Asked for each line, and so at least for each heartbeat: time alone may have ended it.
            if !self.lease.pass.holds() {
                let (token_id, certificate) = self.lease.pass.owner();
                tracing::warn!(token_id, certificate, "watch ended: its proxy would not be let in any more");
                return None;
            }
            let current = self.past.current();
            if self.known.as_ref().is_none_or(|known| known.revision != current.revision) {
                let line = self.past.line(self.known.as_ref(), &current).await;
                self.known = Some(current);
                return Some(line);
            }
            let line = tokio::select! {
                biased;
                () = self.lease.stop.stopped() => return None,
                () = self.lease.pass.changed() => continue,
                Ok(()) = self.published.changed() => continue,
                (subscription, feed) = &mut self.figures => {
                    self.figures = figures_of(subscription);
                    WatchLine::Usage(feed?)
                }
                _ = self.heartbeat.tick() => WatchLine::Heartbeat(Heartbeat {
                    at: clock::now(),
                    revision: current.revision,
                    live_proxies: self.feeds.live_proxies(),
                }),
            };
            if matches!(&line, WatchLine::Usage(feed) if feed.full) {
                return Some(make(move || line).await);
            }
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

#[cfg(test)]
mod tests {
    use mindweave_policy::{QuotaUnit, QuotaWindow, SnapshotStore, Subject, SubjectKind};
    use tokio::sync::{Notify, Semaphore};

    use super::*;
    use crate::db::sql;
    use crate::proxies::tests::pass;
    use crate::tasks::Tasks;
    use crate::testing::{Ledger, install};
    use crate::usage::counters::tests::{put_quota, quota};

    /// With time that stands still while anybody works, and leaps to the next heartbeat while everybody waits, each statement
    /// takes longer than a second.
    #[tokio::test]
    async fn figures_that_take_longer_to_read_than_a_heartbeat_arrive_all_the_same() {
        let ledger = Ledger::new().await;
        install(&ledger.db).await;
        let each = Subject { kind: SubjectKind::Key, id: None };
        put_quota(&ledger.db, &quota("quo_1", each, QuotaUnit::Requests, QuotaWindow::Month)).await;
        let mut tx = ledger.db.begin_write().await.unwrap();
        let many =
            "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 20000)
             INSERT INTO budget_counters (quota_id, window_start, subject, used, moved)
             SELECT 'quo_1', 4000000000000000, 'key_' || n, 1, 1 FROM numbers";
        sql::query(many).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        let tasks = Tasks::new();
        let feeds = UsageFeeds::new(ledger.db.clone(), Arc::new(Notify::new()), tasks.stop());
        let past = Past::follow(&SnapshotStore::new(Snapshot::default())).unwrap();
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let lease = Lease { pass: pass(&ledger.db).await, stop: tasks.stop(), _place: place };
        let mut watch = Watch::new(past, None, feeds, "journal", lease);
        let began = std::time::Instant::now();
        tokio::time::pause();
        loop {
            let (next, line) = watch.next().await;
            watch = next;
            if let WatchLine::Usage(feed) = WatchLine::decode(&line.unwrap().unwrap()).unwrap() {
                assert_eq!((feed.full, feed.counters.len()), (true, 20_000));
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "heartbeats only");
        }
    }
}
