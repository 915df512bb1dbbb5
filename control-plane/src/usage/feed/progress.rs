//! Who has heard how much: so that a snapshot with a new budget can wait until proxies know what is used of it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// How long a snapshot waits for figures to be heard. Rounds come twenty times a second; a proxy that takes longer than this is
/// stalled, and must not keep the others from the snapshot.
const PATIENCE: Duration = Duration::from_millis(500);

/// Rounds, counted, and the last one that each subscriber has dealt with.
#[derive(Debug, Default)]
struct Heard {
    begun: u64,
    ended: u64,
    subscribers: HashMap<u64, u64>,
    last_subscriber: u64,
}

/// Who has heard how much.
#[derive(Debug, Default)]
pub(super) struct Progress(watch::Sender<Heard>);

impl Progress {
    /// A round begins: its number.
    pub(super) fn begin(&self) -> u64 {
        let mut number = 0;
        self.0.send_modify(|heard| {
            heard.begun = heard.begun.saturating_add(1);
            number = heard.begun;
        });
        number
    }

    /// The last round that began is over: it was told, or nobody listened, or it failed.
    pub(super) fn end(&self) {
        self.0.send_modify(|heard| heard.ended = heard.begun);
    }

    /// The last round that is over: whatever is read from now on includes it.
    pub(super) fn ended(&self) -> u64 {
        self.0.borrow().ended
    }

    /// One more subscriber, which knows nothing yet.
    pub(super) fn join(&self) -> u64 {
        let mut id = 0;
        self.0.send_modify(|heard| {
            heard.last_subscriber = heard.last_subscriber.saturating_add(1);
            id = heard.last_subscriber;
            heard.subscribers.insert(id, 0);
        });
        id
    }

    /// This subscriber has dealt with everything up to this round.
    pub(super) fn hear(&self, subscriber: u64, round: u64) {
        self.0.send_if_modified(|heard| {
            let known = heard.subscribers.get_mut(&subscriber).filter(|known| **known < round);
            known.map(|known| *known = round).is_some()
        });
    }

    /// This subscriber is gone.
    pub(super) fn leave(&self, subscriber: u64) {
        self.0.send_if_modified(|heard| heard.subscribers.remove(&subscriber).is_some());
    }

    /// The first round that reads what is committed now.
    pub(super) fn next(&self) -> u64 {
        self.0.borrow().begun.saturating_add(1)
    }

    /// Returns once this round is over and every subscriber has dealt with it. Gives up after [`PATIENCE`]: the answer is whether
    /// it did not have to.
    pub(super) async fn all_heard(&self, wanted: u64) -> bool {
        let mut watching = self.0.subscribe();
        let done =
            |heard: &Heard| heard.ended >= wanted && heard.subscribers.values().all(|known| *known >= wanted);
        matches!(timeout(PATIENCE, watching.wait_for(done)).await, Ok(Ok(_)))
    }
}
