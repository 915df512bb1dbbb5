//! What a proxy knows: one immutable, revisioned value that every request reads once.

pub(crate) mod diff;
pub(crate) mod rules;
pub(crate) mod wire;

use std::collections::HashMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use mindweave_metering::ProjectId;
use parking_lot::{Mutex, MutexGuard};

use crate::fingerprint::Fingerprint;
use crate::governance::Governance;
use crate::policy_set::CompiledPolicies;
use crate::principal::Principal;
use crate::secret::Secret;
use rules::ProjectRules;

/// Everything that requests are judged by. Built by the control plane, replaced as a whole, never changed.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Rises with every change; recorded on every event.
    pub revision: u64,
    /// MindWeave keys (`mw_...`) by fingerprint.
    pub keys: HashMap<Fingerprint, KeyEntry>,
    /// Clients' own Claude credentials that are registered to a project, by fingerprint.
    pub client_credentials: HashMap<Fingerprint, Arc<Principal>>,
    /// Projects by id.
    pub projects: HashMap<ProjectId, ProjectEntry>,
    /// What projects ask of their requests. Only of those that ask for something: for most requests this is a look at an empty map.
    pub project_rules: HashMap<ProjectId, Arc<ProjectRules>>,
    /// Who pays for unregistered credentials where those are allowed.
    pub default_principal: Option<Arc<Principal>>,
    /// Policies, limits and budgets.
    pub governance: Arc<Governance>,
    /// The policies of `governance`, compiled: two snapshots with the same policies share them, and so their caches.
    pub policies: Arc<CompiledPolicies>,
}

/// A MindWeave key.
#[derive(Clone, Debug)]
pub struct KeyEntry {
    /// Whose it is.
    pub principal: Arc<Principal>,
    /// From when on it is refused, if ever.
    pub expires_at: Option<Timestamp>,
}

/// What a proxy needs of a project.
#[derive(Clone, Debug)]
pub struct ProjectEntry {
    /// For messages to developers.
    pub name: Arc<str>,
    /// The Claude API key that virtual keys of this project are exchanged for.
    pub upstream_key: Option<Secret>,
}

/// Told of every snapshot that is put in force, until it breaks off. Runs on the publisher's thread: to be quick.
type Follower = Box<dyn FnMut(&Arc<Snapshot>) -> ControlFlow<()> + Send>;

/// Holds the snapshot in force. Readers never wait; a writer with an older revision cannot win.
pub struct SnapshotStore {
    current: ArcSwap<Snapshot>,
    /// Locked while publishing, so that every follower sees the snapshots in the order of their revisions.
    followers: Mutex<Vec<Follower>>,
}

impl SnapshotStore {
    /// Starts with this snapshot.
    pub fn new(first: Snapshot) -> Self {
        Self { current: ArcSwap::from_pointee(first), followers: Mutex::new(Vec::new()) }
    }

    /// The snapshot in force. A request calls this once and keeps the result to its end.
    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Puts a newer snapshot in force and tells the followers. Returns `false`, and does nothing, when the one in force is
    /// as new or newer.
    pub fn publish(&self, next: Snapshot) -> bool {
        let followers = self.followers.lock();
        if next.revision <= self.current.load().revision {
            return false;
        }
        self.put_in_force(next, followers);
        true
    }

    /// Puts this snapshot in force whatever its revision and tells the followers: a control plane that was put back from a
    /// backup counts from where the backup was. For the one writer of a store that another process feeds.
    pub fn replace(&self, next: Snapshot) {
        self.put_in_force(next, self.followers.lock());
    }

    fn put_in_force(&self, next: Snapshot, mut followers: MutexGuard<'_, Vec<Follower>>) {
        let next = Arc::new(next);
        self.current.store(Arc::clone(&next));
        followers.retain_mut(|follower| follower(&next).is_continue());
    }

    /// Calls `follower` with the snapshot in force now and with every later one, in order, before `publish` returns. It
    /// must not publish itself.
    pub fn follow(&self, mut follower: impl FnMut(&Arc<Snapshot>) -> ControlFlow<()> + Send + 'static) {
        let mut followers = self.followers.lock();
        if follower(&self.load()).is_continue() {
            followers.push(Box::new(follower));
        }
    }
}

impl fmt::Debug for SnapshotStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotStore").field("current", &self.current).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_snapshot_never_replaces_a_newer_one() {
        let store = SnapshotStore::new(Snapshot { revision: 3, ..Snapshot::default() });
        assert!(!store.publish(Snapshot { revision: 2, ..Snapshot::default() }));
        assert!(!store.publish(Snapshot { revision: 3, ..Snapshot::default() }));
        assert_eq!(store.load().revision, 3);
        assert!(store.publish(Snapshot { revision: 4, ..Snapshot::default() }));
        assert_eq!(store.load().revision, 4);
    }

    #[test]
    fn a_follower_sees_what_is_in_force_and_then_every_change_until_it_breaks_off() {
        let store = SnapshotStore::new(Snapshot { revision: 3, ..Snapshot::default() });
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sees = Arc::clone(&seen);
        store.follow(move |snapshot| {
            sees.lock().push(snapshot.revision);
            if snapshot.revision < 5 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        for revision in [4, 2, 5, 6] {
            store.publish(Snapshot { revision, ..Snapshot::default() });
        }
        assert_eq!(*seen.lock(), [3, 4, 5]);
        assert_eq!(store.load().revision, 6);
    }

    #[test]
    fn followers_see_racing_publications_in_order() {
        let store = SnapshotStore::new(Snapshot::default());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sees = Arc::clone(&seen);
        store.follow(move |snapshot| {
            sees.lock().push(snapshot.revision);
            ControlFlow::Continue(())
        });
        std::thread::scope(|scope| {
            for start in 1..=4 {
                let store = &store;
                scope.spawn(move || {
                    for step in 0..200 {
                        store.publish(Snapshot { revision: start + step * 4, ..Snapshot::default() });
                    }
                });
            }
        });
        assert!(seen.lock().is_sorted_by(|a, b| a < b));
        assert_eq!(store.load().revision, 800);
    }
}
