//! Reads JSON bodies field by field, so that every refusal names the field, unknown fields are refused, and no value is
//! ever repeated in an error.

mod json;
mod password;
mod values;

pub(crate) use values::whole;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use jiff::Timestamp;
use mindweave_policy::Secret;
use serde_json::{Map, Value};
use zeroize::Zeroize;

use self::json::Refused;
use super::problem::{Code, Fault, Problem};

/// Longest name, label or id that a client may give, in characters.
pub(crate) const MAX_TEXT_CHARS: usize = 200;
/// Longest credential. OAuth tokens are JWT-like and stay below 4 KiB.
const MAX_SECRET_BYTES: usize = 4_096;
/// Most faults that one answer names. Whoever made so many made one of them many times.
const MAX_FAULTS: usize = 64;
/// Most labels on one key: each is copied into every event.
const MAX_LABELS: usize = 32;
/// Most roles of one key: policies walk them for every request.
const MAX_ROLES: usize = 32;

/// The fields of a JSON object. Every accessor takes its field out; [`Self::finish`] refuses what is left.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    object: Map<String, Value>,
    known: Vec<&'static str>,
    faults: Vec<Fault>,
    /// What stands before the names of fields in faults: the object that holds this one, and a dot.
    prefix: String,
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if !content_type.is_some_and(is_json) {
            let detail = "send the body as JSON, with the header content-type: application/json";
            return Err(Problem::new(Code::UnsupportedMediaType, detail));
        }
        let body = Bytes::from_request(request, state).await.map_err(|rejection| {
            if rejection.into_response().status() == StatusCode::PAYLOAD_TOO_LARGE {
                Problem::new(Code::BodyTooLarge, "the body is larger than any request of this API needs")
            } else {
                Problem::new(Code::BodyUnreadable, "the body did not arrive in full")
            }
        })?;
        let fields = Self::parse(&body);
        // It may hold a password. A buffer that the connection still shares is left to it.
        if let Ok(mut own) = body.try_into_mut() {
            own.as_mut().zeroize();
        }
        fields
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

impl Fields {
    fn parse(body: &[u8]) -> Result<Self, Problem> {
        match json::read(body) {
            Ok(Value::Object(object)) => Ok(Self::of(object, String::new())),
            Ok(_) => Err(Problem::new(Code::InvalidJson, "the body must be a JSON object")),
            Err(Refused::Repeated(field)) => {
                Err(Problem::faults(Code::InvalidJson, vec![Fault::new(field, "is given more than once")]))
            }
            Err(Refused::TooDeep) => {
                Err(Problem::new(Code::InvalidJson, "the body is nested too deep: more than 64 levels"))
            }
            Err(Refused::Malformed { line, column }) => {
                let detail = format!("the body is not JSON: line {line}, column {column}");
                Err(Problem::new(Code::InvalidJson, detail))
            }
        }
    }

    fn of(object: Map<String, Value>, prefix: String) -> Self {
        Self { object, known: Vec::new(), faults: Vec::new(), prefix }
    }

    fn know(&mut self, name: &'static str) {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
    }

    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.know(name);
        self.object.remove(name).filter(|value| !value.is_null())
    }

    fn fault(&mut self, field: &str, message: impl Into<String>) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(Fault::new(format!("{}{field}", self.prefix), message));
        }
    }

    /// An optional text; `null` is the same as absent.
    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => match text_fault(&text) {
                None => return Some(text),
                Some(fault) => self.fault(name, fault),
            },
            _ => self.fault(name, "must be a text"),
        }
        None
    }

    /// A text that must be there. Empty when it was refused; [`Self::finish`] then fails.
    pub(crate) fn required_text(&mut self, name: &'static str) -> String {
        let missing = self.object.get(name).is_none_or(Value::is_null);
        let text = self.text(name);
        if missing {
            self.fault(name, "is required");
        }
        text.unwrap_or_default()
    }

    /// A credential that must be there and can stand in an HTTP header.
    pub(crate) fn required_secret(&mut self, name: &'static str) -> Secret {
        match self.take(name) {
            None => self.fault(name, "is required"),
            Some(Value::String(text)) => {
                let secret = Secret::new(text);
                match secret_fault(secret.expose_secret()) {
                    None => return secret,
                    Some(fault) => self.fault(name, fault),
                }
            }
            Some(_) => self.fault(name, "must be a text"),
        }
        Secret::new(String::new())
    }

    /// An optional time, RFC 3339.
    pub(crate) fn time(&mut self, name: &'static str) -> Option<Timestamp> {
        let time = self.take(name)?.as_str().and_then(|text| text.parse().ok());
        if time.is_none() {
            self.fault(name, "must be an RFC 3339 time, for example 2027-01-31T18:00:00Z");
        }
        time
    }

    /// An optional object of texts.
    pub(crate) fn labels(&mut self, name: &'static str) -> BTreeMap<Arc<str>, Arc<str>> {
        let object = match self.take(name) {
            None => return BTreeMap::new(),
            Some(Value::Object(object)) => object,
            Some(_) => {
                self.fault(name, "must be an object whose values are texts");
                return BTreeMap::new();
            }
        };
        if object.len() > MAX_LABELS {
            self.fault(name, format!("may have at most {MAX_LABELS} entries"));
            return BTreeMap::new();
        }
        let mut labels = BTreeMap::new();
        for (label, value) in object {
            match value {
                Value::String(value) if text_fault(&label).is_none() && text_fault(&value).is_none() => {
                    labels.insert(label.into(), value.into());
                }
                _ => self.fault(
                    name,
                    format!("names and values must be texts of 1 to {MAX_TEXT_CHARS} characters"),
                ),
            }
        }
        labels
    }

    /// An optional array of role names: what policies and their data compare as they stand. Sorted, each one once.
    pub(crate) fn roles(&mut self, name: &'static str) -> Vec<Arc<str>> {
        let entries = match self.take(name) {
            None => return Vec::new(),
            Some(Value::Array(entries)) if entries.len() <= MAX_ROLES => entries,
            Some(Value::Array(_)) => {
                self.fault(name, format!("may have at most {MAX_ROLES} entries"));
                return Vec::new();
            }
            Some(_) => {
                self.fault(name, "must be an array of texts");
                return Vec::new();
            }
        };
        let mut roles = BTreeSet::new();
        for entry in entries {
            match entry {
                Value::String(role) if text_fault(&role).is_none() => {
                    roles.insert(Arc::from(role));
                }
                _ => self.fault(name, format!("entries must be texts of 1 to {MAX_TEXT_CHARS} characters")),
            }
        }
        roles.into_iter().collect()
    }

    /// Adds a refusal that only the caller could find.
    pub(crate) fn refuse(&mut self, name: &'static str, message: &str) {
        self.fault(name, message);
    }

    /// Fails when any field was refused or is not known here.
    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        self.refuse_unknown();
        self.faults.truncate(MAX_FAULTS); // those of nested objects came on top
        if self.faults.is_empty() { Ok(()) } else { Err(Problem::faults(Code::InvalidField, self.faults)) }
    }

    fn refuse_unknown(&mut self) {
        let known = self.known.join(", ");
        let unknown = std::mem::take(&mut self.object).into_iter().map(|(field, value)| {
            if let Value::String(mut text) = value {
                text.zeroize(); // a password under a misspelt name
            }
            field
        });
        for field in unknown.take(MAX_FAULTS).collect::<Vec<_>>() {
            let field: String = field.chars().take(MAX_TEXT_CHARS).collect();
            self.fault(&field, format!("is not a field of this request; it has: {known}"));
        }
    }
}

fn text_fault(text: &str) -> Option<String> {
    let length = text.chars().count();
    let fits = (1..=MAX_TEXT_CHARS).contains(&length) && !text.trim().is_empty();
    if !fits {
        return Some(format!("must have 1 to {MAX_TEXT_CHARS} characters"));
    }
    text.contains(char::is_control).then(|| "must not contain control characters".to_owned())
}

fn secret_fault(text: &str) -> Option<String> {
    if text.is_empty() || text.len() > MAX_SECRET_BYTES {
        return Some(format!("must have 1 to {MAX_SECRET_BYTES} characters"));
    }
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    (!visible)
        .then(|| "must be the bare credential: no blanks, line ends or characters outside ASCII".to_owned())
}
