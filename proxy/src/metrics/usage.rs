//! What the ledger gets: tokens, money, and how well both are known.

use metrics::Counter;
use mindweave_metering::{Certainty, CertaintyReason, TokenCounts, TokenKind};

use super::Registry;
use crate::reach::Unanswered;
use crate::settle::Metered;

const TOKENS: &str = "mindweave_proxy_tokens_total";
const COST: &str = "mindweave_proxy_cost_nano_usd_total";
const EVENTS: &str = "mindweave_proxy_events_total";
const UNCERTAIN_EVENTS: &str = "mindweave_proxy_uncertain_events_total";

/// What was metered and priced.
#[derive(Debug)]
pub(crate) struct UsageMetrics {
    tokens: [(TokenKind, Counter); 5],
    cost_nano_usd: Counter,
    exact: Counter,
    estimated: Counter,
    unknown: Counter,
    reasons: Vec<(&'static str, Counter)>,
    other_reason: Counter,
}

impl UsageMetrics {
    pub(super) fn new(registry: &Registry<'_>) -> Self {
        let tokens = |kind| {
            let help = "tokens of the answers, by kind; passes billed beside them are left out";
            (kind, registry.labelled(TOKENS, help, &[("kind", label(kind))]))
        };
        let events = |certainty| {
            let help = "events made, by how well their figures are known";
            registry.labelled(EVENTS, help, &[("certainty", certainty)])
        };
        let reason = |reason| {
            let help = "events whose figures are not exact, by reason";
            (reason, registry.labelled(UNCERTAIN_EVENTS, help, &[("reason", reason)]))
        };
        let reasons = CertaintyReason::ALL.into_iter().map(CertaintyReason::as_str);
        let reasons = reasons.chain(Unanswered::ALL.into_iter().map(Unanswered::as_str));
        Self {
            tokens: TokenKind::ALL.map(tokens),
            cost_nano_usd: registry.counter(COST, "cost of what was metered, in nano-dollars"),
            exact: events("exact"),
            estimated: events("estimated"),
            unknown: events("unknown"),
            reasons: reasons.map(reason).collect(),
            other_reason: reason("other").1,
        }
    }

    /// An event goes to the ledger. Costs a few counters of 5 ns.
    pub(crate) fn booked(&self, metered: &Metered) {
        let bill = &metered.bill;
        match bill.certainty {
            Certainty::Exact => self.exact.increment(1),
            Certainty::Estimated => self.estimated.increment(1),
            Certainty::Unknown => self.unknown.increment(1),
        }
        // A text, because events carry one; a closed set nevertheless, and the rare case.
        if let Some(reason) = bill.certainty_reason.as_deref() {
            let known = self.reasons.iter().find(|(text, _)| *text == reason);
            known.map_or(&self.other_reason, |(_, counter)| counter).increment(1);
        }
        if let Some(counts) = metered.answer.tokens {
            self.count_tokens(&counts);
        }
        let cost = bill.cost.and_then(|cost| u64::try_from(cost.0).ok()).unwrap_or(0); // never negative
        self.cost_nano_usd.increment(cost);
    }

    fn count_tokens(&self, counts: &TokenCounts) {
        for (kind, counter) in &self.tokens {
            match counts.of(*kind) {
                0 => {}
                count => counter.increment(count),
            }
        }
    }
}

/// As the kinds are called in events.
fn label(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::Input => "input",
        TokenKind::Output => "output",
        TokenKind::CacheRead => "cache_read",
        TokenKind::CacheWrite5m => "cache_write_5m",
        TokenKind::CacheWrite1h => "cache_write_1h",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use metrics_exporter_prometheus::PrometheusBuilder;
    use mindweave_metering::{EndpointKind, NanoUsd};

    use super::*;
    use crate::reach::Reach;

    #[test]
    fn what_is_not_known_is_counted_by_reason_and_never_under_a_foreign_text() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let usage = UsageMetrics::new(&Registry(&recorder));
        let mut metered =
            Metered::without_answer(EndpointKind::Messages, Reach::Unanswered(Unanswered::Closed));
        usage.booked(&metered);
        metered.bill.certainty_reason = Some(Arc::from("text from somewhere"));
        usage.booked(&metered);
        metered.bill.certainty_reason = Some(CertaintyReason::UnknownModel.into());
        metered.answer.tokens = Some(TokenCounts { input: 7, cache_write_5m: 9, ..TokenCounts::default() });
        usage.booked(&metered);
        metered.bill.certainty = Certainty::Exact;
        metered.bill.certainty_reason = None;
        metered.bill.cost = Some(NanoUsd(1_234));
        usage.booked(&metered);
        let rendered = recorder.handle().render();
        for line in [
            "mindweave_proxy_events_total{certainty=\"unknown\"} 3",
            "mindweave_proxy_events_total{certainty=\"exact\"} 1",
            "mindweave_proxy_uncertain_events_total{reason=\"upstream_closed\"} 1",
            "mindweave_proxy_uncertain_events_total{reason=\"unknown_model\"} 1",
            "mindweave_proxy_uncertain_events_total{reason=\"other\"} 1",
            "mindweave_proxy_tokens_total{kind=\"input\"} 14",
            "mindweave_proxy_tokens_total{kind=\"cache_write_5m\"} 18",
            "mindweave_proxy_tokens_total{kind=\"output\"} 0",
            "mindweave_proxy_cost_nano_usd_total 1234",
        ] {
            assert!(rendered.lines().any(|one| one == line), "{line} is missing in\n{rendered}");
        }
        assert!(!rendered.contains("somewhere"), "a label is never free text");
    }
}
