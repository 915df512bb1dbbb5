//! Tokens that are made, limited, bound and revoked.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::apart::{ControlPlane, PROXY_TOKEN, Proxy};
use crate::harness::eventually;
use crate::harness::governed::Call;
use crate::harness::ledger::Ledger;
use crate::harness::simulator::Simulator;
use crate::pki::Secured;

/// The promise is a second; the rest is for the machine to notice in.
const CUT_OFF_WITHIN: Duration = Duration::from_secs(3);

/// Makes a token; returns its id and its secret.
pub(crate) fn make(ledger: &Ledger, request: &Value) -> (String, String) {
    let made = ledger.post("/proxies/tokens", request);
    let text = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("{name} in {made:#}")).to_owned();
    (text("id"), text("secret"))
}

pub(crate) fn connected(proxy: &Proxy) -> bool {
    proxy.metric("mindweave_control_plane_connected") == Some(1.0)
}

#[test]
fn a_proxy_works_with_a_token_of_its_own_until_that_is_revoked_and_others_go_on() {
    let simulator = Simulator::start();
    let control_plane = ControlPlane::start();
    let ledger = control_plane.ledger();
    let (project, key) = ledger.project_with_key("tokens");
    let scopes = json!({ "name": "eu-1", "scopes": ["watch", "deliver"] });
    let (id, secret) = make(&ledger, &scopes);
    let (next_id, next) = make(&ledger, &scopes);
    let one = Proxy::start_with(&simulator.url(), &control_plane, &[("MINDWEAVE_PROXY_TOKEN", &secret)]);
    let other = Proxy::start_with(&simulator.url(), &control_plane, &[("MINDWEAVE_PROXY_TOKEN", &next)]);
    for proxy in [&one, &other] {
        assert_eq!(Call::to(proxy.addr, &key).send().status(), 200);
    }
    ledger.await_events(&format!("project_id={project}"), 2);
    let shown = ledger.get(&format!("/proxies/tokens/{id}"));
    assert!(shown["last_used_at"].is_string() && shown["revoked_at"].is_null(), "{shown:#}");
    assert!(shown.get("secret").is_none() && secret.ends_with(shown["hint"].as_str().expect("a hint")));

    let revoked = Instant::now();
    ledger.delete(&format!("/proxies/tokens/{id}"));
    eventually("the watch of the revoked token is over", || (!connected(&one)).then_some(()));
    assert!(revoked.elapsed() < CUT_OFF_WITHIN, "{:?}", revoked.elapsed());
    eventually("the log says why", || {
        one.process.log().contains("does not accept this proxy token").then_some(())
    });
    assert_eq!(Call::to(one.addr, &key).send().status(), 200, "traffic goes on by what was said last");
    assert!(connected(&other));
    assert!(ledger.get(&format!("/proxies/tokens/{id}"))["revoked_at"].is_string());
    let listed = ledger.get("/proxies/tokens");
    let ids: Vec<_> = listed["data"].as_array().expect("a list").iter().map(|token| &token["id"]).collect();
    assert_eq!(ids, [&Value::from(id), &Value::from(next_id)]);
    for log in [one.process.log(), other.process.log(), control_plane.process.log()] {
        assert!(!log.contains(&secret) && !log.contains(&next), "a token stands in a log:\n{log}");
    }
}

#[test]
fn a_token_that_expires_ends_its_watch_without_anybody_doing_anything() {
    let simulator = Simulator::start();
    let control_plane = ControlPlane::start();
    let ledger = control_plane.ledger();
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(6);
    let request = json!({ "name": "short", "scopes": ["watch", "deliver"], "expires_at": end.to_string() });
    let (_, secret) = make(&ledger, &request);
    let proxy = Proxy::start_with(&simulator.url(), &control_plane, &[("MINDWEAVE_PROXY_TOKEN", &secret)]);
    assert!(connected(&proxy));
    eventually("the watch is over", || (!connected(&proxy)).then_some(()));
    let late = jiff::Timestamp::now().duration_since(end);
    assert!(!late.is_negative() && late < jiff::SignedDuration::from_secs(3), "{late:?}");
}

#[test]
fn a_token_does_what_its_scopes_say_and_nothing_else() {
    let simulator = Simulator::start();
    let control_plane = ControlPlane::start();
    let ledger = control_plane.ledger();
    let (project, key) = ledger.project_with_key("scopes");
    let (_, watching) = make(&ledger, &json!({ "name": "watching", "scopes": ["watch"] }));
    let (_, delivering) = make(&ledger, &json!({ "name": "delivering", "scopes": ["deliver"] }));
    let token = [("MINDWEAVE_PROXY_TOKEN", watching.as_str())];
    let watcher = Proxy::start_with(&simulator.url(), &control_plane, &token);
    assert_eq!(Call::to(watcher.addr, &key).send().status(), 200);
    eventually("the delivery is refused", || {
        watcher.process.log().contains("it lacks the scope").then_some(())
    });
    assert_eq!(ledger.events(&format!("project_id={project}")).len(), 0);
    let token = [("MINDWEAVE_PROXY_TOKEN", delivering.as_str())];
    let blind = Proxy::start_unready(&simulator.url(), &control_plane.gate.url(), &token);
    eventually("the watch is refused", || blind.process.log().contains("it lacks the scope").then_some(()));
    assert_eq!(blind.health().0, 503);
}

#[test]
fn what_a_token_is_to_be_is_checked_field_by_field() {
    let control_plane = ControlPlane::start();
    let ledger = control_plane.ledger();
    for (request, field) in [
        (json!({ "scopes": ["watch"] }), "name"),
        (json!({ "name": "x" }), "scopes"),
        (json!({ "name": "x", "scopes": [] }), "scopes"),
        (json!({ "name": "x", "scopes": ["admin"] }), "scopes"),
        (json!({ "name": "x", "scopes": ["watch"], "expires_at": "2020-01-01T00:00:00Z" }), "expires_at"),
        (json!({ "name": "x", "scopes": ["watch"], "secret": "mine" }), "secret"),
    ] {
        let (status, problem) = ledger.refused("/proxies/tokens", &request);
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &field.into()), "{problem:#}");
    }
    // A proxy cannot make itself another token.
    let proxys = Ledger::new(control_plane.api, PROXY_TOKEN);
    let (status, _) = proxys.refused("/proxies/tokens", &json!({ "name": "x", "scopes": ["watch"] }));
    assert_eq!(status, 401);
}

#[test]
fn a_token_bound_to_a_name_works_with_the_certificate_of_that_name_only() {
    let simulator = Simulator::start();
    let secured = Secured::start();
    let ledger = secured.ledger();
    let (project, key) = ledger.project_with_key("bound");
    let request = json!({
        "name": "first", "scopes": ["watch", "deliver"], "certificate_name": "proxy-1.internal",
    });
    let (_, secret) = make(&ledger, &request);
    let token = [("MINDWEAVE_PROXY_TOKEN", secret.as_str())];
    let proxy = secured.proxy(&simulator.url(), &token);
    assert_eq!(Call::to(proxy.addr, &key).send().status(), 200);
    ledger.await_events(&format!("project_id={project}"), 1);
    secured.files.put_pair("second", &secured.proxies.proxy("proxy-2.internal"));
    let thief = secured.unready_proxy(&simulator.url(), "second", &token);
    eventually("the log says why", || {
        let words = "accepts this proxy token from the certificate of another name only";
        thief.process.log().contains(words).then_some(())
    });
    assert_eq!(thief.health().0, 503);
    let series = "mindweave_control_plane_refused_proxy_requests_total{reason=\"certificate_name\"}";
    assert!(secured.metric(series) >= Some(1.0));
}
