//! What clients see of a refusal, and what they make of it.

use serde_json::json;

use crate::harness::governed::{Call, json_of};
use crate::harness::server::MindWeave;
use crate::harness::simulator::Simulator;

#[test]
fn a_request_that_nothing_governs_is_not_held_back() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let (_, key) = server.ledger().project_with_key("free");
    // The head reaches the API before the body is complete: nothing decides on it.
    let answer = Call::new(&server, &key).send();
    assert_eq!((answer.status(), answer.header("mindweave-reason")), (200, None));
}

#[test]
fn a_refusal_is_one_json_object_with_its_length_and_a_request_that_follows_on_the_connection_is_served() {
    let simulator = Simulator::start();
    let server = MindWeave::start(&simulator.url());
    let ledger = server.ledger();
    let (project, key) = ledger.project_with_key("framed");
    let rego = "package p\ndeny contains {\"reason\": \"no_streams\", \"message\": \"streams are off\"} if { input.request.stream }\n";
    ledger.post(
        "/governance/policies",
        &json!({ "name": "streams", "rego": rego, "scope": { "project": project } }),
    );
    let refused = Call::new(&server, &key).field("stream", true).send();
    assert_eq!(refused.header("content-type").as_deref(), Some("application/json"));
    assert_eq!(refused.header("content-length"), Some(refused.body.len().to_string()));
    let body = json_of(&refused);
    assert_eq!(
        body,
        json!({ "type": "error", "error": { "type": "permission_error", "message": body["error"]["message"] } })
    );
    assert!(
        body["error"]["message"].as_str().is_some_and(|message| message.contains("streams are off")),
        "{body:#}"
    );
}
