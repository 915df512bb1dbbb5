use std::collections::BTreeMap;

use jiff::Timestamp;
use mindweave_metering::{KeyId, OrgId, PolicyId};
use proptest::collection::{btree_map, hash_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::Secret;
use crate::governance::{OnError, OrgEntry, PolicyMode, PolicySpec};
use crate::snapshot::rules::{CredentialForm, ProjectRules};
use crate::snapshot::wire::{SnapshotWire, WatchLine};
use crate::snapshot::{KeyEntry, ProjectEntry};
use crate::subject::{Subject, SubjectKind};

/// Few values of each kind, so that two snapshots share entries, differ in some and lack others.
fn principal() -> impl Strategy<Value = Arc<Principal>> {
    (0..3_u8, option::of(0..3_u8), btree_map("[ab]", "[xy]", 0..2)).prop_map(|(project, key, labels)| {
        Arc::new(Principal {
            org_id: OrgId::new("org_1"),
            project_id: ProjectId::new(format!("prj_{project}")),
            team_id: None,
            user_id: None,
            key_id: key.map(|key| KeyId::new(format!("key_{key}"))),
            roles: vec!["developer".into()],
            labels: labels
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect::<BTreeMap<_, _>>(),
        })
    })
}

fn fingerprint() -> impl Strategy<Value = Fingerprint> {
    (0..6_u8).prop_map(|byte| Fingerprint::of(&[byte]))
}

fn key() -> impl Strategy<Value = KeyEntry> {
    (principal(), option::of(0..2_i64)).prop_map(|(principal, expires)| KeyEntry {
        principal,
        expires_at: expires.map(|second| Timestamp::from_second(second).unwrap()),
    })
}

fn project() -> impl Strategy<Value = ProjectEntry> {
    ("[pq]", option::of("sk-ant-[ab]"))
        .prop_map(|(name, key)| ProjectEntry { name: name.into(), upstream_key: key.map(Secret::new) })
}

fn governance() -> impl Strategy<Value = Arc<Governance>> {
    ("UTC|Europe/Berlin", vec(0..3_u64, 0..3)).prop_map(|(zone, versions)| {
        let policy = |(number, version): (usize, u64)| {
            Arc::new(PolicySpec {
                id: PolicyId::new(format!("pol_{number}")),
                org_id: OrgId::new("org_1"),
                name: format!("policy {number}").into(),
                version,
                mode: PolicyMode::Enforce,
                scope: Subject { kind: SubjectKind::Org, id: Some("org_1".into()) },
                rego: "package p".into(),
                data: serde_json::json!({ "version": version }),
                on_error: OnError::Deny,
            })
        };
        Arc::new(Governance {
            orgs: [(OrgId::new("org_1"), OrgEntry { name: "Acme".into(), time_zone: zone.into() })].into(),
            policies: versions.into_iter().enumerate().map(policy).collect(),
            ..Governance::default()
        })
    })
}

fn snapshot(revision: u64) -> impl Strategy<Value = Snapshot> {
    (
        hash_map(fingerprint(), key(), 0..5),
        hash_map(fingerprint(), principal(), 0..5),
        hash_map((0..4_u8).prop_map(|id| ProjectId::new(format!("prj_{id}"))), project(), 0..4),
        hash_map((0..4_u8).prop_map(|id| ProjectId::new(format!("prj_{id}"))), rules(), 0..4),
        option::of(principal()),
        governance(),
    )
        .prop_map(
            move |(keys, client_credentials, projects, project_rules, default_principal, governance)| {
                Snapshot {
                    revision,
                    keys,
                    client_credentials,
                    projects,
                    project_rules,
                    default_principal,
                    governance,
                    policies: Arc::default(),
                }
            },
        )
}

fn rules() -> impl Strategy<Value = Arc<ProjectRules>> {
    let forms = option::of(proptest::sample::subsequence(CredentialForm::ALL.to_vec(), 0..=3));
    let names = proptest::sample::subsequence(vec!["team", "ticket"], 0..=2);
    (forms, names, option::of(1..9_u32)).prop_map(|(credential_forms, names, raw_days)| {
        let required_metadata = names.into_iter().map(Arc::from).collect();
        Arc::new(ProjectRules { credential_forms, required_metadata, raw_days })
    })
}

/// What two equal snapshots have in common; compiled policies have no equality.
fn content(snapshot: &Snapshot) -> SnapshotWire {
    SnapshotWire::of(snapshot, "lineage".into())
}

/// What a line says after its way through the wire.
fn sent(line: &WatchLine) -> WatchLine {
    WatchLine::decode(&line.encode().unwrap()).unwrap()
}

proptest! {
    #[test]
    fn a_change_leads_from_one_snapshot_to_the_other(from in snapshot(7), to in snapshot(9)) {
        let WatchLine::Change(diff) = sent(&WatchLine::Change(Box::new(SnapshotDiff::between(&from, &to)))) else {
            panic!("a change stays a change")
        };
        let next = diff.apply(&from).unwrap();
        prop_assert_eq!(content(&next), content(&to));
    }

    #[test]
    fn a_snapshot_arrives_as_it_was_sent(snapshot in snapshot(7)) {
        let WatchLine::Snapshot(wire) = sent(&WatchLine::Snapshot(Box::new(content(&snapshot)))) else {
            panic!("a snapshot stays a snapshot")
        };
        prop_assert_eq!(content(&wire.into_snapshot(None)), content(&snapshot));
    }

    #[test]
    fn nothing_is_sent_of_what_is_the_same(same in snapshot(7)) {
        let diff = SnapshotDiff::between(&same, &Snapshot { revision: 8, ..same.clone() });
        prop_assert_eq!(diff, SnapshotDiff { from: 7, revision: 8, ..SnapshotDiff::default() });
    }
}

#[test]
fn a_change_of_another_snapshot_is_refused() {
    let base = Snapshot { revision: 4, ..Snapshot::default() };
    let diff = SnapshotDiff { from: 3, revision: 5, ..SnapshotDiff::default() };
    assert_eq!(diff.apply(&base).unwrap_err(), WrongBase { from: 3, found: 4 });
}
