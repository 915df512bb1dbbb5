//! Accessors for what governance is written in: words, whole numbers, lists, documents, nested objects.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::{Fields, text_fault};

/// Longest source text, in bytes; the compiler of policies has its own, lower bound.
const MAX_SOURCE_BYTES: usize = 1024 * 1024;

/// Greatest whole number up to which every one is a number of JSON's usual kind, which is a binary fraction of 53 digits.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// A whole number, also one that is written as `7.0`: for JSON Schema, and for languages that know one kind of number, they are the same.
pub(crate) fn whole(value: &Value) -> Option<i64> {
    let fraction = || value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() <= MAX_EXACT);
    value.as_i64().or_else(|| format!("{:.0}", fraction()?).parse().ok())
}

impl Fields {
    /// Whether the field is there, also as `null`. In a change, what is not given stays.
    pub(crate) fn given(&mut self, name: &'static str) -> bool {
        self.know(name);
        self.object.contains_key(name)
    }

    /// One of the given words; `null` is the same as absent.
    pub(crate) fn choice<T: Copy>(&mut self, name: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let value = self.take(name)?;
        let found = choices.iter().find(|(word, _)| Some(*word) == value.as_str());
        if found.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            self.fault(name, format!("must be one of: {}", words.join(", ")));
        }
        found.map(|(_, choice)| *choice)
    }

    /// A whole number of a range.
    pub(crate) fn number(&mut self, name: &'static str, range: RangeInclusive<i64>) -> Option<i64> {
        let number = whole(&self.take(name)?).filter(|number| range.contains(number));
        if number.is_none() {
            let (from, to) = range.into_inner();
            self.fault(name, format!("must be a whole number from {from} to {to}"));
        }
        number
    }

    /// Like [`Self::number`], for what cannot be negative. `most` must fit 63 bits.
    pub(crate) fn count(&mut self, name: &'static str, least: i64, most: i64) -> Option<u64> {
        self.number(name, least.max(0)..=most).and_then(|number| u64::try_from(number).ok())
    }

    /// A list of at most so many values, still to be read.
    pub(crate) fn list(&mut self, name: &'static str, most: usize) -> Option<Vec<Value>> {
        match self.take(name)? {
            Value::Array(values) if values.len() <= most => return Some(values),
            Value::Array(_) => self.fault(name, format!("may have at most {most} entries")),
            _ => self.fault(name, "must be an array"),
        }
        None
    }

    /// A list of at most so many texts.
    pub(crate) fn texts(&mut self, name: &'static str, most: usize) -> Option<Vec<String>> {
        let values = self.list(name, most)?;
        let texts: Option<Vec<_>> = values
            .into_iter()
            .map(|value| value.as_str().filter(|text| text_fault(text).is_none()).map(str::to_owned))
            .collect();
        if texts.is_none() {
            self.fault(name, format!("entries must be texts of 1 to {} characters", super::MAX_TEXT_CHARS));
        }
        texts
    }

    /// A text of many lines.
    pub(crate) fn source(&mut self, name: &'static str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) if text.len() > MAX_SOURCE_BYTES => {
                self.fault(name, format!("must have at most {MAX_SOURCE_BYTES} bytes"));
            }
            Value::String(text) if !text.trim().is_empty() => return Some(text),
            Value::String(_) => self.fault(name, "must not be empty"),
            _ => self.fault(name, "must be a text"),
        }
        None
    }

    /// A JSON object as it stands.
    pub(crate) fn document(&mut self, name: &'static str) -> Option<Map<String, Value>> {
        match self.take(name)? {
            Value::Object(document) => return Some(document),
            _ => self.fault(name, "must be an object"),
        }
        None
    }

    /// An object to be read field by field; give it back to [`Self::close`].
    pub(crate) fn nested(&mut self, name: &'static str) -> Option<Self> {
        let object = self.document(name)?;
        Some(Self::of(object, format!("{}{name}.", self.prefix)))
    }

    /// Takes over what was wrong with a nested object.
    pub(crate) fn close(&mut self, mut nested: Self) {
        nested.refuse_unknown();
        self.faults.append(&mut nested.faults);
    }

    /// Like [`Self::close`], for an object that may have been read from nothing and so does not know its name.
    pub(crate) fn close_named(&mut self, name: &'static str, mut nested: Self) {
        if nested.prefix.is_empty() {
            let prefix = format!("{}{name}.", self.prefix);
            nested.faults.iter_mut().for_each(|fault| fault.field.insert_str(0, &prefix));
        }
        self.close(nested);
    }

    /// A value of any kind.
    pub(crate) fn any(&mut self, name: &'static str) -> Option<Value> {
        self.take(name)
    }

    /// Refuses a field that must be there and of which nothing worse was said.
    pub(crate) fn require_if_absent(&mut self, name: &'static str) {
        let field = format!("{}{name}", self.prefix);
        if !self.faults.iter().any(|fault| fault.field == field) {
            self.fault(name, "is required");
        }
    }
}
