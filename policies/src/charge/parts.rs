//! An event's use, model by model: what limits and budgets of certain models count of it.
//!
//! An event belongs whole to the model that it is listed under: the one that served, or else the one asked for. That is what
//! the ledger's sums say too; that a declined fallback or an advisor had a part in it shows in the event's buckets only. The
//! one event that is listed under no model is a download of batch results of several: there each item is like an event of its own.

use std::sync::Arc;

use mindweave_metering::{BatchItem, Bucket, BucketSource, NanoUsd, PicoUsd, UsageEvent};
use smallvec::{SmallVec, smallvec};

use super::{Charge, Charged};
use crate::governance::QuotaSpec;

/// Models told apart in one event. There are not so many; names come from answers, and those beyond count as no model's.
const MAX_MODELS: usize = 64;

/// What one model used of an event. The parts of an event add up to it exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventPart {
    /// The model; `None` for what is of no model.
    pub model: Option<Arc<str>>,
    /// See [`UsageEvent::input_tokens`], as for the other fields.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Cache reads.
    pub cache_read_tokens: u64,
    /// Five-minute cache writes.
    pub cache_write_5m_tokens: u64,
    /// One-hour cache writes.
    pub cache_write_1h_tokens: u64,
    /// Thinking tokens.
    pub thinking_tokens: u64,
    /// Web searches.
    pub web_search_requests: u64,
    /// The cost; `None` when the event's is not known.
    pub cost: Option<NanoUsd>,
}

impl EventPart {
    /// The parts of an event, at least one.
    pub fn all(event: &UsageEvent) -> SmallVec<[Self; 1]> {
        let whole = Self::whole(event);
        let items = event.batch.as_ref().filter(|_| whole.model.is_none()).map(|batch| &*batch.items);
        match items {
            None | Some([]) => smallvec![whole],
            Some(items) => split(whole, items),
        }
    }

    fn whole(event: &UsageEvent) -> Self {
        Self {
            model: event.model.as_ref().or(event.requested_model.as_ref()).map(Arc::clone),
            input_tokens: event.input_tokens,
            output_tokens: event.output_tokens,
            cache_read_tokens: event.cache_read_tokens,
            cache_write_5m_tokens: event.cache_write_5m_tokens,
            cache_write_1h_tokens: event.cache_write_1h_tokens,
            thinking_tokens: event.thinking_tokens,
            web_search_requests: event.web_search_requests,
            cost: event.cost_nano_usd,
        }
    }

    fn figures(&mut self) -> [&mut u64; 7] {
        [
            &mut self.input_tokens,
            &mut self.output_tokens,
            &mut self.cache_read_tokens,
            &mut self.cache_write_5m_tokens,
            &mut self.cache_write_1h_tokens,
            &mut self.thinking_tokens,
            &mut self.web_search_requests,
        ]
    }

    fn is_nothing(&self) -> bool {
        Self { model: None, cost: None, ..self.clone() } == Self::default()
            && self.cost.is_none_or(|cost| cost.0 == 0)
    }

    /// Moves so much of the figures into a part of its own; no more than there is.
    fn take(&mut self, mut wanted: Self) -> Self {
        for (rest, part) in self.figures().into_iter().zip(wanted.figures()) {
            *part = (*part).min(*rest);
            *rest = rest.saturating_sub(*part);
        }
        wanted
    }
}

impl From<&BatchItem> for EventPart {
    fn from(item: &BatchItem) -> Self {
        Self {
            model: served_by(item),
            input_tokens: item.input_tokens,
            output_tokens: item.output_tokens,
            cache_read_tokens: item.cache_read_tokens,
            cache_write_5m_tokens: item.cache_write_5m_tokens,
            cache_write_1h_tokens: item.cache_write_1h_tokens,
            thinking_tokens: item.thinking_tokens,
            web_search_requests: item.web_search_requests,
            cost: None,
        }
    }
}

/// The model of an item's message. Its bill begins with the message's own lines.
fn served_by(item: &BatchItem) -> Option<Arc<str>> {
    let of_message = item.buckets.iter().find(|bucket| bucket.source == BucketSource::Message);
    of_message.map(|bucket| Arc::clone(&bucket.model))
}

fn split(whole: EventPart, items: &[BatchItem]) -> SmallVec<[EventPart; 1]> {
    let mut sums: SmallVec<[(EventPart, i64); 4]> = SmallVec::new();
    for item in items {
        let mut part = EventPart::from(item);
        let place = sums.iter().position(|(sum, _)| sum.model == part.model).unwrap_or(sums.len());
        if part.model.is_none() || place >= MAX_MODELS {
            continue; // stays in the rest
        }
        if place == sums.len() {
            sums.push((EventPart { model: part.model.take(), ..EventPart::default() }, 0));
        }
        let Some((sum, pico)) = sums.get_mut(place) else { continue };
        for (sum, figure) in sum.figures().into_iter().zip(part.figures()) {
            *sum = sum.saturating_add(*figure);
        }
        *pico = pico.saturating_add(bill(&item.buckets));
    }
    let mut rest = whole;
    let mut parts: SmallVec<[EventPart; 1]> = SmallVec::new();
    let (mut through, mut told) = (0_i64, 0_i64);
    let total = rest.cost;
    for (sum, pico) in sums {
        let mut part = rest.take(sum);
        // The event's cost is rounded once. What is rounded here is the bill up to each part, so that the parts add up to it.
        through = through.saturating_add(pico);
        part.cost = total.map(|total| {
            let next = PicoUsd(through).round_to_nano().0.clamp(told, total.0.max(told));
            let cost = NanoUsd(next.saturating_sub(told));
            told = next;
            cost
        });
        parts.push(part);
    }
    rest.cost = total.map(|total| NanoUsd(total.0.saturating_sub(told)));
    if !rest.is_nothing() {
        parts.push(rest);
    }
    parts
}

/// The amounts of a bill together; lines without a price count nothing, and then the event has no cost.
fn bill(buckets: &[Bucket]) -> i64 {
    let amounts = buckets.iter().filter_map(|bucket| bucket.amount_pico_usd);
    amounts.fold(0, |sum, amount| sum.saturating_add(amount.0))
}

/// What one model used of an exchange, as limits and budgets count it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChargePart {
    /// The model; `None` for what is of no model.
    pub model: Option<Arc<str>>,
    /// Its use.
    pub charge: Charge,
}

/// What an exchange used, by model. The parts add up to [`Charge::of`] it; the request itself is in the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChargeParts(SmallVec<[ChargePart; 1]>);

impl ChargeParts {
    /// Those of an event: what the proxy charges, and what the ledger books.
    pub fn of(event: &UsageEvent) -> Self {
        let parts = EventPart::all(event).into_iter().enumerate().map(|(place, part)| {
            let charged = Charged {
                input_tokens: part.input_tokens,
                output_tokens: part.output_tokens,
                cache_read_tokens: part.cache_read_tokens,
                cache_write_5m_tokens: part.cache_write_5m_tokens,
                cache_write_1h_tokens: part.cache_write_1h_tokens,
                cost: part.cost,
                ..Charged::from(event)
            };
            let charge = Charge::of(charged);
            let requests = if place == 0 { charge.requests } else { 0 };
            ChargePart { model: part.model, charge: Charge { requests, ..charge } }
        });
        Self(parts.collect())
    }

    /// One part.
    pub fn one(charge: Charge, model: Option<Arc<str>>) -> Self {
        Self(smallvec![ChargePart { model, charge }])
    }

    /// All of it.
    pub fn total(&self) -> Charge {
        self.0.iter().fold(Charge::default(), |sum, part| sum.plus(part.charge))
    }

    /// What models used for which this holds.
    pub fn of_models(&self, counted: impl Fn(Option<&str>) -> bool) -> Charge {
        let counted = self.0.iter().filter(|part| counted(part.model.as_deref()));
        counted.fold(Charge::default(), |sum, part| sum.plus(part.charge))
    }

    /// How much of this budget it uses.
    pub fn amount(&self, quota: &QuotaSpec) -> i64 {
        self.of_models(|model| quota.counts_model(model)).amount(quota.unit)
    }

    /// The parts.
    pub fn iter(&self) -> impl Iterator<Item = &ChargePart> {
        self.0.iter()
    }
}
