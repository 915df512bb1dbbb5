//! How much of a budget a request holds while it is open.

use std::cell::OnceCell;

use super::BudgetRule;
use crate::admission::Demand;
use crate::governance::{QuotaSpec, QuotaUnit, Reserve};

/// The longest answer of any model (128 000 tokens: <https://platform.claude.com/docs/en/about-claude/models/overview>), for requests that do not limit theirs.
pub(crate) const LONGEST_OUTPUT: u64 = 128_000;

/// What a request needs of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needed {
    /// What must be left of the budget, in its unit.
    pub(crate) amount: i64,
    /// What the request holds while it is open: the same, or nothing for batches.
    pub(crate) held: i64,
}

/// No price of the model is known, and the budget counts money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PriceUnknown;

/// What a request may use, worked out once for all budgets.
pub(crate) struct Estimates<'a> {
    demand: &'a Demand<'a>,
    most: Estimate,
    expected: Estimate,
}

struct Estimate {
    input: u64,
    output: u64,
    cost: OnceCell<Option<i64>>,
}

impl Estimate {
    fn new(input: u64, output: u64) -> Self {
        Self { input, output, cost: OnceCell::new() }
    }

    fn tokens(&self) -> i64 {
        i64::try_from(self.input.saturating_add(self.output)).unwrap_or(i64::MAX)
    }

    fn cost(&self, demand: &Demand<'_>) -> Option<i64> {
        *self.cost.get_or_init(|| (demand.price)(self.input, self.output).map(|cost| cost.0))
    }
}

impl<'a> Estimates<'a> {
    /// `expected_output` is what an answer of this model is expected to be long.
    pub(crate) fn new(demand: &'a Demand<'a>, expected_output: u64) -> Self {
        let items = demand.batch.unwrap_or(1);
        let limit = demand.max_output_tokens.unwrap_or(LONGEST_OUTPUT.saturating_mul(items));
        let expected = expected_output.saturating_mul(items).min(limit);
        let at_most = demand.input_tokens_at_most.max(demand.input_tokens);
        Self {
            demand,
            most: Estimate::new(at_most, limit),
            expected: Estimate::new(demand.input_tokens, expected),
        }
    }

    /// Whether the request will use some of this budget, and its answer will not say how much.
    pub(crate) fn stay_unknown(&self, rule: &BudgetRule) -> bool {
        let demand = self.demand;
        demand.billed
            && !demand.reports_use
            && rule.counts_use()
            && demand.models.any_covered_by(&rule.spec.models)
    }

    /// What the request needs of this budget; `None` when it cannot use any of it.
    pub(crate) fn needed(&self, spec: &QuotaSpec) -> Result<Option<Needed>, PriceUnknown> {
        let demand = self.demand;
        if !demand.models.any_covered_by(&spec.models) {
            return Ok(None);
        }
        let estimate = match spec.reserve {
            Reserve::Max => &self.most,
            Reserve::Expected => &self.expected,
        };
        let amount = match spec.unit {
            QuotaUnit::Requests => return Ok(Some(Needed { amount: 1, held: 1 })),
            QuotaUnit::Tokens | QuotaUnit::Cost if !demand.billed => return Ok(None),
            QuotaUnit::Tokens => estimate.tokens(),
            QuotaUnit::Cost => estimate.cost(demand).ok_or(PriceUnknown)?,
        };
        let held = if demand.batch.is_some() { 0 } else { amount };
        Ok(Some(Needed { amount, held }))
    }
}
