//! Against a scripted control plane on a real socket.

mod delivery;
mod demand;
mod restart;
mod scripted;
mod watching;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use mindweave_eventlog::{Journal, JournalConfig};
use mindweave_metering::ProjectId;
use mindweave_policy::{
    AdmissionControl, ProjectEntry, Secret, Snapshot, SnapshotDiff, SnapshotStore, SnapshotWire, UsageFeed,
    WatchLine,
};
use tokio::time::{Duration, sleep, timeout};

use self::scripted::Scripted;
use super::*;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
const TOKEN: &str = "token-of-the-proxies";

/// A proxy's side of the watch with everything that it keeps.
struct Side {
    folder: tempfile::TempDir,
    journal: Journal,
    snapshots: Arc<SnapshotStore>,
    authority: Option<PathBuf>,
    admission: Option<Arc<AdmissionControl>>,
    remote: Option<RemoteControlPlane>,
}

impl Side {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(&folder.path().join("journal"));
        let snapshots = Arc::new(SnapshotStore::new(Snapshot::default()));
        Self { folder, journal, snapshots, authority: None, admission: None, remote: None }
    }

    /// Begins to watch, as a fresh process does.
    fn start(&mut self, url: &str) -> &RemoteControlPlane {
        self.snapshots = Arc::new(SnapshotStore::new(Snapshot::default()));
        let admission = Arc::new(AdmissionControl::new(self.journal.id().into(), Instant::now()));
        self.admission = Some(Arc::clone(&admission));
        let config = RemoteConfig {
            url: url.to_owned(),
            token: Secret::new(TOKEN.to_owned()),
            extra_ca_file: self.authority.clone(),
            certificate: None,
            folder: self.folder.path().to_path_buf(),
        };
        let remote =
            RemoteControlPlane::start(&config, self.journal.clone(), Arc::clone(&self.snapshots), admission);
        self.remote.insert(remote.unwrap())
    }

    async fn stop(&mut self) {
        if let Some(remote) = self.remote.take() {
            timeout(PATIENCE, remote.shutdown()).await.unwrap();
        }
    }

    async fn in_force(&self, revision: u64) -> Arc<Snapshot> {
        eventually(&format!("revision {revision} is in force"), || {
            let snapshot = self.snapshots.load();
            (snapshot.revision == revision).then_some(snapshot)
        })
        .await
    }
}

fn journal(folder: &Path) -> Journal {
    let config = JournalConfig { segment_bytes: 64 << 10, ..JournalConfig::new(folder) };
    Journal::open(config).unwrap().0
}

async fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            match condition() {
                Some(value) => break value,
                None => sleep(Duration::from_millis(5)).await, // between two looks
            }
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("gave up waiting until {what}"))
}

/// A snapshot with one project of this name.
fn snapshot(revision: u64, project: &str) -> Snapshot {
    let entry =
        ProjectEntry { name: project.into(), upstream_key: Some(Secret::new("sk-ant-upstream".to_owned())) };
    Snapshot {
        revision,
        projects: [(ProjectId::new("prj_1".to_owned()), entry)].into_iter().collect(),
        ..Snapshot::default()
    }
}

fn name_in(snapshot: &Snapshot) -> String {
    snapshot.projects.values().map(|project| project.name.to_string()).collect()
}

fn whole(snapshot: &Snapshot) -> Vec<u8> {
    let wire = SnapshotWire::of(snapshot, "lineage-1".into());
    WatchLine::Snapshot(Box::new(wire)).encode().unwrap()
}

fn change(from: &Snapshot, to: &Snapshot) -> Vec<u8> {
    WatchLine::Change(Box::new(SnapshotDiff::between(from, to))).encode().unwrap()
}

fn figures() -> Vec<u8> {
    let feed = UsageFeed { full: true, as_of: crate::clock::now(), live_proxies: 1, ..UsageFeed::default() };
    WatchLine::Usage(feed).encode().unwrap()
}
