//! Every metric of the control plane: names, units, labels.

use std::time::Duration;

/// Events delivered by proxies. Label `result`: `new`, or `repeated` for those that were booked before.
const EVENTS_INGESTED: &str = "mindweave_control_plane_ingested_events_total";
/// Time of one ingest transaction, the wait for the write lock included.
const INGEST_TRANSACTION: &str = "mindweave_control_plane_ingest_transaction_seconds";
/// Events that a live subscriber missed because it read too slowly.
const LIVE_LAGGED: &str = "mindweave_control_plane_live_lagged_events_total";
/// Failed runs of a background task. Label `task`.
const TASK_FAILURES: &str = "mindweave_control_plane_task_failures_total";

/// The background tasks that can fail, as their label names them.
pub(crate) const TASKS: [&str; 3] = ["rollup", "retention", "usage_feed"];

/// Shows every series from the start, at zero: an alert on a counter that appears with its first failure misses that one.
pub(crate) fn register() {
    metrics::describe_counter!(
        EVENTS_INGESTED,
        "events delivered to the ledger, by whether they were booked before"
    );
    metrics::describe_histogram!(INGEST_TRANSACTION, "time to book a batch of events");
    metrics::describe_counter!(LIVE_LAGGED, "events that a watcher missed because it read too slowly");
    metrics::describe_counter!(TASK_FAILURES, "failed runs of a background task");
    events_ingested(0, 0);
    live_lagged(0);
    for task in TASKS {
        metrics::counter!(TASK_FAILURES, "task" => task).increment(0);
    }
}

/// Counts delivered events.
pub(crate) fn events_ingested(new: usize, repeated: usize) {
    let count = |events: usize| u64::try_from(events).unwrap_or(u64::MAX);
    metrics::counter!(EVENTS_INGESTED, "result" => "new").increment(count(new));
    metrics::counter!(EVENTS_INGESTED, "result" => "repeated").increment(count(repeated));
}

/// Records the time of an ingest transaction.
pub(crate) fn ingest_transaction(took: Duration) {
    metrics::histogram!(INGEST_TRANSACTION).record(took.as_secs_f64());
}

/// Counts what a live subscriber missed.
pub(crate) fn live_lagged(events: u64) {
    metrics::counter!(LIVE_LAGGED).increment(events);
}

/// Counts a failed run of a background task.
pub(crate) fn task_failed(task: &'static str) {
    metrics::counter!(TASK_FAILURES, "task" => task).increment(1);
}
