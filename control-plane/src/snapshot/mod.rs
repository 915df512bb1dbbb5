//! What proxies know: built from the database, published at every change.
//!
//! Every change raises the revision in its own transaction and publishes before its answer is sent, so that it is in force
//! when the API says so. A task looks at the revision twice a second besides: it catches a change whose handler was cut
//! off between commit and publication, and one whose publication failed.

mod store;

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use mindweave_metering::{ProjectId, QuotaId};
use mindweave_policy::{CompiledPolicies, Governance, Snapshot, SnapshotStore};
use tokio::sync::Mutex;
use tokio::task::JoinError;

use crate::app::Home;
use crate::db::{Db, StoreError};
use crate::http::problem::chain;
use crate::secrets::MasterKey;
use crate::usage::UsageFeeds;

use store::Governing;
pub(crate) use store::revision_raise;

/// Builds and publishes snapshots.
#[derive(Debug)]
pub(crate) struct Publisher {
    db: Db,
    master_key: MasterKey,
    home: Arc<Home>,
    snapshots: Arc<SnapshotStore>,
    feeds: OnceLock<UsageFeeds>,
    /// Held while building. The revision of the governance in force.
    building: Mutex<i64>,
}

/// Why a snapshot could not be published.
#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the policies could not be compiled")]
    Compile(#[from] JoinError),
}

/// Why the first snapshot could not be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FirstSnapshotError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the policies could not be compiled")]
    Compile(#[from] JoinError),
    #[error("the upstream key of project {0} does not open: is this the master key it was stored with?")]
    MasterKey(ProjectId),
}

impl Publisher {
    /// Builds the first snapshot.
    ///
    /// # Errors
    /// When the database cannot be read, and when a stored secret does not open: starting on would refuse that project's
    /// traffic later, with nobody watching.
    pub(crate) async fn start(
        db: Db,
        master_key: MasterKey,
        home: Arc<Home>,
    ) -> Result<Self, FirstSnapshotError> {
        let stored = store::snapshot_read(&db, &master_key, &home, None).await?;
        if let Some(project_id) = stored.unreadable.into_iter().next() {
            return Err(FirstSnapshotError::MasterKey(project_id));
        }
        let first = compiled(stored.snapshot, Arc::default()).await?;
        let snapshots = Arc::new(SnapshotStore::new(first));
        Ok(Self {
            db,
            master_key,
            home,
            snapshots,
            feeds: OnceLock::new(),
            building: Mutex::new(stored.governance_revision),
        })
    }

    /// Has the figures of new budgets told here before their snapshots are published.
    pub(crate) fn tell_figures_first(&self, feeds: UsageFeeds) {
        drop(self.feeds.set(feeds)); // once, at the start
    }

    /// Where proxies read.
    pub(crate) fn snapshots(&self) -> Arc<SnapshotStore> {
        Arc::clone(&self.snapshots)
    }

    /// Returns once a snapshot of at least this revision is in force. Concurrent changes share one build.
    ///
    /// A failure is logged and left to the next look: the change is committed and cannot be taken back.
    pub(crate) async fn publish_through(&self, revision: u64) {
        let mut governance_revision = self.building.lock().await;
        if self.snapshots.load().revision >= revision {
            return;
        }
        match self.publish(*governance_revision).await {
            Ok(published) => *governance_revision = published,
            Err(error) => {
                tracing::error!(error = %chain(&error), revision, "snapshot not published; trying again shortly");
            }
        }
    }

    /// Publishes when the database is ahead of what is in force.
    pub(crate) async fn catch_up(&self) {
        match store::revision_view(&self.db).await {
            Ok(revision) => self.publish_through(revision).await,
            Err(error) => tracing::error!(error = %chain(&error), "snapshot revision not read"),
        }
    }

    /// Returns the revision of the governance that is in force then; `governance_revision` is the one that is now.
    async fn publish(&self, governance_revision: i64) -> Result<i64, PublishError> {
        let previous = self.snapshots.load();
        let known = Governing { revision: governance_revision, governance: Arc::clone(&previous.governance) };
        let stored = store::snapshot_read(&self.db, &self.master_key, &self.home, Some(&known)).await?;
        for project_id in stored.unreadable {
            tracing::error!(%project_id, "upstream key does not open; the project's keys are refused");
        }
        let snapshot = compiled(stored.snapshot, previous).await?;
        // Before the snapshot: a budget that begins without its figures would let a whole limit pass once more.
        if let Some(feeds) = self.feeds.get()
            && counts_anew(&snapshot.governance, &self.snapshots.load().governance)
        {
            feeds.tell_now().await;
        }
        tracing::debug!(revision = snapshot.revision, "snapshot published");
        self.snapshots.publish(snapshot);
        Ok(stored.governance_revision)
    }
}

/// Whether a budget counts something that none counted before.
fn counts_anew(next: &Governance, previous: &Governance) -> bool {
    fn definitions(governance: &Governance) -> HashSet<(&QuotaId, u64)> {
        let zone = |org_id| governance.orgs.get(org_id).map_or("UTC", |org| &*org.time_zone);
        let quotas = governance.quotas.iter();
        quotas.map(|quota| (&quota.id, quota.definition(zone(&quota.org_id)))).collect()
    }
    !definitions(next).is_subset(&definitions(previous))
}

/// Takes what did not change over from the snapshot before, so that its caches stay warm, and compiles what did, away from
/// the threads that serve requests.
///
/// Fails when the compiler panics; then nothing is published: no request may be judged by policies that are not those of its
/// revision.
async fn compiled(mut next: Snapshot, previous: Arc<Snapshot>) -> Result<Snapshot, JoinError> {
    if Arc::ptr_eq(&next.governance, &previous.governance) || next.governance == previous.governance {
        next.governance = Arc::clone(&previous.governance);
        next.policies = Arc::clone(&previous.policies);
        return Ok(next);
    }
    if next.governance.policies == previous.governance.policies {
        next.policies = Arc::clone(&previous.policies);
        return Ok(next);
    }
    let governance = Arc::clone(&next.governance);
    let compile = move || CompiledPolicies::compile(&governance, Some(&previous.policies));
    next.policies = Arc::new(tokio::task::spawn_blocking(compile).await?);
    for (policy_id, fault) in next.policies.faults() {
        tracing::error!(%policy_id, fault, "a stored policy does not compile; it follows its on_error");
    }
    Ok(next)
}
