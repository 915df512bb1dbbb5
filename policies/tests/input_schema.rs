//! `policies/schema/input.schema.json` describes the input that the engine really makes: no field more, none less.
//!
//! A checker for the part of JSON Schema 2020-12 that the file uses; a keyword that it does not know fails the test, so
//! that nothing in the file goes unchecked.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use mindweave_policy::{SampleInput, pii};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Keywords that say nothing about values.
const ANNOTATIONS: [&str; 3] = ["$schema", "title", "description"];

fn schema() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/input.schema.json");
    serde_json::from_str(&std::fs::read_to_string(path).expect("the schema is there")).expect("it is JSON")
}

fn input(sample: &Value) -> Value {
    let sample = SampleInput::from_json(sample).expect("a sample is an input");
    sample.with_input(|input| input.to_json()).expect("it contradicts nothing")
}

/// A request that says everything.
fn talkative() -> Value {
    json!({
        "principal": {
            "team_id": "team_1", "user_id": "usr_1", "key_id": "key_1", "roles": ["developer"],
            "labels": { "stage": "prod" },
        },
        "request": {
            "betas": ["context-1m-2025-08-07"], "session_id": "s", "agent_id": "a", "parent_agent_id": "p",
            "cache_write": "1h", "metadata_user_id": "u", "max_tokens_sum": 5,
            "tools": [
                "mcp__github__create_issue",
                { "type": "web_search_20260318", "name": "web_search" },
                { "type": "mcp_toolset", "mcp_server": "tracker" },
            ],
            "mcp_servers": [{ "name": "tracker", "url": "https://mcp.linear.app/sse" }],
            "service_tier": "auto", "speed": "fast", "inference_geo": "us", "pii": pii::CATEGORIES,
            "batch_requests": 0,
        },
        "usage": { "monthly": { "used": 7, "reserved": 1 } },
        "time_zone": "Europe/Berlin",
    })
}

/// A request that says nothing, to an endpoint whose bodies are not read.
fn silent() -> Value {
    json!({
        "principal": { "key_id": null, "credential": "unregistered" },
        "request": {
            "method": "GET", "path": "/v1/models", "bytes": null, "user_agent": null, "pii": null,
        },
    })
}

/// A body that is read and says nothing.
fn empty_body() -> Value {
    json!({ "request": {
        "model": null, "max_tokens": null, "estimated_input_tokens": null,
        "mcp_servers": [{}], "tools": [{}],
    } })
}

#[test]
fn inputs_of_the_engine_are_what_the_schema_says_and_every_null_it_allows_occurs() {
    let schema = schema();
    let mut seen = Seen::default();
    for sample in [talkative(), silent(), empty_body(), json!({})] {
        check(&schema, &input(&sample), "input", &mut seen).unwrap_or_else(|fault| panic!("{fault}"));
    }
    let never: Vec<&String> =
        seen.nullable.iter().filter(|(_, of)| of.len() < 2).map(|(path, _)| path).collect();
    assert!(never.is_empty(), "always null, or never, although the schema allows both: {never:?}");
}

#[test]
fn every_field_is_always_there() {
    fn closed_objects(schema: &Value, place: &str) {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            let names: Vec<&String> = properties.keys().collect();
            let required: Vec<&str> =
                schema["required"].as_array().expect(place).iter().filter_map(Value::as_str).collect();
            let (names, required): (BTreeSet<&str>, BTreeSet<&str>) =
                (names.into_iter().map(String::as_str).collect(), required.into_iter().collect());
            assert_eq!(names, required, "{place}");
            assert_eq!(schema["additionalProperties"], json!(false), "{place}");
            properties.iter().for_each(|(name, inner)| closed_objects(inner, &format!("{place}.{name}")));
        }
        for inner in ["items", "additionalProperties"] {
            schema
                .get(inner)
                .filter(|inner| inner.is_object())
                .into_iter()
                .for_each(|inner| closed_objects(inner, place));
        }
        assert!(
            place == "input"
                || schema["description"].is_string()
                || schema == &json!({"type": "string"})
                || schema.get("enum").is_some(),
            "{place} is not explained"
        );
    }
    closed_objects(&schema(), "input");
}

#[test]
fn categories_of_personal_data_are_those_that_are_searched_for() {
    assert_eq!(
        schema()["properties"]["request"]["properties"]["pii"]["items"]["enum"],
        json!(pii::CATEGORIES)
    );
}

type Spoil = fn(&mut Value);

#[test]
fn the_checker_notices_what_is_wrong() {
    let schema = schema();
    let good = input(&talkative());
    let wrong: [(&str, Spoil); 6] = [
        ("a missing field", |input| {
            input["request"].as_object_mut().unwrap().remove("truncated");
        }),
        ("a field more", |input| input["principal"]["shoe_size"] = json!(44)),
        ("another type", |input| input["request"]["max_tokens"] = json!("many")),
        ("another word", |input| input["request"]["kind"] = json!("mail")),
        ("out of range", |input| input["time"]["hour"] = json!(24)),
        ("deep inside", |input| input["request"]["mcp_servers"][0]["host"] = json!(1)),
    ];
    for (what, spoil) in wrong {
        let mut bad = good.clone();
        spoil(&mut bad);
        assert!(check(&schema, &bad, "input", &mut Seen::default()).is_err(), "{what}");
    }
}

proptest! {
    #[test]
    fn any_request_makes_an_input_of_the_schema(
        method in "[A-Z]{1,7}",
        path in "(/v1)?/(messages|models|files|messages/batches|complete|chat/completions|[a-z]{0,6})(/[a-z0-9]{0,9})?",
        roles in prop::collection::vec(".{0,8}", 0..3),
        models in prop::collection::vec(".{0,12}", 0..3),
        url in ".{0,30}",
        tool in "(mcp__)?.{0,10}",
        max_tokens in any::<Option<u64>>(),
        used in any::<i64>(),
        limit in 1_i64..,
        truncated in any::<bool>(),
    ) {
        let sample = json!({
            "principal": { "roles": roles },
            "request": {
                "method": method, "path": path, "models": models, "max_tokens": max_tokens, "tools": [tool],
                "mcp_servers": [{ "url": url }], "truncated": truncated,
            },
            "usage": { "a b": { "used": used, "limit": limit } },
        });
        let checked = check(&schema(), &input(&sample), "input", &mut Seen::default());
        prop_assert_eq!(checked, Ok(()));
    }
}

/// Whether null and something else were seen at the places that may be null.
#[derive(Default)]
struct Seen {
    nullable: BTreeMap<String, BTreeSet<bool>>,
}

fn check(schema: &Value, value: &Value, place: &str, seen: &mut Seen) -> Result<(), String> {
    let schema = schema.as_object().ok_or_else(|| format!("{place}: the schema is no object"))?;
    for (keyword, rule) in schema {
        let holds = match keyword.as_str() {
            "type" => is_of_type(rule, value, place, seen),
            "enum" => rule.as_array().is_some_and(|allowed| allowed.contains(value)),
            "minimum" => value.is_null() || value.as_i64() >= rule.as_i64() || value.is_u64(),
            "maximum" => value.as_i64() <= rule.as_i64(),
            "required" => has_all(rule, value),
            "format" => has_format(rule, value),
            "properties" | "items" | "additionalProperties" => true,
            other if ANNOTATIONS.contains(&other) => true,
            other => return Err(format!("{place}: this test does not know the keyword {other}")),
        };
        if !holds {
            return Err(format!("{place}: {value} is not of {keyword} {rule}"));
        }
    }
    match value {
        Value::Object(fields) => check_fields(schema, fields, place, seen),
        Value::Array(items) => {
            let of = schema.get("items").ok_or_else(|| format!("{place}: a list of nothing"))?;
            items.iter().try_for_each(|item| check(of, item, &format!("{place}[]"), seen))
        }
        _ => Ok(()),
    }
}

fn check_fields(
    schema: &Map<String, Value>,
    fields: &Map<String, Value>,
    place: &str,
    seen: &mut Seen,
) -> Result<(), String> {
    for (name, value) in fields {
        let known = schema.get("properties").and_then(|properties| properties.get(name));
        let place = format!("{place}.{}", if known.is_some() { name } else { "*" });
        match known.or_else(|| schema.get("additionalProperties")) {
            Some(of @ Value::Object(_)) => check(of, value, &place, seen)?,
            _ => return Err(format!("{place}: {name} is not in the schema")),
        }
    }
    Ok(())
}

fn is_of_type(rule: &Value, value: &Value, place: &str, seen: &mut Seen) -> bool {
    let allowed: Vec<&str> = match rule {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => return false,
    };
    if allowed.contains(&"null") {
        seen.nullable.entry(place.to_owned()).or_default().insert(value.is_null());
    }
    allowed.into_iter().any(|name| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        // What is too large for an i64 comes as any number that JSON knows, without a fraction.
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        _ => false,
    })
}

fn has_all(rule: &Value, value: &Value) -> bool {
    let names = rule.as_array().into_iter().flatten().filter_map(Value::as_str);
    names.into_iter().all(|name| value.get(name).is_some())
}

fn has_format(rule: &Value, value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    match rule.as_str() {
        Some("date-time") => text.parse::<jiff::Timestamp>().is_ok(),
        Some("date") => text.parse::<jiff::civil::Date>().is_ok(),
        _ => false,
    }
}
