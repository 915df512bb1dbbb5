//! Requests that were open when the proxy died: found in the journal at the start, booked as interrupted.

use std::sync::Arc;
use std::time::Duration;

use mindweave_eventlog::{Interrupted, Journal, Recovery};
use mindweave_metering::{Endpoint, Outcome, PriceBook};
use mindweave_policy::AdmissionControl;
use tokio::time::Instant;

use crate::StartError;
use crate::error::chain;
use crate::event_ids::EventIds;
use crate::metrics;
use crate::reach::{Reach, Unanswered};
use crate::settle::{AdmittedRecord, Ending, Ledger, Metered, Settlement};

/// Does for a journal on which no proxy will be started what [`crate::Proxy::start`] does first: books the requests that were
/// open when the last one died. `recovery` is what opening the journal found.
///
/// # Errors
///
/// When the system has no randomness for ids of events.
pub fn book_left_open(
    journal: &Journal,
    recovery: Recovery,
    prices: Arc<PriceBook>,
) -> Result<(), StartError> {
    let event_ids = EventIds::from_system_randomness().map_err(|_| StartError::Randomness)?;
    let admission = AdmissionControl::new(journal.id().into(), Instant::now().into_std()); // nobody is let in by it
    book_interrupted(&Ledger::new(journal.clone(), prices, Arc::new(admission), event_ids), recovery);
    Ok(())
}

/// Writes the missing event of every interrupted request.
pub(crate) fn book_interrupted(ledger: &Ledger, recovery: Recovery) {
    let interrupted = recovery.interrupted.len();
    for request in recovery.interrupted {
        book(ledger, request);
    }
    if interrupted > 0 {
        tracing::info!(requests = interrupted, "booked requests that the last stop had interrupted");
    }
}

fn book(ledger: &Ledger, interrupted: Interrupted) {
    let admitted: AdmittedRecord = match serde_json::from_slice(&interrupted.payload) {
        Ok(admitted) => admitted,
        Err(error) => {
            metrics::event_lost();
            tracing::error!(error = chain(&error), "admitted record cannot be read");
            return;
        }
    };
    // A template names the same endpoint as the path that it was made from.
    let endpoint = Endpoint::of(&admitted.method, &admitted.endpoint);
    let metered = Metered::without_answer(endpoint.kind, Reach::Unanswered(Unanswered::ProxyStopped));
    let ending = Ending {
        outcome: Outcome::Interrupted,
        status: 0,
        error_type: None,
        decision: None,
        request_id: None,
        latency: Duration::ZERO, // not known
        time_to_first_content: None,
        overhead: Duration::ZERO,
    };
    // The admission is the last moment that is known; the restart may be days later, in another billing period.
    let at = admitted.timestamp;
    let settlement =
        Settlement { admitted: &admitted, endpoint: &endpoint, metered, reading: None, ending, at };
    ledger.book(settlement, Some(interrupted.admission), None);
}
