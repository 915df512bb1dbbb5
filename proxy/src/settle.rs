//! From a finished exchange to its row in the ledger: the event, priced and appended to the journal.
//!
//! Nothing here can reach the client. What goes wrong is counted and logged, and the journal still has the request's
//! `admitted` record, so that the next start books it as interrupted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mindweave_eventlog::{Admission, AppendError, Journal};
use mindweave_metering::{
    BatchResults, Bill, Certainty, DecisionRecord, EVENT_VERSION, Effect, Endpoint, EndpointKind, Envelope,
    EventId, EventType, MeteredItem, MeteredResponse, NanoUsd, Outcome, PriceBook, ProxyId, RequestFacts,
    UsageEvent,
};
use mindweave_policy::Principal;
use serde::{Deserialize, Serialize};

use crate::attribution::Attribution;
use crate::error::chain;
use crate::event_ids::EventIds;
use crate::metrics;
use crate::reach::Reach;

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
}

/// How an exchange ended, as far as the answer itself does not say.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    pub(crate) outcome: Outcome,
    /// What the client saw; 0 if nothing.
    pub(crate) status: u16,
    pub(crate) error_type: Option<Arc<str>>,
    pub(crate) decision: DecisionRecord,
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
    pub(crate) facts: Option<RequestFacts>,
    pub(crate) ending: Ending,
    /// The event's time.
    pub(crate) at: Timestamp,
}

/// Prices exchanges and writes their events. One per proxy.
#[derive(Debug)]
pub(crate) struct Ledger {
    journal: Journal,
    prices: Arc<PriceBook>,
    event_ids: EventIds,
    proxy_id: ProxyId,
    kind: Arc<str>,
    source: Arc<str>,
    version: Arc<str>,
}

impl Ledger {
    pub(crate) fn new(journal: Journal, prices: Arc<PriceBook>, event_ids: EventIds) -> Self {
        let proxy_id = ProxyId::new(format!("{}{}", ProxyId::PREFIX, journal.id()));
        let source = format!("mindweave-proxy/{proxy_id}").into();
        Self {
            journal,
            prices,
            event_ids,
            proxy_id,
            kind: "usage.api_call".into(),
            source,
            version: EVENT_VERSION.into(),
        }
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
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

    /// Writes the one event that ends an exchange. `admission` is missing where the journal had no room for one.
    pub(crate) fn book(&self, settlement: Settlement<'_>, admission: Option<Admission>) {
        metrics::requests().ended(settlement.endpoint.kind, &settlement.ending);
        self.write(settlement, admission);
    }

    fn write(&self, settlement: Settlement<'_>, admission: Option<Admission>) {
        metrics::usage().booked(&settlement.metered);
        let Some(payload) = self.payload(self.event(settlement)) else { return };
        let appended = match admission {
            Some(admission) => self.journal.append_finished(admission, &payload),
            None => self.journal.append_event(&payload),
        };
        match appended {
            Ok(_) => {}
            // Whoever chose to go on with a full journal gets a counter, not a line for every request.
            Err(AppendError::Full) => metrics::event_lost(),
            Err(error) => {
                metrics::event_lost();
                tracing::error!(error = chain(&error), "usage event could not be journaled");
            }
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
        self.write(Settlement { admitted: &part, endpoint, metered, facts: None, ending, at }, None);
    }

    fn event(&self, settlement: Settlement<'_>) -> UsageEvent {
        let Settlement { admitted, endpoint, metered, facts, ending, at } = settlement;
        let Metered { answer, bill } = metered;
        let principal = &admitted.principal;
        let attribution = &admitted.attribution;
        let tokens = answer.tokens.unwrap_or_default();
        let (requested_model, body_session) =
            facts.map_or((None, None), |facts| (facts.model, facts.session_id));
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
            decision: ending.decision,
            price_book: Arc::clone(self.prices.version()),
            snapshot_revision: admitted.snapshot_revision,
            proxy_id: admitted.proxy_id.clone(),
            sequence: 0,
            parent_event_id: None,
            request: None,
            batch,
            metadata: principal.labels.clone(),
        }
    }

    fn payload(&self, event: UsageEvent) -> Option<Vec<u8>> {
        let envelope = Envelope {
            id: event.event_id,
            kind: Arc::clone(&self.kind),
            source: Arc::clone(&self.source),
            timestamp: event.timestamp,
            version: Arc::clone(&self.version),
            correlation_id: event.request_id.clone().unwrap_or_else(|| event.event_id.to_string().into()),
            data: event,
            metadata: BTreeMap::new(),
        };
        let mut payload = Vec::with_capacity(TYPICAL_EVENT_BYTES);
        match serde_json::to_writer(&mut payload, &envelope) {
            Ok(()) => Some(payload),
            Err(error) => {
                metrics::event_lost();
                tracing::error!(error = chain(&error), "usage event could not be serialised");
                None
            }
        }
    }
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

/// The decision record of a refusal.
pub(crate) fn denied(reason: &'static str) -> DecisionRecord {
    DecisionRecord { effect: Effect::Deny, reasons: vec![reason.into()], ..DecisionRecord::allowed() }
}

/// Room for an event without many tool calls or buckets, so that serialising it allocates once.
const TYPICAL_EVENT_BYTES: usize = 2_048;

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
