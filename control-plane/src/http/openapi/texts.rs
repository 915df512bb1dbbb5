//! What is true of all texts in bodies, because one reader reads them; handlers need not repeat it.

use serde_json::{Map, Value, json};

use crate::http::body::MAX_TEXT_CHARS;

/// No control characters (C0, DEL, C1), and something besides blanks.
const PATTERN: &str =
    r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$";

/// Fields of which a body has one; which, is the client's choice.
const ONE_OF: [(&str, &[&str]); 1] = [("NewBudget", &["limit", "limit_usd"])];
/// Fields of which a body has one at most.
const AT_MOST_ONE_OF: [(&str, &[&str]); 1] = [("BudgetChange", &["limit", "limit_usd"])];

/// Says of a schema of a body what holds for its texts.
pub(super) fn bound(schema: &mut Map<String, Value>) {
    if is(schema, "array")
        && let Some(items) = schema.get_mut("items").and_then(Value::as_object_mut)
    {
        limit_length(items);
    }
    let labels = schema.get_mut("properties").and_then(|properties| properties.get_mut("labels"));
    if let Some(labels) = labels.and_then(Value::as_object_mut) {
        for part in ["additionalProperties", "propertyNames"] {
            if let Some(text) = labels.get_mut(part).and_then(Value::as_object_mut) {
                limit_length(text);
            }
        }
    }
    let is_line = schema
        .get("maxLength")
        .and_then(Value::as_u64)
        .is_some_and(|most| usize::try_from(most) == Ok(MAX_TEXT_CHARS));
    if is_plain(schema) && is_line {
        schema.insert("pattern".to_owned(), json!(PATTERN));
    }
}

/// Entries and labels are texts of the usual length.
fn limit_length(schema: &mut Map<String, Value>) {
    if is_plain(schema) && !schema.contains_key("maxLength") {
        schema.insert("minLength".to_owned(), json!(1));
        schema.insert("maxLength".to_owned(), json!(MAX_TEXT_CHARS));
    }
}

/// Whether it is a text of which nothing else is said.
fn is_plain(schema: &Map<String, Value>) -> bool {
    is(schema, "string") && !["pattern", "format", "enum"].iter().any(|name| schema.contains_key(*name))
}

fn is(schema: &Map<String, Value>, kind: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(one)) => one == kind,
        Some(Value::Array(all)) => all.iter().any(|one| one == kind),
        _ => false,
    }
}

/// Says which fields exclude each other.
pub(super) fn exclude(schemas: &mut Map<String, Value>) {
    let required =
        |names: &[&str]| names.iter().map(|name| json!({ "required": [name] })).collect::<Vec<_>>();
    for (schema, names) in ONE_OF {
        if let Some(schema) = schemas.get_mut(schema).and_then(Value::as_object_mut) {
            schema.insert("oneOf".to_owned(), json!(required(names)));
        }
    }
    for (schema, names) in AT_MOST_ONE_OF {
        if let Some(schema) = schemas.get_mut(schema).and_then(Value::as_object_mut) {
            schema.insert("not".to_owned(), json!({ "required": names }));
        }
    }
}
