//! What a request says of itself in `x-mindweave-metadata`: `name=value` pairs with commas between them, percent-encoded where they
//! are not plain (the form of W3C Baggage, without its properties). It is copied into the request's event, beside the labels of its
//! key, which it cannot change.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::{HeaderMap, HeaderName};

/// Says what a request is for.
const METADATA: HeaderName = HeaderName::from_static("x-mindweave-metadata");
/// Most pairs of a request: as many as a key may have labels.
const MAX_PAIRS: usize = 32;
/// Longest name: what other producers of events may send.
const MAX_NAME_BYTES: usize = 128;
/// Longest value: a ticket, a cost centre, a path; too short for a prompt.
const MAX_VALUE_BYTES: usize = 256;

/// Names and values.
pub(crate) type Metadata = BTreeMap<Arc<str>, Arc<str>>;

/// The metadata of a request with these headers. What is malformed or too long is left out, and of a name that comes twice the
/// second value. Costs one look where there is none.
pub(crate) fn read(headers: &HeaderMap) -> Metadata {
    let mut metadata = Metadata::new();
    for field in headers.get_all(METADATA) {
        for pair in field.as_bytes().split(|byte| *byte == b',') {
            if metadata.len() >= MAX_PAIRS {
                return metadata;
            }
            if let Some((name, value)) = read_pair(pair) {
                metadata.entry(name.into()).or_insert_with(|| value.into());
            }
        }
    }
    metadata
}

/// What an event gets: the labels of the key, and of the metadata what does not contradict them.
pub(crate) fn beside_labels(labels: &Metadata, metadata: &Metadata) -> Metadata {
    let mut all = labels.clone();
    for (name, value) in metadata {
        all.entry(Arc::clone(name)).or_insert_with(|| Arc::clone(value));
    }
    all
}

fn read_pair(pair: &[u8]) -> Option<(String, String)> {
    let at = pair.iter().position(|byte| *byte == b'=')?;
    let (name, value) = pair.split_at_checked(at)?;
    let value = value.strip_prefix(b"=")?;
    Some((read_text(name, MAX_NAME_BYTES)?, read_text(value, MAX_VALUE_BYTES)?))
}

/// A text without blanks around it: not empty, not longer than `most` bytes, no control characters.
fn read_text(encoded: &[u8], most: usize) -> Option<String> {
    let encoded = encoded.trim_ascii();
    if encoded.len() > most.saturating_mul(3) {
        return None; // three bytes for each, at most
    }
    let text = String::from_utf8(percent_decoded(encoded)?).ok()?;
    let fits = (1..=most).contains(&text.len()) && !text.contains(char::is_control);
    (fits && !text.trim().is_empty()).then_some(text)
}

fn percent_decoded(encoded: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded.iter();
    while let Some(byte) = rest.next() {
        let plain = match byte {
            b'%' => digit(*rest.next()?)? << 4 | digit(*rest.next()?)?,
            byte => *byte,
        };
        decoded.push(plain);
    }
    Some(decoded)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(fields: &[&[u8]]) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(METADATA, HeaderValue::from_bytes(field).unwrap());
        }
        read(&headers).into_iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn pairs_of_all_fields_are_read_and_what_is_malformed_is_left_out() {
        assert_eq!(of(&[]), pairs(&[]));
        assert_eq!(
            of(&[b"team=web , ticket=A-1", b"team=other,x=1=2"]),
            pairs(&[("team", "web"), ("ticket", "A-1"), ("x", "1=2"),])
        );
        assert_eq!(of(&["café=cr%C3%A8me%2C s%FCss".as_bytes(), b"b=%E2%82%AC"]), pairs(&[("b", "€")]));
        assert_eq!(of(&[b"a=1%2c2"]), pairs(&[("a", "1,2")]));
        for malformed in ["", "=", "a", "a=", "=1", "a=%", "a=%4", "a=%zz", "a=%00", "a=%0a", "a=%20", ",,,"]
        {
            assert_eq!(of(&[malformed.as_bytes()]), pairs(&[]), "{malformed}");
        }
        let long = "n".repeat(MAX_VALUE_BYTES);
        assert_eq!(of(&[format!("a={long}").as_bytes()]), pairs(&[("a", &long)]));
        assert_eq!(of(&[format!("a={long}n").as_bytes()]), pairs(&[]));
    }

    #[test]
    fn there_are_only_so_many_pairs() {
        let many: Vec<_> = (0..100).map(|number| format!("n{number:03}=v")).collect();
        assert_eq!(of(&[many.join(",").as_bytes()]).len(), MAX_PAIRS);
    }

    #[test]
    fn a_label_of_the_key_is_not_contradicted() {
        let labels: Metadata = [("team".into(), "web".into())].into();
        let said: Metadata = [("team".into(), "other".into()), ("ticket".into(), "A-1".into())].into();
        let all: Metadata = [("team".into(), "web".into()), ("ticket".into(), "A-1".into())].into();
        assert_eq!(beside_labels(&labels, &said), all);
    }

    fn encoded(text: &str) -> String {
        text.bytes().map(|byte| format!("%{byte:02X}")).collect()
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_read_back(name in "[^\\p{C}\\s]{1,20}", value in "[^\\p{C}\\s]{1,40}") {
            let read = of(&[format!("{}={}", encoded(&name), encoded(&value)).as_bytes()]);
            prop_assert_eq!(read, vec![(name, value)]);
        }

        #[test]
        fn no_header_gives_more_than_events_may_have(field in proptest::collection::vec(any::<u8>(), 0..600)) {
            let Ok(field) = HeaderValue::from_bytes(&field) else { return Ok(()) };
            let mut headers = HeaderMap::new();
            headers.append(METADATA, field);
            let metadata = read(&headers);
            prop_assert!(metadata.len() <= MAX_PAIRS);
            for (name, value) in &metadata {
                prop_assert!((1..=MAX_NAME_BYTES).contains(&name.len()));
                prop_assert!((1..=MAX_VALUE_BYTES).contains(&value.len()));
            }
        }
    }
}
