//! What a request asks for, and what it turned out to use.

use std::fmt;
use std::time::Instant;

use jiff::Timestamp;
use mindweave_metering::NanoUsd;

use crate::charge::Charge;
use crate::principal::Principal;

/// What a request asks for, as far as limits and budgets count it.
#[derive(Clone, Copy)]
pub struct Demand<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// The model it names; `None` where there is none or the body is not read.
    pub model: Option<&'a str>,
    /// Estimated tokens of the prompt, none of them taken from the cache. For a batch: of all its items.
    pub input_tokens: u64,
    /// The longest answer it allows, in tokens. For a batch: of all its items together.
    pub max_output_tokens: Option<u64>,
    /// Whether it can use tokens: messages, completions and chats. All others count as requests only.
    pub billed: bool,
    /// The most that it can cost; `None` when no price is known. For a batch: all its items.
    pub max_cost: Option<NanoUsd>,
    /// What it costs with this many output tokens; `None` when no price is known.
    pub price: &'a dyn Fn(u64) -> Option<NanoUsd>,
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
            .field("model", &self.model)
            .field("input_tokens", &self.input_tokens)
            .field("max_output_tokens", &self.max_output_tokens)
            .field("billed", &self.billed)
            .field("max_cost", &self.max_cost)
            .field("batch", &self.batch)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// What an exchange used in the end.
#[derive(Clone, Copy, Debug)]
pub struct Settled<'a> {
    /// The same [`Charge::of`] its event that the ledger will book.
    pub charge: Charge,
    /// The model that served, or else the one asked for.
    pub model: Option<&'a str>,
    /// The event's timestamp: decides which window of a budget it is charged to.
    pub at: Timestamp,
    /// The same moment on the monotonic clock.
    pub instant: Instant,
    /// The event's place in the own journal. Without one the ledger never confirms it: it counts until the window ends.
    pub sequence: Option<u64>,
}
