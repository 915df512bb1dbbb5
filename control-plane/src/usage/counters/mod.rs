//! What was used of each budget, moved in the transaction that books the events.
//!
//! A counter belongs to a budget, to whom the budget counts, and to a window: the one that holds the end of the event. It grows
//! by [`mindweave_policy::ChargeParts`], which is what a proxy charges too.
//!
//! The counters of a budget are first counted from the sums, when it is made and whenever its definition changes: what it
//! counts, of whom, and where its windows begin. From then on ingest moves them. No ingest runs beside the counting, so
//! that every event is in exactly one of the two. Ingest looks at the definitions itself as soon as the revision of budgets
//! has risen, and has counted what nobody counted: a change that forgets to do so costs time, not truth.

mod lookup;
mod rules;
mod seed;
mod store;

use mindweave_policy::QuotaUnit;

pub(crate) use lookup::{CounterRow, counter_list, counter_used};
pub(crate) use rules::{Rules, RulesCache, rules_count, rules_counted, rules_read};
pub(crate) use seed::{counter_delete, counter_seed, counters_reseed};
pub(crate) use store::{
    StoredCounter, counters_current, counters_expire, counters_move, counters_moved_after, last_move,
};

use super::totals::Totals;

/// How many windows of a budget are kept and still counted behind the current one: a late event finds its counter within a
/// quarter of an hour, half a day, a week or two, or a year, by the length of the window.
const WINDOWS_KEPT: i64 = 12;

/// What requests used, in every unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    requests: i64,
    tokens: i64,
    cost: i64,
}

impl Used {
    /// What these sums of requests hold; the same as [`mindweave_policy::Charge`] of the events that are in them.
    pub(crate) fn of(totals: &Totals) -> Self {
        let tokens = [
            totals.input_tokens,
            totals.output_tokens,
            totals.cache_read_tokens,
            totals.cache_write_5m_tokens,
            totals.cache_write_1h_tokens,
        ];
        Self {
            requests: totals.requests.saturating_sub(totals.denied),
            tokens: tokens.into_iter().fold(0, i64::saturating_add),
            cost: totals.cost_nano_usd,
        }
    }

    fn amount(&self, unit: QuotaUnit) -> i64 {
        match unit {
            QuotaUnit::Requests => self.requests,
            QuotaUnit::Tokens => self.tokens,
            QuotaUnit::Cost => self.cost,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
