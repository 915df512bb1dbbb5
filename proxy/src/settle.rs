//! From a finished exchange to its row in the ledger: the event, priced and appended to the journal, and charged to the
//! limits and budgets that count it.
//!
//! Nothing here can reach the client. What goes wrong is counted and logged, and the journal still has the request's
//! `admitted` record, so that the next start books it as interrupted.

mod mcp_calls;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mindweave_eventlog::{Admission, AppendError, Journal, Sequence};
use mindweave_metering::{
    BatchResults, Bill, Certainty, DecisionRecord, EVENT_VERSION, Effect, Endpoint, EndpointKind, Envelope,
    EventId, EventType, MeteredItem, MeteredResponse, NanoUsd, Outcome, PriceBook, ProxyId, RequestReading,
    UsageEvent,
};
use mindweave_policy::{AdmissionControl, Principal, Settled};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::attribution::Attribution;
use crate::error::{ProxyError, chain};
use crate::event_ids::EventIds;
use crate::governance::{OpenReservation, Origin};
use crate::metrics;
use crate::reach::Reach;
use crate::request_metadata::beside_labels;

/// What is known of a request when it is admitted: the payload of its `admitted` record in the journal, and what every
/// later event of it starts from. Read back at the next start if the request never finished.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AdmittedRecord {
    pub(crate) event_id: EventId,
    /// When it was admitted.
    pub(crate) timestamp: Timestamp,
    pub(crate) principal: Arc<Principal>,
    pub(crate) method: Arc<str>,
    /// The endpoint's template.
    pub(crate) endpoint: Arc<str>,
    pub(crate) attribution: Attribution,
    pub(crate) snapshot_revision: u64,
    pub(crate) proxy_id: ProxyId,
    /// What was decided, as far as it is worth telling.
    #[serde(default = "DecisionRecord::allowed", skip_serializing_if = "is_unremarkable")]
    pub(crate) decision: DecisionRecord,
    /// The model asked for, where it was known before the request was forwarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) requested_model: Option<Arc<str>>,
    /// Not worth its bytes in a record that is read back after a crash only.
    #[serde(skip)]
    pub(crate) origin: Option<Origin>,
    /// How long its client took to send what had to be known before it was admitted. Nor is this.
    #[serde(skip)]
    pub(crate) waited: Duration,
}

/// How an exchange ended, as far as the answer itself does not say.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    pub(crate) outcome: Outcome,
    /// What the client saw; 0 if nothing.
    pub(crate) status: u16,
    pub(crate) error_type: Option<Arc<str>>,
    /// What was decided in the end, where it is not what was decided at admission.
    pub(crate) decision: Option<DecisionRecord>,
    pub(crate) request_id: Option<Arc<str>>,
    pub(crate) latency: Duration,
    pub(crate) time_to_first_content: Option<Duration>,
    pub(crate) overhead: Duration,
}

/// What an exchange cost and how that is known.
#[derive(Clone, Debug)]
pub(crate) struct Metered {
    pub(crate) answer: MeteredResponse,
    pub(crate) bill: Bill,
}

/// Everything that makes an event.
#[derive(Debug)]
pub(crate) struct Settlement<'a> {
    pub(crate) admitted: &'a AdmittedRecord,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) metered: Metered,
    /// What the body said, as far as it was read.
    pub(crate) reading: Option<Arc<RequestReading>>,
    pub(crate) ending: Ending,
    /// The event's time.
    pub(crate) at: Timestamp,
}

/// Prices exchanges, writes their events and charges what counts them. One per proxy.
#[derive(Debug)]
pub(crate) struct Ledger {
    journal: Journal,
    prices: Arc<PriceBook>,
    admission: Arc<AdmissionControl>,
    event_ids: EventIds,
    proxy_id: ProxyId,
    api_call: Arc<str>,
    mcp_tool: Arc<str>,
    source: Arc<str>,
    version: Arc<str>,
}

impl Ledger {
    pub(crate) fn new(
        journal: Journal,
        prices: Arc<PriceBook>,
        admission: Arc<AdmissionControl>,
        event_ids: EventIds,
    ) -> Self {
        let proxy_id = ProxyId::new(format!("{}{}", ProxyId::PREFIX, journal.id()));
        let source = format!("mindweave-proxy/{proxy_id}").into();
        Self {
            journal,
            prices,
            admission,
            event_ids,
            proxy_id,
            api_call: "usage.api_call".into(),
            mcp_tool: "usage.mcp_tool".into(),
            source,
            version: EVENT_VERSION.into(),
        }
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(crate) fn prices(&self) -> &PriceBook {
        &self.prices
    }

    pub(crate) fn proxy_id(&self) -> &ProxyId {
        &self.proxy_id
    }

    pub(crate) fn next_event_id(&self, now: Timestamp) -> EventId {
        self.event_ids.next(now)
    }

    /// Prices an answer as of now.
    pub(crate) fn price(
        &self,
        answer: MeteredResponse,
        requested_model: Option<&str>,
        now: Timestamp,
    ) -> Metered {
        let bill = self.prices.price(&answer, requested_model, now);
        Metered { answer, bill }
    }

    /// Writes the one event that ends an exchange. `admission` is missing where the journal had no room for one, or the
    /// request was never admitted; `reservation` where nothing counted the request when it began.
    pub(crate) fn book(
        &self,
        settlement: Settlement<'_>,
        admission: Option<Admission>,
        reservation: Option<OpenReservation>,
    ) {
        metrics::requests().ended(settlement.endpoint.kind, &settlement.ending);
        self.write(settlement, admission, reservation);
    }

    fn write(
        &self,
        settlement: Settlement<'_>,
        admission: Option<Admission>,
        reservation: Option<OpenReservation>,
    ) {
        metrics::usage().booked(&settlement.metered);
        metrics::governance().tool_calls_left_out.increment(settlement.metered.answer.tool_calls_left_out);
        let envelope = self.envelope(&self.api_call, self.event(settlement));
        let sequence = self.append(&envelope, admission);
        self.charge(&envelope.data, reservation, sequence);
        self.book_mcp_calls(&envelope);
    }

    /// Makes an event real; the answer is its place in the journal.
    fn append(&self, envelope: &Envelope<UsageEvent>, admission: Option<Admission>) -> Option<Sequence> {
        let mut payload = Vec::with_capacity(TYPICAL_EVENT_BYTES);
        if let Err(error) = serde_json::to_writer(&mut payload, envelope) {
            metrics::event_lost();
            tracing::error!(error = chain(&error), "usage event could not be serialised");
            return None;
        }
        let appended = match admission {
            Some(admission) => self.journal.append_finished(admission, &payload),
            None => self.journal.append_event(&payload),
        };
        match appended {
            Ok(sequence) => Some(sequence),
            // Whoever chose to go on with a full journal gets a counter, not a line for every request.
            Err(AppendError::Full) => {
                metrics::event_lost();
                None
            }
            Err(error) => {
                metrics::event_lost();
                tracing::error!(error = chain(&error), "usage event could not be journaled");
                None
            }
        }
    }

    /// Charges an event to whatever counts it, exactly as the ledger will.
    fn charge(&self, event: &UsageEvent, reservation: Option<OpenReservation>, sequence: Option<Sequence>) {
        let sequence = sequence.map(Sequence::get);
        match (reservation, sequence) {
            (Some(reservation), _) => {
                reservation.settle(Settled::of(event, Instant::now().into_std(), sequence));
            }
            // Nothing counted the request when it began; something may now. What the ledger will never see does not count.
            (None, Some(sequence)) if event.outcome != Outcome::Denied => {
                self.admission.replay(sequence, event);
            }
            (None, _) => {}
        }
    }

    /// Books a part of a batch's results while the download goes on, as an event of its own.
    pub(crate) fn book_items(
        &self,
        admitted: &AdmittedRecord,
        endpoint: &Endpoint,
        items: Vec<MeteredItem>,
        ending: Ending,
        at: Timestamp,
    ) {
        let metered = self.price(MeteredResponse::of_batch(items, None), None, at);
        let part = AdmittedRecord { event_id: self.next_event_id(at), ..admitted.clone() };
        self.write(Settlement { admitted: &part, endpoint, metered, reading: None, ending, at }, None, None);
    }

    fn event(&self, settlement: Settlement<'_>) -> UsageEvent {
        let Settlement { admitted, endpoint, metered, reading, ending, at } = settlement;
        let Metered { answer, bill } = metered;
        let principal = &admitted.principal;
        let attribution = &admitted.attribution;
        let tokens = answer.tokens.unwrap_or_default();
        let facts = reading.as_deref().map(|reading| &reading.facts);
        let requested_model = facts.map_or(&admitted.requested_model, |facts| &facts.model).clone();
        let body_session = facts.and_then(|facts| facts.session_id.clone());
        let batch = (endpoint.batch_id.as_ref())
            .filter(|_| !bill.items.is_empty())
            .map(|batch_id| BatchResults { batch_id: Arc::clone(batch_id), items: bill.items });
        UsageEvent {
            event_id: admitted.event_id,
            timestamp: at,
            org_id: principal.org_id.clone(),
            project_id: principal.project_id.clone(),
            team_id: principal.team_id.clone(),
            user_id: principal.user_id.clone(),
            key_id: principal.key_id.clone(),
            event_type: EventType::ApiCall,
            method: Arc::clone(&admitted.method),
            endpoint: Arc::clone(&admitted.endpoint),
            model: answer.model,
            requested_model,
            input_tokens: tokens.input,
            output_tokens: tokens.output,
            cache_read_tokens: tokens.cache_read,
            cache_write_5m_tokens: tokens.cache_write_5m,
            cache_write_1h_tokens: tokens.cache_write_1h,
            thinking_tokens: answer.thinking_tokens,
            web_search_requests: answer.web_search_requests,
            buckets: bill.buckets,
            cost_nano_usd: bill.cost,
            cost_usd: bill.cost.map(|cost| cost.to_string()),
            certainty: bill.certainty,
            certainty_reason: bill.certainty_reason,
            outcome: ending.outcome,
            status: ending.status,
            stop_reason: answer.stop_reason,
            error_type: ending.error_type.or(answer.error_type),
            latency_ms: millis(ending.latency),
            ttft_ms: ending.time_to_first_content.map(millis),
            overhead_us: u64::try_from(ending.overhead.as_micros()).unwrap_or(u64::MAX),
            streamed: answer.streamed,
            request_id: ending.request_id,
            message_id: answer.message_id,
            service_tier: answer.service_tier,
            session_id: attribution.session_id.clone().or(body_session),
            agent_id: attribution.agent_id.clone(),
            parent_agent_id: attribution.parent_agent_id.clone(),
            request_class: attribution.request_class.clone(),
            retry_count: attribution.retry_count,
            tool_calls: answer.tool_calls,
            decision: ending.decision.unwrap_or_else(|| admitted.decision.clone()),
            price_book: Arc::clone(self.prices.version()),
            snapshot_revision: admitted.snapshot_revision,
            proxy_id: admitted.proxy_id.clone(),
            sequence: 0,
            parent_event_id: None,
            request: admitted.origin.as_ref().map(|origin| origin.digest(reading.as_deref())),
            batch,
            metadata: beside_labels(&principal.labels, &attribution.metadata),
        }
    }

    fn envelope(&self, kind: &Arc<str>, event: UsageEvent) -> Envelope<UsageEvent> {
        Envelope {
            id: event.event_id,
            kind: Arc::clone(kind),
            source: Arc::clone(&self.source),
            timestamp: event.timestamp,
            version: Arc::clone(&self.version),
            correlation_id: event.request_id.clone().unwrap_or_else(|| event.event_id.to_string().into()),
            data: event,
            metadata: BTreeMap::new(),
        }
    }
}

impl AdmittedRecord {
    /// What an event says about a request that is refused with this answer, before or after it was admitted.
    pub(crate) fn denied(&self, error: &ProxyError) -> DecisionRecord {
        let mut decision = self.decision.clone();
        if decision.effect == Effect::Allow {
            decision.effect = Effect::Deny;
            decision.reasons = vec![error.reason().into()];
        }
        decision.refused_by = error.refused_by();
        decision
    }
}

/// Whether there is nothing to tell of a decision.
fn is_unremarkable(decision: &DecisionRecord) -> bool {
    *decision == DecisionRecord::allowed()
}

impl Metered {
    /// An exchange without an answer from the API. It is free if the request never got there or its endpoint never bills;
    /// otherwise the API may have worked, and billed, unseen.
    pub(crate) fn without_answer(kind: EndpointKind, reach: Reach) -> Self {
        let unknown = match (reach, kind) {
            (
                Reach::Unanswered(reason),
                EndpointKind::Messages | EndpointKind::Complete | EndpointKind::ChatCompletions,
            ) => Some(reason),
            (Reach::Unanswered(_) | Reach::NotForwarded, _) => None,
        };
        let bill = Bill {
            buckets: Vec::new(),
            cost: unknown.is_none().then_some(NanoUsd(0)),
            certainty: if unknown.is_some() { Certainty::Unknown } else { Certainty::Exact },
            certainty_reason: unknown.map(|reason| reason.as_str().into()),
            items: Vec::new(),
        };
        Self { answer: MeteredResponse::without_usage(None), bill }
    }
}

/// Room for an event without many tool calls or buckets, so that serialising it allocates once.
const TYPICAL_EVENT_BYTES: usize = 2_048;

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
