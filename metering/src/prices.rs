//! The price book: what a token of a model costs, at a time, under a tier, a geography and a speed.
//!
//! Prices are data (`prices.toml`, whose head explains the format), effective-dated, with a version that every event
//! stores. Parsing checks the whole book and reports all its faults; a book that parsed cannot give a price that is
//! not a whole number of pico-USD.

mod bill;
mod ceiling;
mod parse;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::certainty::CertaintyReason;
use crate::money::PicoUsd;
use crate::tokens::{TokenCounts, TokenKind};

pub use bill::Bill;
pub use parse::{PriceBookError, PriceFault};

/// The book that this build ships.
const BUNDLED: &str = include_str!("prices.toml");

/// Effective-dated list prices.
#[derive(Clone, Debug)]
pub struct PriceBook {
    version: Arc<str>,
    models: Vec<ModelPrices>,
    /// Ids and aliases to positions in `models`.
    by_name: HashMap<Arc<str>, usize>,
    batch: Ratio,
    us_geography: Ratio,
    web_search: PicoUsd,
}

/// An exact multiplier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ratio {
    numerator: u64,
    denominator: u64,
}

#[derive(Clone, Debug)]
struct ModelPrices {
    /// Whether the geography multiplier applies.
    geography: bool,
    /// Whether fast mode without a fast price is served, and billed, as standard.
    fast_falls_back: bool,
    /// Oldest first, as is `fast`.
    standard: Vec<Row>,
    fast: Vec<Row>,
}

/// Prices from one moment on.
#[derive(Clone, Debug)]
struct Row {
    from: Timestamp,
    until: Option<Timestamp>,
    rates: Rates,
    above: Option<Tier>,
}

/// The prices of a request with a large prompt; they apply to every token of it.
#[derive(Clone, Debug)]
struct Tier {
    /// Prompts of more tokens than this are large.
    prompt_tokens: u64,
    rates: Rates,
}

/// Prices of one token each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rates {
    input: PicoUsd,
    output: PicoUsd,
    cache_read: PicoUsd,
    cache_write_5m: PicoUsd,
    cache_write_1h: PicoUsd,
}

/// Under which terms tokens were used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Terms {
    speed: Speed,
    tier: ServiceTier,
    geography: Geography,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speed {
    Standard,
    Fast,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServiceTier {
    Standard,
    Batch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Geography {
    Anywhere,
    Us,
}

impl PriceBook {
    /// The book that this build ships.
    ///
    /// # Errors
    /// None in a build that passed its tests: they parse it.
    pub fn bundled() -> Result<Self, PriceBookError> {
        Self::parse(BUNDLED)
    }

    /// Reads a book from TOML and checks all of it.
    ///
    /// # Errors
    /// Every fault of the book at once.
    pub fn parse(text: &str) -> Result<Self, PriceBookError> {
        parse::parse(text)
    }

    /// The version that events priced with this book store.
    pub fn version(&self) -> &Arc<str> {
        &self.version
    }

    /// Whether the book has this model, by id or alias.
    pub fn knows(&self, model: &str) -> bool {
        self.by_name.contains_key(model)
    }

    /// The list price in pico-USD of one token of `kind` at standard terms, for estimates before a request is sent.
    /// `prompt_tokens` chooses the row of models whose price depends on the prompt's size.
    pub fn list_price(
        &self,
        model: &str,
        kind: TokenKind,
        prompt_tokens: u64,
        at: Timestamp,
    ) -> Option<PicoUsd> {
        let row = self.model(model)?.standard_row(at)?;
        Some(row.rates_for(prompt_tokens).of(kind))
    }

    fn model(&self, name: &str) -> Option<&ModelPrices> {
        self.by_name.get(name).and_then(|&index| self.models.get(index))
    }

    /// The row that applies, and whether the geography multiplier does.
    fn row(&self, model: &str, speed: Speed, at: Timestamp) -> Result<(&Row, bool), CertaintyReason> {
        let model = self.model(model).ok_or(CertaintyReason::UnknownModel)?;
        Ok((model.row(speed, at)?, model.geography))
    }

    /// A unit price with all multipliers; `None` on overflow.
    fn unit_price(&self, list: PicoUsd, terms: Terms, geography_applies: bool) -> Option<PicoUsd> {
        let price = match terms.tier {
            ServiceTier::Standard => list,
            ServiceTier::Batch => self.batch.times(list)?,
        };
        match terms.geography {
            Geography::Us if geography_applies => self.us_geography.times(price),
            Geography::Us | Geography::Anywhere => Some(price),
        }
    }
}

impl ModelPrices {
    fn standard_row(&self, at: Timestamp) -> Option<&Row> {
        row_at(&self.standard, at)
    }

    fn row(&self, speed: Speed, at: Timestamp) -> Result<&Row, CertaintyReason> {
        let standard = || self.standard_row(at).ok_or(CertaintyReason::NoPriceAtThisTime);
        match speed {
            Speed::Standard => standard(),
            Speed::Fast => match row_at(&self.fast, at) {
                Some(row) => Ok(row),
                None if self.fast_falls_back => standard(),
                None => Err(CertaintyReason::NoFastPrice),
            },
        }
    }
}

/// The newest row that has started, if it has not ended.
fn row_at(rows: &[Row], at: Timestamp) -> Option<&Row> {
    rows.iter().rev().find(|row| row.from <= at).filter(|row| row.until.is_none_or(|until| at < until))
}

impl Row {
    fn rates_for(&self, prompt_tokens: u64) -> &Rates {
        match &self.above {
            Some(tier) if prompt_tokens > tier.prompt_tokens => &tier.rates,
            Some(_) | None => &self.rates,
        }
    }

    /// Whether it makes a difference which of two prompt sizes counts.
    fn tells_apart(&self, one: &TokenCountsSpan) -> bool {
        self.above
            .as_ref()
            .is_some_and(|tier| (one.smallest > tier.prompt_tokens) != (one.largest > tier.prompt_tokens))
    }
}

/// The prompt sizes that could count for a price tier.
struct TokenCountsSpan {
    smallest: u64,
    largest: u64,
}

impl Rates {
    fn of(&self, kind: TokenKind) -> PicoUsd {
        match kind {
            TokenKind::Input => self.input,
            TokenKind::Output => self.output,
            TokenKind::CacheRead => self.cache_read,
            TokenKind::CacheWrite5m => self.cache_write_5m,
            TokenKind::CacheWrite1h => self.cache_write_1h,
        }
    }
}

impl Ratio {
    /// Exact multiplication; `None` when the result is not whole or does not fit.
    fn times(self, price: PicoUsd) -> Option<PicoUsd> {
        let scaled = i128::from(price.0).checked_mul(i128::from(self.numerator))?;
        let denominator = i128::from(self.denominator);
        if scaled.checked_rem(denominator)? != 0 {
            return None;
        }
        i64::try_from(scaled.checked_div(denominator)?).ok().map(PicoUsd)
    }
}

/// The prompt size of several passes together.
fn prompt_total<'a>(tokens: impl Iterator<Item = &'a TokenCounts>) -> u64 {
    tokens.fold(0, |sum, tokens| sum.saturating_add(tokens.prompt()))
}
