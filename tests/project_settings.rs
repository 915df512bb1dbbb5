//! What a project asks of its requests, and what becomes of its keys, holds at a proxy that is a process of its own.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod harness;

use std::time::{Duration, Instant};

use harness::apart::{ControlPlane, Proxy};
use harness::eventually;
use harness::governed::{Call, error_message, json_of};
use harness::http::Message;
use harness::simulator::Simulator;
use serde_json::json;

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
fn a_project_takes_only_the_credentials_that_it_accepts() {
    let simulator = Simulator::start();
    let control_plane = ControlPlane::start();
    let proxy = Proxy::start(&simulator.url(), &control_plane);
    let ledger = control_plane.ledger();
    let (project, key) = ledger.project_with_key("strict");
    let (virtual_key, beside_own) = (Call::to(proxy.addr, &key), Call::to(proxy.addr, &key).with_own_key());
    in_force("a new key", &virtual_key, 200);
    assert_eq!(beside_own.send().status(), 200);

    let settings = format!("/projects/{project}/settings");
    ledger.patch(&settings, &json!({ "client_credentials": ["mindweave_key"] }));
    let refused = in_force("a client's own key that is not accepted", &beside_own, 403);
    assert_eq!(reason(&refused), "credential_form_not_accepted");
    assert_eq!(refused.header("x-should-retry").as_deref(), Some("false"));
    assert_eq!(json_of(&refused)["error"]["type"], "permission_error");
    assert!(error_message(&refused).contains("mindweave_key"), "{}", error_message(&refused));
    assert_eq!(virtual_key.send().status(), 200);

    ledger.patch(&settings, &json!({ "client_credentials": ["oauth_token"] }));
    in_force("a MindWeave key that is not accepted", &virtual_key, 403);
    ledger.patch(&settings, &json!({ "client_credentials": null }));
    in_force("the default again", &virtual_key, 200);
    assert_eq!(beside_own.send().status(), 200);

    let denied = eventually("what was refused is booked", || {
        let events = ledger.events(&format!("project_id={project}&outcome=denied"));
        events.into_iter().next()
    });
    assert_eq!(denied["decision"]["reasons"], json!(["credential_form_not_accepted"]), "{denied:#}");
}

#[test]
fn a_project_takes_only_requests_that_say_what_they_are_for_and_books_what_they_said() {
    let simulator = Simulator::start();
    let control_plane = ControlPlane::start();
    let proxy = Proxy::start(&simulator.url(), &control_plane);
    let ledger = control_plane.ledger();
    let (project, key) = ledger.project_with_key("allocated");
    let silent = Call::to(proxy.addr, &key);
    in_force("a new key", &silent, 200);
    let settings = format!("/projects/{project}/settings");
    ledger.patch(&settings, &json!({ "required_metadata": ["cost_centre", "ticket"] }));
    let refused = in_force("a request that says nothing", &silent, 400);
    assert_eq!(reason(&refused), "metadata_missing");
    assert_eq!(json_of(&refused)["error"]["type"], "invalid_request_error");
    assert!(
        error_message(&refused).ends_with("Missing: cost_centre, ticket."),
        "{}",
        error_message(&refused)
    );

    let half = silent.clone().header("x-mindweave-metadata", "ticket=A-1");
    assert!(error_message(&half.send()).ends_with("Missing: cost_centre."));
    let whole = silent.header("x-mindweave-metadata", "ticket=A-1, cost_centre=caf%C3%A9%2C 4");
    assert_eq!(whole.send().status(), 200);
    let event = eventually("what it said is booked", || {
        let events = ledger.events(&format!("project_id={project}&outcome=complete"));
        events.into_iter().find(|event| !event["metadata"].as_object().is_some_and(serde_json::Map::is_empty))
    });
    assert_eq!(event["metadata"], json!({ "ticket": "A-1", "cost_centre": "café, 4" }), "{event:#}");

    let keys = ledger.get(&format!("/projects/{project}/keys"));
    let id = keys["data"][0]["id"].as_str().expect("a key has an id").to_owned();
    ledger.patch(&format!("/projects/{project}/keys/{id}"), &json!({ "labels": { "cost_centre": "42" } }));
    in_force("the key says the rest", &half, 200);
    let contradicting = whole.send();
    assert_eq!(contradicting.status(), 200);
    eventually("a label is not contradicted", || {
        let events = ledger.events(&format!("project_id={project}&outcome=complete"));
        let of_key = events.iter().filter(|event| event["metadata"]["cost_centre"] == "42");
        (of_key.count() == 2).then_some(())
    });
}

#[test]
fn a_rotated_secret_ends_by_itself_while_the_control_plane_is_away() {
    let simulator = Simulator::start();
    let mut control_plane = ControlPlane::start();
    let proxy = Proxy::start(&simulator.url(), &control_plane);
    let ledger = control_plane.ledger();
    let (project, old) = ledger.project_with_key("rotating");
    let with_old = Call::to(proxy.addr, &old);
    in_force("a new key", &with_old, 200);
    let keys = ledger.get(&format!("/projects/{project}/keys"));
    let path =
        format!("/projects/{project}/keys/{}", keys["data"][0]["id"].as_str().expect("a key has an id"));
    let rotated = ledger.post(&format!("{path}/rotate"), &json!({ "overlap_seconds": 5 }));
    let ends = Instant::now() + Duration::from_secs(5);
    let new = rotated["secret"].as_str().expect("the new secret is shown");
    let with_new = Call::to(proxy.addr, new);
    in_force("the new secret", &with_new, 200);
    assert_eq!(with_old.send().status(), 200, "the old secret is good for a while");
    control_plane.process.kill();
    let refused = eventually("the old secret ends", || {
        let answer = with_old.send();
        (answer.status() != 200).then_some(answer)
    });
    assert_eq!((refused.status(), reason(&refused).as_str()), (401, "key_expired"));
    let early = ends.saturating_duration_since(Instant::now());
    assert!(early < Duration::from_secs(1), "it ended {early:?} before its time");
    assert_eq!(with_new.send().status(), 200);

    control_plane.start_again();
    let ledger = control_plane.ledger();
    ledger.patch(&path, &json!({ "disabled": true }));
    let disabled = eventually("a disabled key", || {
        let answer = with_new.send();
        (answer.status() == 401).then_some(answer)
    });
    assert_eq!(reason(&disabled), "key_unknown");
    ledger.patch(&path, &json!({ "disabled": false }));
    in_force("an enabled key", &with_new, 200);
    ledger.delete(&format!("/projects/{project}"));
    in_force("the key of a deleted project", &with_new, 401);
    eventually("what it used is booked and stays visible", || {
        let booked = ledger.events(&format!("project_id={project}&outcome=complete"));
        (booked.len() >= 3).then_some(())
    });
}
