//! From the final report to what is billed.

#![warn(clippy::arithmetic_side_effects)]

use std::sync::Arc;

use super::{CacheWrites, Iteration, IterationKind, UsageReport};
use crate::certainty::{CertaintyReason, Knowledge};
use crate::event::BucketSource;
use crate::metered::Pass;
use crate::tokens::TokenCounts;

/// A final report, resolved.
pub(crate) struct Settlement {
    /// The top-level figures.
    pub(crate) tokens: TokenCounts,
    /// The message and what is billed beside it.
    pub(crate) passes: Vec<Pass>,
    /// The model that served.
    pub(crate) model: Option<Arc<str>>,
    pub(crate) knowledge: Knowledge,
}

/// Which models the answer itself named.
pub(crate) struct Models {
    /// The model of the message, or the last one a `fallback` block moved to.
    pub(crate) serving: Option<Arc<str>>,
    /// The model that was asked first, where the answer tells.
    pub(crate) asked: Option<Arc<str>>,
}

impl UsageReport {
    /// Resolves the final report. `server_loop` says that server tools ran, so that one answer may sum several model
    /// calls even without `iterations`.
    pub(crate) fn settle(&self, models: Models, server_loop: bool) -> Settlement {
        let mut knowledge = Knowledge::default();
        if self.implausible {
            knowledge.lower(CertaintyReason::UsageImplausible);
        }
        if self.too_many_iterations {
            knowledge.lower(CertaintyReason::TooManyIterations);
        }
        let iterations = self.iterations.as_deref().unwrap_or_default();
        if iterations.iter().any(|iteration| iteration.kind == IterationKind::Other) {
            knowledge.lower(CertaintyReason::UnknownIteration);
        }
        let hops = Hops::of(iterations, models);
        let (write_5m, write_1h) = self.split_writes(iterations, &hops, &mut knowledge);
        let tokens = TokenCounts {
            input: self.input.unwrap_or(0),
            output: self.output.unwrap_or(0),
            cache_read: self.cache_read.unwrap_or(0),
            cache_write_5m: write_5m,
            cache_write_1h: write_1h,
        };
        let mut passes = Vec::with_capacity(iterations.len().saturating_add(1));
        passes.push(Pass {
            source: BucketSource::Message,
            model: hops.serving.clone(),
            tokens,
            smallest_prompt: smallest_prompt(iterations, &hops, &tokens, server_loop),
        });
        for (index, iteration) in iterations.iter().enumerate() {
            if let Some((source, model)) = hops.billed_beside(index, iteration) {
                let tokens = iteration.tokens();
                passes.push(Pass { source, model, tokens, smallest_prompt: tokens.prompt() });
            }
        }
        Settlement { tokens, passes, model: hops.serving, knowledge }
    }

    /// Splits the total of cache writes into five-minute and one-hour ones.
    fn split_writes(&self, iterations: &[Iteration], hops: &Hops, knowledge: &mut Knowledge) -> (u64, u64) {
        let mut split = self.writes;
        let own = || {
            let inside = |(index, iteration): &(usize, &Iteration)| hops.is_top_level(*index, iteration);
            iterations.iter().enumerate().filter(inside).map(|(_, iteration)| iteration)
        };
        if own().any(|iteration| iteration.writes.is_split()) {
            split.five_minutes = Some(0);
            split.one_hour = Some(0);
            for iteration in own() {
                let (five_minutes, one_hour) = iteration.writes.resolve(&mut Knowledge::default());
                split.five_minutes = split.five_minutes.map(|sum| sum.saturating_add(five_minutes));
                split.one_hour = split.one_hour.map(|sum| sum.saturating_add(one_hour));
            }
        }
        split.resolve(knowledge)
    }
}

impl CacheWrites {
    fn is_split(self) -> bool {
        self.five_minutes.is_some() || self.one_hour.is_some()
    }

    /// Five-minute and one-hour writes. Writes above the split are five-minute ones: breakpoints that the API sets on
    /// server-tool results always are. A total below the split leaves open which lifetime fell, unless only one was
    /// there.
    fn resolve(self, knowledge: &mut Knowledge) -> (u64, u64) {
        let five_minutes = self.five_minutes.unwrap_or(0);
        let one_hour = self.one_hour.unwrap_or(0);
        let split = five_minutes.saturating_add(one_hour);
        let total = self.total.unwrap_or(split);
        if total >= split {
            return (five_minutes.saturating_add(total.saturating_sub(split)), one_hour);
        }
        if total > 0 && five_minutes > 0 && one_hour > 0 {
            knowledge.lower(CertaintyReason::CacheWriteSplitUnclear);
        }
        let one_hour = one_hour.min(total);
        (total.saturating_sub(one_hour), one_hour)
    }
}

impl Iteration {
    fn tokens(&self) -> TokenCounts {
        let (cache_write_5m, cache_write_1h) = self.writes.resolve(&mut Knowledge::default());
        TokenCounts {
            input: self.input,
            output: self.output,
            cache_read: self.cache_read,
            cache_write_5m,
            cache_write_1h,
        }
    }
}

/// Which models took part.
struct Hops {
    serving: Option<Arc<str>>,
    asked: Option<Arc<str>>,
    /// Where the fallback's own entries begin; `None` when no fallback happened.
    fallback_from: Option<usize>,
}

impl Hops {
    fn of(iterations: &[Iteration], models: Models) -> Self {
        let is_fallback = |iteration: &&Iteration| iteration.kind == IterationKind::Fallback;
        let fallback_from = iterations.iter().position(|iteration| is_fallback(&iteration));
        if fallback_from.is_none() {
            return Self { serving: models.serving, asked: models.asked, fallback_from };
        }
        let last = iterations.iter().rev().find(is_fallback).and_then(|iteration| iteration.model.clone());
        let first = iterations
            .iter()
            .find(|iteration| iteration.kind == IterationKind::Message)
            .and_then(|iteration| iteration.model.clone());
        Self { serving: last.or(models.serving), asked: first.or(models.asked), fallback_from }
    }

    /// The model of a `message` entry; `None` is the requested one, which the answer does not tell.
    fn model_of(&self, index: usize, iteration: &Iteration) -> Option<Arc<str>> {
        match (&iteration.model, self.fallback_from) {
            (Some(model), _) => Some(Arc::clone(model)),
            (None, Some(from)) if index < from => self.asked.clone(),
            (None, _) => self.serving.clone(),
        }
    }

    /// Whether the top level includes this entry.
    fn is_top_level(&self, index: usize, iteration: &Iteration) -> bool {
        match iteration.kind {
            IterationKind::Fallback => true,
            IterationKind::Message => {
                self.fallback_from.is_none() || {
                    let model = self.model_of(index, iteration);
                    model.is_some() && undated(model.as_deref()) == undated(self.serving.as_deref())
                }
            }
            IterationKind::Compaction | IterationKind::Advisor | IterationKind::Other => false,
        }
    }

    fn billed_beside(&self, index: usize, iteration: &Iteration) -> Option<(BucketSource, Option<Arc<str>>)> {
        match iteration.kind {
            IterationKind::Compaction => {
                Some((BucketSource::Compaction, iteration.model.clone().or_else(|| self.asked.clone())))
            }
            IterationKind::Advisor => Some((BucketSource::Advisor, iteration.model.clone())),
            // A declined hop without output is free.
            IterationKind::Message if !self.is_top_level(index, iteration) && iteration.output > 0 => {
                Some((BucketSource::FallbackHop, self.model_of(index, iteration)))
            }
            IterationKind::Message | IterationKind::Fallback | IterationKind::Other => None,
        }
    }
}

/// The smallest prompt among the model calls that the top level sums.
fn smallest_prompt(iterations: &[Iteration], hops: &Hops, total: &TokenCounts, server_loop: bool) -> u64 {
    let inside = iterations.iter().enumerate().filter(|(index, one)| hops.is_top_level(*index, one));
    let smallest = inside.map(|(_, iteration)| iteration.tokens().prompt()).min();
    match smallest {
        Some(smallest) => smallest.min(total.prompt()),
        None if server_loop => 0, // several calls of unknown sizes
        None => total.prompt(),
    }
}

/// A model id without its date: a pass may name the alias of a model whose message names the dated id.
fn undated(model: Option<&str>) -> Option<&str> {
    model.map(|model| match model.rsplit_once('-') {
        Some((stem, date)) if date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit()) => stem,
        _ => model,
    })
}
