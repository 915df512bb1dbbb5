//! A proxy on a free port with a journal of its own, and the events that it wrote.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use mindweave_eventlog::{Journal, JournalConfig, ReadLimits, Sequence, Tail};
use mindweave_metering::{Envelope, OrgId, PriceBook, ProjectId, UsageEvent};
use mindweave_policy::{AdmissionControl, Principal, Snapshot, SnapshotStore};
use mindweave_proxy::{Proxy, ProxyConfig, ProxyDeps, Unregistered};
use tokio::time::timeout;

use crate::governed::admission;
use crate::wire::DEADLINE;

pub(crate) struct TestProxy {
    pub(crate) address: SocketAddr,
    pub(crate) snapshots: Arc<SnapshotStore>,
    pub(crate) admission: Arc<AdmissionControl>,
    pub(crate) journal: Journal,
    pub(crate) proxy: Proxy,
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) fn principal(project: &str) -> Arc<Principal> {
    Arc::new(Principal {
        org_id: OrgId::new("org_test"),
        project_id: ProjectId::new(project),
        team_id: None,
        user_id: None,
        key_id: None,
        roles: Vec::new(),
        labels: [(Arc::from("cost_centre"), Arc::from("42"))].into(),
    })
}

/// A snapshot in which everybody belongs to the default project.
pub(crate) fn open_snapshot() -> Snapshot {
    Snapshot { revision: 7, default_principal: Some(principal("prj_default")), ..Snapshot::default() }
}

fn journal_config(dir: &Path) -> JournalConfig {
    let mut config = JournalConfig::new(dir);
    config.segment_bytes = 4 << 20; // many tests run at once, and segments are allocated ahead
    config
}

pub(crate) fn deps(dir: &Path, snapshots: Arc<SnapshotStore>) -> ProxyDeps {
    deps_with(journal_config(dir), snapshots)
}

fn deps_with(journal: JournalConfig, snapshots: Arc<SnapshotStore>) -> ProxyDeps {
    let (journal, recovery) = Journal::open(journal).unwrap();
    let admission = admission(journal.id());
    ProxyDeps { snapshots, journal, recovery, prices: Arc::new(PriceBook::bundled().unwrap()), admission }
}

impl TestProxy {
    pub(crate) async fn start(upstream: SocketAddr) -> Self {
        Self::with(upstream, "", |_| {}).await
    }

    pub(crate) async fn with(
        upstream: SocketAddr,
        path: &str,
        adjust: impl FnOnce(&mut ProxyConfig),
    ) -> Self {
        Self::in_dir(tempfile::tempdir().unwrap(), &format!("http://{upstream}{path}"), adjust).await
    }

    pub(crate) async fn in_dir(
        dir: tempfile::TempDir,
        upstream: &str,
        adjust: impl FnOnce(&mut ProxyConfig),
    ) -> Self {
        let journal = journal_config(dir.path());
        Self::with_journal(dir, journal, upstream, adjust).await
    }

    pub(crate) async fn with_journal(
        dir: tempfile::TempDir,
        journal: JournalConfig,
        upstream: &str,
        adjust: impl FnOnce(&mut ProxyConfig),
    ) -> Self {
        let mut config = ProxyConfig::new(upstream);
        config.server.listen = vec!["127.0.0.1:0".parse().unwrap()];
        config.admin_listen = "127.0.0.1:0".parse().unwrap();
        config.unregistered = Unregistered::DefaultProject;
        adjust(&mut config);
        let snapshots = Arc::new(SnapshotStore::new(open_snapshot()));
        let deps = deps_with(journal, Arc::clone(&snapshots));
        let (journal, admission) = (deps.journal.clone(), Arc::clone(&deps.admission));
        let proxy = Proxy::start(config, deps).await.unwrap();
        Self { address: proxy.local_addr(), snapshots, admission, journal, proxy, dir }
    }

    /// The events in the journal from its beginning, and then as they come.
    pub(crate) fn event_stream(&self) -> EventStream {
        EventStream(self.journal.tail(Sequence::ZERO))
    }

    /// The first `count` events in the journal. Fails if they do not come in time.
    pub(crate) async fn events(&self, count: usize) -> Vec<UsageEvent> {
        let mut stream = self.event_stream();
        let mut events = Vec::new();
        while events.len() < count {
            events.push(stream.next().await);
        }
        events
    }

    /// The same, with those that are no requests.
    pub(crate) async fn events_of_all_kinds(&self, count: usize) -> Vec<UsageEvent> {
        let mut stream = self.event_stream();
        let mut events = Vec::new();
        while events.len() < count {
            events.push(stream.next_envelope().await.data);
        }
        events
    }

    /// The only event of the only request so far.
    pub(crate) async fn event(&self) -> UsageEvent {
        let event = self.event_stream().next().await;
        assert_eq!(self.record_count(), 2, "one admitted record and exactly one event");
        event
    }

    /// How many records of both kinds the journal has taken by now.
    pub(crate) fn record_count(&self) -> u64 {
        self.journal.stats().appended_records
    }
}

pub(crate) struct EventStream(Tail);

const ONE: ReadLimits = ReadLimits { max_records: 1, max_bytes: usize::MAX };

impl EventStream {
    /// The next request's event.
    pub(crate) async fn next(&mut self) -> UsageEvent {
        loop {
            let envelope = self.next_envelope().await;
            match &*envelope.kind {
                "usage.api_call" => return envelope.data,
                "usage.mcp_tool" => {}
                other => panic!("an event of type {other}"),
            }
        }
    }

    pub(crate) async fn next_envelope(&mut self) -> Envelope<UsageEvent> {
        let mut events =
            timeout(DEADLINE, self.0.next(ONE)).await.expect("no event within the deadline").unwrap();
        let (_, payload) = events.records.remove(0);
        let envelope: Envelope<UsageEvent> = serde_json::from_slice(&payload).unwrap();
        assert_eq!(envelope.id, envelope.data.event_id);
        envelope
    }
}
