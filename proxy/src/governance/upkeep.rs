//! What limits and budgets need beside requests: the snapshots, and a broom.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use mindweave_policy::{AdmissionControl, SnapshotStore};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::clock;
use crate::error::chain;
use crate::metrics;

/// How often counters that are as good as new are forgotten.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Puts the limits and budgets of each snapshot in force, from the current one on, for as long as anybody holds `admission`.
pub(crate) fn follow(snapshots: &SnapshotStore, admission: &Arc<AdmissionControl>) {
    let admission = Arc::downgrade(admission);
    snapshots.follow(move |snapshot| match admission.upgrade() {
        Some(admission) => {
            admission.apply(snapshot, Instant::now().into_std());
            metrics::control_plane().in_force(snapshot.revision);
            ControlFlow::Continue(())
        }
        None => ControlFlow::Break(()),
    });
}

/// Forgets, for ever, what limits and budgets need no longer know.
pub(crate) async fn upkeep(admission: Arc<AdmissionControl>) {
    let mut ticks = interval(SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let admission = Arc::clone(&admission);
        // A million counters take half a second, which no thread that serves requests has.
        let sweep = spawn_blocking(move || admission.sweep(clock::now(), Instant::now().into_std()));
        if let Err(error) = sweep.await {
            tracing::error!(error = chain(&error), "limits and budgets cannot forget what is over");
        }
    }
}
