//! From a metered answer to its bill.

#![warn(clippy::arithmetic_side_effects)]

use std::sync::Arc;

use jiff::Timestamp;

use super::{Geography, PriceBook, ServiceTier, Speed, Terms, TokenCountsSpan, prompt_total};
use crate::certainty::{CertaintyReason, Knowledge};
use crate::event::{BatchItem, Bucket, BucketKind, BucketSource, Certainty};
use crate::metered::{MeteredItem, MeteredResponse, Pass};
use crate::money::{NanoUsd, PicoUsd};
use crate::tokens::TokenKind;

/// Stands in a bucket for a model that nobody named.
const UNNAMED_MODEL: &str = "unknown";

/// What an exchange cost, line by line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    /// One line per (source, model, kind, unit price); lines of quantity zero are left out.
    pub buckets: Vec<Bucket>,
    /// The exact sum of the amounts, rounded once; `None` when it is not known, zero when the exchange was free.
    pub cost: Option<NanoUsd>,
    /// How tokens and cost are known.
    pub certainty: Certainty,
    /// Why they are not exact.
    pub certainty_reason: Option<Arc<str>>,
    /// The bills of a batch's items, in the order of [`MeteredResponse::items`].
    pub items: Vec<BatchItem>,
}

/// The lines of one answer and what is known of them.
struct Lines {
    buckets: Vec<Bucket>,
    knowledge: Knowledge,
}

impl PriceBook {
    /// Prices a metered answer as of `at`, the time of the event.
    ///
    /// Models are priced by what the answer names; `requested_model` only stands in for passes that are billed at the
    /// request's model and do not name it. An answer whose figures are not known gets no cost, never a zero.
    pub fn price(&self, metered: &MeteredResponse, requested_model: Option<&str>, at: Timestamp) -> Bill {
        let mut lines = self.answer_lines(metered, ServiceTier::Standard, requested_model, at);
        let mut items = Vec::with_capacity(metered.items.len());
        for item in &metered.items {
            let of_item = self.answer_lines(&item.answer, ServiceTier::Batch, requested_model, at);
            lines.knowledge.lower_all(of_item.knowledge);
            for bucket in &of_item.buckets {
                lines.add(bucket);
            }
            items.push(batch_item(item, of_item.buckets));
        }
        let cost = lines.cost();
        Bill {
            buckets: lines.buckets,
            cost,
            certainty: lines.knowledge.certainty(),
            certainty_reason: lines.knowledge.reason().map(Arc::from),
            items,
        }
    }

    fn answer_lines(
        &self,
        metered: &MeteredResponse,
        tier: ServiceTier,
        requested_model: Option<&str>,
        at: Timestamp,
    ) -> Lines {
        let knowledge = Knowledge::of(metered.certainty_reason);
        let mut lines = Lines { buckets: Vec::new(), knowledge };
        // Sums over a batch's items are priced item by item.
        if !metered.items.is_empty() || knowledge.certainty() == Certainty::Unknown {
            return lines;
        }
        let terms = terms(metered, tier, &mut lines.knowledge);
        for pass in &metered.passes {
            if pass.source == BucketSource::Message && metered.is_free_refusal() {
                continue;
            }
            self.pass_lines(metered, pass, terms, requested_model, at, &mut lines);
        }
        if metered.web_search_requests > 0 {
            lines.push(
                BucketSource::Message,
                &named(metered.model.as_ref(), requested_model),
                BucketKind::WebSearch,
                metered.web_search_requests,
                Some(self.web_search),
            );
        }
        lines
    }

    fn pass_lines(
        &self,
        metered: &MeteredResponse,
        pass: &Pass,
        terms: Terms,
        requested_model: Option<&str>,
        at: Timestamp,
        lines: &mut Lines,
    ) {
        if pass.tokens.is_zero() {
            return;
        }
        let model = match pass.source {
            BucketSource::Advisor => named(pass.model.as_ref(), None), // never the request's model
            BucketSource::Message | BucketSource::Compaction | BucketSource::FallbackHop => {
                named(pass.model.as_ref(), requested_model)
            }
        };
        // The advisor is another model, called beside the message: the message's speed is not its own.
        let speed = if pass.source == BucketSource::Advisor { Speed::Standard } else { terms.speed };
        let found = self.row(&model, speed, at);
        if let Err(reason) = found {
            lines.knowledge.lower(reason);
        }
        let found = found.ok().map(|(row, geography)| {
            let together = prompt_total(
                metered.passes.iter().filter(|one| one.model == pass.model).map(|one| &one.tokens),
            );
            let span = TokenCountsSpan { smallest: pass.smallest_prompt, largest: together };
            if row.tells_apart(&span) {
                lines.knowledge.lower(CertaintyReason::PriceTierUnclear);
            }
            (row.rates_for(pass.tokens.prompt()), geography)
        });
        for kind in TokenKind::ALL {
            let unit = found.and_then(|(rates, geography)| self.unit_price(rates.of(kind), terms, geography));
            lines.push(pass.source, &model, kind.into(), pass.tokens.of(kind), unit);
        }
    }
}

impl Lines {
    fn push(
        &mut self,
        source: BucketSource,
        model: &Arc<str>,
        kind: BucketKind,
        quantity: u64,
        unit_price: Option<PicoUsd>,
    ) {
        if quantity == 0 {
            return;
        }
        let amount = unit_price.and_then(|price| price.checked_mul(quantity));
        if unit_price.is_some() && amount.is_none() {
            self.knowledge.lower(CertaintyReason::CostOverflow);
        }
        self.add(&Bucket {
            source,
            model: Arc::clone(model),
            kind,
            quantity,
            unit_price_pico_usd: unit_price,
            amount_pico_usd: amount,
        });
    }

    /// Adds a line, into an equal one if there is one: several compactions make one line.
    fn add(&mut self, bucket: &Bucket) {
        let same = self.buckets.iter_mut().find(|one| {
            one.source == bucket.source
                && one.kind == bucket.kind
                && one.unit_price_pico_usd == bucket.unit_price_pico_usd
                && one.model == bucket.model
        });
        let Some(same) = same else {
            self.buckets.push(bucket.clone());
            return;
        };
        same.quantity = same.quantity.saturating_add(bucket.quantity);
        let sum = match (same.amount_pico_usd, bucket.amount_pico_usd) {
            (Some(one), Some(other)) => one.checked_add(other),
            _ => None,
        };
        if sum.is_none() && same.unit_price_pico_usd.is_some() {
            self.knowledge.lower(CertaintyReason::CostOverflow);
        }
        same.amount_pico_usd = sum;
    }

    /// The sum, rounded once.
    fn cost(&mut self) -> Option<NanoUsd> {
        let mut sum = PicoUsd::default();
        for bucket in &self.buckets {
            let Some(amount) = bucket.amount_pico_usd else { break };
            let Some(more) = sum.checked_add(amount) else {
                self.knowledge.lower(CertaintyReason::CostOverflow);
                break;
            };
            sum = more;
        }
        match self.knowledge.certainty() {
            Certainty::Exact | Certainty::Estimated => Some(sum.round_to_nano()),
            Certainty::Unknown => None, // every missing amount has lowered the certainty to this
        }
    }
}

/// Reads the terms that the answer names. What we do not know is priced at list and marked as an estimate.
fn terms(metered: &MeteredResponse, tier: ServiceTier, knowledge: &mut Knowledge) -> Terms {
    let tier = match metered.service_tier.as_deref() {
        Some("batch") => ServiceTier::Batch,
        None | Some("standard") => tier,
        Some("priority") => {
            knowledge.lower(CertaintyReason::PriorityTierListPrice);
            tier
        }
        Some(_) => {
            knowledge.lower(CertaintyReason::UnknownServiceTier);
            tier
        }
    };
    let geography = match metered.inference_geo.as_deref() {
        Some("us") => Geography::Us,
        None | Some("global" | "not_available") => Geography::Anywhere,
        Some(_) => {
            knowledge.lower(CertaintyReason::UnknownGeography);
            Geography::Anywhere
        }
    };
    let speed = match metered.speed.as_deref() {
        Some("fast") => Speed::Fast,
        None | Some("standard") => Speed::Standard,
        Some(_) => {
            knowledge.lower(CertaintyReason::UnknownSpeed);
            Speed::Standard
        }
    };
    Terms { speed, tier, geography }
}

fn named(model: Option<&Arc<str>>, requested: Option<&str>) -> Arc<str> {
    model.map_or_else(|| requested.unwrap_or(UNNAMED_MODEL).into(), Arc::clone)
}

fn batch_item(item: &MeteredItem, buckets: Vec<Bucket>) -> BatchItem {
    let tokens = item.answer.tokens.unwrap_or_default();
    BatchItem {
        custom_id: Arc::clone(&item.custom_id),
        input_tokens: tokens.input,
        output_tokens: tokens.output,
        cache_read_tokens: tokens.cache_read,
        cache_write_5m_tokens: tokens.cache_write_5m,
        cache_write_1h_tokens: tokens.cache_write_1h,
        thinking_tokens: item.answer.thinking_tokens,
        web_search_requests: item.answer.web_search_requests,
        buckets,
    }
}

impl From<TokenKind> for BucketKind {
    fn from(kind: TokenKind) -> Self {
        match kind {
            TokenKind::Input => Self::Input,
            TokenKind::Output => Self::Output,
            TokenKind::CacheRead => Self::CacheRead,
            TokenKind::CacheWrite5m => Self::CacheWrite5m,
            TokenKind::CacheWrite1h => Self::CacheWrite1h,
        }
    }
}
