//! One round after the other.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{MAX_WAITING, SHARES_TASK, Waiting, store};
use crate::db::{Db, Engine, StoreError};
use crate::http::problem::chain;
use crate::metrics;
use crate::tasks::Stop;
use crate::usage::UsageFeeds;

/// Least time between two rounds: what a report waits at most, beside the transaction.
const LEAST_PAUSE: Duration = Duration::from_millis(500);
/// Longest time between two rounds: a fifth of the lease of those who are connected.
const BEAT: Duration = Duration::from_secs(2);

/// The task's own state.
pub(super) struct Rounds {
    db: Db,
    feeds: UsageFeeds,
    /// Whether anybody has ever reported here.
    reported: bool,
    failing: bool,
}

impl Rounds {
    pub(super) fn new(db: Db, feeds: UsageFeeds) -> Self {
        Self { db, feeds, reported: false, failing: false }
    }

    /// Runs until the stop.
    pub(super) async fn run(mut self, mut reports: mpsc::Receiver<Waiting>, mut stop: Stop) {
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut waiting = Vec::new();
            tokio::select! {
                biased;
                () = stop.stopped() => return,
                _ = reports.recv_many(&mut waiting, MAX_WAITING) => {}
                _ = beats.tick() => {}
            }
            let outcome = self.round(waiting).await;
            self.report(outcome);
            tokio::select! {
                () = stop.stopped() => return,
                () = sleep(LEAST_PAUSE) => {}
            }
        }
    }

    async fn round(&mut self, waiting: Vec<Waiting>) -> Result<(), StoreError> {
        let connected = self.feeds.journals();
        self.reported |= !waiting.is_empty();
        // A file has one control plane: a proxy that is alone with it shares with nobody, and that need not be written down.
        if self.db.engine() == Engine::Sqlite && !self.reported && connected.len() < 2 {
            return Ok(());
        }
        let (reports, senders): (Vec<_>, Vec<_>) =
            waiting.into_iter().map(|waiting| (waiting.report, waiting.answer)).unzip();
        let found = store::turn(&self.db, &connected, reports).await?;
        let elsewhere = found.live.iter().filter(|journal| !connected.contains(*journal)).count();
        self.feeds.note_elsewhere(u32::try_from(elsewhere).unwrap_or(u32::MAX));
        for (answer, sender) in found.answers.into_iter().zip(senders) {
            drop(sender.send(answer)); // fails when nobody waits any more, and the next report tells what was not taken
        }
        Ok(())
    }

    /// A failed round is not the end. Said once, and not twice a second while the database is away.
    fn report(&mut self, outcome: Result<(), StoreError>) {
        let Err(error) = outcome else {
            self.failing = false;
            return;
        };
        metrics::task_failed(SHARES_TASK);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::error!(error = %chain(&error), "limits are not divided anew; proxies go by what they have");
        }
    }
}
