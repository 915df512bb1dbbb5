//! Journal records to ledger rows.
//!
//! An event stays the text that the proxy wrote, with its sequence put in. Only what columns and sums need is read, borrowed
//! from that text; this runs in the process that forwards requests, and reading everything would cost three times as much.
//! A field that a later minor version adds is kept.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;
use mindweave_eventlog::{Origin, Record};
use mindweave_metering::{
    Certainty, Effect, EventId, EventType, NanoUsd, Outcome, PicoUsd, UsageEvent, UserId,
};
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::privacy::{Erased, with_user};

/// Greatest figure that an event may carry: tokens, milliseconds, and nano-dollars times a thousand. Far beyond anything
/// real, and small enough that sums over millions of such events fit 64 bits.
pub(crate) const MAX_FIGURE: u64 = 1_000_000_000_000;
/// Greatest cost of one event: a million dollars, in nano-dollars.
pub(crate) const MAX_COST: u64 = 1_000_000 * 1_000_000_000;
/// Longest id of an organisation, a project, a team, a user or a key, in bytes. They stand in keys of tables, together with the
/// model, and an entry of an index of PostgreSQL has at most 2704.
const MAX_ID_BYTES: usize = 256;
/// Longest name of a model or id of a request. Ours are shorter: names are cut where they are read.
const MAX_NAME_BYTES: usize = 1_024;
/// The versions of the event that this build reads.
const VERSIONS: &str = "1.";

/// Text of an event, borrowed where it has no escapes. (A bare `Option<Cow<str>>` would never borrow.)
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// What columns and sums need of an event: fields of [`UsageEvent`] by the same names.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Fields<'a> {
    pub(crate) event_id: EventId,
    pub(crate) timestamp: Timestamp,
    #[serde(borrow)]
    pub(crate) org_id: Text<'a>,
    #[serde(borrow)]
    pub(crate) project_id: Text<'a>,
    #[serde(borrow)]
    pub(crate) team_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) user_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) key_id: Option<Text<'a>>,
    pub(crate) event_type: EventType,
    #[serde(borrow)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    requested_model: Option<Text<'a>>,
    pub(crate) outcome: Outcome,
    pub(crate) status: u16,
    #[serde(borrow)]
    pub(crate) request_id: Option<Text<'a>>,
    pub(crate) latency_ms: u64,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) cache_read_tokens: u64,
    pub(crate) cache_write_5m_tokens: u64,
    pub(crate) cache_write_1h_tokens: u64,
    pub(crate) thinking_tokens: u64,
    pub(crate) web_search_requests: u64,
    pub(crate) cost_nano_usd: Option<NanoUsd>,
    pub(crate) certainty: Certainty,
    pub(crate) decision: DecisionFields,
    #[serde(borrow)]
    sequence: Option<&'a RawValue>,
    #[serde(borrow)]
    batch: Option<&'a RawValue>,
}

/// What the decision log is found by: fields of [`mindweave_metering::DecisionRecord`] by the same names.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct DecisionFields {
    effect: Effect,
    #[serde(default)]
    shadow: HasEntries,
    #[serde(default)]
    verdicts: HasEntries,
}

impl DecisionFields {
    /// Whether the event belongs into the decision log: it was refused, or a policy said something about it.
    pub(crate) fn is_flagged(self) -> bool {
        self.effect == Effect::Deny || self.shadow.0 || self.verdicts.0
    }
}

/// Whether a list has entries, which are passed over.
#[derive(Clone, Copy, Debug, Default)]
struct HasEntries(bool);

impl<'de> Deserialize<'de> for HasEntries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = HasEntries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<HasEntries, A::Error> {
                let mut found = HasEntries(false);
                while list.next_element::<IgnoredAny>()?.is_some() {
                    found.0 = true;
                }
                Ok(found)
            }
        }

        deserializer.deserialize_seq(List)
    }
}

impl Fields<'_> {
    /// The model that the event is listed and summed under: the one that served, or else the one asked for.
    pub(crate) fn model(&self) -> Option<&str> {
        self.model.as_deref().or(self.requested_model.as_deref())
    }

    /// Takes the figures over from the event, some of whose batch items were taken out.
    fn refresh(&mut self, event: &UsageEvent) {
        self.input_tokens = event.input_tokens;
        self.output_tokens = event.output_tokens;
        self.cache_read_tokens = event.cache_read_tokens;
        self.cache_write_5m_tokens = event.cache_write_5m_tokens;
        self.cache_write_1h_tokens = event.cache_write_1h_tokens;
        self.thinking_tokens = event.thinking_tokens;
        self.web_search_requests = event.web_search_requests;
        self.cost_nano_usd = event.cost_nano_usd;
        self.certainty = event.certainty;
    }

    fn is_plausible(&self) -> bool {
        let figures = [
            self.input_tokens,
            self.output_tokens,
            self.cache_read_tokens,
            self.cache_write_5m_tokens,
            self.cache_write_1h_tokens,
            self.thinking_tokens,
            self.web_search_requests,
            self.latency_ms,
        ];
        figures.iter().all(|figure| *figure <= MAX_FIGURE)
    }

    /// Whether it costs something that an exchange can cost. Nothing gives money back by costing less than nothing.
    fn has_possible_cost(&self) -> bool {
        self.cost_nano_usd.is_none_or(|cost| u64::try_from(cost.0).is_ok_and(|cost| cost <= MAX_COST))
    }

    fn has_short_names(&self) -> bool {
        let ids = [
            Some(&self.org_id),
            Some(&self.project_id),
            self.team_id.as_ref(),
            self.user_id.as_ref(),
            self.key_id.as_ref(),
        ];
        let names = [self.model.as_ref(), self.requested_model.as_ref(), self.request_id.as_ref()];
        let fit =
            |texts: &[Option<&Text<'_>>], most| texts.iter().flatten().all(|text| stored_bytes(text) <= most);
        fit(&ids, MAX_ID_BYTES) && fit(&names, MAX_NAME_BYTES)
    }
}

/// An event as it will be stored.
#[derive(Clone, Debug)]
pub(crate) struct Decoded<'a> {
    /// Position in the source.
    pub(crate) sequence: u64,
    /// Where it was written down, when that is not the source.
    pub(crate) origin: Option<&'a Origin>,
    /// What is known of it without its text.
    pub(crate) fields: Fields<'a>,
    /// The whole event as JSON, its sequence set.
    pub(crate) json: Arc<str>,
    /// The whole event, when it has batch items: some of them may have to be taken out.
    pub(crate) download: Option<Box<UsageEvent>>,
}

impl Decoded<'_> {
    /// Brings what will be stored up to date with [`Self::download`].
    pub(crate) fn refresh(&mut self) -> Result<(), Undecodable> {
        let Some(event) = &self.download else { return Ok(()) };
        self.fields.refresh(event);
        let json = serde_json::to_string(event).map_err(|error| Undecodable::json(self.sequence, &error))?;
        self.json = json.into();
        Ok(())
    }
}

impl Decoded<'_> {
    /// Puts the pseudonym in the place of a person who was erased.
    pub(crate) fn replace_erased(&mut self, erased: &Erased) -> Result<(), Undecodable> {
        let Some(user_id) = self.fields.user_id.as_deref() else { return Ok(()) };
        let Some(pseudonym) = erased.pseudonym(&self.fields.org_id, user_id) else { return Ok(()) };
        let json = with_user(&self.json, pseudonym);
        self.json =
            json.ok_or_else(|| Undecodable::new(self.sequence, "its user cannot be replaced"))?.into();
        if let Some(download) = &mut self.download {
            download.user_id = Some(UserId::new(Arc::clone(pseudonym)));
        }
        self.fields.user_id = Some(Text(Cow::Owned(pseudonym.as_ref().to_owned())));
        Ok(())
    }
}

/// A record that can never become a row, however often it is tried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {sequence} is not a usage event: {reason}")]
pub(crate) struct Undecodable {
    /// Its position in the source.
    pub(crate) sequence: u64,
    /// Why. Repeats no content.
    pub(crate) reason: String,
}

impl Undecodable {
    fn new(sequence: u64, reason: &str) -> Self {
        Self { sequence, reason: reason.to_owned() }
    }

    fn json(sequence: u64, error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        Self { sequence, reason: format!("{:?} error at line {line}, column {column}", error.classify()) }
    }
}

/// The part of the envelope that is read; see [`mindweave_metering::Envelope`].
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    version: Text<'a>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// Decodes a record. The event carries in the ledger the sequence that it has in the journal where it was written down.
pub(crate) fn decode(record: &Record) -> Result<Decoded<'_>, Undecodable> {
    let (sequence, origin) = (record.sequence.get(), record.origin.as_ref());
    let own = origin.map_or(record.sequence, |origin| origin.sequence).get();
    let malformed = |error: serde_json::Error| Undecodable::json(sequence, &error);
    let payload =
        std::str::from_utf8(&record.payload).map_err(|_| Undecodable::new(sequence, "it is not UTF-8"))?;
    let envelope: Envelope<'_> = serde_json::from_str(payload).map_err(malformed)?;
    if !envelope.version.starts_with(VERSIONS) {
        return Err(Undecodable::new(sequence, "it has a version that this build does not know"));
    }
    let text = envelope.data.get();
    let fields: Fields<'_> = serde_json::from_str(text).map_err(malformed)?;
    if !fields.is_plausible() {
        return Err(Undecodable::new(sequence, "it carries an impossibly great figure"));
    }
    if !fields.has_possible_cost() {
        return Err(Undecodable::new(sequence, "it carries an impossible cost"));
    }
    if !fields.has_short_names() {
        return Err(Undecodable::new(sequence, "it carries an id or a name that is too long"));
    }
    let json = with_sequence(text, fields.sequence, own)
        .ok_or_else(|| Undecodable::new(sequence, "its sequence cannot be set"))?;
    let download: Option<Box<UsageEvent>> =
        fields.batch.map(|_| serde_json::from_str(&json)).transpose().map_err(malformed)?;
    if !download.as_deref().is_none_or(has_possible_items) {
        return Err(Undecodable::new(
            sequence,
            "its batch items carry an impossible cost or too long a name",
        ));
    }
    Ok(Decoded { sequence, origin, fields, json: json.into(), download })
}

/// What the text takes in a column: PostgreSQL cannot hold NUL, for which three bytes stand.
fn stored_bytes(text: &str) -> usize {
    let nuls = text.bytes().filter(|byte| *byte == 0).count();
    text.len().saturating_add(nuls.saturating_mul(2))
}

fn has_possible_items(event: &UsageEvent) -> bool {
    let ids = event.batch.iter().map(|batch| &*batch.batch_id);
    let items = event.batch.iter().flat_map(|batch| &batch.items);
    let mut names = ids.chain(items.clone().map(|item| &*item.custom_id));
    if !names.all(|name| stored_bytes(name) <= MAX_NAME_BYTES) {
        return false;
    }
    let mut buckets = items.flat_map(|item| &item.buckets).chain(&event.buckets);
    buckets.all(|bucket| {
        let costs = bucket.amount_pico_usd.is_none_or(|amount| amount >= PicoUsd(0));
        costs && stored_bytes(&bucket.model) <= MAX_NAME_BYTES
    })
}

/// The text of an event with its sequence set. `written` is the sequence in this text, if it has one.
fn with_sequence(text: &str, written: Option<&RawValue>, sequence: u64) -> Option<String> {
    let sequence = sequence.to_string();
    let Some(written) = written else {
        return Some(["{\"sequence\":", &*sequence, ",", text.strip_prefix('{')?].concat());
    };
    // `written` is borrowed from `text`: where it lies says what precedes it, which no search for its name could.
    let start = written.get().as_ptr().addr().checked_sub(text.as_ptr().addr())?;
    let (before, rest) = text.split_at_checked(start)?;
    Some([before, &*sequence, rest.strip_prefix(written.get())?].concat())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{NOON, event, record};

    fn of_payload(sequence: u64, payload: Vec<u8>) -> Record {
        Record { payload, ..record(sequence, &event(1, NOON, 10)) }
    }

    #[test]
    fn the_text_of_an_event_is_kept_but_for_its_sequence() {
        let mut event = event(7, NOON, 10);
        event.metadata.insert("sequence".into(), "\"sequence\":0, \\ \u{e9}".into());
        event.sequence = 5;
        let record = record(1_234, &event);
        let decoded = decode(&record).unwrap();
        event.sequence = 1_234;
        assert_eq!(*decoded.json, serde_json::to_string(&event).unwrap());
    }

    #[test]
    fn an_event_without_sequence_gets_one_and_keeps_fields_of_a_later_version() {
        let mut envelope: Value = serde_json::from_slice(&record(1, &event(1, NOON, 10)).payload).unwrap();
        envelope["version"] = "1.9".into();
        let data = envelope["data"].as_object_mut().unwrap();
        data.remove("sequence");
        data.insert("carbon_grams".into(), 12.into());
        let record = of_payload(9, serde_json::to_vec(&envelope).unwrap());
        let stored: Value = serde_json::from_str(&decode(&record).unwrap().json).unwrap();
        assert_eq!((&stored["sequence"], &stored["carbon_grams"]), (&9.into(), &12.into()));
    }

    #[test]
    fn what_columns_and_sums_need_is_borrowed_unless_it_has_escapes() {
        let mut event = event(1, NOON, 10);
        event.request_id = Some("req_\"1\"".into());
        let record = record(1, &event);
        let fields = decode(&record).unwrap().fields;
        assert!(matches!(fields.model, Some(Text(Cow::Borrowed("claude-sonnet-4-5")))));
        assert!(matches!(fields.project_id, Text(Cow::Borrowed("prj_1"))));
        assert_eq!(fields.request_id.as_deref(), Some("req_\"1\""));
    }

    #[test]
    fn an_event_is_flagged_when_it_was_refused_or_a_policy_said_something() {
        let flagged = |decision: Value| {
            let mut envelope: Value =
                serde_json::from_slice(&record(1, &event(1, NOON, 10)).payload).unwrap();
            envelope["data"]["decision"] = decision;
            let record = of_payload(1, serde_json::to_vec(&envelope).unwrap());
            decode(&record).unwrap().fields.decision.is_flagged()
        };
        let base =
            json!({ "effect": "allow", "reasons": [], "policy_revision": 3, "shadow": [], "later": [1] });
        let with = |field: &str, value: Value| {
            let mut decision = base.clone();
            decision[field] = value;
            decision
        };
        assert!(!flagged(base.clone()));
        assert!(!flagged(with("verdicts", json!([]))));
        assert!(flagged(with("effect", json!("deny"))));
        assert!(flagged(with("shadow", json!(["model_not_allowed"]))));
        assert!(flagged(with("verdicts", json!([{ "kind": "warn" }]))));
    }

    #[test]
    fn what_no_exchange_can_cost_and_names_that_no_key_can_hold_are_refused_with_the_reason() {
        let with = |change: &dyn Fn(&mut UsageEvent)| {
            let mut event = event(1, NOON, 10);
            change(&mut event);
            decode(&record(7, &event)).map(drop)
        };
        let refused = |change: &dyn Fn(&mut UsageEvent), reason: &str| {
            let error = with(change).unwrap_err();
            assert_eq!((error.sequence, error.reason.contains(reason)), (7, true), "{error}");
        };
        refused(&|event| event.cost_nano_usd = Some(NanoUsd(-1)), "impossible cost");
        refused(&|event| event.cost_nano_usd = Some(NanoUsd(i64::MAX)), "impossible cost");
        refused(&|event| event.model = Some("m".repeat(1_025).into()), "too long");
        refused(&|event| event.model = Some("\0".repeat(400).into()), "too long");
        refused(&|event| event.user_id = Some(UserId::new(&*"u".repeat(257))), "too long");
        refused(&|event| event.request_id = Some("r".repeat(1_025).into()), "too long");
        with(&|event| event.cost_nano_usd = Some(NanoUsd(0))).unwrap();
        with(&|event| event.model = Some("m".repeat(1_024).into())).unwrap();
    }

    #[test]
    fn a_download_whose_items_cannot_be_read_is_refused_before_anything_is_booked() {
        let mut envelope: Value = serde_json::from_slice(&record(1, &event(1, NOON, 10)).payload).unwrap();
        envelope["data"]["batch"] = serde_json::json!({ "batch_id": "msgbatch_1", "items": [{}] });
        let record = of_payload(3, serde_json::to_vec(&envelope).unwrap());
        assert_eq!(decode(&record).unwrap_err().sequence, 3);
        assert_eq!(decode(&of_payload(4, b"\xff".to_vec())).unwrap_err().sequence, 4);
    }
}
