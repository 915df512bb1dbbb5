//! Costly policies take turns, so that requests that have nothing to do with them are not held up.

use std::time::Duration;

use mindweave_policy::{Evaluated, PolicyInput, PolicySet};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;
use tokio::task::block_in_place;
use tokio::time::{Instant, timeout};

use crate::metrics;

/// How long a request waits for its turn: a burst of a hundred requests at the bounds of evaluation, on two cores, takes as
/// long. Whoever waits longer is judged by what its policies say of errors.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Who may evaluate costly policies at the moment.
#[derive(Debug)]
pub(super) struct Turns {
    permits: Semaphore,
}

impl Turns {
    /// For half of this runtime's threads at a time, so that the other half is there for everybody else.
    pub(super) fn new() -> Self {
        let workers = Handle::try_current().map_or(1, |runtime| runtime.metrics().num_workers());
        Self { permits: Semaphore::new((workers / 2).max(1)) }
    }

    /// Decides: at once where that is cheap or known, else when it is its turn.
    pub(super) async fn decide(&self, policies: &PolicySet, input: &PolicyInput<'_>) -> Evaluated {
        if !policies.is_heavy() {
            return policies.decide(input);
        }
        if let Some(known) = policies.cached(input) {
            return known;
        }
        let before = Instant::now();
        let turn = timeout(LONGEST_WAIT, self.permits.acquire()).await;
        metrics::governance().policy_wait.record(before.elapsed());
        let Ok(Ok(_turn)) = turn else { return policies.time_out(input) };
        // Tasks that wait for this thread go to another one meanwhile. A runtime of one thread has no other.
        match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => block_in_place(|| policies.decide(input)),
            _ => policies.decide(input),
        }
    }
}
