//! Why a limit or a budget refuses a request, in words that its sender can act on.

mod headers;
mod message;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mindweave_metering::OrgId;

use crate::governance::{LimitMetric, LimitSpec, QuotaSpec};

pub use headers::RateLimitHeaders;

/// A request that was refused: by which limit or budget, and what its sender can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which kind of rule refused, with its figures.
    pub kind: RefusalKind,
    /// The limit (`lim_..`) or budget (`quo_..`).
    pub id: Arc<str>,
    /// Whose use was too much: an id of the kind in the rule's scope.
    pub subject: Arc<str>,
    /// When it is worth trying again; `None` where waiting does not help, or not before the budget's next window.
    pub retry_after: Option<Duration>,
    /// For the `anthropic-ratelimit-*` headers.
    pub headers: RateLimitHeaders,
}

/// Which kind of rule refused a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// A rate per minute.
    RateLimited {
        /// The limit.
        limit: Arc<LimitSpec>,
    },
    /// Too many open requests.
    Concurrent {
        /// The limit.
        limit: Arc<LimitSpec>,
    },
    /// What is left of a budget is not enough.
    BudgetExhausted {
        /// The budget.
        quota: Arc<QuotaSpec>,
        /// What is used in the current window, in the budget's unit.
        used: i64,
        /// What open requests hold.
        reserved: i64,
        /// What this request would have held.
        needed: i64,
        /// When the next window begins.
        resets_at: Timestamp,
    },
    /// A blocking cost budget, and no price of the model is known.
    PriceUnknown {
        /// The budget.
        quota: Arc<QuotaSpec>,
        /// The model.
        model: Option<Arc<str>>,
    },
    /// A blocking budget of tokens or money, and the answer will not say what it used.
    UseUnknown {
        /// The budget.
        quota: Arc<QuotaSpec>,
    },
    /// The ledger's figures are out of reach, and the budget does not go on without them, or its share is used up.
    BudgetStale {
        /// The budget.
        quota: Arc<QuotaSpec>,
    },
}

impl Refusal {
    /// The stable reason, one of a closed set: `rate_limited_requests`, `rate_limited_input_tokens`,
    /// `rate_limited_output_tokens`, `rate_limited_tokens`, `concurrency_limited`, `budget_exhausted`,
    /// `budget_price_unknown`, `budget_use_unknown`, `budget_stale`.
    pub fn reason(&self) -> &'static str {
        match &self.kind {
            RefusalKind::RateLimited { limit } | RefusalKind::Concurrent { limit } => match limit.metric {
                LimitMetric::RequestsPerMinute => "rate_limited_requests",
                LimitMetric::InputTokensPerMinute => "rate_limited_input_tokens",
                LimitMetric::OutputTokensPerMinute => "rate_limited_output_tokens",
                LimitMetric::TokensPerMinute => "rate_limited_tokens",
                LimitMetric::ConcurrentRequests => "concurrency_limited",
            },
            RefusalKind::BudgetExhausted { .. } => "budget_exhausted",
            RefusalKind::PriceUnknown { .. } => "budget_price_unknown",
            RefusalKind::UseUnknown { .. } => "budget_use_unknown",
            RefusalKind::BudgetStale { .. } => "budget_stale",
        }
    }

    /// Whose rule it is.
    pub fn org_id(&self) -> &OrgId {
        match &self.kind {
            RefusalKind::RateLimited { limit } | RefusalKind::Concurrent { limit } => &limit.org_id,
            RefusalKind::BudgetExhausted { quota, .. }
            | RefusalKind::PriceUnknown { quota, .. }
            | RefusalKind::UseUnknown { quota }
            | RefusalKind::BudgetStale { quota } => &quota.org_id,
        }
    }

    /// Whole seconds for `retry-after`, rounded up, at least 1.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        let wait = self.retry_after?;
        Some(wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1))
    }

    /// Names and values of the `anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}`
    /// headers; resets are RFC 3339.
    pub fn rate_limit_headers(&self) -> &RateLimitHeaders {
        &self.headers
    }
}

#[cfg(test)]
mod tests;
