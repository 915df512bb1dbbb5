//! What is known of the consumer, for readiness, `doctor` and metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::metrics::ConsumerMetrics;

/// How the consumer is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerHealth {
    /// Partitions that the group gave to this member. None is right when there are more members than partitions.
    pub assigned: usize,
    /// Those that make no progress at the moment because something failed; it is tried again.
    pub stalled: usize,
    /// Messages in these partitions that are not in the ledger yet. `None` until Kafka has said where they end.
    pub lag: Option<u64>,
    /// The last thing that failed, until it works. Holds nothing of any event.
    pub last_error: Option<String>,
}

/// Answers how a consumer is doing, at the cost of a lock. Clones speak of the same consumer.
#[derive(Clone, Debug)]
pub struct ConsumerProbe {
    board: Arc<Board>,
}

impl ConsumerProbe {
    pub(super) fn new(board: Arc<Board>) -> Self {
        Self { board }
    }

    /// How it is doing now.
    pub fn health(&self) -> ConsumerHealth {
        self.board.health()
    }
}

/// What the parts of a consumer tell each other and the outside.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) metrics: ConsumerMetrics,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    partitions: BTreeMap<i32, Partition>,
    /// What is wrong with the group or with the connections.
    trouble: Option<String>,
}

#[derive(Debug, Default)]
struct Partition {
    /// The offset to go on from: everything before it is in the ledger.
    next: Option<i64>,
    /// What of it was committed to Kafka.
    committed: Option<i64>,
    /// Where the partition ends.
    end: Option<i64>,
    trouble: Option<String>,
}

impl Partition {
    fn lag(&self) -> Option<u64> {
        Some(u64::try_from(self.end?.saturating_sub(self.next?)).unwrap_or(0))
    }
}

impl Board {
    pub(super) fn new() -> Self {
        Self { metrics: ConsumerMetrics::new(), state: Mutex::default() }
    }

    fn health(&self) -> ConsumerHealth {
        let state = self.state.lock();
        let mut troubles = state.partitions.values().filter_map(|partition| partition.trouble.as_ref());
        let lags = state.partitions.values().map(Partition::lag);
        ConsumerHealth {
            assigned: state.partitions.len(),
            stalled: troubles.clone().count(),
            lag: lags.sum(),
            last_error: state.trouble.as_ref().or(troubles.next()).cloned(),
        }
    }

    pub(super) fn assigned(&self, partition: i32) {
        let mut state = self.state.lock();
        state.partitions.insert(partition, Partition::default());
        self.metrics.assigned(state.partitions.len());
    }

    /// Returns the offset that Kafka was not told yet.
    pub(super) fn given_up(&self, partition: i32) -> Option<i64> {
        let mut state = self.state.lock();
        let removed = state.partitions.remove(&partition)?;
        self.metrics.assigned(state.partitions.len());
        self.metrics.lag(partition, 0);
        removed.next.filter(|next| removed.committed != Some(*next))
    }

    pub(super) fn partitions(&self) -> Vec<i32> {
        self.state.lock().partitions.keys().copied().collect()
    }

    /// Everything before this offset is in the ledger.
    pub(super) fn stored(&self, partition: i32, next: i64) {
        self.update(partition, |found| {
            found.next = Some(next);
            found.trouble = None;
        });
    }

    /// The partition ends before this offset.
    pub(super) fn ends(&self, partition: i32, end: i64) {
        self.update(partition, |found| found.end = Some(end));
    }

    pub(super) fn stalls(&self, partition: i32, trouble: String) {
        self.update(partition, |found| found.trouble = Some(trouble));
    }

    fn update(&self, partition: i32, change: impl FnOnce(&mut Partition)) {
        let mut state = self.state.lock();
        let Some(found) = state.partitions.get_mut(&partition) else { return };
        change(found);
        if let Some(lag) = found.lag() {
            self.metrics.lag(partition, lag);
        }
    }

    pub(super) fn trouble(&self, trouble: Option<String>) {
        self.state.lock().trouble = trouble;
    }

    /// Offsets that Kafka was not told yet, which it counts as told from now on.
    pub(super) fn to_commit(&self) -> Vec<(i32, i64)> {
        let mut state = self.state.lock();
        let news = state.partitions.iter_mut().filter_map(|(number, partition)| {
            let next = partition.next.filter(|next| partition.committed != Some(*next))?;
            partition.committed = Some(next);
            Some((*number, next))
        });
        news.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_is_known_once_it_is_known_of_every_partition() {
        let board = Board::new();
        assert_eq!(board.health(), ConsumerHealth { lag: Some(0), ..ConsumerHealth::default() });
        board.assigned(0);
        board.assigned(1);
        board.stored(0, 10);
        board.ends(0, 25);
        board.stored(1, 7);
        assert_eq!(board.health().lag, None);
        board.ends(1, 5); // asked for before the last batch
        assert_eq!(
            board.health(),
            ConsumerHealth { assigned: 2, stalled: 0, lag: Some(15), last_error: None }
        );
        assert_eq!(board.given_up(0), Some(10));
        assert_eq!(board.health().lag, Some(0));
    }

    #[test]
    fn a_partition_is_stalled_until_something_of_it_is_stored() {
        let board = Board::new();
        board.assigned(3);
        board.stalls(3, "database down".to_owned());
        assert_eq!(
            (board.health().stalled, board.health().last_error.as_deref()),
            (1, Some("database down"))
        );
        board.stored(3, 1);
        assert_eq!((board.health().stalled, board.health().last_error), (0, None));
        board.stalls(4, "not ours any more".to_owned());
        assert_eq!(board.health().stalled, 0);
    }

    #[test]
    fn each_offset_is_committed_once() {
        let board = Board::new();
        board.assigned(0);
        assert_eq!(board.to_commit(), []);
        board.stored(0, 4);
        assert_eq!(board.to_commit(), [(0, 4)]);
        assert_eq!(board.to_commit(), []);
        board.stored(0, 2); // a ledger that was put back
        assert_eq!(board.to_commit(), [(0, 2)]);
    }
}
