//! What a request asks for, and what it turned out to use.

use std::fmt;
use std::time::Instant;

use jiff::Timestamp;
use mindweave_metering::{Certainty, NanoUsd, UsageEvent};

use crate::charge::ChargeParts;
use crate::model_pattern::AskedModels;
use crate::principal::Principal;

/// What a request asks for, as far as limits and budgets count it.
#[derive(Clone, Copy)]
pub struct Demand<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// The models it may use; none where the body is not read.
    pub models: AskedModels<'a>,
    /// Estimated tokens of the prompt, none of them taken from the cache. For a batch: of all its items.
    pub input_tokens: u64,
    /// The same with all that the estimate may be wrong by: what `reserve: max` holds.
    pub input_tokens_at_most: u64,
    /// The longest answer it allows, in tokens. For a batch: of all its items together.
    pub max_output_tokens: Option<u64>,
    /// Whether it can use tokens: messages, completions and chats. All others count as requests only.
    pub billed: bool,
    /// Whether its answer, or for batches their results, will say what it used. Else it would never be charged.
    pub reports_use: bool,
    /// What it costs at most with so many tokens of prompt and of output; `None` when no price is known. For a batch: all its items.
    pub price: &'a dyn Fn(u64, u64) -> Option<NanoUsd>,
    /// How many items, when it creates a batch. A batch must fit into what is left, but holds no tokens and no money:
    /// what its items use counts when their results arrive.
    pub batch: Option<u64>,
    /// Wall time: which window of a budget it falls into.
    pub now: Timestamp,
    /// Monotonic time: what rate limits count by.
    pub at: Instant,
}

impl fmt::Debug for Demand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Demand")
            .field("models", &self.models)
            .field("input_tokens", &self.input_tokens)
            .field("input_tokens_at_most", &self.input_tokens_at_most)
            .field("max_output_tokens", &self.max_output_tokens)
            .field("billed", &self.billed)
            .field("reports_use", &self.reports_use)
            .field("batch", &self.batch)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// What an exchange used in the end.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The same [`ChargeParts::of`] its event that the ledger will book.
    pub charged: ChargeParts,
    /// Whether that is all it used. Else rates keep what it was expected to use.
    pub use_is_known: bool,
    /// The event's timestamp: decides which window of a budget it is charged to.
    pub at: Timestamp,
    /// The same moment on the monotonic clock.
    pub instant: Instant,
    /// The event's place in the own journal. Without one the ledger never confirms it: it counts until the window ends.
    pub sequence: Option<u64>,
}

impl Settled {
    /// What this event says. `sequence` is its place in the own journal, `instant` its timestamp on the monotonic clock.
    pub fn of(event: &UsageEvent, instant: Instant, sequence: Option<u64>) -> Self {
        let charged = ChargeParts::of(event);
        let use_is_known = event.certainty != Certainty::Unknown || charged.total().tokens > 0;
        Self { charged, use_is_known, at: event.timestamp, instant, sequence }
    }
}
