//! What becomes of events, without HTTP around them.

mod bills;
mod faults;
mod forms;
mod identities;
mod owners;
mod properties;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mindweave_eventlog::{Journal, JournalConfig, ReadLimits, Sequence};
use mindweave_metering::{KeyId, OrgId, PriceBook, ProjectId};
use mindweave_policy::{
    Fingerprint, KeyEntry, Principal, ProjectEntry, ProjectRules, Snapshot, SnapshotStore,
};
use serde_json::Value;
use tempfile::TempDir;

use super::answer::{EventAnswer, Status};
use super::caller::{Caller, Credential};
use super::desk::{Desk, Refusal, Taken};
use super::identity::IdempotencyKey;
use super::settings::EventIntake;
use crate::clock;

/// How long events are kept in these tests.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A desk with a journal of its own, the projects `prj_1` and `prj_2`, and the key `key_1` of the first.
struct Office {
    desk: Desk,
    journal: Journal,
    snapshot: Arc<Snapshot>,
    _folder: TempDir,
}

impl Office {
    fn new() -> Self {
        Self::with_journal(|config| config)
    }

    fn with_journal(change: impl FnOnce(JournalConfig) -> JournalConfig) -> Self {
        Self::of(change, snapshot())
    }

    /// Where something else is in force.
    fn with(change: impl FnOnce(&mut Snapshot)) -> Self {
        let mut snapshot = snapshot();
        change(&mut snapshot);
        Self::of(|config| config, snapshot)
    }

    fn of(change: impl FnOnce(JournalConfig) -> JournalConfig, snapshot: Snapshot) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = JournalConfig { segment_bytes: 1 << 20, ..JournalConfig::new(folder.path()) };
        let (journal, _) = Journal::open(change(config)).unwrap();
        let prices = Arc::new(PriceBook::bundled().unwrap());
        let snapshots = Arc::new(SnapshotStore::new(snapshot));
        let snapshot = snapshots.load();
        let intake = EventIntake { journal: journal.clone(), prices };
        let desk = Desk::new(intake, snapshots, KEPT);
        Self { desk, journal, snapshot, _folder: folder }
    }

    /// The holder of `key_1`.
    fn holder(&self) -> Caller {
        Caller::Key(Arc::clone(&self.snapshot.keys[&Fingerprint::of(b"mw_1")].principal))
    }

    fn try_take(&self, caller: &Caller, key: Option<&str>, events: &[Value]) -> Result<Taken, Refusal> {
        let texts: Vec<String> = events.iter().map(Value::to_string).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let key = key.map(|key| IdempotencyKey::new(caller.scope(), key.as_bytes()).unwrap());
        self.desk.take(&texts, caller, key.as_ref(), clock::now())
    }

    fn take(&self, caller: &Caller, events: &[Value]) -> Vec<EventAnswer> {
        self.try_take(caller, None, events).unwrap().events
    }

    /// Takes an event that must be accepted, and returns it as it is in the journal.
    fn accept(&self, caller: &Caller, event: &Value) -> Value {
        let answers = self.take(caller, std::slice::from_ref(event));
        assert_eq!(answers[0].status, Status::Accepted, "{:?}", answers[0].errors);
        self.stored().pop().unwrap()["data"].take()
    }

    /// Where an event that must be refused is wrong.
    fn refuse(&self, caller: &Caller, event: &Value) -> Vec<String> {
        let mut answers = self.take(caller, std::slice::from_ref(event));
        assert_eq!(answers[0].status, Status::Rejected, "{event}");
        answers.remove(0).errors.into_iter().map(|fault| fault.pointer).collect()
    }

    /// Everything in the journal.
    fn stored(&self) -> Vec<Value> {
        let events =
            self.journal.tail(Sequence::ZERO).read(ReadLimits { max_records: 10_000, max_bytes: 64 << 20 });
        events.records.iter().map(|(_, payload)| serde_json::from_slice(payload).unwrap()).collect()
    }
}

/// Whoever has the admin token.
fn admin() -> Caller {
    let projects = ["prj_1", "prj_2"].map(|id| (ProjectId::new(id), OrgId::new("org_1")));
    Caller::Member { id: "".into(), projects: Arc::new(projects.into()) }
}

fn snapshot() -> Snapshot {
    let principal = Principal {
        org_id: OrgId::new("org_1"),
        project_id: ProjectId::new("prj_1"),
        team_id: Some(mindweave_metering::TeamId::new("team_1")),
        user_id: None,
        key_id: Some(KeyId::new("key_1")),
        roles: Vec::new(),
        labels: BTreeMap::from([("cost_centre".into(), "42".into())]),
    };
    let project = |name: &str| ProjectEntry { name: name.into(), upstream_key: None };
    let projects = [("prj_1", "one"), ("prj_2", "two")].map(|(id, name)| (ProjectId::new(id), project(name)));
    let key = KeyEntry { principal: Arc::new(principal), expires_at: None };
    Snapshot {
        revision: 5,
        projects: projects.into_iter().collect(),
        keys: HashMap::from([(Fingerprint::of(b"mw_1"), key)]),
        ..Snapshot::default()
    }
}

fn ago(seconds: i64) -> Timestamp {
    clock::now() - SignedDuration::from_secs(seconds)
}
