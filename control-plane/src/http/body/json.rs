//! JSON as it is read from bodies: an object names each field once, and nothing is nested deeper than anything here needs.
//!
//! The last of two fields of a name would win in one program and the first in another: what one of them checked, another would
//! not do (RFC 8259, section 4).

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Most objects and arrays in each other. A policy's data is as deep as its author likes, and nobody likes it that deep.
const MAX_DEPTH: usize = 64;
/// Longest name that a refusal repeats, in characters.
const MAX_NAME_CHARS: usize = 200;

/// Why a text was refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// An object names a field twice; the way to it, with dots.
    Repeated(String),
    /// See [`MAX_DEPTH`].
    TooDeep,
    /// It is no JSON.
    Malformed { line: usize, column: usize },
}

/// Reads a text of JSON.
pub(super) fn read(text: &[u8]) -> Result<Value, Refused> {
    let mut found = None;
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let read = Reader { depth: 0, path: &Path::Root, found: &mut found }.deserialize(&mut deserializer);
    let read = read.and_then(|value| deserializer.end().map(|()| value));
    read.map_err(|error| {
        found.unwrap_or_else(|| Refused::Malformed { line: error.line(), column: error.column() })
    })
}

/// Where a value stands.
enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Entry(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Path::Root, name) => f.write_str(name),
            Self::Field(outer, name) => write!(f, "{outer}.{name}"),
            Self::Entry(outer, index) => write!(f, "{outer}[{index}]"),
        }
    }
}

struct Reader<'a> {
    depth: usize,
    path: &'a Path<'a>,
    /// What was refused, because errors of serde hold a text only.
    found: &'a mut Option<Refused>,
}

impl Reader<'_> {
    /// The depth of what is within.
    fn within<E: Error>(&mut self) -> Result<usize, E> {
        if self.depth < MAX_DEPTH {
            return Ok(self.depth.saturating_add(1));
        }
        *self.found = Some(Refused::TooDeep);
        Err(E::custom("too deep"))
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
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
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut entries: A) -> Result<Value, A::Error> {
        let depth = self.within()?;
        let mut values = Vec::new();
        loop {
            let path = Path::Entry(self.path, values.len());
            let reader = Reader { depth, path: &path, found: self.found };
            match entries.next_element_seed(reader)? {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<Value, A::Error> {
        let depth = self.within()?;
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let path = Path::Field(self.path, &name);
            if object.contains_key(&name) {
                let shown = path.to_string().chars().take(MAX_NAME_CHARS).collect();
                *self.found = Some(Refused::Repeated(shown));
                return Err(A::Error::custom("a field twice"));
            }
            let value = fields.next_value_seed(Reader { depth, path: &path, found: self.found })?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_field_that_is_there_twice_is_named_wherever_it_is() {
        for (text, name) in [
            (r#"{"name":"a","name":"b"}"#, "name"),
            (r#"{"name":"a","n\u0061me":"b"}"#, "name"),
            (r#"{"a":{"b":[1,{"c":1,"d":2,"c":1}]}}"#, "a.b[1].c"),
        ] {
            assert_eq!(read(text.as_bytes()), Err(Refused::Repeated(name.to_owned())), "{text}");
        }
        assert!(read(br#"[{"a":{"b":1}},{"a":{"b":1}}]"#).is_ok());
    }

    #[test]
    fn what_is_nested_too_deep_is_refused_and_what_is_not_is_read() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(read(nested(MAX_DEPTH + 1).as_bytes()), Err(Refused::TooDeep));
        assert_eq!(read("[".repeat(1_000_000).as_bytes()), Err(Refused::TooDeep));
        assert_eq!(read(b"{\"a\":1}\n x"), Err(Refused::Malformed { line: 2, column: 2 }));
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1.0e9..1.0e9_f64).prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("\\PC{0,4}", inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_other_text_is_read_as_serde_json_reads_it(value in values()) {
            let text = value.to_string();
            prop_assert_eq!(read(text.as_bytes()), Ok(serde_json::from_str(&text).unwrap()));
        }

        #[test]
        fn no_bytes_make_it_fail_in_another_way(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let theirs = serde_json::from_slice::<Value>(&bytes);
            if theirs.is_err() {
                prop_assert!(read(&bytes).is_err());
            }
        }
    }
}
