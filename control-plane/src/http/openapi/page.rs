//! The page for people: the whole document on one page, which a browser searches. No script, nothing of other servers.

use maud::{DOCTYPE, Markup, html};
use serde_json::{Map, Value};

/// The page's own style sheet.
pub(super) const STYLE: &str = include_str!("page.css");

/// Deepest that a schema is shown within another; the rest is behind a link.
const MAX_DEPTH: usize = 4;

/// Renders the document.
pub(super) fn render(document: &Value) -> String {
    let info = |name: &str| text(document, &["info", name]);
    let operations = operations(document);
    let tags = entries(document.get("tags"));
    let used = |tag: &Value| operations.iter().any(|operation| operation.tag() == text(tag, &["name"]));
    let tags: Vec<&Value> = tags.iter().filter(|tag| used(tag)).collect();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (info("title")) " API " (info("version")) }
                link rel="stylesheet" href="/docs/style.css";
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                nav aria-label="Operations" {
                    p.brand { a href="#content" { (info("title")) } " " small { (info("version")) } }
                    ul { @for tag in &tags { (contents(text(tag, &["name"]), &operations)) } li { a href="#schemas" { "Schemas" } } }
                }
                main #content {
                    h1 { (info("title")) " API" }
                    (prose(info("description")))
                    p { "This description for programs: " a href="/openapi.json" { "/openapi.json" } " (OpenAPI 3.1). Find things with your browser's search." }
                    @for tag in &tags {
                        (section(tag, &operations))
                    }
                    (schemas(document))
                }
            }
        }
    }
    .into_string()
}

struct Operation<'a> {
    path: &'a str,
    method: &'a str,
    value: &'a Value,
}

impl<'a> Operation<'a> {
    fn tag(&self) -> &'a str {
        entries(self.value.get("tags")).first().and_then(Value::as_str).unwrap_or_default()
    }

    fn id(&self) -> &'a str {
        text(self.value, &["operationId"])
    }
}

fn operations(document: &Value) -> Vec<Operation<'_>> {
    let paths = fields(document.get("paths"));
    let all = paths.flat_map(|(path, item)| {
        let methods = fields(Some(item)).filter(|(_, value)| value.get("responses").is_some());
        methods.map(move |(method, value)| Operation { path, method, value })
    });
    all.collect()
}

fn contents(tag: &str, operations: &[Operation<'_>]) -> Markup {
    html! {
        li {
            details {
                summary { a href={ "#tag-" (anchor(tag)) } { (tag) } }
                ul {
                    @for operation in operations.iter().filter(|operation| operation.tag() == tag) {
                        li { a href={ "#" (operation.id()) } { (method(operation.method)) " " (broken(operation.path)) } }
                    }
                }
            }
        }
    }
}

/// The part of a link that stands for a tag.
fn anchor(tag: &str) -> String {
    tag.replace(' ', "-")
}

fn section(tag: &Value, operations: &[Operation<'_>]) -> Markup {
    let name = text(tag, &["name"]);
    html! {
        section {
            h2 id={ "tag-" (anchor(name)) } { a.anchor href={ "#tag-" (anchor(name)) } { (name) } }
            (prose(text(tag, &["description"])))
            @for operation in operations.iter().filter(|operation| operation.tag() == name) {
                (operation_view(operation))
            }
        }
    }
}

fn operation_view(operation: &Operation<'_>) -> Markup {
    let value = operation.value;
    let summary = text(value, &["summary"]);
    html! {
        article id=(operation.id()) {
            h3 {
                (method(operation.method)) " "
                a.anchor href={ "#" (operation.id()) } { code { (broken(operation.path)) } }
            }
            p.summary { (summary) " " (access(text(value, &["x-access"]))) }
            (prose(text(value, &["description"])))
            @let parameters = entries(value.get("parameters"));
            @if !parameters.is_empty() {
                h4 { "Parameters" }
                table { tbody { @for parameter in parameters { (parameter_view(parameter)) } } }
            }
            @if let Some(body) = value.get("requestBody") {
                h4 { "Body" }
                (content(body))
            }
            h4 { "Answers" }
            @for (status, response) in fields(value.get("responses")) { (answer(status, response)) }
        }
    }
}

fn access(access: &str) -> Markup {
    let words = match access {
        "public" => "no token",
        "self" => "anybody signed in, about themself",
        access => access,
    };
    html! { @if !words.is_empty() { span.access title="What the caller's role and token must allow" { (words) } } }
}

fn parameter_view(parameter: &Value) -> Markup {
    if let Some(name) = reference(parameter) {
        return match name {
            "IdempotencyKey" => {
                html! { tr { th scope="row" { code { "idempotency-key" } } td { "header, text" } td { "Sent again with the same key, it is done once." } } }
            }
            "IfMatch" => {
                html! { tr { th scope="row" { code { "if-match" } } td { "header, text" } td { "The version that you have read." } } }
            }
            "IfNoneMatch" => {
                html! { tr { th scope="row" { code { "if-none-match" } } td { "header, text" } td { "The version that you have." } } }
            }
            name => html! { tr { th scope="row" { (name) } } },
        };
    }
    let required = parameter.get("required").and_then(Value::as_bool) == Some(true);
    html! {
        tr {
            th scope="row" { code { (text(parameter, &["name"])) } @if required { span.required { " required" } } }
            td { (text(parameter, &["in"])) ", " (kind(parameter.get("schema"))) }
            td { (inline(text(parameter, &["description"]))) (bounds(parameter.get("schema"))) }
        }
    }
}

fn answer(status: &str, response: &Value) -> Markup {
    if let Some(name) = reference(response) {
        return html! { p.answer { span.status.error { (status) } " " a href={ "#answer-" (name) } { (name) } } };
    }
    let class = if status.starts_with('2') { "status good" } else { "status error" };
    html! {
        div.answer {
            p { span class=(class) { (status) } " " (inline(text(response, &["description"]))) }
            (content(response))
        }
    }
}

/// What a body or an answer holds, by media type.
fn content(holder: &Value) -> Markup {
    html! {
        @for (media_type, content) in fields(holder.get("content")) {
            p.media { code { (media_type) } " " (kind(content.get("schema"))) }
            @if let Some(schema) = content.get("schema") {
                @if reference(schema).is_none() { (schema_view(schema, 0)) }
            }
        }
    }
}

/// The fields of a schema.
fn schema_view(schema: &Value, depth: usize) -> Markup {
    let required: Vec<&str> = entries(schema.get("required")).iter().filter_map(Value::as_str).collect();
    let properties: Vec<_> = fields(schema.get("properties")).collect();
    html! {
        @if !properties.is_empty() {
            table { tbody {
                @for (name, property) in properties {
                    tr {
                        th scope="row" { code { (name) } @if required.contains(&name) { span.required { " required" } } }
                        td { (kind(Some(property))) }
                        td {
                            (inline(text(property, &["description"]))) (bounds(Some(property)))
                            @if depth < MAX_DEPTH { (schema_view(property, depth.saturating_add(1))) }
                        }
                    }
                }
            } }
        }
        @for part in ["allOf", "oneOf", "anyOf"] {
            @for part in entries(schema.get(part)).iter().filter(|part| part.get("properties").is_some()) {
                @if depth < MAX_DEPTH { (schema_view(part, depth.saturating_add(1))) }
            }
        }
    }
}

fn schemas(document: &Value) -> Markup {
    let components = document.get("components");
    html! {
        section {
            h2 #schemas { a.anchor href="#schemas" { "Schemas" } }
            h3 { "Errors" }
            @for (name, response) in fields(components.and_then(|components| components.get("responses"))) {
                p id={ "answer-" (name) } { strong { (name) } ": " (inline(text(response, &["description"]))) " " (content_kinds(response)) }
            }
            @for (name, schema) in fields(components.and_then(|components| components.get("schemas"))) {
                article id={ "schema-" (name) } {
                    h3 { a.anchor href={ "#schema-" (name) } { code { (name) } } }
                    (prose(text(schema, &["description"])))
                    p { (kind(Some(schema))) (bounds(Some(schema))) }
                    (schema_view(schema, 0))
                }
            }
        }
    }
}

fn content_kinds(response: &Value) -> Markup {
    html! { @for (_, content) in fields(response.get("content")) { (kind(content.get("schema"))) } }
}

/// What a value is, in a few words.
fn kind(schema: Option<&Value>) -> Markup {
    let Some(schema) = schema else { return html! {} };
    if let Some(name) = reference(schema) {
        return html! { a href={ "#schema-" (name) } { (name) } };
    }
    for alternatives in ["oneOf", "anyOf", "allOf"] {
        let alternatives = entries(schema.get(alternatives));
        if !alternatives.is_empty() {
            return html! {
                @for (place, alternative) in alternatives.iter().enumerate() {
                    @if place > 0 { " or " }
                    (kind(Some(alternative)))
                }
            };
        }
    }
    let names = match schema.get("type") {
        Some(Value::String(name)) => vec![name.as_str()],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ if schema.get("enum").is_some() => vec!["string"],
        _ => vec!["any"],
    };
    html! {
        (names.join(" or "))
        @if names.contains(&"array") { " of " (kind(schema.get("items"))) }
        @if let Some(format) = schema.get("format").and_then(Value::as_str) { " (" (format) ")" }
    }
}

/// What is allowed, beyond the type.
fn bounds(schema: Option<&Value>) -> Markup {
    const NAMES: [(&str, &str); 8] = [
        ("minimum", "at least"),
        ("maximum", "at most"),
        ("minLength", "characters at least"),
        ("maxLength", "characters at most"),
        ("minItems", "entries at least"),
        ("maxItems", "entries at most"),
        ("pattern", "pattern"),
        ("example", "for example"),
    ];
    let Some(schema) = schema else { return html! {} };
    let words = entries(schema.get("enum"));
    html! {
        @if !words.is_empty() {
            span.bounds { " One of: " @for (place, word) in words.iter().enumerate() { @if place > 0 { ", " } code { (plain(word)) } } }
        }
        @for (name, words) in NAMES {
            @if let Some(bound) = schema.get(name) { span.bounds { " " (words) " " code { (plain(bound)) } "." } }
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn method(method: &str) -> Markup {
    html! { span class={ "method " (method) } { (method.to_uppercase()) } }
}

/// A path that may be broken after each of its parts.
fn broken(path: &str) -> Markup {
    html! {
        @for (place, part) in path.split('/').enumerate() {
            @if place > 0 { "/" wbr; }
            (part)
        }
    }
}

/// Paragraphs, between empty lines.
fn prose(text: &str) -> Markup {
    html! { @for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) { p { (inline(paragraph)) } } }
}

/// Text in which code stands between backticks.
fn inline(text: &str) -> Markup {
    html! {
        @for (place, part) in text.split('`').enumerate() {
            @if place % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// What a reference names, without its place.
fn reference(value: &Value) -> Option<&str> {
    value.get("$ref")?.as_str()?.rsplit('/').next()
}

fn text<'a>(value: &'a Value, names: &[&str]) -> &'a str {
    let found = names.iter().try_fold(value, |value, name| value.get(name));
    found.and_then(Value::as_str).unwrap_or_default()
}

fn entries(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn fields(value: Option<&Value>) -> impl Iterator<Item = (&str, &Value)> {
    value
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::iter)
        .map(|(name, value)| (name.as_str(), value))
}
