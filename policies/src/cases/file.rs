//! The file of cases: TOML.

use serde::Deserialize;
use serde_json::{Map, Value};
use toml::Spanned;

use crate::sample::{SampleError, SampleInput, merge};

/// Cases of one policy.
#[derive(Debug)]
pub struct CaseFile {
    policy: Option<String>,
    data: Value,
    cases: Vec<Case>,
}

/// One case, complete.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) data: Value,
    pub(super) input: SampleInput,
    pub(super) deny: Vec<String>,
    pub(super) warn: Vec<String>,
    pub(super) message: Option<String>,
}

/// What is wrong with a file of cases.
#[derive(Debug, thiserror::Error)]
pub enum CaseFileError {
    /// It is not TOML of this form.
    #[error("{0}")]
    Form(#[from] toml::de::Error),
    /// A case's input is not one.
    #[error("line {line}: case `{name}`: {fault}")]
    Case {
        /// From 1.
        line: usize,
        /// Which case.
        name: String,
        /// What is wrong with it.
        fault: SampleError,
    },
    /// It has no case at all.
    #[error("there is no [[case]] in it")]
    Empty,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    policy: Option<String>,
    #[serde(default)]
    data: toml::Table,
    #[serde(default)]
    base: RawInput,
    #[serde(default, rename = "case")]
    cases: Vec<RawCase>,
}

/// What differs from the ordinary request, or from the file's base.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInput {
    #[serde(default)]
    principal: toml::Table,
    #[serde(default)]
    request: toml::Table,
    #[serde(default)]
    usage: toml::Table,
    time: Option<toml::Value>,
    time_zone: Option<toml::Value>,
    #[serde(default)]
    without: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCase {
    name: Spanned<String>,
    #[serde(default)]
    deny: Vec<String>,
    #[serde(default)]
    warn: Vec<String>,
    message: Option<String>,
    #[serde(default)]
    data: toml::Table,
    #[serde(default)]
    principal: toml::Table,
    #[serde(default)]
    request: toml::Table,
    #[serde(default)]
    usage: toml::Table,
    time: Option<toml::Value>,
    time_zone: Option<toml::Value>,
    #[serde(default)]
    without: Vec<String>,
}

impl CaseFile {
    /// Reads a file of cases.
    ///
    /// # Errors
    /// When it is not TOML, a key is not known, or a value is not what its key takes; the fault names the key.
    pub fn parse(text: &str) -> Result<Self, CaseFileError> {
        let raw: RawFile = toml::from_str(text)?;
        if raw.cases.is_empty() {
            return Err(CaseFileError::Empty);
        }
        let data = json(toml::Value::Table(raw.data));
        let mut base = Value::Object(Map::new());
        merge(&mut base, &raw.base.document());
        let cases = raw.cases.into_iter().map(|case| {
            let line = line_of(text, case.name.span().start);
            let name = case.name.get_ref().clone();
            case.complete(line, &base, &data).map_err(|fault| CaseFileError::Case { line, name, fault })
        });
        let cases = cases.collect::<Result<_, _>>()?;
        Ok(Self { policy: raw.policy, data, cases })
    }

    /// The policy's file, as the file of cases names it, relative to it.
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    /// The data that all cases share.
    pub fn data(&self) -> &Value {
        &self.data
    }

    pub(super) fn cases(&self) -> &[Case] {
        &self.cases
    }
}

impl RawInput {
    fn document(self) -> Value {
        let tables =
            [("principal", self.principal), ("request", self.request), ("usage", self.usage)].into_iter();
        let tables = tables.filter(|(_, table)| !table.is_empty());
        let mut document: Map<String, Value> =
            tables.map(|(key, table)| (key.to_owned(), json(toml::Value::Table(table)))).collect();
        for (key, value) in [("time", self.time), ("time_zone", self.time_zone)] {
            document.extend(value.map(|value| (key.to_owned(), json(value))));
        }
        let mut document = Value::Object(document);
        for path in &self.without {
            merge(&mut document, &nothing_at(path));
        }
        document
    }
}

impl RawCase {
    fn complete(self, line: usize, base: &Value, data: &Value) -> Result<Case, SampleError> {
        let Self { name, deny, warn, message, data: own_data, .. } = self;
        let over = RawInput {
            principal: self.principal,
            request: self.request,
            usage: self.usage,
            time: self.time,
            time_zone: self.time_zone,
            without: self.without,
        };
        let mut document = base.clone();
        merge(&mut document, &over.document());
        let mut data = data.clone();
        merge(&mut data, &json(toml::Value::Table(own_data)));
        let input = SampleInput::from_json(&document)?;
        input.with_input(|_| ())?;
        Ok(Case {
            name: name.into_inner(),
            line,
            data,
            input,
            deny: sorted(deny),
            warn: sorted(warn),
            message,
        })
    }
}

/// `request.model` as `{"request": {"model": null}}`. A path that leads nowhere is refused as an unknown key.
fn nothing_at(path: &str) -> Value {
    path.rsplit('.').fold(Value::Null, |inner, key| Value::Object(Map::from_iter([(key.to_owned(), inner)])))
}

/// TOML as JSON; times are texts.
fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::from(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Float(number) => Value::from(number),
        toml::Value::Boolean(flag) => Value::from(flag),
        toml::Value::Datetime(time) => Value::from(time.to_string()),
        toml::Value::Array(values) => Value::Array(values.into_iter().map(json).collect()),
        toml::Value::Table(table) => {
            Value::Object(table.into_iter().map(|(key, value)| (key, json(value))).collect())
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count().saturating_add(1)
}

fn sorted(mut reasons: Vec<String>) -> Vec<String> {
    reasons.sort();
    reasons.dedup();
    reasons
}
