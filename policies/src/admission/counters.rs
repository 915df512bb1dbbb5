//! The counters of every limit and budget, by subject.

use std::sync::Arc;

use dashmap::DashMap;
use foldhash::fast::RandomState;

use crate::budget::BudgetCell;
use crate::limits::LimitCell;

/// Most counters of either sort: several for each of a million keys, in about a gigabyte. Beyond it, all further subjects of a
/// rule share one counter: they are counted, together, until a sweep has made room. Nobody passes uncounted.
pub(crate) const MAX_COUNTERS: usize = 4_000_000;

/// Parts of the map, each with a lock of its own: so many that a sweep of a million counters holds none for longer than some two
/// milliseconds.
const SHARDS: usize = 256;

/// The subject of the counter that is shared beyond [`MAX_COUNTERS`].
const SHARED: &str = "";

/// Names a counter: a rule's number and whom it counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CounterKey {
    pub(crate) number: u32,
    pub(crate) subject: Arc<str>,
}

/// The counters of one sort.
#[derive(Debug)]
pub(crate) struct Counters<T> {
    cells: DashMap<CounterKey, Arc<T>, RandomState>,
    most: usize,
}

pub(crate) type LimitCounters = Counters<LimitCell>;
pub(crate) type BudgetCounters = Counters<BudgetCell>;

impl<T: Default> Counters<T> {
    pub(crate) fn new(most: usize) -> Self {
        Self { cells: DashMap::with_hasher_and_shard_amount(RandomState::default(), SHARDS), most }
    }

    /// The counter of this subject, made if need be.
    pub(crate) fn of(&self, number: u32, subject: &str) -> Arc<T> {
        let key = CounterKey { number, subject: subject.into() };
        if let Some(cell) = self.cells.get(&key) {
            return Arc::clone(&cell);
        }
        let key =
            if self.cells.len() < self.most { key } else { CounterKey { number, subject: SHARED.into() } };
        Arc::clone(&self.cells.entry(key).or_default())
    }

    /// The counter of this subject, if there is one of its own.
    pub(crate) fn get(&self, number: u32, subject: &Arc<str>) -> Option<Arc<T>> {
        let key = CounterKey { number, subject: Arc::clone(subject) };
        self.cells.get(&key).map(|cell| Arc::clone(&cell))
    }

    /// Keeps the counters that somebody holds, and those that are to be kept.
    pub(crate) fn sweep(&self, keep: impl Fn(&CounterKey, &T) -> bool) {
        // A counter is handed out under its shard's lock only, which `retain` holds: one that nobody holds here stays so.
        self.cells.retain(|key, cell| Arc::strong_count(cell) > 1 || keep(key, cell));
        if self.cells.len() < self.cells.capacity() / 4 {
            self.cells.shrink_to_fit();
        }
    }

    pub(crate) fn for_each(&self, mut see: impl FnMut(&CounterKey, &T)) {
        for entry in &self.cells {
            see(entry.key(), entry.value());
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.cells.len()
    }
}
