//! What an organisation used and what it cost, month by month, from the sums of days. Months begin and end in UTC, as the days of the sums
//! do. A month that has ended still grows by events that arrive late; nothing ever leaves it.

mod csv;
mod month;
mod routes;
mod store;

use std::collections::HashMap;

use jiff::Timestamp;
use mindweave_metering::NanoUsd;
use serde::Serialize;

use self::month::Month;
use self::store::{Detail, Sum};
use crate::access::OrgPermit;
use crate::db::{Connection, StoreError};
use crate::usage::totals::Totals;

pub(super) use routes::routes;

/// Most lines of a statement. What costs less than these is in one line more, without project and model.
const MAX_LINES: usize = 5_000;

/// Whether a month is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum MonthStatus {
    /// It has not ended, or its last day was not summed yet.
    Open,
    /// It has ended. Events that arrive late are still added.
    Closed,
}

/// What was used, and what it cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(super) struct Quantities {
    /// Refused ones included.
    requests: i64,
    input_tokens: i64,
    output_tokens: i64,
    cache_read_tokens: i64,
    cache_write_tokens: i64,
    web_search_requests: i64,
    /// Requests whose cost is not known, and not in the cost.
    unknown_cost_events: i64,
    /// In billionths of a dollar.
    cost_nano_usd: i64,
    /// The same in dollars, with all nine places.
    #[schema(example = "12.345678900")]
    cost_usd: String,
}

impl Quantities {
    fn of(totals: &Totals) -> Self {
        Self {
            requests: totals.requests,
            input_tokens: totals.input_tokens,
            output_tokens: totals.output_tokens,
            cache_read_tokens: totals.cache_read_tokens,
            cache_write_tokens: totals.cache_write_5m_tokens.saturating_add(totals.cache_write_1h_tokens),
            web_search_requests: totals.web_search_requests,
            unknown_cost_events: totals.unknown_cost_events,
            cost_nano_usd: totals.cost_nano_usd,
            cost_usd: NanoUsd(totals.cost_nano_usd).to_string(),
        }
    }

    /// What is left of these without others that are a part of them.
    fn without(&self, part: &Self) -> Self {
        let cost = self.cost_nano_usd.saturating_sub(part.cost_nano_usd);
        Self {
            requests: self.requests.saturating_sub(part.requests),
            input_tokens: self.input_tokens.saturating_sub(part.input_tokens),
            output_tokens: self.output_tokens.saturating_sub(part.output_tokens),
            cache_read_tokens: self.cache_read_tokens.saturating_sub(part.cache_read_tokens),
            cache_write_tokens: self.cache_write_tokens.saturating_sub(part.cache_write_tokens),
            web_search_requests: self.web_search_requests.saturating_sub(part.web_search_requests),
            unknown_cost_events: self.unknown_cost_events.saturating_sub(part.unknown_cost_events),
            cost_nano_usd: cost,
            cost_usd: NanoUsd(cost).to_string(),
        }
    }
}

/// A line of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = StatementLine)]
pub(super) struct Line {
    /// `null` in the line that sums up what there was no room for.
    project_id: Option<String>,
    /// What it is called now, also when it was deleted.
    project_name: Option<String>,
    /// `null` where no model was used, and where lines are by project only.
    model: Option<String>,
    #[serde(flatten)]
    quantities: Quantities,
}

/// What an organisation used in a month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(super) struct Statement {
    /// Year and month.
    #[schema(example = "2026-10")]
    month: String,
    from: Timestamp,
    to: Timestamp,
    status: MonthStatus,
    currency: &'static str,
    total: Quantities,
    /// The most expensive first.
    lines: Vec<Line>,
}

/// The statement of a month, in a transaction of [`crate::db::Db::begin_read_of`].
async fn statement(
    tx: &mut Connection,
    permit: &OrgPermit,
    (month, detail): (Month, Detail),
    names: &HashMap<String, String>,
    now: Timestamp,
) -> Result<Statement, StoreError> {
    let (from, to) = month.bounds();
    let sums = store::Sums { from: from.as_microsecond(), to: to.as_microsecond(), detail };
    let (rows, days_complete_until) = store::sums_by_line(tx, permit, sums, MAX_LINES).await?;
    let mut listed = Totals::default();
    let shown = rows.iter().take(MAX_LINES);
    let mut lines: Vec<Line> = Vec::with_capacity(rows.len());
    for Sum { project_id, model, totals } in shown {
        listed.add(totals);
        lines.push(Line {
            project_name: names.get(project_id).cloned(),
            project_id: Some(project_id.clone()),
            model: Some(model.clone()).filter(|model| !model.is_empty()),
            quantities: Quantities::of(totals),
        });
    }
    let mut total = Quantities::of(&listed);
    if rows.len() > MAX_LINES {
        let all = Quantities::of(&store::sum_of_all(tx, permit, sums).await?);
        let quantities = all.without(&total);
        lines.push(Line { project_id: None, project_name: None, model: None, quantities });
        total = all;
    }
    let closed = to <= now && days_complete_until >= to.as_microsecond();
    let status = if closed { MonthStatus::Closed } else { MonthStatus::Open };
    Ok(Statement { month: month.to_string(), from, to, status, currency: "USD", total, lines })
}
