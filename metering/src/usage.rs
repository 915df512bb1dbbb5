//! The `usage` object, and how the reports of one answer combine.
//!
//! The rules, as the API documents and recordings show them:
//! - a later report **overwrites**, field by field, whatever it does not leave out or set to null; nothing is added.
//!   Input grows that way when server tools loop, and falls when a compaction moves it elsewhere;
//! - the split of cache writes by lifetime comes once, with the first report. What the total exceeds it by was written
//!   for five minutes; `iterations`, where present, carry their own splits and win;
//! - `iterations` list the passes of one answer. `message` entries are inside the top level, compactions and advisors
//!   are billed beside it. When a server-side fallback happened the top level is the serving model's alone, and
//!   `message` entries of another model are declined hops, billed when they produced output.
//!
//! Numbers come from outside: one that cannot be a token count never becomes one, it makes the figures unknown.

mod passes;
mod reading;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub(crate) use passes::Models;
pub(crate) use reading::UsageNode;

/// The largest believable token count of one answer, far above any context window: with it, no price can overflow the
/// number that holds money.
const MAX_TOKENS: u64 = 10_000_000_000;
/// The most passes kept of one answer. The longest server-tool loops seen have tens.
const MAX_ITERATIONS: usize = 4_096;

/// What one or several reports said. `None` is "not said".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UsageReport {
    /// Whether there was a usage object at all.
    present: bool,
    input: Option<u64>,
    output: Option<u64>,
    cache_read: Option<u64>,
    writes: CacheWrites,
    web_search: Option<u64>,
    web_fetch: Option<u64>,
    thinking: Option<u64>,
    pub(crate) service_tier: Option<Arc<str>>,
    pub(crate) inference_geo: Option<Arc<str>>,
    pub(crate) speed: Option<Arc<str>>,
    iterations: Option<Vec<Iteration>>,
    /// Whether a figure was no token count.
    implausible: bool,
    /// Whether there were more than [`MAX_ITERATIONS`].
    too_many_iterations: bool,
}

/// Cache writes: in total, and split by lifetime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct CacheWrites {
    total: Option<u64>,
    five_minutes: Option<u64>,
    one_hour: Option<u64>,
}

/// One entry of `iterations`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Iteration {
    kind: IterationKind,
    model: Option<Arc<str>>,
    input: u64,
    output: u64,
    cache_read: u64,
    writes: CacheWrites,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum IterationKind {
    Message,
    Compaction,
    Advisor,
    Fallback,
    /// Not said, or not known to us.
    #[default]
    Other,
}

impl UsageReport {
    pub(crate) fn is_present(&self) -> bool {
        self.present
    }

    /// The output tokens said so far.
    pub(crate) fn output(&self) -> u64 {
        self.output.unwrap_or(0)
    }

    pub(crate) fn set_output(&mut self, output: u64) {
        self.output = Some(output);
    }

    pub(crate) fn web_search_requests(&self) -> u64 {
        self.web_search.unwrap_or(0)
    }

    pub(crate) fn web_fetch_requests(&self) -> u64 {
        self.web_fetch.unwrap_or(0)
    }

    pub(crate) fn thinking_tokens(&self) -> u64 {
        self.thinking.unwrap_or(0)
    }

    /// Overwrites with whatever a later report says.
    pub(crate) fn overwrite(&mut self, later: Self) {
        self.present |= later.present;
        overwrite(&mut self.input, later.input);
        overwrite(&mut self.output, later.output);
        overwrite(&mut self.cache_read, later.cache_read);
        overwrite(&mut self.writes.total, later.writes.total);
        overwrite(&mut self.writes.five_minutes, later.writes.five_minutes);
        overwrite(&mut self.writes.one_hour, later.writes.one_hour);
        overwrite(&mut self.web_search, later.web_search);
        overwrite(&mut self.web_fetch, later.web_fetch);
        overwrite(&mut self.thinking, later.thinking);
        overwrite(&mut self.service_tier, later.service_tier);
        overwrite(&mut self.inference_geo, later.inference_geo);
        overwrite(&mut self.speed, later.speed);
        overwrite(&mut self.iterations, later.iterations);
        self.implausible |= later.implausible;
        self.too_many_iterations |= later.too_many_iterations;
    }
}

fn overwrite<T>(earlier: &mut Option<T>, later: Option<T>) {
    if later.is_some() {
        *earlier = later;
    }
}
