//! Refusals of policies, limits and budgets.

use std::time::Duration;

use mindweave_metering::ScanFault;
use mindweave_policy::{LimitMetric, Refusal, RefusalKind};

use super::{Face, Retry};

/// How long to wait for memory that other requests hold: uploads take seconds at most.
const HELD_BODIES_RETRY: Duration = Duration::from_secs(1);
/// How long to wait where a refusal does not say: a request that ends, or figures that arrive, take seconds.
const USUAL_RETRY: Duration = Duration::from_secs(1);
/// The API's code for a spend limit. Claude Code does not retry it.
const SPEND_LIMIT: &str = "enforced_spend_limit_reached";

const fn unreadable(reason: &'static str, message: &'static str) -> Face {
    Face::new(400, "invalid_request_error", reason, message, Retry::Pointless)
}

const fn rate_limited(reason: &'static str, message: &'static str) -> Face {
    Face::new(429, "rate_limit_error", reason, message, Retry::After(USUAL_RETRY))
}

/// The answer to a body that cannot be relied on.
pub(super) fn of_fault(fault: &ScanFault) -> Face {
    let known = UNREADABLE.into_iter().find(|face| face.reason == fault.reason());
    known.unwrap_or(REQUEST_NOT_JSON)
}

/// The answer to a request that a limit or a budget refuses.
pub(super) fn of_refusal(refusal: &Refusal) -> Face {
    let face = match &refusal.kind {
        RefusalKind::RateLimited { limit } | RefusalKind::Concurrent { limit } => match limit.metric {
            LimitMetric::RequestsPerMinute => RATE_LIMITED_REQUESTS,
            LimitMetric::InputTokensPerMinute => RATE_LIMITED_INPUT_TOKENS,
            LimitMetric::OutputTokensPerMinute => RATE_LIMITED_OUTPUT_TOKENS,
            LimitMetric::TokensPerMinute => RATE_LIMITED_TOKENS,
            LimitMetric::ConcurrentRequests => CONCURRENCY_LIMITED,
        },
        RefusalKind::BudgetExhausted { .. } => BUDGET_EXHAUSTED,
        RefusalKind::PriceUnknown { .. } => BUDGET_PRICE_UNKNOWN,
        RefusalKind::UseUnknown { .. } => BUDGET_USE_UNKNOWN,
        RefusalKind::BudgetStale { .. } => BUDGET_STALE,
    };
    match (face.retry, refusal.retry_after) {
        (Retry::After(_), Some(wait)) => Face { retry: Retry::After(wait), ..face },
        _ => face,
    }
}

pub(super) const UNREADABLE: [Face; 9] = [
    REQUEST_NOT_JSON,
    unreadable(
        "request_encoding_unsupported",
        "This request is subject to policies, limits or budgets that depend on its body, and the body's \
         content-encoding is none of gzip, deflate, br and zstd.",
    ),
    unreadable(
        "request_encoding_invalid",
        "This request is subject to policies, limits or budgets that depend on its body, and the body is not what \
         its content-encoding says.",
    ),
    unreadable(
        "request_not_an_object",
        "This request is subject to policies, limits or budgets that depend on its body, which must be a JSON object.",
    ),
    unreadable(
        "request_field_duplicate",
        "This request is subject to policies, limits or budgets that depend on its body, in which every field must \
         occur once.",
    ),
    unreadable(
        "request_field_type",
        "This request is subject to policies, limits or budgets that depend on its body, in which fields must have \
         the types that the API documents.",
    ),
    unreadable(
        "request_field_spelling",
        "This request is subject to policies, limits or budgets that depend on its body, in which models' names and \
         servers' addresses must be spelled as the API spells them.",
    ),
    unreadable(
        "request_field_too_long",
        "This request is subject to policies, limits or budgets that depend on its body, in which names must not be \
         longer than the API takes.",
    ),
    Face::new(
        413,
        "request_too_large",
        "request_too_large_decoded",
        "This request is subject to policies, limits or budgets that depend on its body, which exceeds the maximum \
         size of this endpoint when it is decoded.",
        Retry::Pointless,
    ),
];
const REQUEST_NOT_JSON: Face = unreadable(
    "request_not_json",
    "This request is subject to policies, limits or budgets that depend on its body, which must be valid JSON.",
);
pub(super) const REQUEST_TOO_VARIED: Face = unreadable(
    "request_too_varied",
    "This request is subject to policies that look at every tool, MCP server and model it names, and it names more \
     than 1024 tools, 128 servers or 64 models.",
);
pub(super) const HELD_BODIES_FULL: Face = Face::new(
    529,
    "overloaded_error",
    "held_bodies_full",
    "The gateway reads this request's body before it forwards it, and has no memory left for more bodies at the \
     moment.",
    Retry::After(HELD_BODIES_RETRY),
);
pub(super) const POLICY_DENIED: Face = Face::new(
    403,
    "permission_error",
    "policy_denied",
    "A policy of your organisation denies this request.",
    Retry::Pointless,
);
pub(super) const RATE_LIMITED_REQUESTS: Face =
    rate_limited("rate_limited_requests", "A limit on requests per minute is reached.");
pub(super) const RATE_LIMITED_INPUT_TOKENS: Face =
    rate_limited("rate_limited_input_tokens", "A limit on input tokens per minute is reached.");
pub(super) const RATE_LIMITED_OUTPUT_TOKENS: Face =
    rate_limited("rate_limited_output_tokens", "A limit on output tokens per minute is reached.");
pub(super) const RATE_LIMITED_TOKENS: Face =
    rate_limited("rate_limited_tokens", "A limit on tokens per minute is reached.");
pub(super) const CONCURRENCY_LIMITED: Face =
    rate_limited("concurrency_limited", "A limit on requests at the same time is reached.");
pub(super) const BUDGET_EXHAUSTED: Face = Face {
    error_code: Some(SPEND_LIMIT),
    ..Face::new(
        429,
        "rate_limit_error",
        "budget_exhausted",
        "A budget is used up, or what is left of it is not enough for this request.",
        Retry::Pointless,
    )
};
pub(super) const BUDGET_PRICE_UNKNOWN: Face = Face::new(
    403,
    "permission_error",
    "budget_price_unknown",
    "A budget counts what this request costs, and the gateway knows no price for its model.",
    Retry::Pointless,
);
pub(super) const BUDGET_USE_UNKNOWN: Face = Face::new(
    403,
    "permission_error",
    "budget_use_unknown",
    "A budget counts what requests use, and answers of this endpoint do not say what this one used.",
    Retry::Pointless,
);
pub(super) const BUDGET_STALE: Face = Face::new(
    529,
    "overloaded_error",
    "budget_stale",
    "A budget refuses requests while the gateway cannot learn how much of it is used.",
    Retry::After(USUAL_RETRY),
);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use mindweave_metering::{DecodeError, LimitId, OrgId, QuotaId};
    use mindweave_policy::{
        LimitSpec, OnError, OnStale, QuotaAction, QuotaSpec, QuotaUnit, QuotaWindow, Reserve, Subject,
        SubjectKind,
    };

    use super::*;

    #[test]
    fn every_fault_of_a_body_has_its_own_answer() {
        let faults = [
            ScanFault::Encoding(DecodeError::Unsupported),
            ScanFault::Encoding(DecodeError::Corrupt),
            ScanFault::Encoding(DecodeError::Truncated),
            ScanFault::Encoding(DecodeError::TooLarge),
            ScanFault::NotAnObject,
            ScanFault::DuplicateField { field: "model" },
            ScanFault::UnexpectedType { field: "model" },
            ScanFault::Spelling { field: "model" },
            ScanFault::TooLong { field: "model" },
        ];
        for fault in faults {
            assert_eq!(of_fault(&fault).reason, fault.reason());
        }
    }

    fn limit(metric: LimitMetric) -> Arc<LimitSpec> {
        Arc::new(LimitSpec {
            id: LimitId::new("lim_1"),
            org_id: OrgId::new("org_1"),
            name: "name".into(),
            scope: Subject { kind: SubjectKind::Key, id: None },
            metric,
            limit: 1,
            burst: None,
            models: Vec::new(),
        })
    }

    #[test]
    fn every_refusal_is_counted_and_told_under_the_reason_that_it_gives_itself() {
        let quota = Arc::new(QuotaSpec {
            id: QuotaId::new("quo_1"),
            org_id: OrgId::new("org_1"),
            name: "name".into(),
            scope: Subject { kind: SubjectKind::Project, id: None },
            unit: QuotaUnit::Cost,
            window: QuotaWindow::Month,
            limit: 1,
            models: Vec::new(),
            action: QuotaAction::Block,
            reserve: Reserve::Max,
            thresholds: Vec::new(),
            on_unknown_price: OnError::Deny,
            on_stale: OnStale::Closed,
        });
        let exhausted = RefusalKind::BudgetExhausted {
            quota: Arc::clone(&quota),
            used: 1,
            reserved: 0,
            needed: 1,
            resets_at: Timestamp::MAX,
        };
        let rate = |metric| RefusalKind::RateLimited { limit: limit(metric) };
        for (kind, status) in [
            (rate(LimitMetric::RequestsPerMinute), 429),
            (rate(LimitMetric::InputTokensPerMinute), 429),
            (rate(LimitMetric::OutputTokensPerMinute), 429),
            (rate(LimitMetric::TokensPerMinute), 429),
            (RefusalKind::Concurrent { limit: limit(LimitMetric::ConcurrentRequests) }, 429),
            (exhausted, 429),
            (RefusalKind::PriceUnknown { quota: Arc::clone(&quota), model: None }, 403),
            (RefusalKind::UseUnknown { quota: Arc::clone(&quota) }, 403),
            (RefusalKind::BudgetStale { quota }, 529),
        ] {
            let refusal = Refusal {
                kind,
                id: "id".into(),
                subject: "prj_1".into(),
                retry_after: None,
                headers: mindweave_policy::RateLimitHeaders::default(),
            };
            let face = of_refusal(&refusal);
            assert_eq!((face.reason, face.status), (refusal.reason(), status));
        }
    }
}
