//! What a request can cost at most, before it is sent.

#![warn(clippy::arithmetic_side_effects)]

#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;

use super::{Geography, ModelPrices, PriceBook, Rates, ServiceTier, Speed, Terms};
use crate::money::{NanoUsd, PicoUsd};
use crate::request::{CacheTtl, MAX_DISTINCT_VALUES, RequestFacts};

/// Pico-USD in one nano-USD.
const PICO_PER_NANO: i64 = 1_000;

/// The type of a tool that the client itself runs, where it is written at all.
const CLIENT_TOOL: &str = "custom";

impl PriceBook {
    /// What a request with these facts can cost at most if it has `input_tokens` of prompt and `output_tokens` of
    /// answer, at `at`: on the dearest terms that it asks for (fast mode, US geography, the price row of its prompt
    /// size, a cache write of the longest lifetime asked for over the whole prompt), at half price for a batch. Of
    /// several models the dearest one counts. Rounded up.
    ///
    /// `None` when one of its models has no known price, or names none.
    ///
    /// Not covered, because no request says how much of it will come: fees of web searches, the prompts of compaction
    /// and advisor passes, declined hops of a fallback, and whatever a server tool adds to the prompt.
    pub fn ceiling(
        &self,
        facts: &RequestFacts,
        input_tokens: u64,
        output_tokens: u64,
        at: Timestamp,
    ) -> Option<NanoUsd> {
        if facts.models.len() >= MAX_DISTINCT_VALUES {
            return None; // the dearest one may be among those that are not listed
        }
        let asked = Asked::of(facts);
        let mut dearest: Option<PicoUsd> = None;
        for model in &facts.models {
            let cost = self.dearest(self.model(model)?, &asked, input_tokens, output_tokens, at)?;
            dearest = dearest.max(Some(cost));
        }
        dearest.and_then(round_up)
    }

    /// The dearest cost of one model.
    fn dearest(
        &self,
        model: &ModelPrices,
        asked: &Asked,
        input_tokens: u64,
        output_tokens: u64,
        at: Timestamp,
    ) -> Option<PicoUsd> {
        let standard = model.row(Speed::Standard, at).ok()?;
        let fast = match asked.fast.then(|| model.row(Speed::Fast, at)) {
            None => None,
            Some(Ok(row)) => Some(row),
            // Batches have no fast mode; anything else that is served fast then has no known price.
            Some(Err(_)) if asked.tier == ServiceTier::Batch => None,
            Some(Err(_)) => return None,
        };
        let geography = if asked.us { Geography::Us } else { Geography::Anywhere };
        let mut dearest = PicoUsd::default();
        for (row, speed) in [(Some(standard), Speed::Standard), (fast, Speed::Fast)]
            .into_iter()
            .filter_map(|(row, speed)| Some((row?, speed)))
        {
            let terms = Terms { speed, tier: asked.tier, geography };
            let rates = row.rates_for(input_tokens);
            let price = |list| self.unit_price(list, terms, model.geography);
            let input = price(asked.input_rate(rates))?.checked_mul(input_tokens)?;
            let output = price(rates.output)?.checked_mul(output_tokens)?;
            dearest = dearest.max(input.checked_add(output)?);
        }
        Some(dearest)
    }
}

/// The terms that a request asks for.
struct Asked {
    tier: ServiceTier,
    fast: bool,
    us: bool,
    cache_write: Option<CacheTtl>,
}

impl Asked {
    fn of(facts: &RequestFacts) -> Self {
        let batch = facts.batch_requests > 0;
        let says = |values: &[Arc<str>], what: &str| {
            values.len() >= MAX_DISTINCT_VALUES || values.iter().any(|value| **value == *what)
        };
        // What a server tool puts into the prompt is cached for five minutes without being asked for.
        let server_tools = !facts.mcp_servers.is_empty()
            || facts.tools.iter().any(|tool| tool.kind.as_deref().is_some_and(|kind| kind != CLIENT_TOOL));
        Self {
            tier: if batch { ServiceTier::Batch } else { ServiceTier::Standard },
            fast: says(&facts.speeds, "fast"),
            us: says(&facts.inference_geos, "us"),
            cache_write: facts.cache_write.max(server_tools.then_some(CacheTtl::FiveMinutes)),
        }
    }

    /// The dearest price of a prompt token.
    fn input_rate(&self, rates: &Rates) -> PicoUsd {
        let uncached = rates.input.max(rates.cache_read);
        match self.cache_write {
            None => uncached,
            Some(CacheTtl::FiveMinutes) => uncached.max(rates.cache_write_5m),
            Some(CacheTtl::OneHour) => uncached.max(rates.cache_write_5m).max(rates.cache_write_1h),
        }
    }
}

/// Rounds up to nano-USD: a ceiling must not be rounded away.
fn round_up(exact: PicoUsd) -> Option<NanoUsd> {
    let up = exact.0.checked_add(PICO_PER_NANO.saturating_sub(1))?;
    Some(NanoUsd(up.div_euclid(PICO_PER_NANO)))
}
