//! A request's body into the texts of its events.

use std::fmt;

use mindweave_metering::{DecodeError, Encoding, SideDecoder};
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::bounds::{MAX_EVENTS, MAX_INFLATED_BYTES};
use crate::http::problem::{Code, Problem};

/// How the events of a batch stand in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// One JSON text.
    Json,
    /// A JSON text on each line.
    Lines,
}

/// The texts of a batch, and what precedes their numbers in pointers into the body.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    pub(super) events: Vec<&'a str>,
    pub(super) root: &'static str,
}

/// Undoes the compression of a body.
pub(super) fn inflate(body: &[u8]) -> Result<Vec<u8>, Problem> {
    let mut inflated = Vec::new();
    let limit = u64::try_from(MAX_INFLATED_BYTES).unwrap_or(u64::MAX);
    let mut decoder = SideDecoder::new(Encoding::Gzip).at_most(limit);
    let fed = decoder.feed(body, &mut |piece| inflated.extend_from_slice(piece));
    match fed.and_then(|()| decoder.finish()) {
        Ok(()) => Ok(inflated),
        Err(DecodeError::TooLarge) => {
            let detail = format!("the body has more than {MAX_INFLATED_BYTES} bytes when it is decompressed");
            Err(Problem::new(Code::BodyTooLarge, detail))
        }
        Err(DecodeError::Corrupt | DecodeError::Truncated | DecodeError::Unsupported) => {
            Err(Problem::new(Code::BodyUnreadable, "the body is not the gzip that its content-encoding says"))
        }
    }
}

/// The body as text.
pub(super) fn text(body: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(|error| {
        let detail = format!("the body is not UTF-8 from byte {} on", error.valid_up_to());
        Problem::new(Code::InvalidJson, detail)
    })
}

/// The events of a batch.
pub(super) fn events(text: &str, layout: Layout) -> Result<Batch<'_>, Problem> {
    let batch = match layout {
        Layout::Json => of_json(text)?,
        Layout::Lines => {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            Batch { events: lines.take(MAX_EVENTS.saturating_add(1)).collect(), root: "" }
        }
    };
    match batch.events.len() {
        0 => Err(Problem::new(Code::InvalidEvent, "the batch has no events")),
        1..=MAX_EVENTS => Ok(batch),
        _ => {
            let detail =
                format!("the batch has more than {MAX_EVENTS} events: send them in several requests");
            Err(Problem::new(Code::BodyTooLarge, detail))
        }
    }
}

fn of_json(text: &str) -> Result<Batch<'_>, Problem> {
    let malformed = |error: serde_json::Error| {
        let detail = match error.classify() {
            serde_json::error::Category::Data => {
                "the body must be an array of events, or {\"events\": [...]} and nothing else".to_owned()
            }
            _ => format!("the body is not JSON: line {}, column {}", error.line(), error.column()),
        };
        Problem::new(Code::InvalidJson, detail)
    };
    if text.trim_start().starts_with('[') {
        let Texts(events) = serde_json::from_str(text).map_err(malformed)?;
        return Ok(Batch { events, root: "" });
    }
    let wrapped: Wrapped<'_> = serde_json::from_str(text).map_err(malformed)?;
    Ok(Batch { events: wrapped.events.0, root: "/events" })
}

/// `{"events": [...]}`
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrapped<'a> {
    #[serde(borrow)]
    events: Texts<'a>,
}

/// The texts of an array's values. One more than may be is the last that is kept.
struct Texts<'a>(Vec<&'a str>);

impl<'de: 'a, 'a> Deserialize<'de> for Texts<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Texts<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Texts<'de>, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element::<&'de RawValue>()? {
                    if texts.len() <= MAX_EVENTS {
                        texts.push(text.get());
                    }
                }
                Ok(Texts(texts))
            }
        }

        deserializer.deserialize_seq(List)
    }
}
