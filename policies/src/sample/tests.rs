use proptest::prelude::*;
use serde_json::json;

use super::*;

fn rendered(document: &Value) -> Value {
    SampleInput::from_json(document).unwrap().with_input(|input| input.to_json()).unwrap()
}

#[test]
fn nothing_said_is_an_ordinary_request() {
    let input = rendered(&json!({}));
    assert_eq!(input["request"]["kind"], "messages");
    assert_eq!(input["request"]["models"], json!(["claude-sonnet-4-5"]));
    assert_eq!(input["time"]["weekday"], "Friday");
}

#[test]
fn lists_follow_from_values_and_a_value_counts_only_where_all_agree() {
    let geos = |request: Value| {
        let input = rendered(&json!({ "request": request }));
        (input["request"]["inference_geo"].clone(), input["request"]["inference_geos"].clone())
    };
    assert_eq!(geos(json!({ "inference_geo": "us" })), (json!("us"), json!(["us"])));
    assert_eq!(geos(json!({ "inference_geos": ["us"] })), (json!(null), json!(["us"])));
    assert_eq!(
        geos(json!({ "inference_geo": "us", "inference_geos": ["us"] })),
        (json!("us"), json!(["us"]))
    );
    assert_eq!(geos(json!({ "inference_geos": ["us", "eu"] })), (json!(null), json!(["us", "eu"])));
}

#[test]
fn where_bodies_are_not_read_they_say_nothing() {
    let input = rendered(&json!({ "request": { "method": "GET", "path": "/v1/models", "model": "x" } }));
    assert_eq!(input["request"]["model"], json!(null));
    assert_eq!(input["request"]["models"], json!([]));
    assert_eq!(input["request"]["batch_requests"], json!(null));
}

#[test]
fn what_follows_from_other_fields_may_be_said_but_not_otherwise() {
    let with_kind = |kind: &str| {
        let sample = SampleInput::from_json(&json!({ "request": { "kind": kind } })).unwrap();
        sample.with_input(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(with_kind("messages"), Ok(()));
    assert!(with_kind("models").unwrap_err().contains("`request.kind`"));
}

proptest! {
    /// What `policy eval --show-input` prints can be taken as an input again, and is the same one.
    #[test]
    fn an_input_that_was_shown_can_be_asked_about_again(
        roles in prop::collection::vec("[a-z]{1,8}", 0..3),
        label in "[a-z]{0,5}",
        batch in any::<bool>(),
        models in prop::collection::vec("[a-z0-9-]{1,12}", 0..3),
        tools in prop::collection::vec("(mcp__[a-z]{1,4}__)?[a-z]{1,6}", 0..3),
        host in "[A-Za-z.]{1,12}",
        used in any::<i64>(),
        zone in prop::sample::select(&["UTC", "Europe/Berlin", "America/New_York"][..]),
        seconds in 0_i64..4_000_000_000,
    ) {
        let document = json!({
            "principal": { "roles": roles, "labels": { "team": label } },
            "request": {
                "path": if batch { "/v1/messages/batches" } else { "/v1/messages" },
                "models": models,
                "tools": tools,
                "mcp_servers": [{ "name": "x", "url": format!("https://{host}/sse") }],
            },
            "usage": { "monthly": { "used": used, "unit": "tokens" } },
            "time": Timestamp::from_second(seconds).unwrap().to_string(),
            "time_zone": zone,
        });
        let shown = rendered(&document);
        prop_assert_eq!(rendered(&shown), shown);
    }
}
