//! What proxies know: built from the database, published at every change.
//!
//! Every change raises the revision in its own transaction and publishes before its answer is sent, so that it is in force
//! when the API says so. A task looks at the revision twice a second besides: it catches a change whose handler was cut
//! off between commit and publication, and one whose publication failed.

mod store;

use std::sync::Arc;

use mindweave_metering::ProjectId;
use mindweave_policy::SnapshotStore;
use tokio::sync::Mutex;

use crate::app::Home;
use crate::db::{Db, StoreError};
use crate::http::problem::chain;
use crate::secrets::MasterKey;

pub(crate) use store::revision_raise;

/// Builds and publishes snapshots.
#[derive(Debug)]
pub(crate) struct Publisher {
    db: Db,
    master_key: MasterKey,
    home: Arc<Home>,
    snapshots: Arc<SnapshotStore>,
    building: Mutex<()>,
}

/// Why the first snapshot could not be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FirstSnapshotError {
    #[error(transparent)]
    Store(#[from] StoreError),
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
        let built = store::snapshot_build(&db, &master_key, &home).await?;
        if let Some(project_id) = built.unreadable.into_iter().next() {
            return Err(FirstSnapshotError::MasterKey(project_id));
        }
        let snapshots = Arc::new(SnapshotStore::new(built.snapshot));
        Ok(Self { db, master_key, home, snapshots, building: Mutex::new(()) })
    }

    /// Where proxies read.
    pub(crate) fn snapshots(&self) -> Arc<SnapshotStore> {
        Arc::clone(&self.snapshots)
    }

    /// Returns once a snapshot of at least this revision is in force. Concurrent changes share one build.
    ///
    /// A failure is logged and left to the next look: the change is committed and cannot be taken back.
    pub(crate) async fn publish_through(&self, revision: u64) {
        let _turn = self.building.lock().await;
        if self.snapshots.load().revision >= revision {
            return;
        }
        if let Err(error) = self.publish().await {
            tracing::error!(error = %chain(&error), revision, "snapshot not published; trying again shortly");
        }
    }

    /// Publishes when the database is ahead of what is in force.
    pub(crate) async fn catch_up(&self) {
        match store::revision_view(&self.db).await {
            Ok(revision) => self.publish_through(revision).await,
            Err(error) => tracing::error!(error = %chain(&error), "snapshot revision not read"),
        }
    }

    async fn publish(&self) -> Result<(), StoreError> {
        let built = store::snapshot_build(&self.db, &self.master_key, &self.home).await?;
        for project_id in built.unreadable {
            tracing::error!(%project_id, "upstream key does not open; the project's keys are refused");
        }
        tracing::debug!(revision = built.snapshot.revision, "snapshot published");
        self.snapshots.publish(built.snapshot);
        Ok(())
    }
}
