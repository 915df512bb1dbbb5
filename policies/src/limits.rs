//! Rate limits: what is left of one, taking from it and giving back.

mod cell;
mod rate;
mod request_rate;

use std::sync::Arc;
use std::time::Duration;

use crate::charge::{Charge, ChargeParts};
use crate::governance::{LimitMetric, LimitSpec};
use crate::model_pattern::AskedModels;
use crate::shares::Portion;

use cell::Level;
pub(crate) use cell::LimitCell;
use rate::Rate;
use request_rate::RequestRate;

/// How long to wait for one of the open requests to end: nobody knows, and asking is cheap.
const CONCURRENCY_RETRY: Duration = Duration::from_secs(1);

/// What a request is expected to take of token limits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ExpectedTokens {
    pub(crate) input: u64,
    pub(crate) output: u64,
}

/// What this proxy goes by of a limit that it was told no portion of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) portion: Portion,
    /// Since when it is that, in nanoseconds of the process.
    pub(crate) since: i64,
}

/// What a request took of a limit until it ends. In units, so that a change of the limit or of its portion does not change what
/// it is worth.
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
        even: Share,
    ) -> Result<Option<Taken>, Duration> {
        let Some(units) = self.asked(tokens) else { return Ok(None) };
        let mut inner = cell.lock();
        let share = inner.share(even);
        let taken = self.take_of(&mut inner.level, now, units, share);
        if !share.portion.is_whole() {
            let presses = taken.is_err() || self.is_half_used(&inner.level, now, share.portion);
            let concurrent = self.spec.metric == LimitMetric::ConcurrentRequests;
            cell.note(&mut inner, units, concurrent, taken.is_ok(), presses);
        }
        taken.map(|()| Some(Taken { units, by_name: true }))
    }

    /// What [`Self::take`] would say, without taking.
    pub(crate) fn wait(
        &self,
        cell: &LimitCell,
        now: i64,
        tokens: Option<ExpectedTokens>,
        even: Share,
    ) -> Option<Duration> {
        let units = self.asked(tokens)?;
        let inner = cell.lock();
        let (mut probe, share) = (inner.level, inner.share(even));
        drop(inner);
        self.take_of(&mut probe, now, units, share).err()
    }

    /// Units that a request asks for; `None` when it does not count.
    fn asked(&self, tokens: Option<ExpectedTokens>) -> Option<u64> {
        match self.spec.metric {
            LimitMetric::ConcurrentRequests | LimitMetric::RequestsPerMinute => Some(1),
            LimitMetric::InputTokensPerMinute
            | LimitMetric::OutputTokensPerMinute
            | LimitMetric::TokensPerMinute => tokens.map(|tokens| self.tokens(tokens.input, tokens.output)),
        }
    }

    fn take_of(&self, level: &mut Level, now: i64, units: u64, share: Share) -> Result<(), Duration> {
        if self.spec.metric == LimitMetric::ConcurrentRequests {
            return self.open_one(level, share.portion);
        }
        level.bucket.fill_by(&self.rate, self.since);
        level.bucket.go_by(share, &self.rate);
        if self.is_request_rate() {
            self.requests.take(&mut level.bucket, now, share.portion)
        } else {
            self.rate.take(&mut level.bucket, now, units, share.portion)
        }
    }

    /// Undoes [`Self::take`].
    pub(crate) fn give_back(&self, cell: &LimitCell, taken: Taken) {
        let level = &mut cell.lock().level;
        if self.spec.metric == LimitMetric::ConcurrentRequests {
            level.open = level.open.saturating_sub(taken.units);
        } else {
            level.bucket.give_back(taken.units);
        }
    }

    /// The request has ended: token rates are charged what it used in place of what was taken, concurrency is given back, a
    /// request stays a request. A request that only might have been served by a model of this limit is charged what such models
    /// used. `None` when nobody knows what it used: it keeps what was taken.
    pub(crate) fn settle(&self, cell: &LimitCell, now: i64, taken: Taken, charged: Option<&ChargeParts>) {
        match self.spec.metric {
            LimitMetric::ConcurrentRequests => self.give_back(cell, taken),
            LimitMetric::RequestsPerMinute => {}
            LimitMetric::InputTokensPerMinute
            | LimitMetric::OutputTokensPerMinute
            | LimitMetric::TokensPerMinute => {
                let Some(charged) = charged else { return };
                let counted = |model: Option<&str>| taken.by_name || self.counts(AskedModels::one(model));
                let Charge { limited_input_tokens, output_tokens, .. } = charged.of_models(counted);
                let used = self.tokens(limited_input_tokens, output_tokens);
                cell.lock().level.bucket.correct(now, taken.units, used);
            }
        }
    }

    /// What is left of a rate; `None` for concurrency.
    pub(crate) fn state(&self, cell: &LimitCell, now: i64, even: Share) -> Option<RateState> {
        if self.spec.metric == LimitMetric::ConcurrentRequests {
            return None;
        }
        let inner = cell.lock();
        let (mut bucket, share) = (inner.level.bucket, inner.share(even));
        drop(inner);
        bucket.fill_by(&self.rate, self.since);
        bucket.go_by(share, &self.rate);
        Some(self.rate.state(bucket, now, share.portion))
    }

    /// What a proxy goes by that was told this portion: with a limit of open requests, at least what is open, until that ends.
    pub(crate) fn goes_by(&self, cell: Option<&LimitCell>, portion: Portion) -> Portion {
        match cell.filter(|_| self.spec.metric == LimitMetric::ConcurrentRequests).map(LimitCell::open) {
            None | Some(0) => portion,
            Some(open) => {
                portion.larger(Portion::new(u32::try_from(open).unwrap_or(u32::MAX), self.pieces()))
            }
        }
    }

    /// Into how many pieces it can be divided: a burst of requests, and open requests, come in whole ones.
    pub(crate) fn pieces(&self) -> u32 {
        let whole = match self.spec.metric {
            LimitMetric::ConcurrentRequests => self.spec.limit,
            LimitMetric::RequestsPerMinute
            | LimitMetric::InputTokensPerMinute
            | LimitMetric::OutputTokensPerMinute
            | LimitMetric::TokensPerMinute => self.spec.burst.unwrap_or(self.spec.limit),
        };
        u32::try_from(whole).unwrap_or(u32::MAX).max(1)
    }

    /// What was asked for in this time as a demand on the whole limit, at most all of it: units a minute, or at a time.
    pub(crate) fn demand(&self, asked: u64, time: Duration) -> u64 {
        let demand = match self.spec.metric {
            LimitMetric::ConcurrentRequests => asked,
            LimitMetric::RequestsPerMinute
            | LimitMetric::InputTokensPerMinute
            | LimitMetric::OutputTokensPerMinute
            | LimitMetric::TokensPerMinute => rate::per_minute(asked, time),
        };
        demand.min(self.spec.limit.max(1))
    }

    /// From now on this proxy goes by the portion that it was told, or by an equal one.
    pub(crate) fn tell(&self, cell: &LimitCell, now: i64, told: Option<Portion>, even: Portion) {
        cell.tell(now, told, even, &self.rate);
    }

    fn is_half_used(&self, level: &Level, now: i64, portion: Portion) -> bool {
        if self.spec.metric == LimitMetric::ConcurrentRequests {
            level.open.saturating_mul(2) > self.at_a_time(portion)
        } else {
            self.rate.is_half_used(level.bucket, now)
        }
    }

    fn tokens(&self, input: u64, output: u64) -> u64 {
        match self.spec.metric {
            LimitMetric::InputTokensPerMinute => input,
            LimitMetric::OutputTokensPerMinute => output,
            LimitMetric::TokensPerMinute => input.saturating_add(output),
            LimitMetric::RequestsPerMinute | LimitMetric::ConcurrentRequests => 0,
        }
    }

    fn at_a_time(&self, portion: Portion) -> u64 {
        portion.of_units(self.spec.limit).max(1)
    }

    fn open_one(&self, level: &mut Level, portion: Portion) -> Result<(), Duration> {
        if level.open >= self.at_a_time(portion) {
            return Err(CONCURRENCY_RETRY);
        }
        level.open = level.open.saturating_add(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
