//! The batches the simulator knows, and how far each has come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;

use crate::clock::Moment;
use crate::inquiry::ApiVersion;
use crate::steering::Steering;

/// Batches that are remembered, and bytes of their requests; the oldest are forgotten beyond either.
const MAX_BATCHES: usize = 1_000;
const MAX_BYTES: usize = 512 << 20;

/// Oldest first.
#[derive(Default)]
pub(crate) struct BatchStore(Mutex<Vec<Arc<Batch>>>);

/// One request of a batch.
pub(super) struct Item {
    pub(super) custom_id: String,
    pub(super) params: Bytes,
}

/// What `processing_status` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    InProgress,
    Canceling,
    Ended,
}

/// How the item of an ended batch came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ItemOutcome {
    Succeeded,
    Errored,
    Canceled,
    Expired,
}

/// How many items are where.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct RequestCounts {
    processing: u64,
    succeeded: u64,
    errored: u64,
    canceled: u64,
    expired: u64,
}

/// A batch.
pub(super) struct Batch {
    pub(super) id: String,
    pub(super) created: Moment,
    pub(super) seed: u64,
    pub(super) items: Vec<Item>,
    pub(super) steering: Steering,
    pub(super) version: ApiVersion,
    polls_left: AtomicU64,
    canceled: AtomicBool,
}

impl Batch {
    pub(super) fn new(
        id: String,
        created: Moment,
        seed: u64,
        items: Vec<Item>,
        steering: Steering,
        version: ApiVersion,
    ) -> Self {
        let polls_left = AtomicU64::new(steering.batch_polls);
        Self { id, created, seed, items, steering, version, polls_left, canceled: AtomicBool::new(false) }
    }

    /// A look at the batch by its owner, which is what makes simulated time pass for it.
    pub(super) fn poll(&self) -> Status {
        let status = self.status();
        let less_one = |left: u64| Some(left.saturating_sub(1));
        if self.polls_left.fetch_update(Ordering::AcqRel, Ordering::Acquire, less_one).is_err() {
            tracing::debug!("a saturating update cannot fail");
        }
        status
    }

    pub(super) fn status(&self) -> Status {
        match (self.polls_left.load(Ordering::Acquire), self.is_canceled()) {
            (0, _) => Status::Ended,
            (_, true) => Status::Canceling,
            (_, false) => Status::InProgress,
        }
    }

    /// Cancels it unless it has ended: the next look finds it ended.
    pub(super) fn cancel(&self) -> bool {
        let running = self.status() != Status::Ended;
        if running {
            self.canceled.store(true, Ordering::Release);
            self.polls_left.store(1, Ordering::Release);
        }
        running
    }

    pub(super) fn is_canceled(&self) -> bool {
        self.canceled.load(Ordering::Acquire)
    }

    /// The outcome of the item at `index`: errored ones first, then canceled, then expired, the rest succeeded.
    pub(super) fn outcome(&self, index: usize) -> ItemOutcome {
        let index = u64::try_from(index).unwrap_or(u64::MAX);
        let errored = self.steering.batch_errored;
        let canceled = errored.saturating_add(self.steering.batch_canceled);
        let expired = canceled.saturating_add(self.steering.batch_expired);
        if self.is_canceled() || (errored..canceled).contains(&index) {
            ItemOutcome::Canceled
        } else if index < errored {
            ItemOutcome::Errored
        } else if index < expired {
            ItemOutcome::Expired
        } else {
            ItemOutcome::Succeeded
        }
    }

    pub(super) fn counts(&self, status: Status) -> RequestCounts {
        let mut counts = RequestCounts::default();
        if status != Status::Ended {
            counts.processing = u64::try_from(self.items.len()).unwrap_or(u64::MAX);
            return counts;
        }
        for index in 0..self.items.len() {
            let counter = match self.outcome(index) {
                ItemOutcome::Succeeded => &mut counts.succeeded,
                ItemOutcome::Errored => &mut counts.errored,
                ItemOutcome::Canceled => &mut counts.canceled,
                ItemOutcome::Expired => &mut counts.expired,
            };
            *counter = counter.saturating_add(1);
        }
        counts
    }

    fn bytes(&self) -> usize {
        self.items.iter().map(|item| item.params.len()).sum()
    }
}

impl BatchStore {
    /// Remembers a batch; the same request again starts the same batch anew.
    pub(super) fn add(&self, batch: Batch) -> Arc<Batch> {
        let batch = Arc::new(batch);
        let mut batches = self.0.lock();
        batches.retain(|other| other.id != batch.id);
        batches.push(Arc::clone(&batch));
        while batches.len() > 1
            && (batches.len() > MAX_BATCHES
                || batches.iter().map(|batch| batch.bytes()).sum::<usize>() > MAX_BYTES)
        {
            batches.remove(0);
        }
        batch
    }

    pub(super) fn all(&self) -> Vec<Arc<Batch>> {
        self.0.lock().clone()
    }

    pub(super) fn find(&self, id: &str) -> Option<Arc<Batch>> {
        self.0.lock().iter().find(|batch| batch.id == id).cloned()
    }

    pub(super) fn remove(&self, id: &str) {
        self.0.lock().retain(|batch| batch.id != id);
    }
}
