//! Rate limits: what is left of one, taking from it and giving back.

mod rate;
mod request_rate;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::charge::Charge;
use crate::governance::{LimitMetric, LimitSpec};
use crate::model_pattern::ModelPattern;

use rate::Rate;
use request_rate::RequestRate;

/// How long to wait for one of the open requests to end: nobody knows, and asking is cheap.
const CONCURRENCY_RETRY: Duration = Duration::from_secs(1);

/// The state of one limit for one subject. For rates: the time, in nanoseconds of the process, at which the bucket is full again
/// (GCRA's theoretical arrival time). For concurrency: open requests. A new one, 0, is a full bucket and no request.
#[derive(Debug, Default)]
pub(crate) struct LimitCell(AtomicI64);

impl LimitCell {
    /// Whether forgetting it changes nothing. `now` is in nanoseconds of the process, and so positive.
    pub(crate) fn is_as_new(&self, metric: LimitMetric, now: i64) -> bool {
        let value = self.0.load(Ordering::Relaxed);
        match metric {
            LimitMetric::ConcurrentRequests => value <= 0,
            LimitMetric::RequestsPerMinute
            | LimitMetric::InputTokensPerMinute
            | LimitMetric::OutputTokensPerMinute
            | LimitMetric::TokensPerMinute => value <= now,
        }
    }
}

/// What a request is expected to take of token limits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ExpectedTokens {
    pub(crate) input: u64,
    pub(crate) output: u64,
}

/// Among how many proxies a limit is divided: each enforces its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share(u32);

impl Share {
    /// One of so many, at least of one.
    pub(crate) fn one_of(proxies: u32) -> Self {
        Self(proxies.max(1))
    }

    fn proxies(self) -> u32 {
        self.0
    }

    /// A rate's part comes back more slowly by as much as there are parts.
    fn of(self, span: i64) -> i64 {
        span.saturating_mul(self.0.into()).min(rate::MAX_SPAN)
    }
}

/// What is left of a rate, for headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateState {
    /// Units, at least 0.
    pub(crate) remaining: u64,
    /// Nanoseconds until all of it is left.
    pub(crate) full_in: i64,
}

/// A limit in force.
#[derive(Debug)]
pub(crate) struct LimitRule {
    pub(crate) spec: Arc<LimitSpec>,
    /// Names its cells; another one when it counts something else under the same id.
    pub(crate) number: u32,
    rate: Rate,
    requests: RequestRate,
}

impl LimitRule {
    pub(crate) fn new(spec: Arc<LimitSpec>, number: u32) -> Self {
        let burst = spec.burst.unwrap_or(spec.limit);
        Self {
            rate: Rate::new(spec.limit, burst),
            requests: RequestRate::new(spec.limit, burst),
            spec,
            number,
        }
    }

    /// Whether requests for this model count.
    pub(crate) fn counts_model(&self, model: Option<&str>) -> bool {
        ModelPattern::any_covers(&self.spec.models, model)
    }

    /// Whether it is a plain rate of requests.
    pub(crate) fn is_request_rate(&self) -> bool {
        self.spec.metric == LimitMetric::RequestsPerMinute
    }

    pub(crate) fn counts_tokens(&self) -> bool {
        match self.spec.metric {
            LimitMetric::InputTokensPerMinute
            | LimitMetric::OutputTokensPerMinute
            | LimitMetric::TokensPerMinute => true,
            LimitMetric::RequestsPerMinute | LimitMetric::ConcurrentRequests => false,
        }
    }

    /// Takes for one request, or says how long to wait. What was taken is to be given back or corrected. `tokens` is `None`
    /// for requests that cannot use any: token limits do not count them.
    pub(crate) fn take(
        &self,
        cell: &LimitCell,
        now: i64,
        tokens: Option<ExpectedTokens>,
        share: Share,
    ) -> Result<Option<i64>, Duration> {
        match self.spec.metric {
            LimitMetric::ConcurrentRequests => self.open_one(cell, share).map(Some),
            LimitMetric::RequestsPerMinute => self.requests.take(&cell.0, now, share).map(Some),
            LimitMetric::InputTokensPerMinute
            | LimitMetric::OutputTokensPerMinute
            | LimitMetric::TokensPerMinute => {
                let Some(tokens) = tokens else { return Ok(None) };
                self.rate.take(&cell.0, now, self.tokens(tokens.input, tokens.output), share).map(Some)
            }
        }
    }

    /// What [`Self::take`] would say, without taking.
    pub(crate) fn wait(
        &self,
        cell: &LimitCell,
        now: i64,
        tokens: Option<ExpectedTokens>,
        share: Share,
    ) -> Option<Duration> {
        let probe = LimitCell(AtomicI64::new(cell.0.load(Ordering::Relaxed)));
        self.take(&probe, now, tokens, share).err()
    }

    /// Undoes [`Self::take`].
    pub(crate) fn give_back(cell: &LimitCell, held: i64) {
        cell.0.fetch_sub(held, Ordering::AcqRel);
    }

    /// The request has ended: token rates are charged what it used in place of what was taken, concurrency is given back, a
    /// request stays a request.
    pub(crate) fn settle(&self, cell: &LimitCell, now: i64, held: i64, charge: &Charge, share: Share) {
        match self.spec.metric {
            LimitMetric::ConcurrentRequests => Self::give_back(cell, held),
            LimitMetric::RequestsPerMinute => {}
            LimitMetric::InputTokensPerMinute
            | LimitMetric::OutputTokensPerMinute
            | LimitMetric::TokensPerMinute => {
                let used = self.tokens(charge.limited_input_tokens, charge.output_tokens);
                self.rate.correct(&cell.0, now, held, used, share);
            }
        }
    }

    /// What is left of a rate; `None` for concurrency.
    pub(crate) fn state(&self, cell: &LimitCell, now: i64, share: Share) -> Option<RateState> {
        (self.spec.metric != LimitMetric::ConcurrentRequests).then(|| self.rate.state(&cell.0, now, share))
    }

    fn tokens(&self, input: u64, output: u64) -> u64 {
        match self.spec.metric {
            LimitMetric::InputTokensPerMinute => input,
            LimitMetric::OutputTokensPerMinute => output,
            LimitMetric::TokensPerMinute => input.saturating_add(output),
            LimitMetric::RequestsPerMinute | LimitMetric::ConcurrentRequests => 0,
        }
    }

    fn open_one(&self, cell: &LimitCell, share: Share) -> Result<i64, Duration> {
        let part = self.spec.limit.checked_div(share.proxies().into()).unwrap_or(0).max(1);
        let limit = i64::try_from(part).unwrap_or(i64::MAX);
        let open = |open: i64| (open < limit).then(|| open.saturating_add(1));
        match cell.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, open) {
            Ok(_) => Ok(1),
            Err(_) => Err(CONCURRENCY_RETRY),
        }
    }
}

#[cfg(test)]
mod tests;
