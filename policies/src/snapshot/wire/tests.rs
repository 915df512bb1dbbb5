use serde_json::{Value, json};

use super::*;
use crate::snapshot::rules::CredentialForm;

fn heartbeat() -> WatchLine {
    let at = Timestamp::from_second(1_800_000_000).unwrap();
    WatchLine::Heartbeat(Heartbeat { at, revision: 7, live_proxies: 3 })
}

fn changed(line: &WatchLine, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut value: Value = serde_json::from_slice(&line.encode().unwrap()).unwrap();
    change(&mut value);
    serde_json::to_vec(&value).unwrap()
}

fn rules() -> ProjectRules {
    ProjectRules { credential_forms: Some(vec![CredentialForm::OauthToken]), ..ProjectRules::default() }
}

fn snapshot() -> WatchLine {
    let project =
        ProjectEntry { name: "bot".into(), upstream_key: Some(Secret::new("sk-ant-secret".into())) };
    let snapshot = Snapshot {
        revision: 7,
        projects: [(ProjectId::new("prj_1"), project)].into(),
        project_rules: [(ProjectId::new("prj_1"), Arc::new(rules()))].into(),
        ..Snapshot::default()
    };
    WatchLine::Snapshot(Box::new(SnapshotWire::of(&snapshot, "run".into())))
}

#[test]
fn every_line_is_one_line_of_json_with_type_and_version() {
    for (line, kind) in [
        (heartbeat(), "heartbeat"),
        (snapshot(), "snapshot"),
        (WatchLine::Usage(UsageFeed::default()), "usage"),
    ] {
        let text = String::from_utf8(line.encode().unwrap()).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["type"], &value["version"]), (&json!(kind), &json!(WIRE_VERSION)));
        assert_eq!(WatchLine::decode(text.as_bytes()).unwrap(), line);
    }
}

#[test]
fn fields_and_types_of_a_newer_control_plane_are_passed_over() {
    let newer = changed(&snapshot(), |line| {
        line["carbon"] = json!({ "grams": 12 });
        line["projects"][0]["colour"] = json!("red");
        line["governance"]["alerts"] = json!([]);
    });
    assert_eq!(WatchLine::decode(&newer).unwrap(), snapshot());
    let unknown = changed(&heartbeat(), |line| line["type"] = json!("weather"));
    assert_eq!(WatchLine::decode(&unknown).unwrap(), WatchLine::Unknown);
}

#[test]
fn a_form_of_credentials_that_only_a_newer_control_plane_knows_admits_nobody() {
    let newer = changed(&snapshot(), |line| {
        line["project_rules"][0]["rules"]["credential_forms"] = json!(["passport"]);
    });
    let WatchLine::Snapshot(wire) = WatchLine::decode(&newer).unwrap() else { panic!("a snapshot") };
    let snapshot = wire.into_snapshot(None);
    let forms = snapshot.project_rules[&ProjectId::new("prj_1")].credential_forms.as_deref();
    assert_eq!(forms, Some([CredentialForm::Unknown].as_slice()));
    assert!(!CredentialForm::ALL.contains(&CredentialForm::Unknown));
}

#[test]
fn a_line_of_another_version_is_refused_before_anything_of_it_is_read() {
    let later = changed(&snapshot(), |line| {
        line["version"] = json!(WIRE_VERSION + 1);
        line["keys"] = json!("in another form");
    });
    let refused = WatchLine::decode(&later).unwrap_err();
    assert_eq!(refused, WireError::Version { theirs: WIRE_VERSION + 1 });
    assert!(refused.to_string().contains("upgrade"), "{refused}");
}

#[test]
fn what_is_malformed_is_refused_without_repeating_it() {
    let broken = changed(&snapshot(), |line| line["projects"][0]["id"] = json!(12));
    for line in [&b"{"[..], b"\xff", b"[]", b"{\"type\":\"snapshot\"}", &broken] {
        let refused = WatchLine::decode(line).unwrap_err();
        assert!(matches!(refused, WireError::Malformed { .. }), "{refused}");
        assert!(!format!("{refused}{refused:?}").contains("sk-ant"));
    }
}

#[test]
fn the_debug_form_shows_no_upstream_key() {
    assert!(!format!("{:?}", snapshot()).contains("sk-ant-secret"));
}

#[test]
fn fingerprints_are_sixty_four_hexadecimal_digits() {
    let fingerprint = Fingerprint::of(b"mw_key");
    assert_eq!(hexadecimal::parse(&hexadecimal::text(&fingerprint)), Some(fingerprint));
    for text in ["", "0", "zz", &"0".repeat(63), &"0".repeat(66), &"é".repeat(32)] {
        assert_eq!(hexadecimal::parse(text), None, "{text}");
    }
}
