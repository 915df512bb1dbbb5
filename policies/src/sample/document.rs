//! Reading a made-up input from JSON, so that every fault names its key.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{SampleBudget, SampleError, SampleInput};

/// The keys of a made-up input. `time_zone` may also stand in `time`, where policies read it.
const KEYS: [&str; 5] = ["principal", "request", "usage", "time", "time_zone"];

/// Lays one JSON document over another: objects are merged key by key, anything else is replaced.
pub(crate) fn merge(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                merge(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => under.clone_from(over),
    }
}

pub(super) fn read(document: &Value) -> Result<SampleInput, SampleError> {
    let fields = object("input", document)?;
    if let Some(unknown) = fields.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let message = format!("is not a key of the input; there are: {}", KEYS.join(", "));
        return Err(SampleError::new(unknown, message));
    }
    let mut input = SampleInput::default();
    if let Some(principal) = fields.get("principal") {
        let mut principal = principal.clone();
        if let Some(Value::Object(labels)) = principal.get_mut("labels") {
            labels.retain(|_, value| !value.is_null());
        }
        input.principal = section("principal", &principal)?;
    }
    if let Some(request) = fields.get("request") {
        input.request = section("request", request)?;
    }
    if let Some(usage) = fields.get("usage") {
        input.usage = budgets(object("usage", usage)?)?;
    }
    if let Some(time) = fields.get("time") {
        read_time(&mut input, time)?;
    }
    if let Some(zone) = fields.get("time_zone") {
        input.time_zone = section("time_zone", zone)?;
    }
    if jiff::tz::TimeZone::get(&input.time_zone).is_err() {
        return Err(SampleError::new("time_zone", format!("`{}` is not a known time zone", input.time_zone)));
    }
    Ok(input)
}

fn budgets(entries: &Map<String, Value>) -> Result<BTreeMap<Arc<str>, SampleBudget>, SampleError> {
    let budget = |(name, entry): (&String, &Value)| {
        Ok((Arc::from(name.as_str()), section(&format!("usage.{name}"), entry)?))
    };
    entries.iter().filter(|(_, entry)| !entry.is_null()).map(budget).collect()
}

/// A timestamp, or the object that policies read; of that `rfc3339` and `time_zone` count, the rest follows from them.
fn read_time(input: &mut SampleInput, time: &Value) -> Result<(), SampleError> {
    let Value::Object(fields) = time else {
        input.now = timestamp("time", time)?;
        return Ok(());
    };
    let Some(at) = fields.get("rfc3339") else {
        return Err(SampleError::new("time", "an object of time must hold `rfc3339`"));
    };
    input.now = timestamp("time.rfc3339", at)?;
    if let Some(zone) = fields.get("time_zone") {
        input.time_zone = section("time.time_zone", zone)?;
    }
    Ok(())
}

fn timestamp(place: &str, value: &Value) -> Result<Timestamp, SampleError> {
    section::<String>(place, value)?
        .parse()
        .map_err(|error: jiff::Error| SampleError::new(place, error.to_string()))
}

fn object<'v>(place: &str, value: &'v Value) -> Result<&'v Map<String, Value>, SampleError> {
    value.as_object().ok_or_else(|| SampleError::new(place, "must be an object"))
}

fn section<T: DeserializeOwned>(place: &str, value: &Value) -> Result<T, SampleError> {
    T::deserialize(value).map_err(|error| SampleError::new(place, error.to_string()))
}
