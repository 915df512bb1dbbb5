//! What a proxy knows: one immutable, revisioned value that every request reads once.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use mindweave_metering::ProjectId;

use crate::fingerprint::Fingerprint;
use crate::governance::Governance;
use crate::policy_set::CompiledPolicies;
use crate::principal::Principal;
use crate::secret::Secret;

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

/// Holds the snapshot in force. Readers never wait; a writer with an older revision cannot win.
#[derive(Debug)]
pub struct SnapshotStore {
    current: ArcSwap<Snapshot>,
}

impl SnapshotStore {
    /// Starts with this snapshot.
    pub fn new(first: Snapshot) -> Self {
        Self { current: ArcSwap::from_pointee(first) }
    }

    /// The snapshot in force. A request calls this once and keeps the result to its end.
    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Puts a newer snapshot in force. Returns `false`, and changes nothing, when the one in force is as new or newer.
    pub fn publish(&self, next: Snapshot) -> bool {
        let next = Arc::new(next);
        let previous = self.current.rcu(|current| {
            if next.revision > current.revision { Arc::clone(&next) } else { Arc::clone(current) }
        });
        next.revision > previous.revision
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
}
