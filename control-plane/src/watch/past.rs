//! The snapshots that proxies may still have, and the lines that lead from one to another, made once for all connections.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use axum::body::Bytes;
use mindweave_policy::{Snapshot, SnapshotDiff, SnapshotStore, SnapshotWire, WatchLine};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::entropy::{self, NoEntropy};

/// Snapshots kept for proxies that connect again: the one in force and the one before, for each holds every key. A proxy that
/// missed more gets a whole one.
const SNAPSHOTS_KEPT: usize = 2;
/// Changes kept as lines: all proxies that are not slow need the same one.
const CHANGES_KEPT: usize = 4;

/// What this process published. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Past(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Names this run: see the module's documentation.
    lineage: Arc<str>,
    /// The newest last.
    kept: Mutex<VecDeque<Arc<Snapshot>>>,
    published: watch::Sender<u64>,
    whole: tokio::sync::Mutex<Option<(u64, Bytes)>>,
    changes: tokio::sync::Mutex<VecDeque<((u64, u64), Bytes)>>,
}

/// A line could not be made. Nothing of it is repeated: it may hold keys.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a line of the watch could not be made")]
pub(crate) struct NoLine;

impl Past {
    /// Remembers what is published from now on.
    ///
    /// # Errors
    /// When the operating system has no random bytes.
    pub(crate) fn follow(snapshots: &SnapshotStore) -> Result<Self, NoEntropy> {
        let lineage = entropy::bytes::<16>()?.map(|byte| format!("{byte:02x}")).concat().into();
        let past = Self(Arc::new(Inner {
            lineage,
            kept: Mutex::default(),
            published: watch::Sender::new(0),
            whole: tokio::sync::Mutex::default(),
            changes: tokio::sync::Mutex::default(),
        }));
        let follower = Arc::downgrade(&past.0);
        snapshots.follow(move |snapshot| {
            let Some(past) = follower.upgrade() else { return ControlFlow::Break(()) };
            past.keep(Arc::clone(snapshot));
            ControlFlow::Continue(())
        });
        Ok(past)
    }

    /// The revisions as they are published.
    pub(crate) fn published(&self) -> watch::Receiver<u64> {
        self.0.published.subscribe()
    }

    /// The snapshot in force.
    pub(crate) fn current(&self) -> Arc<Snapshot> {
        self.0.kept.lock().back().map_or_else(Arc::default, Arc::clone)
    }

    /// The snapshot of this revision, if it was of this run and is still kept.
    pub(crate) fn known(&self, lineage: &str, revision: u64) -> Option<Arc<Snapshot>> {
        let kept = self.0.kept.lock();
        let found = kept.iter().find(|snapshot| snapshot.revision == revision);
        found.filter(|_| *lineage == *self.0.lineage).map(Arc::clone)
    }

    /// The line that brings a proxy with `known` to `next`.
    pub(crate) async fn line(
        &self,
        known: Option<&Arc<Snapshot>>,
        next: &Arc<Snapshot>,
    ) -> Result<Bytes, NoLine> {
        match known {
            Some(known) => self.change(known, next).await,
            None => self.whole(next).await,
        }
    }

    async fn whole(&self, next: &Arc<Snapshot>) -> Result<Bytes, NoLine> {
        let mut made = self.0.whole.lock().await;
        match &*made {
            Some((revision, line)) if *revision == next.revision => return Ok(line.clone()),
            _ => {}
        }
        let (snapshot, lineage) = (Arc::clone(next), Arc::clone(&self.0.lineage));
        let line = make(move || WatchLine::Snapshot(Box::new(SnapshotWire::of(&snapshot, lineage)))).await?;
        *made = Some((next.revision, line.clone()));
        Ok(line)
    }

    async fn change(&self, known: &Arc<Snapshot>, next: &Arc<Snapshot>) -> Result<Bytes, NoLine> {
        let between = (known.revision, next.revision);
        let mut made = self.0.changes.lock().await;
        if let Some((_, line)) = made.iter().find(|(revisions, _)| *revisions == between) {
            return Ok(line.clone());
        }
        let (from, to) = (Arc::clone(known), Arc::clone(next));
        let line = make(move || WatchLine::Change(Box::new(SnapshotDiff::between(&from, &to)))).await?;
        if made.len() >= CHANGES_KEPT {
            made.pop_front();
        }
        made.push_back((between, line.clone()));
        Ok(line)
    }
}

impl Inner {
    fn keep(&self, snapshot: Arc<Snapshot>) {
        let revision = snapshot.revision;
        let mut kept = self.kept.lock();
        if kept.len() >= SNAPSHOTS_KEPT {
            kept.pop_front();
        }
        kept.push_back(snapshot);
        drop(kept);
        self.published.send_replace(revision);
    }
}

/// Makes a line away from the threads that serve: of a hundred thousand keys or counters it takes a tenth of a second.
pub(super) async fn make(line: impl FnOnce() -> WatchLine + Send + 'static) -> Result<Bytes, NoLine> {
    let made = tokio::task::spawn_blocking(move || line().encode()).await;
    made.map_err(|_| NoLine)?.map(Bytes::from).map_err(|_| NoLine)
}
