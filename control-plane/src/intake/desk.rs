//! Takes events in: checks, completes and prices each, and writes down those that can be taken.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use mindweave_eventlog::{AppendError, Journal, Sequence};
use mindweave_metering::{Envelope, EventId, PriceBook, ProxyId, UsageEvent};
use mindweave_policy::{Snapshot, SnapshotStore};
use parking_lot::RwLock;
use serde::Serialize;
use serde_json::{Map, Value};

use super::answer::{EventAnswer, Status};
use super::bounds::MAX_EVENT_BYTES;
use super::caller::Caller;
use super::fault::{EventFault, Faults};
use super::form::{self, Sent};
use super::identity::{IdempotencyKey, Period, identify};
use super::owner::Owners;
use super::settings::EventIntake;
use super::{bill, event_kind, json};
use crate::entropy::NoEntropy;

/// Takes events in.
pub(crate) struct Desk {
    journal: Journal,
    prices: Arc<PriceBook>,
    snapshots: Arc<SnapshotStore>,
    kept: SignedDuration,
    /// Stands for the proxy in events that no proxy has seen: whose sequence it is.
    place: ProxyId,
    source: Arc<str>,
    state: RwLock<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Closed,
}

/// What a request's events came to.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) events: Vec<EventAnswer>,
    /// The last one that was written down.
    pub(super) last: Option<Sequence>,
}

/// Why none of a request's events was taken, good or bad.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("this control plane is stopping")]
    Stopping,
    #[error(transparent)]
    Journal(#[from] AppendError),
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
}

/// One event that can be taken.
struct Complete {
    event: UsageEvent,
    payload: Vec<u8>,
}

impl Desk {
    pub(crate) fn new(intake: EventIntake, snapshots: Arc<SnapshotStore>, kept: std::time::Duration) -> Self {
        let EventIntake { journal, prices } = intake;
        let place = ProxyId::new(format!("{}{}", ProxyId::PREFIX, journal.id()));
        let source = format!("mindweave-control-plane/{place}").into();
        let kept = SignedDuration::try_from(kept).unwrap_or(SignedDuration::MAX);
        Self { journal, prices, snapshots, kept, place, source, state: RwLock::new(State::Open) }
    }

    /// What is in force.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshots.load()
    }

    /// The journal.
    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Takes nothing from now on. When this returns, everything that was or will be accepted is in the journal.
    pub(crate) fn close(&self) {
        *self.state.write() = State::Closed;
    }

    /// Takes the events with these texts: all that can be, or none. Blocks for as long as that computes, and for the journal's
    /// next file where one is due.
    ///
    /// # Errors
    /// See [`Refusal`]. Nothing was written then.
    pub(super) fn take(
        &self,
        texts: &[&str],
        caller: &Caller,
        key: Option<&IdempotencyKey>,
        now: Timestamp,
    ) -> Result<Taken, Refusal> {
        let snapshot = self.snapshots.load();
        let owners = Owners::new(caller, &snapshot);
        let period = Period::at(now, self.kept);
        let (mut events, mut payloads) = (Vec::with_capacity(texts.len()), Vec::with_capacity(texts.len()));
        let mut seen: HashSet<EventId> = HashSet::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            let mut faults = Faults::default();
            let complete = self.complete(text, index, &owners, key, &period, &mut faults)?;
            let answer = match complete {
                Some(Complete { event, payload }) => {
                    let status = if seen.insert(event.event_id) {
                        payloads.push(payload);
                        Status::Accepted
                    } else {
                        Status::Duplicate
                    };
                    taken(index, status, &event)
                }
                None => rejected(index, faults.into_vec()),
            };
            events.push(answer);
        }
        let state = self.state.read(); // until it is appended
        if *state == State::Closed {
            return Err(Refusal::Stopping);
        }
        let last = self.journal.append_events(&payloads)?;
        Ok(Taken { events, last })
    }

    /// One event; `None` when something is wrong with it.
    fn complete(
        &self,
        text: &str,
        index: usize,
        owners: &Owners<'_>,
        key: Option<&IdempotencyKey>,
        period: &Period,
        faults: &mut Faults,
    ) -> Result<Option<Complete>, NoEntropy> {
        let value = match json::read(text) {
            Ok(value) => value,
            Err(EventFault { pointer, message }) => {
                faults.add(pointer, message);
                return Ok(None);
            }
        };
        let Some(mut sent) = form::read(value, faults) else { return Ok(None) };
        owners.complete(&mut sent, faults);
        let period = owners.kept(&sent.draft.project_id).map_or(*period, |kept| period.within(kept));
        identify(&mut sent, index, key, &period, faults)?;
        let at = sent.draft.timestamp;
        bill::settle(&mut sent, &self.prices, at, faults);
        if !faults.is_empty() {
            return Ok(None);
        }
        sent.draft.proxy_id = self.place.clone();
        sent.draft.snapshot_revision = owners.revision();
        let payload = self.payload(&sent, period.now());
        let limit = MAX_EVENT_BYTES.min(self.journal.max_payload_bytes());
        if payload.len() > limit {
            faults.add(sent.places.here(), format!("has more than {limit} bytes"));
            return Ok(None);
        }
        Ok(Some(Complete { event: sent.draft, payload }))
    }

    /// What the journal gets.
    fn payload(&self, sent: &Sent, received_at: Timestamp) -> Vec<u8> {
        let Sent { draft: event, later, .. } = sent;
        let own_id = || event.request_id.clone().unwrap_or_else(|| event.event_id.to_string().into());
        let envelope = Envelope {
            id: event.event_id,
            kind: event_kind(event.event_type),
            source: Arc::clone(&self.source),
            timestamp: event.timestamp,
            version: Arc::clone(&sent.version),
            correlation_id: sent.correlation_id.clone().unwrap_or_else(own_id),
            data: Received { event, received_at, source: sent.source.as_deref(), later },
            metadata: BTreeMap::new(),
        };
        serde_json::to_vec(&envelope).unwrap_or_default() // texts and numbers only: it always serialises
    }
}

/// An event with what is known of its way.
#[derive(Serialize)]
struct Received<'a> {
    #[serde(flatten)]
    event: &'a UsageEvent,
    received_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(flatten)]
    later: &'a Map<String, Value>,
}

fn taken(index: usize, status: Status, event: &UsageEvent) -> EventAnswer {
    EventAnswer {
        index,
        status,
        event_id: Some(event.event_id),
        cost_nano_usd: Some(event.cost_nano_usd),
        certainty: Some(event.certainty),
        errors: Vec::new(),
    }
}

fn rejected(index: usize, errors: Vec<EventFault>) -> EventAnswer {
    EventAnswer {
        index,
        status: Status::Rejected,
        event_id: None,
        cost_nano_usd: None,
        certainty: None,
        errors,
    }
}
