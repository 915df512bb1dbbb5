//! Rate limits: what is left of one, taking from it and giving back.

mod rate;
mod request_rate;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::charge::{Charge, ChargeParts};
use crate::governance::{LimitMetric, LimitSpec};
use crate::model_pattern::AskedModels;

use rate::{Bucket, Rate};
use request_rate::RequestRate;

/// How long to wait for one of the open requests to end: nobody knows, and asking is cheap.
const CONCURRENCY_RETRY: Duration = Duration::from_secs(1);

/// The state of one limit for one subject. A new one is a full bucket and no request.
#[derive(Debug, Default)]
pub(crate) struct LimitCell(Mutex<Level>);

#[derive(Clone, Copy, Debug, Default)]
struct Level {
    /// Of rates.
    bucket: Bucket,
    /// Of concurrency: requests that are open.
    open: u64,
}

impl LimitCell {
    /// Whether forgetting it changes nothing. `now` is in nanoseconds of the process, and so positive.
    pub(crate) fn is_as_new(&self, now: i64) -> bool {
        let level = self.0.lock();
        level.open == 0 && level.bucket.full_at <= now
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

    /// What so many units are of the whole limit, where each proxy may only take its part.
    fn of(self, units: u64) -> u64 {
        units.saturating_mul(self.0.into())
    }
}

/// What a request took of a limit until it ends. In units, so that a change of the limit does not change what it is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) units: u64,
    /// Whether it counts whichever of the models that it asks for serves: the limit counts the one that it names.
    pub(crate) by_name: bool,
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
    /// Since when its limit and burst are what they are, in nanoseconds of the process.
    since: i64,
    rate: Rate,
    requests: RequestRate,
}

impl LimitRule {
    pub(crate) fn new(spec: Arc<LimitSpec>, number: u32, since: i64) -> Self {
        let burst = spec.burst.unwrap_or(spec.limit);
        Self {
            rate: Rate::new(spec.limit, burst),
            requests: RequestRate::new(spec.limit, burst),
            spec,
            number,
            since,
        }
    }

    /// Whether requests for these models count.
    pub(crate) fn counts(&self, models: AskedModels<'_>) -> bool {
        models.any_covered_by(&self.spec.models)
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
    ) -> Result<Option<Taken>, Duration> {
        self.take_of(&mut cell.0.lock(), now, tokens, share)
    }

    /// What [`Self::take`] would say, without taking.
    pub(crate) fn wait(
        &self,
        cell: &LimitCell,
        now: i64,
        tokens: Option<ExpectedTokens>,
        share: Share,
    ) -> Option<Duration> {
        let mut probe = *cell.0.lock();
        self.take_of(&mut probe, now, tokens, share).err()
    }

    fn take_of(
        &self,
        level: &mut Level,
        now: i64,
        tokens: Option<ExpectedTokens>,
        share: Share,
    ) -> Result<Option<Taken>, Duration> {
        let units = match self.spec.metric {
            LimitMetric::ConcurrentRequests => {
                self.open_one(level, share)?;
                1
            }
            LimitMetric::RequestsPerMinute => {
                level.bucket.fill_by(&self.rate, self.since);
                self.requests.take(&mut level.bucket, now, share)?;
                share.of(1)
            }
            LimitMetric::InputTokensPerMinute
            | LimitMetric::OutputTokensPerMinute
            | LimitMetric::TokensPerMinute => {
                let Some(tokens) = tokens else { return Ok(None) };
                let units = share.of(self.tokens(tokens.input, tokens.output));
                level.bucket.fill_by(&self.rate, self.since);
                self.rate.take(&mut level.bucket, now, units)?;
                units
            }
        };
        Ok(Some(Taken { units, by_name: true }))
    }

    /// Undoes [`Self::take`].
    pub(crate) fn give_back(&self, cell: &LimitCell, taken: Taken) {
        let mut level = cell.0.lock();
        if self.spec.metric == LimitMetric::ConcurrentRequests {
            level.open = level.open.saturating_sub(taken.units);
        } else {
            level.bucket.give_back(taken.units);
        }
    }

    /// The request has ended: token rates are charged what it used in place of what was taken, concurrency is given back, a
    /// request stays a request. A request that only might have been served by a model of this limit is charged what such models
    /// used. `None` when nobody knows what it used: it keeps what was taken.
    pub(crate) fn settle(
        &self,
        cell: &LimitCell,
        now: i64,
        taken: Taken,
        charged: Option<&ChargeParts>,
        share: Share,
    ) {
        match self.spec.metric {
            LimitMetric::ConcurrentRequests => self.give_back(cell, taken),
            LimitMetric::RequestsPerMinute => {}
            LimitMetric::InputTokensPerMinute
            | LimitMetric::OutputTokensPerMinute
            | LimitMetric::TokensPerMinute => {
                let Some(charged) = charged else { return };
                let counted = |model: Option<&str>| taken.by_name || self.counts(AskedModels::one(model));
                let Charge { limited_input_tokens, output_tokens, .. } = charged.of_models(counted);
                let used = share.of(self.tokens(limited_input_tokens, output_tokens));
                cell.0.lock().bucket.correct(now, taken.units, used);
            }
        }
    }

    /// What is left of a rate; `None` for concurrency.
    pub(crate) fn state(&self, cell: &LimitCell, now: i64, share: Share) -> Option<RateState> {
        if self.spec.metric == LimitMetric::ConcurrentRequests {
            return None;
        }
        let mut bucket = cell.0.lock().bucket;
        bucket.fill_by(&self.rate, self.since);
        Some(self.rate.state(bucket, now, share))
    }

    fn tokens(&self, input: u64, output: u64) -> u64 {
        match self.spec.metric {
            LimitMetric::InputTokensPerMinute => input,
            LimitMetric::OutputTokensPerMinute => output,
            LimitMetric::TokensPerMinute => input.saturating_add(output),
            LimitMetric::RequestsPerMinute | LimitMetric::ConcurrentRequests => 0,
        }
    }

    fn open_one(&self, level: &mut Level, share: Share) -> Result<(), Duration> {
        let part = self.spec.limit.checked_div(share.proxies().into()).unwrap_or(0).max(1);
        if level.open >= part {
            return Err(CONCURRENCY_RETRY);
        }
        level.open = level.open.saturating_add(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
