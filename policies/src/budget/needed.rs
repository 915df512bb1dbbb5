//! How much of a budget a request holds while it is open.

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

/// What this request needs of this budget; `None` when it cannot use any of it. `expected_output` is what an answer of this
/// model is expected to be long.
pub(crate) fn needed(
    spec: &QuotaSpec,
    demand: &Demand<'_>,
    expected_output: u64,
) -> Result<Option<Needed>, PriceUnknown> {
    if !spec.counts_model(demand.model) {
        return Ok(None);
    }
    let items = demand.batch.unwrap_or(1);
    let limit = demand.max_output_tokens.unwrap_or(LONGEST_OUTPUT.saturating_mul(items));
    let output = match spec.reserve {
        Reserve::Max => limit,
        Reserve::Expected => expected_output.saturating_mul(items).min(limit),
    };
    let amount = match spec.unit {
        QuotaUnit::Requests => return Ok(Some(Needed { amount: 1, held: 1 })),
        QuotaUnit::Tokens | QuotaUnit::Cost if !demand.billed => return Ok(None),
        QuotaUnit::Tokens => i64::try_from(demand.input_tokens.saturating_add(output)).unwrap_or(i64::MAX),
        QuotaUnit::Cost => cost(spec, demand, output).ok_or(PriceUnknown)?,
    };
    let held = if demand.batch.is_some() { 0 } else { amount };
    Ok(Some(Needed { amount, held }))
}

fn cost(spec: &QuotaSpec, demand: &Demand<'_>, output: u64) -> Option<i64> {
    let most = demand.max_cost;
    match spec.reserve {
        Reserve::Max => most.map(|most| most.0),
        Reserve::Expected => {
            let expected = (demand.price)(output)?;
            Some(most.map_or(expected.0, |most| expected.0.min(most.0)))
        }
    }
}
