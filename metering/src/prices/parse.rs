//! From TOML to a checked price book.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::{ModelPrices, PriceBook, Rates, Ratio, Row, Tier};
use crate::money::PicoUsd;
use crate::tokens::TokenKind;

/// The highest believable price of a million tokens, in USD: a hundred times the dearest model. A mistyped price
/// must not reach a ledger.
const MAX_USD_PER_MILLION: i64 = 20_000;
/// Micro-USD in one dollar. Micro-USD per million tokens are pico-USD per token.
const MICRO_PER_USD: i64 = 1_000_000;
const DECIMAL_PLACES: usize = 6;

/// A price book that was refused.
#[derive(Debug, thiserror::Error)]
pub enum PriceBookError {
    /// The text is not TOML, or not of the book's shape.
    #[error("price book cannot be read")]
    Syntax(#[source] Box<toml::de::Error>),
    /// The text was read, but says things that cannot be.
    #[error("price book has {} faults: {}", .0.len(), Faults(.0))]
    Faults(Vec<PriceFault>),
}

/// One thing wrong with a price book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceFault {
    /// Where, for example `claude-opus-5.standard[0].input`.
    pub place: String,
    /// What.
    pub problem: String,
}

struct Faults<'a>(&'a [PriceFault]);

impl fmt::Display for Faults<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", fault.place, fault.problem)?;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBook {
    version: String,
    multipliers: RawMultipliers,
    fees: RawFees,
    models: Vec<RawModel>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMultipliers {
    batch: String,
    inference_geo_us: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFees {
    web_search_per_1000: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawModel {
    id: String,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    geography: bool,
    source: String,
    retrieved: String,
    #[serde(default)]
    fast_without_price: Option<FastWithoutPrice>,
    standard: Vec<RawRow>,
    #[serde(default)]
    fast: Vec<RawRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum FastWithoutPrice {
    Standard,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRow {
    from: String,
    until: Option<String>,
    input: String,
    cache_write_5m: String,
    cache_write_1h: String,
    cache_read: String,
    output: String,
    above: Option<RawTier>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTier {
    prompt_tokens: u64,
    input: String,
    cache_write_5m: String,
    cache_write_1h: String,
    cache_read: String,
    output: String,
}

pub(super) fn parse(text: &str) -> Result<PriceBook, PriceBookError> {
    let raw: RawBook = toml::from_str(text).map_err(|cause| PriceBookError::Syntax(Box::new(cause)))?;
    let mut check = Check::default();
    if raw.version.trim().is_empty() {
        check.fault("version", "is empty");
    }
    let batch = check.ratio("multipliers.batch", &raw.multipliers.batch);
    let us_geography = check.ratio("multipliers.inference_geo_us", &raw.multipliers.inference_geo_us);
    let web_search = check.fee("fees.web_search_per_1000", &raw.fees.web_search_per_1000);
    if raw.models.is_empty() {
        check.fault("models", "is empty");
    }
    let mut models = Vec::with_capacity(raw.models.len());
    let mut by_name = HashMap::new();
    for raw in raw.models {
        for name in std::iter::once(&raw.id).chain(&raw.aliases) {
            if name.is_empty() || by_name.insert(Arc::from(name.as_str()), models.len()).is_some() {
                check.fault(name, "is empty or used twice, as an id or an alias");
            }
        }
        models.push(check.model(&raw));
    }
    let book = PriceBook { version: raw.version.into(), models, by_name, batch, us_geography, web_search };
    check.whole_prices(&book);
    if check.faults.is_empty() { Ok(book) } else { Err(PriceBookError::Faults(check.faults)) }
}

/// Collects faults. Conversions note a fault and go on with a harmless value, so that one pass finds them all.
#[derive(Default)]
struct Check {
    faults: Vec<PriceFault>,
}

impl Check {
    fn fault(&mut self, place: &str, problem: impl Into<String>) {
        self.faults.push(PriceFault { place: place.to_owned(), problem: problem.into() });
    }

    fn model(&mut self, raw: &RawModel) -> ModelPrices {
        if raw.source.trim().is_empty() {
            self.fault(&format!("{}.source", raw.id), "is empty: every price names where it was read");
        }
        self.day(&format!("{}.retrieved", raw.id), &raw.retrieved);
        if raw.standard.is_empty() {
            self.fault(&format!("{}.standard", raw.id), "is empty");
        }
        let standard = self.rows(&format!("{}.standard", raw.id), &raw.standard);
        let fast = self.rows(&format!("{}.fast", raw.id), &raw.fast);
        let fast_falls_back = matches!(raw.fast_without_price, Some(FastWithoutPrice::Standard));
        ModelPrices { geography: raw.geography, fast_falls_back, standard, fast }
    }

    fn rows(&mut self, place: &str, raw: &[RawRow]) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::with_capacity(raw.len());
        for (index, raw) in raw.iter().enumerate() {
            let place = format!("{place}[{index}]");
            let row = self.row(&place, raw);
            if rows.last().is_some_and(|earlier| earlier.from >= row.from) {
                self.fault(&format!("{place}.from"), "is not later than the row before");
            }
            if row.until.is_some_and(|until| until <= row.from) {
                self.fault(&format!("{place}.until"), "is not later than from");
            }
            rows.push(row);
        }
        rows
    }

    fn row(&mut self, place: &str, raw: &RawRow) -> Row {
        let from = self.day(&format!("{place}.from"), &raw.from);
        let until = raw.until.as_deref().map(|text| self.day(&format!("{place}.until"), text));
        let rates = Rates {
            input: self.price(&format!("{place}.input"), &raw.input),
            output: self.price(&format!("{place}.output"), &raw.output),
            cache_read: self.price(&format!("{place}.cache_read"), &raw.cache_read),
            cache_write_5m: self.price(&format!("{place}.cache_write_5m"), &raw.cache_write_5m),
            cache_write_1h: self.price(&format!("{place}.cache_write_1h"), &raw.cache_write_1h),
        };
        let above = raw.above.as_ref().map(|raw| {
            let place = format!("{place}.above");
            if raw.prompt_tokens == 0 {
                self.fault(&format!("{place}.prompt_tokens"), "is zero");
            }
            let rates = Rates {
                input: self.price(&format!("{place}.input"), &raw.input),
                output: self.price(&format!("{place}.output"), &raw.output),
                cache_read: self.price(&format!("{place}.cache_read"), &raw.cache_read),
                cache_write_5m: self.price(&format!("{place}.cache_write_5m"), &raw.cache_write_5m),
                cache_write_1h: self.price(&format!("{place}.cache_write_1h"), &raw.cache_write_1h),
            };
            Tier { prompt_tokens: raw.prompt_tokens, rates }
        });
        Row { from, until, rates, above }
    }

    fn price(&mut self, place: &str, text: &str) -> PicoUsd {
        match micro_usd(text) {
            Some(micro) if micro > 0 && micro <= MAX_USD_PER_MILLION.saturating_mul(MICRO_PER_USD) => {
                PicoUsd(micro)
            }
            Some(_) => {
                let problem = format!("{text:?} is not between 0 and {MAX_USD_PER_MILLION} USD per million");
                self.fault(place, problem);
                PicoUsd::default()
            }
            None => {
                self.fault(place, format!("{text:?} is not a decimal with at most {DECIMAL_PLACES} places"));
                PicoUsd::default()
            }
        }
    }

    /// The fee of one, from the fee of a thousand.
    fn fee(&mut self, place: &str, per_thousand: &str) -> PicoUsd {
        // Micro-USD for a thousand are nano-USD for one, and a nano-USD is a thousand pico-USD.
        let PicoUsd(nano) = self.price(place, per_thousand);
        PicoUsd(nano.saturating_mul(1_000))
    }

    fn day(&mut self, place: &str, text: &str) -> Timestamp {
        let start = text.parse::<Date>().and_then(|day| day.to_zoned(TimeZone::UTC));
        start.map_or_else(
            |_| {
                self.fault(place, format!("{text:?} is not a day like 2026-11-21"));
                Timestamp::UNIX_EPOCH
            },
            |start| start.timestamp(),
        )
    }

    fn ratio(&mut self, place: &str, text: &str) -> Ratio {
        let parts = text.split_once('/').map(|(above, below)| (above.trim().parse(), below.trim().parse()));
        match parts {
            Some((Ok(numerator), Ok(denominator))) if numerator > 0 && denominator > 0 => {
                Ratio { numerator, denominator }
            }
            _ => {
                self.fault(place, format!("{text:?} is not a fraction like 1/2"));
                Ratio { numerator: 1, denominator: 1 }
            }
        }
    }

    /// Every price under every multiplier must be a whole number of pico-USD, or a bill would need a second rounding.
    fn whole_prices(&mut self, book: &PriceBook) {
        for (name, &index) in &book.by_name {
            let Some(model) = book.models.get(index) else { continue };
            let rows = model.standard.iter().chain(&model.fast);
            for rates in rows.flat_map(|row| [Some(&row.rates), row.above.as_ref().map(|tier| &tier.rates)]) {
                let Some(rates) = rates else { continue };
                for kind in TokenKind::ALL {
                    let list = rates.of(kind);
                    let stacked = book.batch.times(list).and_then(|price| book.us_geography.times(price));
                    if stacked.is_none()
                        || book.batch.times(list).is_none()
                        || book.us_geography.times(list).is_none()
                    {
                        let problem =
                            format!("{kind:?} at {} pico-USD is not whole after the multipliers", list.0);
                        self.fault(name, problem);
                    }
                }
            }
        }
    }
}

/// A decimal number of dollars in micro-USD; `None` unless it is digits with at most six places.
fn micro_usd(text: &str) -> Option<i64> {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(places) || places.len() > DECIMAL_PLACES {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let places: i64 = format!("{places:0<DECIMAL_PLACES$}").parse().ok()?;
    whole.checked_mul(MICRO_PER_USD)?.checked_add(places)
}
