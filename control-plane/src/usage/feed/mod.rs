//! The ledger's word on budgets, as it changes.
//!
//! One task reads what changed, for all subscribers at once: right after a commit that moved counters, but at most every
//! [`LEAST_PAUSE`], and at least every [`LONGEST_PAUSE`]. Figures and the journals' positions are read in one transaction, so
//! that a proxy knows exactly which of its own events the figures include. A subscriber begins with all counters, read for
//! itself; so does one that fell behind.

mod progress;
mod rounds;
mod subscription;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mindweave_policy::SnapshotStore;
use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast};

use crate::db::{Db, StoreError};
use crate::http::problem::chain;
use crate::metrics;
use crate::tasks::Stop;
use crate::usage::counters::RulesCache;

use progress::Progress;
use rounds::Round;
pub use subscription::UsageSubscription;

/// Least time between two rounds: figures that change with every commit are told some twenty times a second.
const LEAST_PAUSE: Duration = Duration::from_millis(50);
/// Longest time between two rounds: half of what a proxy is promised, because a proxy measures from the reading.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Rounds kept for the slowest subscriber: three seconds' worth. One that falls further behind gets all counters anew.
const BACKLOG_ROUNDS: usize = 64;

/// Where proxies subscribe to the ledger's figures of budgets. Cheap to clone.
#[derive(Clone, Debug)]
pub struct UsageFeeds(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    db: Db,
    rules: RulesCache,
    rounds: broadcast::Sender<Arc<Round>>,
    /// Subscriptions by journal: a proxy that connects again before its old connection is found dead is still one.
    live: Mutex<HashMap<Arc<str>, usize>>,
    /// Proxies that are alive and not subscribed here.
    elsewhere: AtomicU32,
    progress: Progress,
    wake: Arc<Notify>,
    stop: Stop,
}

impl UsageFeeds {
    /// Reads from this database, at once when `wake` is notified.
    pub(crate) fn new(db: Db, wake: Arc<Notify>, stop: Stop) -> Self {
        let rounds = broadcast::Sender::new(BACKLOG_ROUNDS);
        let rules = RulesCache::default();
        Self(Arc::new(Shared {
            db,
            rules,
            rounds,
            live: Mutex::default(),
            elsewhere: AtomicU32::new(0),
            progress: Progress::default(),
            wake,
            stop,
        }))
    }

    /// Reads too when something new is in force: the counters of a budget that was made or changed are counted by then.
    pub(crate) fn follow(&self, snapshots: &SnapshotStore) {
        let wake = Arc::downgrade(&self.0.wake);
        snapshots.follow(move |_| match wake.upgrade() {
            Some(wake) => {
                wake.notify_one();
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        });
    }

    /// Tells what is committed now, and returns when all subscribers have dealt with it, or one has kept it waiting for long. A
    /// subscriber has dealt with figures when it asks for the next ones.
    pub(crate) async fn tell_now(&self) {
        let round = self.0.progress.next();
        self.0.wake.notify_one();
        if !self.0.progress.all_heard(round).await {
            tracing::warn!("a proxy is slow to take budget figures; a snapshot does not wait for it");
        }
    }

    /// The figures for the proxy with this journal, which counts as alive until the subscription is dropped.
    pub fn subscribe(&self, journal_id: &str) -> UsageSubscription {
        let journal: Arc<str> = journal_id.into();
        *self.0.live.lock().entry(Arc::clone(&journal)).or_default() += 1;
        self.0.wake.notify_one(); // the others learn that there is one more
        UsageSubscription::new(Arc::clone(&self.0), journal)
    }

    /// How many proxies are alive: those that are subscribed here, and those that others know of.
    pub(crate) fn live_proxies(&self) -> u32 {
        self.0.live_proxies()
    }

    /// The journals of the proxies that are subscribed here.
    pub(crate) fn journals(&self) -> Vec<Arc<str>> {
        self.0.live.lock().keys().cloned().collect()
    }

    /// So many proxies are alive beside those that are subscribed here.
    pub(crate) fn note_elsewhere(&self, proxies: u32) {
        if self.0.elsewhere.swap(proxies, Ordering::Relaxed) != proxies {
            self.0.wake.notify_one();
        }
    }

    /// Reads and tells, until the stop.
    pub(crate) async fn run(self) {
        let mut stop = self.0.stop.clone();
        let mut moved = None;
        loop {
            tokio::select! {
                () = stop.stopped() => return,
                () = self.0.wake.notified() => {}
                () = tokio::time::sleep(LONGEST_PAUSE) => {}
            }
            let number = self.0.progress.begin();
            match self.0.round(number, moved).await {
                Ok(last) => moved = last,
                Err(error) => {
                    metrics::task_failed(FEED_TASK);
                    tracing::error!(error = %chain(&error), "budget figures not read; trying again shortly");
                }
            }
            self.0.progress.end();
            tokio::select! {
                () = stop.stopped() => return,
                () = tokio::time::sleep(LEAST_PAUSE) => {}
            }
        }
    }
}

/// The task's name.
pub(crate) const FEED_TASK: &str = "usage_feed";

impl Shared {
    fn live_proxies(&self) -> u32 {
        let here = u32::try_from(self.live.lock().len()).unwrap_or(u32::MAX);
        here.saturating_add(self.elsewhere.load(Ordering::Relaxed))
    }

    /// Tells subscribers what moved after this move. Returns the last move that was told.
    async fn round(&self, number: u64, moved: Option<i64>) -> Result<Option<i64>, StoreError> {
        let journals: Vec<Arc<str>> = self.live.lock().keys().cloned().collect();
        if journals.is_empty() {
            return Ok(None); // whoever comes begins with all counters
        }
        let mut round = rounds::read(&self.db, &self.rules, moved, &journals).await?;
        round.number = number;
        let last = round.through;
        // Fails only when the last subscriber left meanwhile.
        drop(self.rounds.send(Arc::new(round)));
        Ok(Some(last))
    }

    fn unsubscribe(&self, journal: &Arc<str>) {
        let mut live = self.live.lock();
        if let Some(subscriptions) = live.get_mut(journal) {
            *subscriptions = subscriptions.saturating_sub(1);
            if *subscriptions == 0 {
                live.remove(journal);
            }
        }
        drop(live);
        self.wake.notify_one();
    }
}

#[cfg(test)]
mod tests;
