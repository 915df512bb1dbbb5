//! What an event costs: what its producer says, or else what the price book says. Never both.

use std::sync::Arc;

use jiff::Timestamp;
use mindweave_metering::{
    Bill, Bucket, BucketKind, BucketSource, Certainty, MeteredResponse, NanoUsd, Pass, PicoUsd, PriceBook,
    TokenCounts, TokenKind, UsageEvent,
};

use super::fault::Faults;
use super::form::{Figures, Sent};
use crate::usage::MAX_COST;

/// Stands for the price book where the producer said the cost; its own book's version follows it, if it named one.
const PRODUCER: &str = "producer";
/// Why the figures of an event are not exact, beside the reasons of the price book.
const COST_BY_PRODUCER: &str = "cost_by_producer";
const ESTIMATED_BY_PRODUCER: &str = "estimated_by_producer";
const UNKNOWN_TO_PRODUCER: &str = "unknown_to_producer";

/// Sets figures and bill of an event that ended at this time.
pub(super) fn settle(sent: &mut Sent, prices: &PriceBook, at: Timestamp, faults: &mut Faults) {
    take_figures(sent, faults);
    let lines = &sent.draft.buckets;
    let sum = sum_of(lines).filter(|_| !lines.is_empty());
    if let Some(cost) = sent.cost.or(sum) {
        if !lines.is_empty() && sum != Some(cost) {
            faults.add(
                sent.places.of("cost_nano_usd"),
                "must be what the buckets add up to, each with its price",
            );
        }
        take_cost(sent, cost);
    } else {
        let metered = metered_of(sent);
        let bill = prices.price(&metered, sent.draft.requested_model.as_deref(), at);
        take_bill(sent, bill, prices);
    }
    let cost = sent.draft.cost_nano_usd;
    sent.draft.cost_usd = cost.map(|cost| cost.to_string());
    if cost.is_some_and(|cost| cost.0.unsigned_abs() > MAX_COST) {
        faults.add(sent.places.here(), "comes to more than a million dollars, which no event can");
    }
}

/// Puts the counts where the event has them, and holds a bill's lines to them.
fn take_figures(sent: &mut Sent, faults: &mut Faults) {
    let draft = &mut sent.draft;
    let tokens = match &sent.figures {
        Figures::Unknown => TokenCounts::default(),
        Figures::Counts(counts) => {
            draft.thinking_tokens = counts.thinking_tokens;
            draft.web_search_requests = counts.web_search_requests;
            counts.tokens
        }
        Figures::Metered(metered) => {
            draft.thinking_tokens = metered.thinking_tokens;
            draft.web_search_requests = metered.web_search_requests;
            draft.service_tier = draft.service_tier.take().or_else(|| metered.service_tier.clone());
            metered.tokens.unwrap_or_default()
        }
    };
    draft.input_tokens = tokens.input;
    draft.output_tokens = tokens.output;
    draft.cache_read_tokens = tokens.cache_read;
    draft.cache_write_5m_tokens = tokens.cache_write_5m;
    draft.cache_write_1h_tokens = tokens.cache_write_1h;
    if draft.buckets.is_empty() {
        return;
    }
    if matches!(sent.figures, Figures::Metered(_)) {
        faults.add(sent.places.of("buckets"), "must be left out where usage is given");
    } else if !covers(&draft.buckets, &tokens, draft.web_search_requests) {
        faults.add(
            sent.places.of("buckets"),
            "must have all that the counts say in lines of the source message",
        );
    }
}

/// Whether the lines of the message are what was counted.
fn covers(lines: &[Bucket], tokens: &TokenCounts, web_searches: u64) -> bool {
    let total = |kind: BucketKind, of_message: bool| {
        let lines = lines.iter().filter(|line| line.kind == kind);
        let lines = lines.filter(|line| !of_message || line.source == BucketSource::Message);
        lines.fold(0_u64, |sum, line| sum.saturating_add(line.quantity))
    };
    TokenKind::ALL.into_iter().all(|kind| total(kind.into(), true) == tokens.of(kind))
        && total(BucketKind::WebSearch, false) == web_searches
}

/// The sum of priced lines, rounded once; `None` when one has no price.
fn sum_of(lines: &[Bucket]) -> Option<NanoUsd> {
    let sum =
        lines.iter().try_fold(PicoUsd::default(), |sum, line| sum.checked_add(line.amount_pico_usd?))?;
    Some(sum.round_to_nano())
}

fn take_cost(sent: &mut Sent, cost: NanoUsd) {
    let draft = &mut sent.draft;
    draft.cost_nano_usd = Some(cost);
    draft.certainty = sent.certainty.unwrap_or(Certainty::Estimated);
    if draft.certainty == Certainty::Exact {
        draft.certainty_reason = None;
    } else {
        draft.certainty_reason.get_or_insert_with(|| COST_BY_PRODUCER.into());
    }
    draft.price_book = match &*draft.price_book {
        "" | PRODUCER => PRODUCER.into(),
        named => format!("{PRODUCER}:{}", named.trim_start_matches("producer:")).into(),
    };
}

fn take_bill(sent: &mut Sent, bill: Bill, prices: &PriceBook) {
    let draft = &mut sent.draft;
    let said = draft.certainty_reason.take();
    let known = !matches!(sent.figures, Figures::Unknown) && sent.certainty != Some(Certainty::Unknown);
    draft.price_book = Arc::clone(prices.version());
    if !known {
        draft.buckets = Vec::new();
        (draft.cost_nano_usd, draft.certainty) = (None, Certainty::Unknown);
        draft.certainty_reason = said.or_else(|| Some(UNKNOWN_TO_PRODUCER.into()));
        return;
    }
    draft.buckets = bill.buckets;
    draft.cost_nano_usd = bill.cost;
    (draft.certainty, draft.certainty_reason) = (bill.certainty, bill.certainty_reason);
    if bill.certainty == Certainty::Exact && sent.certainty == Some(Certainty::Estimated) {
        draft.certainty = Certainty::Estimated;
        draft.certainty_reason = said.or_else(|| Some(ESTIMATED_BY_PRODUCER.into()));
    }
}

/// The event as the price book reads answers.
fn metered_of(sent: &Sent) -> MeteredResponse {
    let draft = &sent.draft;
    let terms = &sent.terms;
    let mut metered = match &sent.figures {
        Figures::Metered(metered) => (**metered).clone(),
        Figures::Counts(counts) => MeteredResponse {
            tokens: Some(counts.tokens),
            passes: passes_of(draft, &counts.tokens),
            web_search_requests: counts.web_search_requests,
            ..MeteredResponse::without_usage(None)
        },
        Figures::Unknown => MeteredResponse::without_usage(None),
    };
    metered.model.clone_from(&draft.model);
    metered.content_is_empty = false; // a refusal that was free is sent with its cost: zero
    let or_said = |answered: &mut Option<Arc<str>>, said: &Option<Arc<str>>| {
        if said.is_some() {
            answered.clone_from(said);
        }
    };
    or_said(&mut metered.service_tier, &terms.service_tier);
    or_said(&mut metered.inference_geo, &terms.inference_geo);
    or_said(&mut metered.speed, &terms.speed);
    metered
}

/// The model calls that the counts and the lines of a bill without prices tell of.
fn passes_of(draft: &UsageEvent, tokens: &TokenCounts) -> Vec<Pass> {
    if draft.buckets.is_empty() {
        let (model, smallest_prompt) = (draft.model.clone(), tokens.prompt());
        return vec![Pass { source: BucketSource::Message, model, tokens: *tokens, smallest_prompt }];
    }
    let mut passes: Vec<Pass> = Vec::new();
    for line in &draft.buckets {
        let Some(counted) = tokens_of(line) else { continue };
        let same = |pass: &&mut Pass| pass.source == line.source && pass.model.as_ref() == Some(&line.model);
        if let Some(pass) = passes.iter_mut().find(same) {
            pass.tokens += counted;
        } else {
            let model = Some(Arc::clone(&line.model));
            passes.push(Pass { source: line.source, model, tokens: counted, smallest_prompt: 0 });
        }
    }
    for pass in &mut passes {
        pass.smallest_prompt = pass.tokens.prompt();
    }
    passes
}

/// The tokens of a line; `None` for what is no tokens.
fn tokens_of(line: &Bucket) -> Option<TokenCounts> {
    let mut tokens = TokenCounts::default();
    let count = match line.kind {
        BucketKind::Input => &mut tokens.input,
        BucketKind::Output => &mut tokens.output,
        BucketKind::CacheRead => &mut tokens.cache_read,
        BucketKind::CacheWrite5m => &mut tokens.cache_write_5m,
        BucketKind::CacheWrite1h => &mut tokens.cache_write_1h,
        BucketKind::WebSearch => return None,
    };
    *count = line.quantity;
    Some(tokens)
}
