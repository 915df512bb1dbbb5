//! Reads a policy from a request's fields.

use std::sync::Arc;

use mindweave_policy::{OnError, PolicyMode, bundled, bundled_policy};
use serde_json::{Map, Value};

use super::bundled::example_data;
use super::version_store::Content;
use crate::governance::schema::{OnErrorWord, PolicyModeWord, PolicyScope};
use crate::http::body::Fields;

/// Most bytes of a policy's data, as JSON. It travels to every proxy and lives in the memory of each.
const MAX_DATA_BYTES: usize = 1024 * 1024;

const MODES: [(&str, PolicyMode); 3] =
    [("enforce", PolicyMode::Enforce), ("shadow", PolicyMode::Shadow), ("off", PolicyMode::Off)];
const ON_ERROR: [(&str, OnError); 2] = [("deny", OnError::Deny), ("allow", OnError::Allow)];

/// A new policy. One of `rego` and `bundled` is required.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what is read here and with the scope")]
pub(super) struct NewPolicy {
    /// Whose; can be left out by who belongs to one organisation.
    #[schema(min_length = 1, max_length = 200)]
    org_id: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// A Rego v1 module.
    #[schema(min_length = 1, max_length = 1_048_576)]
    rego: Option<String>,
    /// The name of a bundled policy.
    bundled: Option<String>,
    /// The module's `data` document, at most a megabyte; for a bundled policy its example by default.
    #[schema(value_type = Option<Object>)]
    data: Option<Value>,
    mode: Option<PolicyModeWord>,
    scope: Option<PolicyScope>,
    on_error: Option<OnErrorWord>,
}

/// What can be changed of a policy. What is not given stays, `null` stands for the default. A change of text or data makes a new version.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what is read here and with the scope")]
pub(super) struct PolicyChange {
    #[schema(min_length = 1, max_length = 200, required = false)]
    name: String,
    #[schema(min_length = 1, max_length = 1_048_576)]
    rego: Option<String>,
    /// The name of a bundled policy.
    bundled: Option<String>,
    #[schema(value_type = Option<Object>)]
    data: Option<Value>,
    mode: Option<PolicyModeWord>,
    scope: Option<PolicyScope>,
    on_error: Option<OnErrorWord>,
}

/// What a client says about a policy beside its content and its scope. `None` is what it did not say.
pub(super) struct Settings {
    pub(super) name: Option<Arc<str>>,
    pub(super) mode: Option<PolicyMode>,
    pub(super) on_error: Option<OnError>,
}

/// Whether a request makes a policy or changes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writing {
    New,
    Change,
}

/// Reads name, mode and `on_error`. `null` stands for the default.
pub(super) fn read_settings(fields: &mut Fields, writing: Writing) -> Settings {
    let name = (writing == Writing::New || fields.given("name")).then(|| fields.required_text("name").into());
    let mode = fields.given("mode").then(|| fields.choice("mode", &MODES).unwrap_or(PolicyMode::Enforce));
    let on_error = fields.given("on_error").then(|| fields.choice("on_error", &ON_ERROR).unwrap_or_default());
    Settings { name, mode, on_error }
}

/// Reads text and data. What is not given is taken from `before`; `None` when neither is given, or when one was refused.
pub(in crate::governance) fn read_content(fields: &mut Fields, before: Option<&Content>) -> Option<Content> {
    let (given_rego, given_bundled) = (fields.given("rego"), fields.given("bundled"));
    let given_data = fields.given("data");
    let (rego, name) = (fields.source("rego"), fields.text("bundled"));
    let data = fields.document("data");
    if data.as_ref().is_some_and(|data| encoded_len(data) > MAX_DATA_BYTES) {
        fields.refuse("data", &format!("must have at most {MAX_DATA_BYTES} bytes as JSON"));
    }
    if rego.is_some() && name.is_some() {
        fields.refuse("bundled", "says the same as rego; give one of them");
        return None;
    }
    let before_data = || before.map_or_else(|| Value::Object(Map::new()), |before| before.data.clone());
    let data = match data {
        Some(data) => Some(Value::Object(data)),
        None => given_data.then(|| Value::Object(Map::new())),
    };
    if let Some(name) = name {
        return match bundled_policy(&name) {
            Some(policy) => Some(Content {
                rego: policy.rego.into(),
                // The data of another text would mean nothing to this one.
                data: data.unwrap_or_else(|| match before {
                    Some(before) if before.bundled.as_deref() == Some(policy.name) => before.data.clone(),
                    _ => example_data(policy),
                }),
                bundled: Some(policy.name.to_owned()),
            }),
            None => {
                let names: Vec<_> = bundled().iter().map(|policy| policy.name).collect();
                fields.refuse("bundled", &format!("must be one of: {}", names.join(", ")));
                None
            }
        };
    }
    match (rego, before) {
        (Some(rego), _) => {
            let bundled =
                bundled().iter().find(|policy| policy.rego == rego).map(|policy| policy.name.to_owned());
            Some(Content { rego: rego.into(), data: data.unwrap_or_else(before_data), bundled })
        }
        (None, Some(before)) if !given_rego && !given_bundled => {
            data.map(|data| Content { data, ..before.clone() })
        }
        (None, _) => {
            fields.require_if_absent("rego");
            None
        }
    }
}

fn encoded_len(data: &Map<String, Value>) -> usize {
    serde_json::to_vec(data).map_or(usize::MAX, |json| json.len())
}
