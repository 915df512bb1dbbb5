//! One admitted request until it is settled: what it is, what has been seen of it, and when.
//!
//! Exactly one event comes out of it. Whoever holds an [`OpenExchange`] either finishes it, which consumes it, or drops it,
//! which means that the client is gone: handlers and bodies are dropped when its connection ends, be it by the client, by a
//! limit on what the client does, or at the deadline of a drain.

use std::sync::Arc;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use http::response::Parts;
use jiff::Timestamp;
use mindweave_eventlog::Admission;
use mindweave_metering::{
    CertaintyReason, Endpoint, MeteredResponse, Outcome, RequestReading, ResponseHead, ResponseTap, Slice,
};
use tokio::time::{Duration, Instant};

use crate::attribution::text;
use crate::batch_items;
use crate::body::{RequestEnd, RequestWatch};
use crate::clock;
use crate::error::ProxyError;
use crate::governance::OpenReservation;
use crate::reach::{Reach, Unanswered};
use crate::settle::{AdmittedRecord, Ending, Ledger, Metered, Settlement};

/// Names the API's own record of a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// An admitted request that has no event yet.
#[derive(Debug)]
pub(crate) struct OpenExchange {
    /// `None` once settled.
    state: Option<Box<Exchange>>,
}

/// What an exchange begins with.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) admitted: AdmittedRecord,
    pub(crate) endpoint: Endpoint,
    pub(crate) request: Arc<RequestWatch>,
    /// When the request's head was there.
    pub(crate) received: Instant,
    pub(crate) reservation: Option<OpenReservation>,
}

#[derive(Debug)]
struct Exchange {
    ledger: Arc<Ledger>,
    /// `None` where the journal was full and the configuration says to go on unrecorded until the end.
    admission: Option<Admission>,
    /// What it holds of limits and budgets; settled with its event.
    reservation: Option<OpenReservation>,
    admitted: AdmittedRecord,
    endpoint: Endpoint,
    request: Arc<RequestWatch>,
    reach: Reach,
    answer: Option<Answer>,
    timing: Timing,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    request_id: Option<Arc<str>>,
    tap: ResponseTap,
}

/// When things happened. Ours is the time in which nobody but us kept the client waiting.
#[derive(Debug)]
struct Timing {
    received: Instant,
    /// Since when the request is in our hands, or was last.
    ours_since: Instant,
    ours: Duration,
    first_content: Option<Instant>,
}

impl OpenExchange {
    /// Takes over a request that has just been admitted.
    pub(crate) fn new(ledger: Arc<Ledger>, admission: Option<Admission>, opening: Opening) -> Self {
        let Opening { admitted, endpoint, request, received, reservation } = opening;
        let timing = Timing { ours_since: received + admitted.waited, ..Timing::since(received) };
        let reach = Reach::NotForwarded;
        Self {
            state: Some(Box::new(Exchange {
                ledger,
                admission,
                reservation,
                admitted,
                endpoint,
                request,
                reach,
                answer: None,
                timing,
            })),
        }
    }

    /// The request is about to be sent: from here on the API may have seen it, and the time is not ours.
    pub(crate) fn forwarding(&mut self) {
        if let Some(exchange) = &mut self.state {
            exchange.reach = Reach::Unanswered(Unanswered::ClientGone);
            exchange.timing.pause(Instant::now());
        }
    }

    /// The head of an answer has arrived.
    pub(crate) fn answered(&mut self, head: &Parts) {
        let Some(exchange) = &mut self.state else { return };
        exchange.timing.ours_since = Instant::now();
        let field = |name: &HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
        let tap = ResponseTap::new(&ResponseHead {
            endpoint: &exchange.endpoint,
            status: head.status.as_u16(),
            content_type: field(&CONTENT_TYPE),
            content_encoding: field(&CONTENT_ENCODING),
        });
        let request_id = text(&head.headers, &REQUEST_ID).map(Arc::from);
        exchange.answer = Some(Answer { status: head.status.as_u16(), request_id, tap });
    }

    /// The head of the answer goes to the client; the rest of the time is the API's.
    pub(crate) fn returning(&mut self) {
        if let Some(exchange) = &mut self.state {
            exchange.timing.pause(Instant::now());
        }
    }

    /// Shows a slice of these answer bytes to metering. Returns whether nothing after them can change the figures, and how
    /// far it got.
    pub(crate) fn observe(&mut self, data: &[u8]) -> (bool, Slice) {
        let all = Slice { consumed: data.len(), more: false };
        let Some(exchange) = &mut self.state else { return (true, all) };
        let Some(answer) = &mut exchange.answer else { return (false, all) };
        let (progress, slice) = answer.tap.feed_slice(data);
        if progress.first_content && exchange.timing.first_content.is_none() {
            exchange.timing.first_content = Some(Instant::now());
        }
        if progress.batch_items_full {
            exchange.book_items();
        }
        (progress.complete, slice)
    }

    /// Settles with the answer seen so far.
    pub(crate) fn finish(mut self, outcome: Outcome) {
        if let Some(exchange) = self.state.take() {
            exchange.settle(outcome);
        }
    }

    /// Settles with an answer of our own in place of the API's.
    pub(crate) fn fail(mut self, error: &ProxyError) {
        if let Some(exchange) = self.state.take() {
            exchange.fail(error);
        }
    }
}

impl Drop for OpenExchange {
    fn drop(&mut self) {
        if let Some(exchange) = self.state.take() {
            exchange.settle(Outcome::ClientGone);
        }
    }
}

impl Exchange {
    fn settle(mut self: Box<Self>, outcome: Outcome) {
        let settling = Instant::now();
        let reading = self.request.reading();
        let now = clock::now();
        let (metered, outcome, status, request_id) = match self.answer.take() {
            Some(answer) => {
                let outcome = if answer.status >= 400 { Outcome::UpstreamError } else { outcome };
                let metered = answer.tap.finish(outcome);
                let outcome = outcome_of(&metered, outcome);
                let metered = self.without_overflow(metered, answer.status);
                let requested = reading.as_ref().and_then(|reading| reading.facts.model.as_deref());
                (self.ledger.price(metered, requested, now), outcome, answer.status, answer.request_id)
            }
            None => {
                // A request that the API never got whole was never worked on.
                let reach =
                    if self.request.end() == RequestEnd::Complete { self.reach } else { Reach::NotForwarded };
                (Metered::without_answer(self.endpoint.kind, reach), outcome, 0, None)
            }
        };
        let mut ending = self.timing.ending(settling);
        ending.outcome = outcome;
        ending.status = status;
        ending.request_id = request_id;
        self.book(metered, reading, ending, now);
    }

    fn fail(mut self: Box<Self>, error: &ProxyError) {
        let reading = self.request.reading();
        let metered = Metered::without_answer(self.endpoint.kind, error.reach());
        let mut ending = self.timing.ending(Instant::now());
        ending.outcome = error.outcome();
        ending.status = error.status();
        ending.error_type = Some(error.error_type().into());
        if ending.outcome == Outcome::Denied {
            ending.decision = Some(self.admitted.denied(error));
        }
        self.book(metered, reading, ending, clock::now());
    }

    fn book(
        &mut self,
        metered: Metered,
        reading: Option<Arc<RequestReading>>,
        ending: Ending,
        at: Timestamp,
    ) {
        let (admitted, endpoint) = (&self.admitted, &self.endpoint);
        let settlement = Settlement { admitted, endpoint, metered, reading, ending, at };
        self.ledger.book(settlement, self.admission.take(), self.reservation.take());
    }

    /// Books the items read so far, an event's worth at a time, so that a download of any size needs little memory.
    fn book_items(&mut self) {
        let endpoint = &self.endpoint;
        let Some(answer) = self.answer.as_mut().filter(|_| endpoint.batch_id.is_some()) else { return };
        let mut ending = self.timing.ending(Instant::now());
        ending.status = answer.status;
        ending.request_id.clone_from(&answer.request_id);
        loop {
            for items in batch_items::split(answer.tap.take_batch_items()) {
                self.ledger.book_items(&self.admitted, endpoint, items, ending.clone(), clock::now());
            }
            if !answer.tap.feed(&[]).batch_items_full {
                return; // the rest goes into the exchange's own event
            }
        }
    }

    /// Books all items but the last event's worth, which is left to the exchange's own event.
    fn without_overflow(&self, mut metered: MeteredResponse, status: u16) -> MeteredResponse {
        if self.endpoint.batch_id.is_none() || metered.items.is_empty() {
            return metered;
        }
        let mut parts = batch_items::split(std::mem::take(&mut metered.items));
        let last = parts.pop().unwrap_or_default();
        if parts.is_empty() {
            return MeteredResponse { items: last, ..metered };
        }
        let ending = Ending { status, ..self.timing.ending(Instant::now()) };
        for items in parts {
            self.ledger.book_items(&self.admitted, &self.endpoint, items, ending.clone(), clock::now());
        }
        MeteredResponse::of_batch(last, metered.certainty_reason)
    }
}

impl Timing {
    /// Of a request that was received then, and has been ours ever since.
    fn since(received: Instant) -> Self {
        Self { received, ours_since: received, ours: Duration::ZERO, first_content: None }
    }

    fn pause(&mut self, now: Instant) {
        self.ours = self.ours.saturating_add(now.saturating_duration_since(self.ours_since));
        self.ours_since = now;
    }

    /// The times of an exchange that ends at `settling`; what else there is to say is filled in by the caller.
    fn ending(&self, settling: Instant) -> Ending {
        let since_received = |moment: Instant| moment.saturating_duration_since(self.received);
        Ending {
            outcome: Outcome::Complete,
            status: 0,
            error_type: None,
            decision: None,
            request_id: None,
            latency: since_received(settling),
            time_to_first_content: self.first_content.map(since_received),
            overhead: self.ours.saturating_add(Instant::now().saturating_duration_since(settling)),
        }
    }
}

/// The outcome that the answer itself gives away: an error inside a stream, or a stream that ended cleanly but too early.
fn outcome_of(metered: &MeteredResponse, outcome: Outcome) -> Outcome {
    let cut = matches!(
        metered.certainty_reason,
        Some(
            CertaintyReason::OutputEstimated
                | CertaintyReason::StreamCutBeforeUsage
                | CertaintyReason::BodyCut
        )
    );
    match outcome {
        Outcome::Complete if metered.stream_error => Outcome::UpstreamError,
        Outcome::Complete if cut => Outcome::UpstreamCut,
        _ => outcome,
    }
}

/// A request that is not admitted yet, because what it asks for is still to come.
///
/// Dropped, it books that the client left: handlers are dropped when their connection ends.
#[derive(Debug)]
pub(crate) struct Awaiting<'a> {
    left: Option<Unadmitted<'a>>,
}

impl<'a> Awaiting<'a> {
    pub(crate) fn new(unadmitted: Unadmitted<'a>) -> Self {
        Self { left: Some(unadmitted) }
    }

    /// It has come, or will not, and the client is still there.
    pub(crate) fn over(mut self) {
        self.left = None;
    }
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        if let Some(unadmitted) = self.left.take() {
            let ending = Timing::since(unadmitted.received).ending(Instant::now());
            unadmitted.book(Ending { outcome: Outcome::ClientGone, ..ending });
        }
    }
}

/// A request that is known to be somebody's and was not admitted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unadmitted<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) admitted: &'a AdmittedRecord,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) request: &'a RequestWatch,
    pub(crate) received: Instant,
}

impl Unadmitted<'_> {
    /// Books that it is refused with this answer.
    pub(crate) fn refuse(&self, error: &ProxyError) {
        let now = Instant::now();
        let ending = Timing::since(self.received).ending(now);
        let denied = error.outcome() == Outcome::Denied;
        self.book(Ending {
            outcome: error.outcome(),
            status: error.status(),
            error_type: Some(error.error_type().into()),
            decision: denied.then(|| self.admitted.denied(error)),
            overhead: ending.latency.saturating_sub(self.admitted.waited),
            ..ending
        });
    }

    fn book(&self, ending: Ending) {
        let Self { ledger, admitted, endpoint, request, .. } = *self;
        let metered = Metered::without_answer(endpoint.kind, Reach::NotForwarded);
        let reading = request.reading();
        let settlement = Settlement { admitted, endpoint, metered, reading, ending, at: clock::now() };
        ledger.book(settlement, None, None);
    }
}
