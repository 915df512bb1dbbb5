//! Adds to what handlers say of themselves what is the same everywhere: who may call, errors, headers.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi as Document;

use super::errors::{self, Shape};
use super::tags::TAGS;
use super::texts;
use crate::http::{DEFAULT_PAGE, MAX_PAGE};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The whole document, every object in the order of its names.
pub(super) fn finish(document: &Document) -> Value {
    let mut document = serde_json::to_value(document).unwrap_or_default(); // a document is JSON
    for operation in operations(&mut document) {
        complete(operation);
    }
    let tags: Vec<_> =
        TAGS.iter().map(|(name, description)| json!({ "name": name, "description": description })).collect();
    set(&mut document, "/info", "version", json!(env!("CARGO_PKG_VERSION")));
    set(&mut document, "", "servers", json!([{ "url": "/", "description": "The server that shows this." }]));
    set(&mut document, "", "tags", json!(tags));
    for (name, parts) in components() {
        let known = document.pointer(&format!("/components/{name}")).and_then(Value::as_object).cloned();
        let mut all = known.unwrap_or_default();
        all.extend(parts);
        set(&mut document, "/components", name, Value::Object(all));
    }
    close_bodies(&mut document);
    if let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) {
        texts::exclude(schemas);
    }
    sorted(document)
}

struct Operation<'a> {
    path: String,
    method: &'static str,
    value: &'a mut Map<String, Value>,
}

fn operations(document: &mut Value) -> impl Iterator<Item = Operation<'_>> {
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    paths.into_iter().flatten().flat_map(|(path, item)| {
        let methods = item.as_object_mut().into_iter().flatten();
        methods.filter_map(|(method, operation)| {
            let method = METHODS.into_iter().find(|known| known == method)?;
            Some(Operation { path: path.clone(), method, value: operation.as_object_mut()? })
        })
    })
}

/// Adds to one operation.
fn complete(operation: Operation<'_>) {
    let Operation { path, method, value } = operation;
    let has_parameter = |place: &str| {
        let parameters = value.get("parameters").and_then(Value::as_array);
        parameters
            .into_iter()
            .flatten()
            .any(|parameter| parameter.get("in").and_then(Value::as_str) == Some(place))
    };
    let access = value.get("x-access").and_then(Value::as_str).unwrap_or_default();
    let shape = Shape {
        method,
        guarded: access != "public",
        path_parameters: path.contains('{'),
        query_parameters: has_parameter("query"),
        query_ids: names_thing(value),
        body: value.contains_key("requestBody"),
    };
    let security = if shape.guarded { json!([{ "bearer": [] }]) } else { json!([]) };
    value.insert("security".to_owned(), security);
    parameters(value);
    let mut more = Vec::new();
    if shape.takes_key() {
        more.push(json!({ "$ref": "#/components/parameters/IdempotencyKey" }));
    }
    if shape.takes_condition() {
        more.push(json!({ "$ref": "#/components/parameters/IfMatch" }));
    }
    if method == "get" && path.ends_with('}') {
        more.push(json!({ "$ref": "#/components/parameters/IfNoneMatch" }));
    }
    if !more.is_empty()
        && let Some(all) = value.entry("parameters").or_insert_with(|| json!([])).as_array_mut()
    {
        all.extend(more);
    }
    answers(value, &shape, path.ends_with('}'));
}

/// Whether a parameter of the query is an id.
fn names_thing(operation: &Map<String, Value>) -> bool {
    let parameters = operation.get("parameters").and_then(Value::as_array);
    parameters.into_iter().flatten().any(|parameter| {
        let text = |name: &str| parameter.get(name).and_then(Value::as_str).unwrap_or_default();
        text("in") == "query" && text("name").ends_with("_id")
    })
}

/// Says of parameters of queries what is true of all: an empty one is the same as none, and pages have one bound.
fn parameters(operation: &mut Map<String, Value>) {
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten().filter_map(Value::as_object_mut) {
        if parameter.get("in").and_then(Value::as_str) != Some("query") {
            continue;
        }
        parameter.insert("allowEmptyValue".to_owned(), Value::Bool(true));
        if parameter.get("name").and_then(Value::as_str) == Some("limit") {
            let schema =
                json!({ "type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": DEFAULT_PAGE });
            parameter.insert("schema".to_owned(), schema);
        }
    }
}

/// Adds errors that the operation does not describe itself, and the headers of all answers.
fn answers(operation: &mut Map<String, Value>, shape: &Shape<'_>, is_single: bool) {
    let responses = operation.entry("responses").or_insert_with(|| json!({}));
    let Some(responses) = responses.as_object_mut() else { return };
    for (status, response) in &mut *responses {
        let Some(response) = response.as_object_mut() else { continue };
        let is_error = status.starts_with(['4', '5']);
        if is_error && !response.contains_key("content") {
            let problem = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
            response.insert("content".to_owned(), json!({ "application/problem+json": problem }));
        }
        let headers = response.entry("headers").or_insert_with(|| json!({}));
        let Some(headers) = headers.as_object_mut() else { continue };
        headers.insert("x-request-id".to_owned(), json!({ "$ref": "#/components/headers/RequestId" }));
        if status == "200" && is_single && shape.method != "delete" && shape.method != "post" {
            headers.insert("etag".to_owned(), json!({ "$ref": "#/components/headers/ETag" }));
        }
        if status == "201" {
            headers.insert("location".to_owned(), json!({ "$ref": "#/components/headers/Location" }));
        }
    }
    for (status, name) in shape.errors() {
        let reference = || json!({ "$ref": format!("#/components/responses/{name}") });
        responses.entry(status.to_string()).or_insert_with(reference);
    }
    if shape.method == "get" && is_single {
        responses
            .entry("304")
            .or_insert_with(|| json!({ "description": "It is still the version of `if-none-match`." }));
    }
}

/// What operations refer to.
fn components() -> [(&'static str, Map<String, Value>); 4] {
    let object = |value: Value| match value {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    let bearer = json!({
        "type": "http",
        "scheme": "bearer",
        "description": "An access token of a sign-in (`mwa_..`), a personal access token or one of a service account (`mwp_..`), or the admin token of the installation.",
    });
    let key = json!({
        "name": "Idempotency-Key", "in": "header", "required": false,
        "description": "Any text of your choice. Sent again with the same key within a day, the request is carried out once and gets the same answer.",
        "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]{1,255}$" },
    });
    let condition = |name: &str, description: &str| json!({ "name": name, "in": "header", "required": false, "description": description, "schema": { "type": "string" } });
    let header = |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    [
        ("securitySchemes", object(json!({ "bearer": bearer }))),
        (
            "parameters",
            object(json!({
                "IdempotencyKey": key,
                "IfMatch": condition("If-Match", "Versions (`etag`) on which the change may be based, or `*`. Any other is refused with 412."),
                "IfNoneMatch": condition("If-None-Match", "Versions (`etag`) that you have. Where it is one of them, the answer is 304."),
            })),
        ),
        (
            "headers",
            object(json!({
                "RequestId": header("Names this request in logs and in the audit log: what you sent in this header, or a new one."),
                "ETag": header("The version that is shown, for `if-match` and `if-none-match`."),
                "Location": header("Where the new thing is."),
            })),
        ),
        ("responses", errors::responses()),
    ]
}

fn set(document: &mut Value, place: &str, name: &str, value: Value) {
    if let Some(object) = document.pointer_mut(place).and_then(Value::as_object_mut) {
        object.insert(name.to_owned(), value);
    }
}

/// Says of bodies what is true of all: no field that is not named, and bounds of texts. Answers may get more fields in later versions.
fn close_bodies(document: &mut Value) {
    let mut open = Vec::new();
    for operation in operations(document) {
        if let Some(body) = operation.value.get_mut("requestBody") {
            close(body, &mut open);
        }
    }
    let mut closed = BTreeSet::new();
    while let Some(name) = open.pop() {
        if closed.insert(name.clone())
            && let Some(schema) = document.pointer_mut(&format!("/components/schemas/{name}"))
        {
            close(schema, &mut open);
        }
    }
}

/// Closes the objects of a schema; names of others that it refers to are put into `open`.
fn close(value: &mut Value, open: &mut Vec<String>) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| close(value, open)),
        Value::Object(object) => {
            if let Some(name) = object.get("$ref").and_then(Value::as_str) {
                open.extend(name.strip_prefix("#/components/schemas/").map(str::to_owned));
            }
            let is_object =
                object.get("properties").is_some_and(Value::is_object) && object.contains_key("type");
            if is_object {
                object.entry("additionalProperties").or_insert(Value::Bool(false));
            }
            texts::bound(object);
            object.values_mut().for_each(|value| close(value, open));
        }
        _ => {}
    }
}

/// The same, with the fields of every object in the order of their names.
fn sorted(value: Value) -> Value {
    match value {
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        Value::Object(object) => {
            let mut fields: Vec<_> = object.into_iter().collect();
            fields.sort_by(|(one, _), (other, _)| one.cmp(other));
            Value::Object(fields.into_iter().map(|(name, value)| (name, sorted(value))).collect())
        }
        value => value,
    }
}
