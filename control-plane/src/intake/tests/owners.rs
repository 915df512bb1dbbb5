use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::*;

fn event(more: &Value) -> Value {
    let mut event = json!({ "model": "m", "input_tokens": 1, "output_tokens": 1 });
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

#[test]
fn events_belong_to_the_project_of_their_key_and_cannot_say_otherwise() {
    let office = Office::new();
    let holder = office.holder();
    let own =
        office.accept(&holder, &event(&json!({ "project": "prj_1", "key": "key_1", "user_id": "usr_9" })));
    assert_eq!((&own["project_id"], &own["user_id"]), (&json!("prj_1"), &json!("usr_9")));
    for (field, value) in [
        ("project_id", json!("prj_2")),
        ("org_id", json!("org_2")),
        ("team_id", json!("team_2")),
        ("key_id", json!("key_2")),
    ] {
        assert_eq!(office.refuse(&holder, &event(&json!({ field: value }))), [format!("/{field}")]);
    }
    let labels = json!({ "metadata": { "cost_centre": "43", "run": "7" } });
    assert_eq!(office.refuse(&holder, &event(&labels)), ["/metadata/cost_centre"]);
}

#[test]
fn an_admin_names_the_project_or_a_key_of_it() {
    let office = Office::new();
    let admin = admin();
    assert_eq!(office.refuse(&admin, &event(&json!({}))), ["/project_id"]);
    assert_eq!(office.refuse(&admin, &event(&json!({ "project_id": "prj_9" }))), ["/project_id"]);
    assert_eq!(office.accept(&admin, &event(&json!({ "project_id": "prj_2" })))["project_id"], "prj_2");
    let of_key = office.accept(&admin, &event(&json!({ "key_id": "key_1" })));
    assert_eq!((&of_key["project_id"], &of_key["team_id"]), (&json!("prj_1"), &json!("team_1")));
    let other = event(&json!({ "key_id": "key_1", "project_id": "prj_2" }));
    assert_eq!(office.refuse(&admin, &other), ["/project_id"]);
}

#[test]
fn a_key_is_found_in_each_of_its_places_and_only_while_it_is_in_force() {
    let mut snapshot = snapshot();
    let expired = snapshot.keys[&Fingerprint::of(b"mw_1")].clone();
    snapshot.keys.insert(Fingerprint::of(b"mw_old"), KeyEntry { expires_at: Some(ago(1)), ..expired });
    // Whether it is a key; `None` when nothing is good.
    let who = |headers: &[(&'static str, &'static str)]| {
        let named = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let headers: HeaderMap = named.collect();
        let found = Credential::of(&headers, &snapshot, clock::now());
        found.ok().map(|found| matches!(found, Credential::Key(_)))
    };
    for headers in [
        [("x-api-key", "mw_1")].as_slice(),
        &[("x-mindweave-key", "mw_1")],
        &[("authorization", "Bearer mw_1")],
        &[("x-api-key", "sk-ant-api03-own"), ("x-mindweave-key", "mw_1")],
        &[("x-api-key", "mw_1"), ("authorization", "Bearer mwp_1")],
    ] {
        assert_eq!(who(headers), Some(true), "{headers:?}");
    }
    for headers in [
        [("authorization", "bearer the-admin-token")].as_slice(),
        &[("x-api-key", "mw_2"), ("authorization", "Bearer mwp_1")],
    ] {
        assert_eq!(who(headers), Some(false), "{headers:?}");
    }
    for headers in [
        [].as_slice(),
        &[("x-api-key", "mw_2")],
        &[("x-api-key", "mw_old")],
        &[("authorization", "Basic mw_1")],
    ] {
        assert_eq!(who(headers), None, "{headers:?}");
    }
}

#[test]
fn whoever_delivers_for_some_projects_reaches_no_other_by_its_id_or_by_a_key_of_it() {
    let office = Office::new();
    let projects = HashMap::from([(ProjectId::new("prj_2"), OrgId::new("org_2"))]);
    let member = Caller::Member { id: "usr_1".into(), projects: Arc::new(projects) };
    for foreign in [
        json!({ "project_id": "prj_1" }),
        json!({ "key_id": "key_1" }),
        json!({ "project_id": "prj_1", "key_id": "key_1" }),
        json!({ "project_id": "prj_1", "org_id": "org_1" }),
    ] {
        assert_eq!(office.refuse(&member, &event(&foreign)), ["/project_id"], "{foreign}");
    }
    let own = office.accept(&member, &event(&json!({ "project_id": "prj_2", "key_id": "key_1" })));
    assert_eq!(
        (&own["org_id"], &own["team_id"]),
        (&json!("org_2"), &Value::Null),
        "nothing of the foreign key"
    );
    let other_org = event(&json!({ "project_id": "prj_2", "org_id": "org_1" }));
    assert_eq!(office.refuse(&member, &other_org), ["/org_id"]);
    let ids = |caller: &Caller| {
        let taken = office.try_take(caller, Some("run-7"), &[event(&json!({ "project_id": "prj_2" }))]);
        taken.unwrap().events[0].event_id
    };
    assert_ne!(ids(&member), ids(&admin()), "the same idempotency key of somebody else is another one");
}

#[test]
fn events_older_than_their_project_keeps_them_are_refused_as_nobody_knows_whether_they_came_before() {
    let office = Office::with(|snapshot| {
        let rules = ProjectRules { raw_days: Some(1), ..ProjectRules::default() };
        snapshot.project_rules.insert(ProjectId::new("prj_2"), Arc::new(rules));
    });
    let old = |project: &str, hours: i64| {
        event(&json!({ "project_id": project, "timestamp": ago(hours * 3_600).to_string() }))
    };
    office.accept(&admin(), &old("prj_1", 30));
    office.accept(&admin(), &old("prj_2", 20));
    assert_eq!(office.refuse(&admin(), &old("prj_2", 30)), ["/timestamp"]);
}
