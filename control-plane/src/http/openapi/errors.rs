//! Which errors an operation can answer with. All have one schema; handlers need not repeat them.

use serde_json::{Map, Value, json};

/// What errors depend on.
pub(super) struct Shape<'a> {
    pub(super) method: &'a str,
    /// Whether it wants a token.
    pub(super) guarded: bool,
    pub(super) path_parameters: bool,
    pub(super) query_parameters: bool,
    /// Whether a parameter of the query names a thing.
    pub(super) query_ids: bool,
    pub(super) body: bool,
}

impl Shape<'_> {
    /// Whether it changes something, and so takes an `Idempotency-Key`.
    pub(super) fn takes_key(&self) -> bool {
        self.guarded && matches!(self.method, "post" | "put" | "patch" | "delete")
    }

    /// Whether it changes something that can be read before, and so takes `If-Match`.
    pub(super) fn takes_condition(&self) -> bool {
        self.guarded && self.path_parameters && matches!(self.method, "put" | "patch" | "delete")
    }

    /// Whether an error of this status can come.
    fn may_get(&self, status: u16) -> bool {
        let sent = self.body || self.path_parameters || self.query_parameters || self.takes_key();
        match status {
            400 => sent,
            401 | 403 => self.guarded,
            404 => self.path_parameters || self.query_ids || self.body,
            409 => self.takes_key(),
            412 => self.takes_condition(),
            413 | 415 => self.body,
            422 => self.body || self.query_parameters || self.takes_key(),
            _ => true,
        }
    }

    /// The names of the answers that this operation can give, by status.
    pub(super) fn errors(&self) -> impl Iterator<Item = (u16, &'static str)> + '_ {
        let all = ERRORS.iter().filter(|(status, ..)| self.may_get(*status));
        all.map(|(status, name, _)| (*status, *name))
    }
}

/// Each status with the name of its answer in the document, and when it comes.
const ERRORS: [(u16, &str, &str); 11] = [
    (400, "BadRequest", "The request cannot be read: a parameter, a header, or the JSON of the body."),
    (401, "Unauthorized", "There is no valid token."),
    (403, "Forbidden", "The caller's role, or the scopes of its token, do not allow it."),
    (404, "NotFound", "There is no such thing, or the caller may not see it."),
    (
        409,
        "Conflict",
        "It cannot be done as things are now, or the first request with this key is still running.",
    ),
    (412, "PreconditionFailed", "It was changed since the version of `if-match`."),
    (413, "ContentTooLarge", "The body is larger than any that this operation needs."),
    (415, "UnsupportedMediaType", "The body is not declared as JSON."),
    (422, "UnprocessableContent", "What was sent is understood and refused; `errors` names each field."),
    (429, "TooManyRequests", "Wait for as long as `retry-after` says."),
    (503, "ServiceUnavailable", "Nothing was done that would be lost; try again after `retry-after`."),
];

/// The answers to which operations refer.
pub(super) fn responses() -> Map<String, Value> {
    ERRORS
        .iter()
        .map(|(status, name, description)| ((*name).to_owned(), response(*status, description)))
        .collect()
}

fn response(status: u16, description: &str) -> Value {
    let mut headers = json!({ "x-request-id": { "$ref": "#/components/headers/RequestId" } });
    let mut add = |name: &str, header: Value| {
        if let Some(headers) = headers.as_object_mut() {
            headers.insert(name.to_owned(), header);
        }
    };
    if matches!(status, 429 | 503) {
        add(
            "retry-after",
            json!({ "description": "Seconds to wait.", "schema": { "type": "integer", "minimum": 0 } }),
        );
    }
    if status == 401 {
        add("www-authenticate", json!({ "schema": { "type": "string" } }));
    }
    json!({
        "description": description,
        "headers": headers,
        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
    })
}
