//! The control plane's word at the proxy.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::apart::{ControlPlane, Proxy};
use crate::harness::eventually;
use crate::harness::governed::Call;
use crate::harness::http::{self, Message};
use crate::harness::simulator::Simulator;

/// The promise: a change is in force at every connected proxy within this time.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(1);

/// Calls until the answer has this status; fails when that takes longer than promised.
fn in_force(what: &str, call: &Call, status: u16) -> Message {
    let changed = Instant::now();
    let answer = eventually(what, || {
        let answer = call.send();
        (answer.status() == status).then_some(answer)
    });
    let took = changed.elapsed();
    assert!(took <= IN_FORCE_WITHIN, "{what} took {took:?}");
    answer
}

fn reason(answer: &Message) -> String {
    answer.header("mindweave-reason").unwrap_or_default()
}

#[test]
fn a_call_through_a_proxy_of_its_own_is_in_the_ledger_once() {
    let simulator = Simulator::start();
    let control_plane = ControlPlane::start();
    let proxy = Proxy::start(&simulator.url(), &control_plane);
    let ledger = control_plane.ledger();
    let (project, key) = ledger.project_with_key("apart");
    in_force("a new key", &Call::to(proxy.addr, &key), 200);
    let steered = Call::to(proxy.addr, &key).simulate("input_tokens=120; output_tokens=34");
    assert_eq!(steered.send().status(), 200);
    let event = eventually("the call is in the ledger", || {
        let events = ledger.events(&format!("project_id={project}"));
        events.into_iter().find(|event| event["output_tokens"] == 34)
    });
    assert_eq!(event["input_tokens"], 120, "{event:#}");
    assert_eq!(event["cost_nano_usd"], 120 * 5_000 + 34 * 25_000, "{event:#}");
    let answered = eventually("the proxy counts what the ledger has", || {
        let events = ledger.events(&format!("project_id={project}&outcome=complete"));
        let shipped = proxy.metric("mindweave_journal_shipped_records_total")?;
        (f64::from(u32::try_from(ledger.events("").len()).ok()?) - shipped == 0.0).then_some(events)
    });
    let ids: std::collections::BTreeSet<_> =
        answered.iter().map(|event| event["event_id"].to_string()).collect();
    assert_eq!(ids.len(), answered.len());
}

#[test]
fn each_process_has_health_and_metrics_of_its_own() {
    let simulator = Simulator::start();
    let mut control_plane = ControlPlane::start();
    let proxy = Proxy::start(&simulator.url(), &control_plane);
    let page = |admin: SocketAddr, path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = http::exchange(admin, request.as_bytes()).expect("the admin port answers");
        (answer.status(), String::from_utf8_lossy(&answer.body).into_owned())
    };
    for admin in [control_plane.admin, proxy.admin] {
        assert_eq!(page(admin, "/health/ready"), (200, "ready\n".to_owned()));
        assert_eq!(page(admin, "/health/live").0, 200);
    }
    let (_, key) = control_plane.ledger().project_with_key("measured");
    in_force("a new key", &Call::to(proxy.addr, &key), 200);
    eventually("the control plane counts the event", || {
        let (_, metrics) = page(control_plane.admin, "/metrics");
        let counted = "mindweave_control_plane_ingested_events_total{result=\"new\"} 1";
        metrics.lines().any(|line| line == counted).then_some(())
    });
    assert_eq!(proxy.metric("mindweave_control_plane_connected"), Some(1.0));
    assert!(proxy.metric("mindweave_control_plane_snapshot_revision") > Some(0.0));
    assert!(control_plane.process.stop(), "{}", control_plane.process.log());
}

#[test]
fn keys_policies_limits_and_budgets_hold_at_the_proxy_within_a_second() {
    let simulator = Simulator::start();
    let control_plane = ControlPlane::start();
    let proxy = Proxy::start(&simulator.url(), &control_plane);
    let ledger = control_plane.ledger();
    let (project, key) = ledger.project_with_key("changes");
    let call = Call::to(proxy.addr, &key);
    in_force("a new key", &call, 200);

    let rego = "package no_opus\nimport rego.v1\ndeny contains {\"reason\": \"no_opus\", \"message\": \"not this model\"} if startswith(input.request.model, \"claude-opus\")\n";
    let policy = ledger.create(
        "/governance/policies",
        &json!({ "name": "no opus", "rego": rego, "mode": "enforce", "scope": { "project": project } }),
    );
    let denied = in_force("a new policy", &call, 403);
    assert_eq!(reason(&denied), "no_opus");
    ledger.patch(&format!("/governance/policies/{policy}"), &json!({ "mode": "off" }));
    in_force("a policy that is switched off", &call, 200);

    let limit = ledger.create(
        "/governance/limits",
        &json!({ "name": "one", "scope": { "project": project }, "metric": "requests_per_minute", "limit": 1 }),
    );
    let limited = in_force("a new limit", &call, 429);
    assert!(limited.header("retry-after").is_some(), "{limited:?}");
    ledger.delete(&format!("/governance/limits/{limit}"));
    in_force("a limit that is gone", &call, 200);

    let quota = ledger.create(
        "/governance/quotas",
        &json!({ "name": "spent", "scope": { "project": project }, "unit": "requests", "window": "month", "limit": 1 }),
    );
    let spent = in_force("a new budget, used up by what came before it", &call, 429);
    assert_eq!(spent.header("x-should-retry").as_deref(), Some("false"), "{spent:?}");
    ledger.patch(&format!("/governance/quotas/{quota}"), &json!({ "limit": 1_000_000 }));
    in_force("a larger budget", &call, 200);

    let keys = ledger.get(&format!("/projects/{project}/keys"));
    let id = keys["data"][0]["id"].as_str().expect("a key has an id").to_owned();
    ledger.delete(&format!("/projects/{project}/keys/{id}"));
    let revoked = in_force("a revoked key", &call, 401);
    assert_eq!(reason(&revoked), "key_unknown");
}

#[test]
fn what_was_used_at_one_proxy_counts_at_the_other_within_a_second() {
    let simulator = Simulator::start();
    let control_plane = ControlPlane::start();
    let proxies = [(); 2].map(|()| Proxy::start(&simulator.url(), &control_plane));
    let ledger = control_plane.ledger();
    let (project, key) = ledger.project_with_key("shared");
    let [one, other] = proxies.each_ref().map(|proxy| Call::to(proxy.addr, &key));
    in_force("a new key at the first proxy", &one, 200);
    in_force("a new key at the second proxy", &other, 200);
    let used = i64::try_from(ledger.await_events(&format!("project_id={project}"), 2).len()).expect("few");
    ledger.post(
        "/governance/quotas",
        &json!({ "name": "three more", "scope": { "project": project }, "unit": "requests", "window": "month", "limit": used + 3 }),
    );
    for _ in 0..3 {
        assert_eq!(one.send().status(), 200);
    }
    let spent = in_force("a budget that was used up at another proxy", &other, 429);
    let error: Value = serde_json::from_slice(&spent.body).expect("JSON");
    assert!(error["error"]["message"].as_str().expect("a message").contains("shared"), "{error:#}");
}
