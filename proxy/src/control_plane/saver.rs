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
}

impl Saver {
    pub(super) fn new(cache: Arc<Cache>) -> Self {
        Self { cache, snapshot: Mutex::new(None), counters: AtomicBool::new(false), changed: Notify::new() }
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
        let mut failing = false;
        loop {
            tokio::select! {
                () = self.changed.notified() => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
            let started = Instant::now();
            self.write(admission, &mut failing).await;
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

    async fn write(&self, admission: &Arc<AdmissionControl>, failing: &mut bool) {
        let snapshot = self.snapshot.lock().take();
        let counters = self.counters.swap(false, Ordering::Relaxed).then(|| Arc::clone(admission));
        let cache = Arc::clone(&self.cache);
        let written = spawn_blocking(move || {
            if let Some((snapshot, lineage)) = snapshot {
                let wire = Box::new(SnapshotWire::of(&snapshot, lineage));
                cache.save(Kind::Snapshot, &WatchLine::Snapshot(wire).encode()?)?;
            }
            if let Some(admission) = counters {
                cache.save(Kind::Counters, &WatchLine::Usage(admission.save()).encode()?)?;
            }
            Ok::<_, std::io::Error>(())
        });
        match written.await {
            Ok(Ok(())) => *failing = false,
            Ok(Err(error)) if !*failing => {
                *failing = true; // once, and not every second
                tracing::error!(
                    error = chain(&error),
                    "what is in force cannot be cached: a restart without control plane would use older rules"
                );
            }
            Ok(Err(_)) => {}
            Err(error) => tracing::error!(error = chain(&error), "caching broke off"),
        }
    }
}
