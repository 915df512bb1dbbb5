use axum::http::{HeaderMap, HeaderName, HeaderValue};
use mindweave_policy::Secret;
use serde_json::{Value, json};

use super::*;
use crate::http::auth::AdminToken;

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
    let admin = Caller::Admin;
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
    let admin = AdminToken::new(&Secret::new("the-admin-token".into())).unwrap();
    let who = |headers: &[(&'static str, &'static str)]| {
        let named = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let headers: HeaderMap = named.collect();
        Caller::of(&headers, &admin, &snapshot, clock::now())
    };
    for headers in [
        [("x-api-key", "mw_1")].as_slice(),
        &[("x-mindweave-key", "mw_1")],
        &[("authorization", "Bearer mw_1")],
        &[("x-api-key", "sk-ant-api03-own"), ("x-mindweave-key", "mw_1")],
    ] {
        assert!(matches!(who(headers), Ok(Caller::Key(_))), "{headers:?}");
    }
    assert!(matches!(who(&[("authorization", "bearer the-admin-token")]), Ok(Caller::Admin)));
    for headers in [
        [].as_slice(),
        &[("x-api-key", "mw_2")],
        &[("x-api-key", "mw_old")],
        &[("x-api-key", "sk-ant-api03-own")],
        &[("authorization", "Basic mw_1")],
        &[("authorization", "Bearer the-admin-toke")],
    ] {
        assert!(who(headers).is_err(), "{headers:?}");
    }
}
