//! Counters after a restart: what the ledger had, and this proxy's own events that it had not.

use mindweave_eventlog::{Journal, ReadLimits, Sequence};
use mindweave_metering::{Envelope, UsageEvent};
use mindweave_policy::AdmissionControl;

/// Read at a time: bounds the memory that a long tail takes.
const READ: ReadLimits = ReadLimits { max_records: 5_000, max_bytes: 8 << 20 };

/// Counts the journal's events that lie behind what the ledger's figures include ([`AdmissionControl::included`]) and
/// before `end`: where the journal ended before this process wrote to it. To be called once, before the first request and
/// after the first figures. Blocks: some 100 000 events a second.
pub fn restore_counters(journal: &Journal, admission: &AdmissionControl, end: Sequence) {
    let mut tail = journal.tail(Sequence::new(admission.included()));
    let (mut counted, mut unreadable) = (0_u64, 0_u64);
    loop {
        // A gap is no loss: only what the ledger has is ever deleted, and its next figures say so.
        let events = tail.read(READ);
        let done = events.records.last().is_none_or(|(last, _)| *last >= end);
        let earlier = events.records.iter().take_while(|(sequence, _)| *sequence < end);
        for (sequence, payload) in earlier {
            match serde_json::from_slice::<Envelope<UsageEvent>>(payload) {
                Ok(envelope) => {
                    admission.replay(sequence.get(), &envelope.data);
                    counted = counted.saturating_add(1);
                }
                Err(_) => unreadable = unreadable.saturating_add(1), // the shipper puts it aside, and says so
            }
        }
        if done {
            break;
        }
    }
    if unreadable > 0 {
        tracing::error!(
            events = unreadable,
            "events in the journal cannot be read: budgets do not count them"
        );
    }
    tracing::debug!(events = counted, "budgets count the journal's events that the ledger does not have yet");
}
