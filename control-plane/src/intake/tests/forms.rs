use serde_json::{Value, json};

use super::*;

#[test]
fn a_few_fields_make_an_event_that_has_everything() {
    let office = Office::new();
    let sent = json!({ "model": "claude-sonnet-4-5", "input_tokens": 10, "output_tokens": 5 });
    let event = office.accept(&office.holder(), &sent);
    for (field, expected) in [
        ("org_id", json!("org_1")),
        ("project_id", json!("prj_1")),
        ("team_id", json!("team_1")),
        ("key_id", json!("key_1")),
        ("event_type", json!("api_call")),
        ("method", json!("POST")),
        ("endpoint", json!("/v1/messages")),
        ("outcome", json!("complete")),
        ("status", json!(200)),
        ("input_tokens", json!(10)),
        ("output_tokens", json!(5)),
        ("certainty", json!("exact")),
        ("snapshot_revision", json!(5)),
        ("metadata", json!({ "cost_centre": "42" })),
        ("decision", json!({ "effect": "allow", "reasons": [], "policy_revision": 0, "shadow": [] })),
    ] {
        assert_eq!(event[field], expected, "{field} of {event:#}");
    }
    assert_eq!(event["received_at"], event["timestamp"]);
    assert_eq!(event["proxy_id"], format!("pxy_{}", office.journal.id()));
    let envelope = office.stored().remove(0);
    assert_eq!((&envelope["id"], &envelope["type"]), (&event["event_id"], &json!("usage.api_call")));
}

#[test]
fn what_the_ledger_gives_out_can_be_sent_as_it_is() {
    let office = Office::new();
    let (at, id) = (ago(60).to_string(), "018f0000-0000-4000-8000-000000000001");
    for golden in ["usage_event.v1.json", "usage_event.v1.mcp_tool.json"] {
        let file = format!("{}/../metering/golden/{golden}", env!("CARGO_MANIFEST_DIR"));
        let mut envelope: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        envelope["id"] = id.into();
        for (field, value) in
            [("event_id", json!(id)), ("timestamp", json!(at)), ("outcome", json!("complete"))]
        {
            envelope["data"][field] = value;
        }
        envelope["data"]["decision"] =
            json!({ "effect": "allow", "reasons": [], "policy_revision": 3, "shadow": [] });
        // The golden event shows a line without a price beside a cost, which no event of ours has.
        let lines = envelope["data"]["buckets"].as_array_mut().unwrap();
        lines.retain(|line| !line["amount_pico_usd"].is_null());
        envelope["data"]["metadata"] = json!({ "run": "7" });
        envelope["data"].as_object_mut().unwrap().remove("batch"); // items are booked where they are downloaded
        let data = envelope["data"].clone();
        for sent in [envelope, data.clone()] {
            let event = office.accept(&admin(), &with_project(sent));
            for field in [
                "input_tokens",
                "cache_write_1h_tokens",
                "buckets",
                "tool_calls",
                "session_id",
                "parent_event_id",
            ] {
                assert_eq!(event[field], data[field], "{field} of {golden}");
            }
            assert_eq!(event["cost_nano_usd"], data["cost_nano_usd"], "{golden}");
        }
    }
}

fn with_project(mut sent: Value) -> Value {
    let event = if sent["data"].is_object() { &mut sent["data"] } else { &mut sent };
    event["project_id"] = "prj_1".into();
    sent
}

#[test]
fn fields_of_a_later_version_are_kept_and_those_of_none_are_refused() {
    let office = Office::new();
    let data =
        json!({ "model": "claude-sonnet-4-5", "input_tokens": 1, "output_tokens": 1, "carbon_grams": 12 });
    let later = json!({ "version": "1.7", "source": "gateway/7", "data": data, "shard": 3 });
    let event = office.accept(&office.holder(), &later);
    assert_eq!((&event["carbon_grams"], &event["source"]), (&json!(12), &json!("gateway/7")));
    assert_eq!(office.stored()[0]["version"], "1.7");
    assert_eq!(office.refuse(&office.holder(), &data), ["/carbon_grams"]);
    let known = json!({ "version": "1.0", "data": data, "shard": 3 });
    assert_eq!(office.refuse(&office.holder(), &known), ["/data/carbon_grams", "/shard"]);
    assert_eq!(office.refuse(&office.holder(), &json!({ "version": "2.0", "data": data })), ["/version"]);
    let mut prompt = later;
    prompt["data"]["prompt"] = "x".repeat(3_000).into();
    assert_eq!(office.refuse(&office.holder(), &prompt), ["/data"]);
}

#[test]
fn an_envelope_says_nothing_else_than_what_is_in_it() {
    let office = Office::new();
    let data = json!({ "event_id": "018f0000-0000-4000-8000-000000000001", "model": "m", "input_tokens": 1, "output_tokens": 1 });
    let envelope = json!({
        "id": "018f0000-0000-4000-8000-000000000002", "type": "usage.mcp_tool", "version": "1.0", "data": data,
    });
    assert_eq!(office.refuse(&office.holder(), &envelope), ["/type", "/id"]);
    assert_eq!(office.refuse(&office.holder(), &json!({ "data": [] })), ["/data"]);
    assert_eq!(office.refuse(&office.holder(), &json!([1])), [""]);
}
