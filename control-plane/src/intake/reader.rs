//! Reads an event's JSON object field by field: every refusal names its place, and no value is ever repeated.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use mindweave_metering::NanoUsd;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::bounds::{MAX_METADATA, MAX_METADATA_NAME_BYTES, MAX_METADATA_VALUE_BYTES, MAX_TEXT_BYTES};
use super::fault::{Faults, pointer_to};
use crate::http::body::whole;
use crate::usage::{MAX_COST, MAX_FIGURE};

/// Decimal places of a dollar that the ledger keeps.
const USD_PLACES: usize = 9;

/// An object. Every accessor takes its field out.
pub(super) struct Reader<'f> {
    object: Map<String, Value>,
    pointer: String,
    known: Vec<&'static str>,
    faults: &'f mut Faults,
}

impl<'f> Reader<'f> {
    /// The object at this place.
    pub(super) fn new(object: Map<String, Value>, pointer: String, faults: &'f mut Faults) -> Self {
        Self { object, pointer, known: Vec::new(), faults }
    }

    /// Says that a field is wrong.
    pub(super) fn fault(&mut self, name: &str, message: impl Into<String>) {
        self.faults.add(pointer_to(&self.pointer, name), message);
    }

    /// Says that the object as a whole is wrong.
    pub(super) fn fault_here(&mut self, message: impl Into<String>) {
        self.faults.add(self.pointer.clone(), message);
    }

    /// Whether a field was found wrong.
    pub(super) fn was_refused(&self, name: &str) -> bool {
        self.faults.names(&self.pointer(name))
    }

    /// Whether a field that was not taken yet is this text.
    pub(super) fn says(&self, name: &str, text: &str) -> bool {
        self.object.get(name).and_then(Value::as_str) == Some(text)
    }

    /// Where the object stands.
    pub(super) fn place(&self) -> &str {
        &self.pointer
    }

    /// Lets another reader note its faults here.
    pub(super) fn faults(&mut self) -> &mut Faults {
        self.faults
    }

    /// Where a field stands.
    pub(super) fn pointer(&self, name: &str) -> String {
        pointer_to(&self.pointer, name)
    }

    /// A field as it is; `null` is the same as absent.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.object.remove(name).filter(|value| !value.is_null())
    }

    /// The field under the one of its names that is there.
    fn take_any(&mut self, names: &[&'static str]) -> Option<(&'static str, Value)> {
        let mut found = None;
        for &name in names {
            let Some(value) = self.take(name) else { continue };
            match &found {
                None => found = Some((name, value)),
                Some((first, _)) => {
                    let message = format!("is the same field as {first}: give one of them");
                    self.fault(name, message);
                }
            }
        }
        found
    }

    /// A text of at most [`MAX_TEXT_BYTES`].
    pub(super) fn text(&mut self, names: &[&'static str]) -> Option<Arc<str>> {
        let (name, value) = self.take_any(names)?;
        match text_of(&value, MAX_TEXT_BYTES) {
            Ok(text) => return Some(text.into()),
            Err(message) => self.fault(name, message),
        }
        None
    }

    /// A snake_case word of at most `most` bytes.
    pub(super) fn reason(&mut self, name: &'static str, most: usize) -> Option<Arc<str>> {
        let value = self.take(name)?;
        let is_word = |text: &&str| {
            (1..=most).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        let found = value.as_str().filter(is_word).map(Arc::from);
        if found.is_none() {
            self.fault(name, format!("must be a word of a-z, 0-9 and _ with at most {most} characters"));
        }
        found
    }

    /// A count: tokens, requests, milliseconds.
    pub(super) fn count(&mut self, names: &[&'static str]) -> Option<u64> {
        let (name, value) = self.take_any(names)?;
        self.whole(name, &value, MAX_FIGURE)
    }

    /// A small whole number.
    pub(super) fn small<T: TryFrom<u64>>(&mut self, name: &'static str, most: u64) -> Option<T> {
        let value = self.take(name)?;
        self.whole(name, &value, most).and_then(|number| T::try_from(number).ok())
    }

    fn whole(&mut self, name: &str, value: &Value, most: u64) -> Option<u64> {
        let number =
            whole(value).and_then(|number| u64::try_from(number).ok()).filter(|number| *number <= most);
        if number.is_none() {
            self.fault(name, format!("must be a whole number from 0 to {most}"));
        }
        number
    }

    /// Yes or no.
    pub(super) fn flag(&mut self, name: &'static str) -> Option<bool> {
        let flag = self.take(name)?.as_bool();
        if flag.is_none() {
            self.fault(name, "must be true or false");
        }
        flag
    }

    /// A time in whole microseconds.
    pub(super) fn time(&mut self, name: &'static str) -> Option<Timestamp> {
        let value = self.take(name)?;
        let time: Option<Timestamp> = value.as_str().and_then(|text| text.parse().ok());
        let time = time.and_then(|time| Timestamp::from_microsecond(time.as_microsecond()).ok());
        if time.is_none() {
            self.fault(name, "must be an RFC 3339 time, for example 2027-01-31T18:00:00Z");
        }
        time
    }

    /// One of these words.
    pub(super) fn word<T: DeserializeOwned>(&mut self, name: &'static str, words: &[&str]) -> Option<T> {
        let value = self.take(name)?;
        let found = serde_json::from_value(value).ok();
        if found.is_none() {
            self.fault(name, format!("must be one of: {}", words.join(", ")));
        }
        found
    }

    /// An IP address.
    pub(super) fn address(&mut self, name: &'static str) -> Option<IpAddr> {
        let address = self.take(name)?.as_str().and_then(|text| text.parse().ok());
        if address.is_none() {
            self.fault(name, "must be an IP address");
        }
        address
    }

    /// Nano-dollars.
    pub(super) fn nano_usd(&mut self, name: &'static str) -> Option<NanoUsd> {
        let value = self.take(name)?;
        // No fraction, not even of noughts: what made one may have rounded.
        let cost = value.as_u64().filter(|cost| *cost <= MAX_COST).and_then(|cost| i64::try_from(cost).ok());
        if cost.is_none() {
            self.fault(name, format!("must be a whole number of nano-dollars from 0 to {MAX_COST}"));
        }
        cost.map(NanoUsd)
    }

    /// Dollars as a decimal text.
    pub(super) fn usd(&mut self, name: &'static str) -> Option<NanoUsd> {
        let value = self.take(name)?;
        let cost = value.as_str().and_then(nano_of_decimal).filter(|cost| *cost <= MAX_COST);
        let cost = cost.and_then(|cost| i64::try_from(cost).ok());
        if cost.is_none() {
            self.fault(
                name,
                "must be dollars as a decimal text with at most nine places, for example \"0.0012\"",
            );
        }
        cost.map(NanoUsd)
    }

    /// The entries of an array, to be read by `each` with their places.
    pub(super) fn array<T>(
        &mut self,
        name: &'static str,
        most: usize,
        mut each: impl FnMut(Value, String, &mut Faults) -> Option<T>,
    ) -> Option<Vec<T>> {
        let place = self.pointer(name);
        match self.take(name)? {
            Value::Array(values) if values.len() <= most => {
                let mut read = Vec::with_capacity(values.len());
                for (index, value) in values.into_iter().enumerate() {
                    read.extend(each(value, pointer_to(&place, &index.to_string()), self.faults));
                }
                return Some(read);
            }
            Value::Array(_) => self.fault(name, format!("may have at most {most} entries")),
            _ => self.fault(name, "must be an array"),
        }
        None
    }

    /// Texts.
    pub(super) fn texts(&mut self, name: &'static str, most: usize) -> Vec<Arc<str>> {
        let read = self.array(name, most, |value, place, faults| match text_of(&value, MAX_TEXT_BYTES) {
            Ok(text) => Some(Arc::from(text)),
            Err(message) => {
                faults.add(place, message);
                None
            }
        });
        read.unwrap_or_default()
    }

    /// An object inside of this one.
    pub(super) fn object(&mut self, name: &'static str) -> Option<Reader<'_>> {
        let place = self.pointer(name);
        match self.take(name)? {
            Value::Object(object) => Some(Reader::new(object, place, self.faults)),
            _ => {
                self.fault(name, "must be an object");
                None
            }
        }
    }

    /// Names and values in the producer's own words.
    pub(super) fn metadata(&mut self, name: &'static str) -> BTreeMap<Arc<str>, Arc<str>> {
        let Some(Reader { object, pointer, faults, .. }) = self.object(name) else { return BTreeMap::new() };
        if object.len() > MAX_METADATA {
            faults.add(pointer, format!("may have at most {MAX_METADATA} entries"));
            return BTreeMap::new();
        }
        let mut metadata = BTreeMap::new();
        for (key, value) in object {
            match (text_fault(&key, MAX_METADATA_NAME_BYTES), text_of(&value, MAX_METADATA_VALUE_BYTES)) {
                (None, Ok(text)) => drop(metadata.insert(Arc::from(key), Arc::from(text))),
                (Some(message), _) => faults.add(pointer_to(&pointer, &key), format!("as a name, {message}")),
                (_, Err(message)) => faults.add(pointer_to(&pointer, &key), message),
            }
        }
        metadata
    }

    /// Refuses what was not asked for.
    pub(super) fn finish(mut self) {
        let rest = std::mem::take(&mut self.object);
        for name in rest.keys() {
            let message = match nearest(name, &self.known) {
                Some(near) => format!("is not a field of this; is {near} meant?"),
                None => "is not a field of this".to_owned(),
            };
            self.fault(name, message);
        }
    }

    /// What was not asked for.
    pub(super) fn rest(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.object)
    }
}

/// The text of a value; otherwise what is wrong with it.
fn text_of(value: &Value, most: usize) -> Result<&str, String> {
    let Value::String(text) = value else { return Err("must be a text".to_owned()) };
    text_fault(text, most).map_or(Ok(text), Err)
}

fn text_fault(text: &str, most: usize) -> Option<String> {
    if text.trim().is_empty() || text.len() > most {
        return Some(format!("must have 1 to {most} bytes"));
    }
    text.contains(char::is_control).then(|| "must not contain control characters".to_owned())
}

/// The known name that has the same letters up to case and separators, or the same beginning.
fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let bare = |text: &str| {
        text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
    };
    let wanted = bare(name);
    let same = known.iter().find(|known| bare(known) == wanted);
    let begins = || known.iter().find(|known| wanted.len() >= 4 && bare(known).starts_with(&wanted));
    same.or_else(begins).copied()
}

/// Nano-dollars of a plain decimal of dollars.
fn nano_of_decimal(text: &str) -> Option<u64> {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(places) || places.len() > USD_PLACES {
        return None;
    }
    let nano: u64 = format!("{places:0<USD_PLACES$}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nano)
}
