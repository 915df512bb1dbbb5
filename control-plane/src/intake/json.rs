//! Reads the JSON of one event, and refuses what two readers could understand in two ways.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::bounds::{MAX_DEPTH, MAX_EVENT_BYTES};
use super::fault::{EventFault, pointer_to};

/// Reads one JSON text. Duplicate names and deep nesting are faults, as is everything that is not JSON.
pub(super) fn read(text: &str) -> Result<Value, EventFault> {
    let fault = |pointer: &str, message: String| EventFault { pointer: pointer.to_owned(), message };
    if text.len() > MAX_EVENT_BYTES {
        return Err(fault("", format!("has more than {MAX_EVENT_BYTES} bytes")));
    }
    let mut found = None;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let seed = Node { pointer: String::new(), depth: 0, found: &mut found };
    let read = seed.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    read.map_err(|error| {
        found.unwrap_or_else(|| {
            fault("", format!("is not JSON: line {}, column {}", error.line(), error.column()))
        })
    })
}

/// A value to be read, and where it stands.
struct Node<'f> {
    pointer: String,
    depth: usize,
    /// What is wrong with the document, beyond its grammar.
    found: &'f mut Option<EventFault>,
}

impl Node<'_> {
    fn inner(&mut self, name: &str) -> Node<'_> {
        Node {
            pointer: pointer_to(&self.pointer, name),
            depth: self.depth.saturating_add(1),
            found: self.found,
        }
    }

    /// Ends the reading.
    fn refuse<E: serde::de::Error>(&mut self, message: &str) -> E {
        *self.found = Some(EventFault { pointer: self.pointer.clone(), message: message.to_owned() });
        E::custom(message)
    }

    fn descend<E: serde::de::Error>(&mut self) -> Result<(), E> {
        if self.depth < MAX_DEPTH { Ok(()) } else { Err(self.refuse("is nested too deeply for an event")) }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Value, A::Error> {
        self.descend()?;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(self.inner(&values.len().to_string()))? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Value, A::Error> {
        self.descend()?;
        let mut object = Map::new();
        while let Some(name) = entries.next_key::<Cow<'de, str>>()? {
            if object.contains_key(&*name) {
                return Err(self.inner(&name).refuse("is there twice"));
            }
            let value = entries.next_value_seed(self.inner(&name))?;
            object.insert(name.into_owned(), value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fault(text: &str) -> (String, String) {
        let EventFault { pointer, message } = read(text).unwrap_err();
        (pointer, message)
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused_by_its_place() {
        assert_eq!(fault(r#"{"a":{"b":1,"b":2}}"#), ("/a/b".to_owned(), "is there twice".to_owned()));
        assert_eq!(fault(r#"{"a/~":1,"\u0061/~":2}"#).0, "/a~1~0");
        let deep = format!("{}1{}", "[".repeat(MAX_DEPTH + 1), "]".repeat(MAX_DEPTH + 1));
        assert_eq!(fault(&deep).0, "/0".repeat(MAX_DEPTH));
        let endless = "[".repeat(MAX_EVENT_BYTES);
        assert_eq!(fault(&endless).0, "/0".repeat(MAX_DEPTH));
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        for text in
            ["", "{", "{\"a\":NaN}", "{\"a\":1e999}", "{\"a\":-Infinity}", "{\"a\":01}", "1 2", "{\"a\":1,}"]
        {
            assert!(fault(text).1.starts_with("is not JSON: line 1, column "), "{text}");
        }
        let long = format!("\"{}\"", "x".repeat(MAX_EVENT_BYTES));
        assert_eq!(fault(&long).1, "has more than 65536 bytes");
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_serde_json_reads_it_or_refused(text in "[\\[\\]{}:,\"a1. e-]{0,40}") {
            match (read(&text), serde_json::from_str::<Value>(&text)) {
                (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs),
                (Ok(_), Err(_)) => prop_assert!(false, "read what is not JSON"),
                (Err(fault), Ok(_)) => prop_assert!(!fault.message.starts_with("is not JSON")),
                (Err(_), Err(_)) => {}
            }
        }
    }
}
