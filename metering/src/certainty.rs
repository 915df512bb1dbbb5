//! How well figures are known, and why not better.

use std::sync::Arc;

use crate::event::Certainty;

/// Why figures are not exact. The texts are stable: they appear in events, reports and alerts alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CertaintyReason {
    /// The price book has no such model.
    UnknownModel,
    /// The price book knows the model, but not at the time of the exchange.
    NoPriceAtThisTime,
    /// Served in fast mode by a model that has no fast price at the time.
    NoFastPrice,
    /// The cost does not fit the number that holds money.
    CostOverflow,
    /// A successful answer without a usage object.
    NoUsage,
    /// A token count was negative, fractional, absurdly large or no number at all.
    UsageImplausible,
    /// More passes in one answer than are kept.
    TooManyIterations,
    /// The body is not the JSON it should be.
    BodyUnreadable,
    /// The JSON body ended before its end.
    BodyCut,
    /// The stream ended before it reported any usage.
    StreamCutBeforeUsage,
    /// The content encoding is one that we cannot decode.
    UnknownEncoding,
    /// The compressed body is damaged.
    DecodingFailed,
    /// The legacy completion API reports no tokens.
    CompleteReportsNoUsage,
    /// The OpenAI-compatible API is passed through without metering.
    ChatCompletionsNotMetered,
    /// Managed agents report cumulative usage without a model, which one exchange cannot be charged with.
    ManagedAgentsNotMetered,
    /// A line of a batch's results could not be read: the figures are those of the other lines.
    BatchLineUnreadable,
    /// The stream was cut; its output was estimated from what was delivered. See [`crate::OUTPUT_ESTIMATE_BOUND`].
    OutputEstimated,
    /// The stream carried an error before any usage: nothing was generated, so nothing should be billed.
    ErrorBeforeUsage,
    /// Priority Tier is prepaid: the list price is notional.
    PriorityTierListPrice,
    /// A service tier we do not know, priced as standard.
    UnknownServiceTier,
    /// An inference geography we do not know, priced without surcharge.
    UnknownGeography,
    /// A speed we do not know, priced as standard.
    UnknownSpeed,
    /// The price depends on the prompt's size, and it is not settled which of several passes' sizes counts.
    PriceTierUnclear,
    /// Cache writes fell below what the first report had split by lifetime.
    CacheWriteSplitUnclear,
    /// A kind of pass we do not know was reported; it may be billed beside the rest.
    UnknownIteration,
}

impl CertaintyReason {
    /// Every reason, for those who count by reason.
    pub const ALL: [Self; 25] = [
        Self::UnknownModel,
        Self::NoPriceAtThisTime,
        Self::NoFastPrice,
        Self::CostOverflow,
        Self::NoUsage,
        Self::UsageImplausible,
        Self::TooManyIterations,
        Self::BodyUnreadable,
        Self::BodyCut,
        Self::StreamCutBeforeUsage,
        Self::UnknownEncoding,
        Self::DecodingFailed,
        Self::CompleteReportsNoUsage,
        Self::ChatCompletionsNotMetered,
        Self::ManagedAgentsNotMetered,
        Self::BatchLineUnreadable,
        Self::OutputEstimated,
        Self::ErrorBeforeUsage,
        Self::PriorityTierListPrice,
        Self::UnknownServiceTier,
        Self::UnknownGeography,
        Self::UnknownSpeed,
        Self::PriceTierUnclear,
        Self::CacheWriteSplitUnclear,
        Self::UnknownIteration,
    ];

    /// The stable text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownModel => "unknown_model",
            Self::NoPriceAtThisTime => "no_price_at_this_time",
            Self::NoFastPrice => "no_fast_price",
            Self::CostOverflow => "cost_overflow",
            Self::NoUsage => "no_usage",
            Self::UsageImplausible => "usage_implausible",
            Self::TooManyIterations => "too_many_iterations",
            Self::BodyUnreadable => "body_unreadable",
            Self::BodyCut => "body_cut",
            Self::StreamCutBeforeUsage => "stream_cut_before_usage",
            Self::UnknownEncoding => "unknown_content_encoding",
            Self::DecodingFailed => "content_decoding_failed",
            Self::CompleteReportsNoUsage => "complete_reports_no_usage",
            Self::ChatCompletionsNotMetered => "chat_completions_not_metered",
            Self::ManagedAgentsNotMetered => "managed_agents_not_metered",
            Self::BatchLineUnreadable => "batch_line_unreadable",
            Self::OutputEstimated => "output_estimated_within_45_percent_plus_10_tokens",
            Self::ErrorBeforeUsage => "error_before_usage",
            Self::PriorityTierListPrice => "priority_tier_list_price",
            Self::UnknownServiceTier => "unknown_service_tier",
            Self::UnknownGeography => "unknown_inference_geo",
            Self::UnknownSpeed => "unknown_speed",
            Self::PriceTierUnclear => "price_tier_unclear",
            Self::CacheWriteSplitUnclear => "cache_write_split_unclear",
            Self::UnknownIteration => "unknown_iteration",
        }
    }

    fn certainty(self) -> Certainty {
        match self {
            Self::UnknownModel
            | Self::NoPriceAtThisTime
            | Self::NoFastPrice
            | Self::CostOverflow
            | Self::NoUsage
            | Self::UsageImplausible
            | Self::TooManyIterations
            | Self::BodyUnreadable
            | Self::BodyCut
            | Self::StreamCutBeforeUsage
            | Self::UnknownEncoding
            | Self::DecodingFailed
            | Self::CompleteReportsNoUsage
            | Self::ChatCompletionsNotMetered
            | Self::ManagedAgentsNotMetered => Certainty::Unknown,
            Self::BatchLineUnreadable
            | Self::OutputEstimated
            | Self::ErrorBeforeUsage
            | Self::PriorityTierListPrice
            | Self::UnknownServiceTier
            | Self::UnknownGeography
            | Self::UnknownSpeed
            | Self::PriceTierUnclear
            | Self::CacheWriteSplitUnclear
            | Self::UnknownIteration => Certainty::Estimated,
        }
    }
}

impl From<CertaintyReason> for Arc<str> {
    fn from(reason: CertaintyReason) -> Self {
        reason.as_str().into()
    }
}

/// A certainty that only ever falls, with the reason of its deepest fall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Knowledge(Option<CertaintyReason>);

impl Knowledge {
    pub(crate) fn of(reason: Option<CertaintyReason>) -> Self {
        Self(reason)
    }

    /// Notes a reason. A worse certainty replaces a better one; among equals the first reason stays.
    pub(crate) fn lower(&mut self, reason: CertaintyReason) {
        let worse = match (self.certainty(), reason.certainty()) {
            (Certainty::Exact, _) | (Certainty::Estimated, Certainty::Unknown) => true,
            (Certainty::Estimated | Certainty::Unknown, _) => false,
        };
        if worse {
            self.0 = Some(reason);
        }
    }

    pub(crate) fn lower_all(&mut self, other: Self) {
        if let Some(reason) = other.0 {
            self.lower(reason);
        }
    }

    pub(crate) fn certainty(self) -> Certainty {
        self.0.map_or(Certainty::Exact, CertaintyReason::certainty)
    }

    pub(crate) fn reason(self) -> Option<CertaintyReason> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    #[expect(clippy::as_conversions, reason = "the number of a fieldless variant")]
    fn every_reason_is_listed_once_and_has_a_text_of_its_own() {
        let last = CertaintyReason::UnknownIteration; // move it with the enum's end
        assert_eq!(CertaintyReason::ALL.len(), last as usize + 1);
        let texts: HashSet<_> = CertaintyReason::ALL.into_iter().map(CertaintyReason::as_str).collect();
        assert_eq!(texts.len(), CertaintyReason::ALL.len());
    }
}
