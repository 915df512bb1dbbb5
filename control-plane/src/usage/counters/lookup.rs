//! What the API shows of counters.

use jiff::Timestamp;
use mindweave_metering::QuotaId;
use sqlx::FromRow;

use crate::db::{Connection, Doing, StoreError, sql};

/// What one subject used in a window.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub(crate) struct CounterRow {
    pub(crate) subject: String,
    pub(crate) used: i64,
}

/// What one subject used of a budget in the window with this start.
pub(crate) async fn counter_used(
    tx: &mut Connection,
    quota_id: &QuotaId,
    window_start: Timestamp,
    subject: &str,
) -> Result<i64, StoreError> {
    let used: Option<i64> = sql::query_scalar(
        "SELECT used FROM budget_counters WHERE quota_id = ? AND window_start = ? AND subject = ?",
    )
    .bind(quota_id.as_str())
    .bind(window_start.as_microsecond())
    .bind(subject)
    .fetch_optional(tx)
    .await
    .doing("reading what was used of a budget")?;
    Ok(used.unwrap_or(0))
}

/// What was used in the window with this start by at most `limit` subjects after this one, by subject.
pub(crate) async fn counter_list(
    tx: &mut Connection,
    quota_id: &QuotaId,
    window_start: Timestamp,
    after: &str,
    limit: u64,
) -> Result<Vec<CounterRow>, StoreError> {
    sql::query_as(
        "SELECT subject, used FROM budget_counters
         WHERE quota_id = ? AND window_start = ? AND subject > ? ORDER BY subject LIMIT ?",
    )
    .bind(quota_id.as_str())
    .bind(window_start.as_microsecond())
    .bind(after)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(tx)
    .await
    .doing("listing what was used of a budget")
}
