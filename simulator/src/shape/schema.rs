//! The smallest JSON value that follows a JSON schema, so that structured outputs and tool inputs parse.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// How deep schemas are followed: a recursive one has to end somewhere.
const MAX_DEPTH: usize = 8;

/// The JSON text that follows `schema`, or nothing when that is no schema.
pub(super) fn conforming_text(schema: &RawValue) -> Option<String> {
    conforming(schema).map(|value| value.to_string())
}

/// The value that follows `schema`.
pub(super) fn conforming(schema: &RawValue) -> Option<Value> {
    let root: Value = serde_json::from_str(schema.get()).ok()?;
    Some(value_of(&root, &root, "value", 0))
}

fn value_of(schema: &Value, root: &Value, name: &str, depth: usize) -> Value {
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let found = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return found.map_or(Value::Null, |found| value_of(found, root, name, depth.saturating_add(1)));
    }
    if let Some(fixed) = schema.get("const").or_else(|| schema.get("default")) {
        return fixed.clone();
    }
    if let Some(first) = schema.get("enum").and_then(Value::as_array).and_then(|values| values.first()) {
        return first.clone();
    }
    let alternatives =
        ["anyOf", "oneOf", "allOf"].into_iter().find_map(|key| schema.get(key)?.as_array()?.first());
    if let Some(first) = alternatives {
        return value_of(first, root, name, depth.saturating_add(1));
    }
    match type_name(schema) {
        "object" => Value::Object(object_of(schema, root, depth)),
        "array" => array_of(schema, root, name, depth),
        "integer" | "number" => schema.get("minimum").cloned().unwrap_or_else(|| Value::from(1)),
        "boolean" => Value::Bool(true),
        "null" => Value::Null,
        _ => Value::String(text_for(name)),
    }
}

fn type_name(schema: &Value) -> &str {
    let named = schema.get("type").and_then(|kind| kind.as_str().or_else(|| kind.get(0)?.as_str()));
    let guessed = if schema.get("properties").is_some() { "object" } else { "string" };
    named.unwrap_or(guessed)
}

fn object_of(schema: &Value, root: &Value, depth: usize) -> Map<String, Value> {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return Map::new() };
    let required: Vec<&str> = match schema.get("required").and_then(Value::as_array) {
        Some(names) => names.iter().filter_map(Value::as_str).collect(),
        None => properties.keys().map(String::as_str).collect(),
    };
    let wanted = properties.iter().filter(|(name, _)| required.contains(&name.as_str()));
    wanted
        .map(|(name, schema)| (name.clone(), value_of(schema, root, name, depth.saturating_add(1))))
        .collect()
}

fn array_of(schema: &Value, root: &Value, name: &str, depth: usize) -> Value {
    let needed = schema.get("minItems").and_then(Value::as_u64).unwrap_or(1).min(16);
    let Some(items) = schema.get("items") else { return Value::Array(Vec::new()) };
    let one = value_of(items, root, name, depth.saturating_add(1));
    Value::Array((0..needed).map(|_| one.clone()).collect())
}

/// Harmless text that suits the name of a property: agents really run these inputs.
fn text_for(name: &str) -> String {
    let text = match name {
        "command" | "cmd" => "echo simulated",
        "file_path" | "path" | "filename" => "/etc/hostname",
        "pattern" | "query" => "simulated",
        "url" => "https://example.com/",
        "title" => "Simulated session",
        "location" | "city" => "Lisbon",
        _ => "simulated",
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_properties_are_filled_by_type_and_references_are_followed() {
        let schema = r##"{"type":"object","required":["title","n","tags","kind","deep"],"properties":{
            "title":{"type":"string"},"n":{"type":"integer","minimum":3},"tags":{"type":"array","items":{"type":"string"}},
            "kind":{"enum":["a","b"]},"deep":{"$ref":"#/$defs/deep"},"optional":{"type":"string"}},
            "$defs":{"deep":{"type":["boolean","null"]}}}"##;
        let value = conforming(&RawValue::from_string(schema.to_owned()).unwrap()).unwrap();
        let wanted = serde_json::json!({"title": "Simulated session", "n": 3, "tags": ["simulated"], "kind": "a", "deep": true});
        assert_eq!(value, wanted);
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = r##"{"type":"object","properties":{"next":{"$ref":"#"}}}"##;
        assert!(conforming(&RawValue::from_string(schema.to_owned()).unwrap()).is_some());
    }
}
