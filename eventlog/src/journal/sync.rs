//! The thread that forces records to disk, many at a time.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::MutexGuard;

use super::config::SyncPolicy;
use super::segment::Segment;
use super::sequence::Sequence;
use super::shared::Shared;
use super::writer::{Stopped, Writer};

/// What is to be synced, and what is synced then.
struct Round {
    through: Sequence,
    segments: Vec<Arc<Segment>>,
}

/// Runs until the journal is closed, with all that it took on the disk, or until it fails.
pub(crate) fn run(shared: &Shared) {
    let mut synced = shared.writer.lock().synced;
    while let Some(round) = next_round(shared, synced) {
        let begun = Instant::now();
        if let Err(cause) = round.segments.iter().try_for_each(|segment| shared.disk.sync(&segment.file)) {
            // No second try: the kernel may have dropped the pages and reports a fault only once, so that it would look
            // like success.
            shared.fail(cause);
            break;
        }
        synced = round.through;
        shared.synced(synced, begun.elapsed());
        shared.publish_metrics();
    }
    let stopped = shared.writer.lock().stopped.clone();
    shared.sync_state.send_modify(|state| state.stopped = stopped);
    shared.publish_metrics();
}

/// Waits for records, then for more of them as the policy says. `None`: nothing will come any more.
fn next_round(shared: &Shared, synced: Sequence) -> Option<Round> {
    let mut writer = shared.writer.lock();
    while writer.next_sequence().previous() <= synced {
        if writer.stopped.is_some() {
            return None;
        }
        writer.sync_now = false; // whoever asked has all
        writer.sync_sleeps = true;
        shared.sync_wake.wait(&mut writer);
    }
    writer.sync_sleeps = false;
    gather(shared, &mut writer);
    if matches!(writer.stopped, Some(Stopped::Failed(_))) {
        return None;
    }
    writer.sync_now = false;
    let mut segments = std::mem::take(&mut writer.unsynced);
    segments.push(Arc::clone(writer.active_segment()));
    Some(Round { through: writer.next_sequence().previous(), segments })
}

/// Lets records gather for as long as they may wait.
fn gather(shared: &Shared, writer: &mut MutexGuard<'_, Writer>) {
    let SyncPolicy::Group { every } = shared.config.sync else { return };
    let until = Instant::now() + every;
    while !writer.sync_now && writer.stopped.is_none() {
        if shared.sync_wake.wait_until(writer, until).timed_out() {
            return;
        }
    }
}
