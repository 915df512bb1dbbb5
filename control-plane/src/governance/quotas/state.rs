//! How much of a budget is used, in its current window.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use mindweave_metering::NanoUsd;
use mindweave_policy::{QuotaSpec, QuotaUnit, window_bounds};
use serde::Serialize;

/// What one subject used of a budget.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = BudgetState)]
pub(in crate::governance) struct QuotaState {
    /// Whose use it is.
    pub(in crate::governance) subject: String,
    /// In the ledger; requests, tokens or nano-dollars, as below.
    pub(in crate::governance) used: i64,
    /// Held by requests that are open in this process' proxy; `null` where there is none.
    pub(in crate::governance) reserved: Option<i64>,
    /// What is left; negative in debt.
    pub(in crate::governance) remaining: i64,
    /// Used part of the limit, in whole percent, rounded down.
    pub(in crate::governance) percent: i64,
    /// The thresholds that are reached.
    pub(in crate::governance) over_thresholds: Vec<u8>,
    pub(in crate::governance) window_start: Timestamp,
    pub(in crate::governance) resets_at: Timestamp,
    /// The same in dollars, for budgets of the unit `cost`.
    #[serde(skip_serializing_if = "Option::is_none")]
    used_usd: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reserved_usd: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining_usd: Option<String>,
}

/// The state of a budget for one subject, in the window of `now`.
pub(in crate::governance) fn quota_state(
    spec: &QuotaSpec,
    zone: &TimeZone,
    now: Timestamp,
    subject: &str,
    used: i64,
    reserved: Option<i64>,
) -> QuotaState {
    let (window_start, resets_at) = window_bounds(spec.window, zone, now);
    let remaining = spec.limit.saturating_sub(used).saturating_sub(reserved.unwrap_or(0));
    let usd = |nano: i64| (spec.unit == QuotaUnit::Cost).then(|| NanoUsd(nano).to_string());
    let reached = |threshold: &u8| {
        i128::from(used).saturating_mul(100) >= i128::from(spec.limit).saturating_mul(i128::from(*threshold))
    };
    QuotaState {
        subject: subject.to_owned(),
        used,
        reserved,
        remaining,
        percent: percent(used, spec.limit),
        over_thresholds: spec.thresholds.iter().copied().filter(reached).collect(),
        window_start,
        resets_at,
        used_usd: usd(used),
        reserved_usd: reserved.and_then(usd),
        remaining_usd: usd(remaining),
    }
}

fn percent(used: i64, limit: i64) -> i64 {
    let percent = i128::from(used).saturating_mul(100).checked_div(i128::from(limit)).unwrap_or(0);
    i64::try_from(percent).unwrap_or(i64::MAX)
}
