//! Counters of new and changed budgets.

use jiff::Timestamp;
use mindweave_metering::{OrgId, QuotaId};
use mindweave_policy::QuotaSpec;
use sqlx::SqliteConnection;

use crate::db::StoreError;

/// What one subject used in a window.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct CounterRow {
    pub(crate) subject: String,
    pub(crate) used: i64,
}

/// Counts a new or changed budget from the ledger, in the transaction of that change. Does nothing when what decides about
/// its counters is as it was.
pub(crate) async fn counter_seed(
    _tx: &mut SqliteConnection,
    _quota: &QuotaSpec,
    _now: Timestamp,
) -> Result<(), StoreError> {
    Ok(())
}

/// Counts every budget of an organisation again whose windows lie elsewhere now, in the transaction that changes the
/// organisation's time zone, after that change.
pub(crate) async fn counters_reseed(
    _tx: &mut SqliteConnection,
    _org_id: &OrgId,
    _now: Timestamp,
) -> Result<(), StoreError> {
    Ok(())
}

/// Forgets the counters of a budget, in the transaction that deletes it.
pub(crate) async fn counter_delete(
    _tx: &mut SqliteConnection,
    _quota_id: &QuotaId,
) -> Result<(), StoreError> {
    Ok(())
}

/// What was used in the window with this start, most first, of at most `limit` subjects.
pub(crate) async fn counters_view(
    _tx: &mut SqliteConnection,
    _quota_id: &QuotaId,
    _window_start: Timestamp,
    _limit: u64,
) -> Result<Vec<CounterRow>, StoreError> {
    Ok(Vec::new())
}
