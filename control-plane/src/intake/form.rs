//! What a producer says of one event. There is one form, with a default for whatever has one: a few fields are enough, a whole
//! [`UsageEvent`] is fine, and either may come in the standard envelope.

mod figures;
mod parts;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use mindweave_metering::{
    Certainty, DecisionRecord, EventId, EventType, MAX_TOOL_CALLS, NanoUsd, OrgId, Outcome, ProjectId,
    ProxyId, UsageEvent,
};
use serde_json::{Map, Value};

use super::bounds::{MAX_LATER_BYTES, MAX_LATER_FIELDS, MAX_REASON_BYTES};
use super::fault::{Faults, pointer_to};
use super::reader::Reader;

pub(super) use figures::{Figures, Terms};

/// Events of these versions are read; fields that a later minor version adds are kept as they are.
const VERSIONS: &str = "1.";
/// The version whose fields this build knows.
const KNOWN_VERSION: &str = mindweave_metering::EVENT_VERSION;
const EVENT_TYPES: [&str; 3] = ["api_call", "mcp_tool", "session"];
/// All but `denied`: what was refused was not used, and the log of decisions is MindWeave's own.
const OUTCOMES: [&str; 6] =
    ["complete", "upstream_error", "client_gone", "upstream_cut", "deadline", "interrupted"];
const CERTAINTIES: [&str; 3] = ["exact", "estimated", "unknown"];

/// An event as it was sent.
#[derive(Debug)]
pub(super) struct Sent {
    /// Everything that the producer alone can know. Identity, owner, figures, bill and place are still to be set.
    pub(super) draft: UsageEvent,
    pub(super) event_id: Option<EventId>,
    pub(super) timestamp: Option<Timestamp>,
    pub(super) owner: SentOwner,
    pub(super) figures: Figures,
    pub(super) terms: Terms,
    /// What it cost, if the producer knows.
    pub(super) cost: Option<NanoUsd>,
    /// How the producer knows its figures.
    pub(super) certainty: Option<Certainty>,
    /// The producer, in its own words.
    pub(super) source: Option<Arc<str>>,
    pub(super) correlation_id: Option<Arc<str>>,
    /// The version that it was sent in.
    pub(super) version: Arc<str>,
    /// Fields of a later version.
    pub(super) later: Map<String, Value>,
    /// Where its fields stand, for faults that only the rest can show.
    pub(super) places: Places,
}

/// Whose usage it is, as far as the event says.
#[derive(Debug, Default)]
pub(super) struct SentOwner {
    pub(super) org_id: Option<Arc<str>>,
    pub(super) project_id: Option<Arc<str>>,
    pub(super) team_id: Option<Arc<str>>,
    pub(super) user_id: Option<Arc<str>>,
    pub(super) key_id: Option<Arc<str>>,
}

/// Pointers into the event.
#[derive(Clone, Debug)]
pub(super) struct Places(String);

impl Places {
    /// The place of a field.
    pub(super) fn of(&self, field: &str) -> String {
        pointer_to(&self.0, field)
    }

    /// The place of the event itself.
    pub(super) fn here(&self) -> &str {
        &self.0
    }
}

/// Reads an event. What is wrong with it is in `faults` then; `None` when that is too much to go on.
pub(super) fn read(value: Value, faults: &mut Faults) -> Option<Sent> {
    let Value::Object(object) = value else {
        faults.add("", "must be a JSON object");
        return None;
    };
    // No version of the event has a field of this name, every envelope has.
    if object.contains_key("data") {
        return read_envelope(Reader::new(object, String::new(), faults));
    }
    Some(read_event(Reader::new(object, String::new(), faults), KNOWN_VERSION.into()))
}

fn read_envelope(mut envelope: Reader<'_>) -> Option<Sent> {
    let version = envelope.text(&["version"]).unwrap_or_else(|| KNOWN_VERSION.into());
    if !version.starts_with(VERSIONS) {
        envelope.fault("version", "must be 1.0 or a later minor version");
        return None;
    }
    let id = parts::event_id(&mut envelope, "id");
    let kind = envelope.text(&["type"]);
    let (source, timestamp) = (envelope.text(&["source"]), envelope.time("timestamp"));
    let correlation_id = envelope.text(&["correlation_id"]);
    drop(envelope.metadata("metadata")); // checked; an envelope's own says nothing of usage, and ends with it
    let place = envelope.pointer("data");
    let Some(Value::Object(data)) = envelope.take("data") else {
        envelope.fault("data", "must be an object");
        return None;
    };
    let mut sent = read_event(Reader::new(data, place, envelope.faults()), Arc::clone(&version));
    let event_type = super::event_kind(sent.draft.event_type);
    if kind.is_some_and(|kind| *kind != *event_type) {
        envelope.fault("type", format!("must be {event_type}, as the event in data is"));
    }
    if id.is_some() && sent.event_id.is_some() && id != sent.event_id {
        envelope.fault("id", "must be the event_id of data");
    }
    sent.event_id = sent.event_id.or(id);
    sent.timestamp = sent.timestamp.or(timestamp);
    sent.source = sent.source.or(source);
    sent.correlation_id = correlation_id;
    if *version == *KNOWN_VERSION {
        envelope.finish();
    }
    Some(sent)
}

fn read_event(mut fields: Reader<'_>, version: Arc<str>) -> Sent {
    let places = Places(fields.place().to_owned());
    let owner = SentOwner {
        org_id: fields.text(&["org_id"]),
        project_id: fields.text(&["project_id", "project"]),
        team_id: fields.text(&["team_id", "team"]),
        user_id: fields.text(&["user_id", "user"]),
        key_id: fields.text(&["key_id", "key"]),
    };
    let event_id = parts::event_id(&mut fields, "event_id");
    let timestamp = fields.time("timestamp");
    let mut draft = read_exchange(&mut fields);
    read_context(&mut fields, &mut draft);
    let figures = Figures::read(&mut fields, &draft);
    let terms = Terms::read(&mut fields, &draft);
    draft.service_tier.clone_from(&terms.service_tier);
    draft.buckets = parts::buckets(&mut fields, draft.model.as_ref().or(draft.requested_model.as_ref()));
    let (cost, certainty) = read_cost(&mut fields, &mut draft);
    refuse_ours(&mut fields);
    let source = fields.text(&["source"]);
    let mut later = Map::new();
    if *version == *KNOWN_VERSION {
        fields.finish();
    } else {
        later = later_fields(fields);
    }
    if let Some(speed) = &terms.speed {
        later.insert("speed".to_owned(), (&**speed).into());
    }
    let correlation_id = None;
    Sent {
        draft,
        event_id,
        timestamp,
        owner,
        figures,
        terms,
        cost,
        certainty,
        source,
        correlation_id,
        version,
        later,
        places,
    }
}

/// What was called and how it ended.
fn read_exchange(fields: &mut Reader<'_>) -> UsageEvent {
    let mut draft = empty_draft();
    draft.event_type = fields.word("event_type", &EVENT_TYPES).unwrap_or(EventType::ApiCall);
    draft.method = fields.text(&["method"]).unwrap_or_else(|| "POST".into());
    if let Some(endpoint) = fields.text(&["endpoint"]) {
        if !endpoint.starts_with('/') || endpoint.contains('?') {
            fields.fault("endpoint", "must be a path without a query, with {id} in the place of ids");
        }
        draft.endpoint = endpoint;
    }
    (draft.model, draft.requested_model) = (fields.text(&["model"]), fields.text(&["requested_model"]));
    draft.outcome = fields.word("outcome", &OUTCOMES).unwrap_or(Outcome::Complete);
    if draft.outcome == Outcome::Denied {
        fields.fault("outcome", "must not be denied: what was refused before it was sent used nothing");
    }
    let status = fields.small("status", 599).filter(|status| *status == 0 || *status >= 100);
    draft.status = status.unwrap_or(if draft.outcome == Outcome::Complete { 200 } else { 0 });
    draft.latency_ms = fields.count(&["latency_ms"]).unwrap_or(0);
    draft.ttft_ms = fields.count(&["ttft_ms"]);
    draft.overhead_us = fields.count(&["overhead_us"]).unwrap_or(0);
    draft.streamed = fields.flag("streamed").unwrap_or(false);
    draft.retry_count = fields.small("retry_count", u64::from(u32::MAX)).unwrap_or(0);
    draft
}

/// Who asked for what, in the client's words.
fn read_context(fields: &mut Reader<'_>, draft: &mut UsageEvent) {
    draft.stop_reason = fields.text(&["stop_reason"]);
    draft.error_type = fields.text(&["error_type"]);
    draft.request_id = fields.text(&["request_id"]);
    draft.message_id = fields.text(&["message_id"]);
    draft.session_id = fields.text(&["session_id"]);
    draft.agent_id = fields.text(&["agent_id"]);
    draft.parent_agent_id = fields.text(&["parent_agent_id"]);
    draft.request_class = fields.text(&["request_class"]);
    draft.parent_event_id = parts::event_id(fields, "parent_event_id");
    draft.tool_calls = fields.array("tool_calls", MAX_TOOL_CALLS, parts::tool_call).unwrap_or_default();
    draft.request = parts::digest(fields);
    draft.metadata = fields.metadata("metadata");
}

/// What it cost and how that is known, in the producer's words.
fn read_cost(fields: &mut Reader<'_>, draft: &mut UsageEvent) -> (Option<NanoUsd>, Option<Certainty>) {
    let (nano, usd) = (fields.nano_usd("cost_nano_usd"), fields.usd("cost_usd"));
    if nano.is_some() && usd.is_some() && nano != usd {
        fields.fault("cost_usd", "must be the same as cost_nano_usd, in dollars");
    }
    let certainty = fields.word("certainty", &CERTAINTIES);
    draft.certainty_reason = fields.reason("certainty_reason", MAX_REASON_BYTES);
    draft.price_book = fields.text(&["price_book"]).unwrap_or_else(|| "".into());
    let cost = nano.or(usd);
    if cost.is_some() && certainty == Some(Certainty::Unknown) {
        fields.fault("certainty", "must not be unknown where there is a cost");
    }
    (cost, certainty)
}

/// Takes out what only MindWeave says. What is given of its place is not looked at: an event that was exported has it.
fn refuse_ours(fields: &mut Reader<'_>) {
    for name in ["proxy_id", "sequence", "snapshot_revision", "received_at"] {
        drop(fields.take(name));
    }
    let decision = fields.take("decision");
    if decision.is_some_and(|decision| decision.get("effect").and_then(Value::as_str) != Some("allow")) {
        fields.fault(
            "decision",
            "must be left out, or have the effect allow: only MindWeave's proxies refuse requests",
        );
    }
    if fields.take("batch").is_some() {
        fields.fault(
            "batch",
            "must be left out: send an event for each item, with \"service_tier\": \"batch\"",
        );
    }
}

/// Keeps what a later version may have added, within bounds.
fn later_fields(mut fields: Reader<'_>) -> Map<String, Value> {
    let mut later = fields.rest();
    let bytes = serde_json::to_vec(&later).map_or(usize::MAX, |json| json.len());
    if later.len() > MAX_LATER_FIELDS || bytes > MAX_LATER_BYTES {
        let bound = format!("{MAX_LATER_FIELDS} fields with {MAX_LATER_BYTES} bytes together");
        fields.fault_here(format!("has more fields that this version does not know than {bound}"));
        later.clear();
    }
    later
}

fn empty_draft() -> UsageEvent {
    UsageEvent {
        event_id: EventId::from_bytes([0; 16]),
        timestamp: Timestamp::UNIX_EPOCH,
        org_id: OrgId::new(""),
        project_id: ProjectId::new(""),
        team_id: None,
        user_id: None,
        key_id: None,
        event_type: EventType::ApiCall,
        method: "POST".into(),
        endpoint: "/v1/messages".into(),
        model: None,
        requested_model: None,
        input_tokens: 0,
        output_tokens: 0,
        cache_read_tokens: 0,
        cache_write_5m_tokens: 0,
        cache_write_1h_tokens: 0,
        thinking_tokens: 0,
        web_search_requests: 0,
        buckets: Vec::new(),
        cost_nano_usd: None,
        cost_usd: None,
        certainty: Certainty::Unknown,
        certainty_reason: None,
        outcome: Outcome::Complete,
        status: 0,
        stop_reason: None,
        error_type: None,
        latency_ms: 0,
        ttft_ms: None,
        overhead_us: 0,
        streamed: false,
        request_id: None,
        message_id: None,
        service_tier: None,
        session_id: None,
        agent_id: None,
        parent_agent_id: None,
        request_class: None,
        retry_count: 0,
        tool_calls: Vec::new(),
        decision: DecisionRecord::allowed(),
        price_book: "".into(),
        snapshot_revision: 0,
        proxy_id: ProxyId::new(""),
        sequence: 0,
        parent_event_id: None,
        request: None,
        batch: None,
        metadata: BTreeMap::new(),
    }
}
