//! What one finished exchange counts against limits and budgets: the same for the proxy, which charges at once, and for
//! the ledger, which is right in the end.

mod parts;

use mindweave_metering::{EventType, NanoUsd, Outcome, UsageEvent};

use crate::governance::{QuotaSpec, QuotaUnit};
use crate::model_pattern::ModelPattern;

pub use parts::{ChargePart, ChargeParts, EventPart};

/// What an exchange used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    /// 1, or 0 for what was refused or is no request.
    pub requests: u64,
    /// Input and cache-write tokens: what input limits count.
    pub limited_input_tokens: u64,
    /// Output tokens, thinking included.
    pub output_tokens: u64,
    /// All tokens, cache reads included: what token budgets count.
    pub tokens: u64,
    /// The cost; zero when it is not known, as in the ledger's sums.
    pub cost: NanoUsd,
}

/// The fields of an event that make its charge.
#[derive(Clone, Copy, Debug)]
pub struct Charged {
    /// See [`UsageEvent::event_type`], as for the other fields.
    pub event_type: EventType,
    /// How it ended.
    pub outcome: Outcome,
    /// Input tokens.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Cache reads.
    pub cache_read_tokens: u64,
    /// Five-minute cache writes.
    pub cache_write_5m_tokens: u64,
    /// One-hour cache writes.
    pub cache_write_1h_tokens: u64,
    /// The cost, if known.
    pub cost: Option<NanoUsd>,
}

impl From<&UsageEvent> for Charged {
    fn from(event: &UsageEvent) -> Self {
        Self {
            event_type: event.event_type,
            outcome: event.outcome,
            input_tokens: event.input_tokens,
            output_tokens: event.output_tokens,
            cache_read_tokens: event.cache_read_tokens,
            cache_write_5m_tokens: event.cache_write_5m_tokens,
            cache_write_1h_tokens: event.cache_write_1h_tokens,
            cost: event.cost_nano_usd,
        }
    }
}

impl Charge {
    /// The charge of an event; nothing for denied requests and for events that are no API call.
    pub fn of(event: impl Into<Charged>) -> Self {
        let event = event.into();
        if event.outcome == Outcome::Denied || event.event_type != EventType::ApiCall {
            return Self::default();
        }
        let written = event.cache_write_5m_tokens.saturating_add(event.cache_write_1h_tokens);
        let limited_input_tokens = event.input_tokens.saturating_add(written);
        let tokens =
            limited_input_tokens.saturating_add(event.output_tokens).saturating_add(event.cache_read_tokens);
        Self {
            requests: 1,
            limited_input_tokens,
            output_tokens: event.output_tokens,
            tokens,
            cost: event.cost.unwrap_or(NanoUsd(0)),
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            limited_input_tokens: self.limited_input_tokens.saturating_add(other.limited_input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            tokens: self.tokens.saturating_add(other.tokens),
            cost: NanoUsd(self.cost.0.saturating_add(other.cost.0)),
        }
    }

    /// How much of a budget in this unit it uses.
    pub fn amount(&self, unit: QuotaUnit) -> i64 {
        match unit {
            QuotaUnit::Requests => i64::try_from(self.requests).unwrap_or(i64::MAX),
            QuotaUnit::Tokens => i64::try_from(self.tokens).unwrap_or(i64::MAX),
            QuotaUnit::Cost => self.cost.0,
        }
    }
}

impl QuotaSpec {
    /// Whether use of this model counts. At settlement `model` is the one that served, or else the one asked for.
    pub fn counts_model(&self, model: Option<&str>) -> bool {
        ModelPattern::any_covers(&self.models, model)
    }
}

#[cfg(test)]
pub(crate) mod tests;
