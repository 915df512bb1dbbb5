//! Journal records to ledger rows.

use mindweave_metering::{Envelope, UsageEvent};

/// Greatest figure that an event may carry: tokens, milliseconds, and nano-dollars times a thousand. Far beyond anything
/// real, and small enough that sums over millions of such events fit 64 bits.
const MAX_FIGURE: u64 = 1_000_000_000_000;
/// Greatest cost of one event: a million dollars, in nano-dollars.
const MAX_COST: u64 = 1_000_000 * 1_000_000_000;
/// The versions of the event that this build reads.
const VERSIONS: &str = "1.";

/// An event as it will be stored.
#[derive(Clone, Debug)]
pub(crate) struct Decoded {
    /// Position in the source.
    pub(crate) sequence: u64,
    /// The event, its sequence set.
    pub(crate) event: UsageEvent,
    /// The same as JSON.
    pub(crate) json: String,
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

/// Decodes one record.
pub(crate) fn decode(sequence: u64, payload: &[u8]) -> Result<Decoded, Undecodable> {
    let undecodable = |reason: String| Undecodable { sequence, reason };
    let envelope: Envelope<UsageEvent> = serde_json::from_slice(payload).map_err(|error| {
        undecodable(format!(
            "{:?} error at line {}, column {}",
            error.classify(),
            error.line(),
            error.column()
        ))
    })?;
    if !envelope.version.starts_with(VERSIONS) {
        return Err(undecodable("it has a version that this build does not know".to_owned()));
    }
    let mut event = envelope.data;
    if !is_plausible(&event) {
        return Err(undecodable("it carries an impossibly great figure".to_owned()));
    }
    event.sequence = sequence;
    let json = to_json(&event).map_err(|error| undecodable(format!("{:?} error", error.classify())))?;
    Ok(Decoded { sequence, event, json })
}

/// An event as it is stored.
pub(crate) fn to_json(event: &UsageEvent) -> Result<String, serde_json::Error> {
    serde_json::to_string(event)
}

fn is_plausible(event: &UsageEvent) -> bool {
    let figures = [
        event.input_tokens,
        event.output_tokens,
        event.cache_read_tokens,
        event.cache_write_5m_tokens,
        event.cache_write_1h_tokens,
        event.thinking_tokens,
        event.web_search_requests,
        event.latency_ms,
    ];
    let cost = event.cost_nano_usd.map_or(0, |cost| cost.0.unsigned_abs());
    figures.iter().all(|figure| *figure <= MAX_FIGURE) && cost <= MAX_COST
}
