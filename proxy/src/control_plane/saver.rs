//! Keeps the cached files up with what is in force, in the background and not too often.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mindweave_policy::{AdmissionControl, Snapshot, SnapshotWire, WatchLine};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Duration, Instant, sleep};

use super::cache::Cache;
use super::sealed::Kind;
use crate::error::chain;

/// The least time between two writes. What a kill may take is what changed within it.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
/// Writing takes at most one part in this many of the time: large installations write more rarely.
const PAUSE_PER_WRITE: u32 = 10;

/// What is to be written. Shared by those who know and the task that writes.
pub(super) struct Saver {
    cache: Arc<Cache>,
    snapshot: Mutex<Option<(Arc<Snapshot>, Arc<str>)>>,
    counters: AtomicBool,
    changed: Notify,
    /// Whether the last write failed.
    failing: AtomicBool,
}

impl Saver {
    pub(super) fn new(cache: Arc<Cache>) -> Self {
        Self {
            cache,
            snapshot: Mutex::new(None),
            counters: AtomicBool::new(false),
            changed: Notify::new(),
            failing: AtomicBool::new(false),
        }
    }

    #[cfg(test)]
    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// This snapshot is in force.
    pub(super) fn snapshot(&self, snapshot: Arc<Snapshot>, lineage: Arc<str>) {
        *self.snapshot.lock() = Some((snapshot, lineage));
        self.changed.notify_one();
    }

    /// There are new figures of the ledger.
    pub(super) fn counters(&self) {
        self.counters.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Writes what changes until `stop`, then what is left.
    pub(super) async fn run(&self, admission: &Arc<AdmissionControl>, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = self.changed.notified() => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
            let started = Instant::now();
            self.write(admission).await;
            if *stop.borrow() {
                return;
            }
            let pause = started.elapsed().saturating_mul(PAUSE_PER_WRITE).max(LEAST_PAUSE);
            tokio::select! {
                () = sleep(pause) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        }
    }

    async fn write(&self, admission: &Arc<AdmissionControl>) {
        let snapshot = self.snapshot.lock().take();
        let counters = self.counters.swap(false, Ordering::Relaxed).then(|| Arc::clone(admission));
        let (cache, written, has_counters) = (Arc::clone(&self.cache), snapshot.clone(), counters.is_some());
        let writing = spawn_blocking(move || {
            if let Some((snapshot, lineage)) = written {
                let wire = Box::new(SnapshotWire::of(&snapshot, lineage));
                cache.save(Kind::Snapshot, &WatchLine::Snapshot(wire).encode()?)?;
            }
            if let Some(admission) = counters {
                cache.save(Kind::Counters, &WatchLine::Usage(admission.save()).encode()?)?;
            }
            Ok::<_, std::io::Error>(())
        });
        let failed = match writing.await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(error) => Some(error.into()),
        };
        let was_failing = self.failing.swap(failed.is_some(), Ordering::Relaxed);
        let Some(error) = failed else { return };
        // Tried again after the pause, unless something newer came meanwhile.
        if let Some(snapshot) = snapshot {
            self.snapshot.lock().get_or_insert(snapshot);
        }
        self.counters.fetch_or(has_counters, Ordering::Relaxed);
        self.changed.notify_one();
        if !was_failing {
            // Once, and not every second.
            tracing::error!(
                error = chain(&error),
                "what is in force cannot be cached: a restart without control plane would use older rules"
            );
        }
    }
}
