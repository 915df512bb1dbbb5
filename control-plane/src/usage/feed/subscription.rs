//! One proxy's view of the figures.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mindweave_policy::UsageFeed;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::Instant;

use super::Shared;
use super::rounds::{self, Round};
use crate::http::problem::chain;

/// Pause after a failed reading of all counters.
const RETRY: Duration = Duration::from_millis(500);

/// One proxy's view of the figures.
pub struct UsageSubscription {
    shared: Arc<Shared>,
    journal: Arc<str>,
    /// Its number in [`super::progress::Progress`].
    id: u64,
    /// The last round that the figures it was given include.
    given: u64,
    rounds: broadcast::Receiver<Arc<Round>>,
    /// What was told; `None` asks for all counters.
    told: Option<Told>,
}

/// How far a subscriber is.
struct Told {
    /// Every counter that moved up to here.
    through: i64,
    included: Option<u64>,
    /// A reading that began after this saw at least what was told.
    read_by: Instant,
}

impl fmt::Debug for UsageSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UsageSubscription").field("journal", &self.journal).finish_non_exhaustive()
    }
}

impl Drop for UsageSubscription {
    fn drop(&mut self) {
        self.shared.progress.leave(self.id);
        self.shared.unsubscribe(&self.journal);
    }
}

impl UsageSubscription {
    pub(super) fn new(shared: Arc<Shared>, journal: Arc<str>) -> Self {
        let (rounds, id) = (shared.rounds.subscribe(), shared.progress.join());
        Self { rounds, shared, journal, id, given: 0, told: None }
    }

    /// The next figures: all of them at first, then those that changed, right after the commit that changed them and at least
    /// every second. `None` when the control plane stops. May be dropped and called again. Being called says that the figures
    /// before were dealt with.
    pub async fn next(&mut self) -> Option<UsageFeed> {
        self.shared.progress.hear(self.id, self.given);
        let mut stop = self.shared.stop.clone();
        tokio::select! {
            biased;
            () = stop.stopped() => None,
            feed = self.wait() => feed,
        }
    }

    async fn wait(&mut self) -> Option<UsageFeed> {
        loop {
            if self.told.is_none() {
                return Some(self.all().await);
            }
            match self.rounds.recv().await {
                Ok(round) => {
                    self.given = round.number;
                    return Some(self.tell(&round));
                }
                Err(RecvError::Lagged(_)) => self.told = None,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Reads until it works: a proxy without figures cannot hold anybody to a budget.
    async fn all(&mut self) -> UsageFeed {
        loop {
            self.rounds = self.rounds.resubscribe(); // what was told before is in what is read now
            let ended = self.shared.progress.ended();
            let journals = [Arc::clone(&self.journal)];
            match rounds::read(&self.shared.db, &self.shared.rules, None, &journals).await {
                Ok(round) => {
                    self.given = ended;
                    return self.tell_all(&round);
                }
                Err(error) => {
                    tracing::error!(error = %chain(&error), "budget figures not read; trying again shortly");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    fn tell_all(&mut self, round: &Round) -> UsageFeed {
        let included = round.positions.get(&self.journal).copied();
        self.told = Some(Told { through: round.through, included, read_by: Instant::now() });
        let counters = round.counters.iter().map(|(_, counter)| counter.clone()).collect();
        self.feed(true, counters, included, round)
    }

    /// Tells what a round adds. One that was read before all counters were has nothing new, and an older position.
    fn tell(&mut self, round: &Round) -> UsageFeed {
        let before = self.told.as_ref().map_or(i64::MIN, |told| told.through);
        let moved = round.counters.iter().filter(|(moved, _)| *moved > before);
        let counters = moved.map(|(_, counter)| counter.clone()).collect();
        let position = round.positions.get(&self.journal).copied();
        let mut included = position;
        if let Some(told) = &mut self.told {
            if round.began < told.read_by {
                included = position.max(told.included);
            }
            told.through = told.through.max(round.through);
            told.included = included;
        }
        self.feed(false, counters, included, round)
    }

    fn feed(
        &self,
        full: bool,
        counters: Vec<mindweave_policy::CounterUsage>,
        included: Option<u64>,
        round: &Round,
    ) -> UsageFeed {
        let included: BTreeMap<_, _> =
            included.map(|sequence| (Arc::clone(&self.journal), sequence)).into_iter().collect();
        let live_proxies = self.shared.live_proxies();
        // Told after all counters were, a round that was read before them does not go back behind them.
        let through = self.told.as_ref().map_or(round.through, |told| told.through);
        let through = u64::try_from(through).ok();
        UsageFeed { full, counters, included, as_of: round.as_of, through, live_proxies }
    }
}
