//! Counters of new and changed budgets, counted from the sums.

use jiff::Timestamp;
use mindweave_metering::{OrgId, QuotaId};
use mindweave_policy::{
    ModelPattern, QuotaSpec, QuotaUnit, QuotaWindow, Subject, SubjectKind, time_zone, window_bounds,
};
use serde::Serialize;
use sqlx::FromRow;

use super::store::{self, CounterMove, Counting};
use crate::db::{
    Connection, Doing, StoreError,
    sql::{self, QueryBuilder},
};
use crate::governance::quotas_read;
use crate::rollup::{Level, cover, states_read};

/// Counts a budget from the ledger, in the transaction that makes or changes it, after that change. Does nothing when what decides about its counters is as it was.
pub(crate) async fn counter_seed(
    tx: &mut Connection,
    quota: &QuotaSpec,
    now: Timestamp,
) -> Result<(), StoreError> {
    let zone = zone_name(tx, &quota.org_id).await?;
    let counting = store::counting_read(tx, quota.id.as_str()).await?;
    ensure(tx, quota, &zone, counting.as_ref(), now).await.map(drop)
}

/// Counts every budget of an organisation again whose windows lie elsewhere now, in the transaction that changes the
/// organisation's time zone, after that change.
pub(crate) async fn counters_reseed(
    tx: &mut Connection,
    org_id: &OrgId,
    now: Timestamp,
) -> Result<(), StoreError> {
    for quota in quotas_read(tx).await?.iter().filter(|quota| quota.org_id == *org_id) {
        counter_seed(tx, quota, now).await?;
    }
    Ok(())
}

/// Forgets the counters of a budget, in the transaction that deletes it.
pub(crate) async fn counter_delete(tx: &mut Connection, quota_id: &QuotaId) -> Result<(), StoreError> {
    store::counters_forget(tx, quota_id.as_str()).await
}

async fn zone_name(tx: &mut Connection, org_id: &OrgId) -> Result<String, StoreError> {
    sql::query_scalar("SELECT coalesce((SELECT time_zone FROM orgs WHERE id = ?), 'UTC')")
        .bind(org_id.as_str())
        .fetch_one(tx)
        .await
        .doing("reading a time zone")
}

/// Everything that decides which events count how much, and in which counter.
#[derive(Serialize)]
struct Definition<'a> {
    org_id: &'a OrgId,
    scope: &'a Subject,
    unit: QuotaUnit,
    window: QuotaWindow,
    models: &'a [ModelPattern],
    time_zone: &'a str,
}

/// The present definition of a budget, as text.
fn definition_text(quota: &QuotaSpec, zone_name: &str) -> Result<String, StoreError> {
    let QuotaSpec { org_id, scope, unit, window, models, .. } = quota;
    let definition = Definition { org_id, scope, unit: *unit, window: *window, models, time_zone: zone_name };
    serde_json::to_string(&definition).map_err(|_| StoreError::Corrupt { what: "a budget" })
}

/// The start of the first counted window of a budget, if it is counted as it is defined.
pub(super) fn counted(
    quota: &QuotaSpec,
    zone_name: &str,
    known: Option<&Counting>,
) -> Result<Option<i64>, StoreError> {
    let definition = definition_text(quota, zone_name)?;
    Ok(known.filter(|known| known.definition == definition).map(|known| known.first_window))
}

/// Counts a budget unless it is counted as it is defined. Returns the start of its first counted window.
pub(super) async fn ensure(
    tx: &mut Connection,
    quota: &QuotaSpec,
    zone_name: &str,
    known: Option<&Counting>,
    now: Timestamp,
) -> Result<i64, StoreError> {
    if let Some(first_window) = counted(quota, zone_name, known)? {
        return Ok(first_window);
    }
    let definition = definition_text(quota, zone_name)?;
    let zone = time_zone(zone_name);
    let (start, end) = window_bounds(quota.window, &zone, now);
    let (start, end) = (start.as_microsecond(), end.as_microsecond());
    store::counters_reset(tx, quota.id.as_str(), &Counting { definition, first_window: start }).await?;
    let mut moves = Vec::new();
    let state = states_read(tx).await?;
    count(tx, quota, &cover(&state, start, end), start, &mut moves).await?;
    // A proxy whose clock is ahead may have booked events in windows to come. No level above minutes reaches there.
    for minute in minutes_from(tx, end).await? {
        let at = Timestamp::from_microsecond(minute).unwrap_or_default();
        let (window_start, _) = window_bounds(quota.window, &zone, at);
        let piece = (Level::Minute, minute, minute.saturating_add(Level::Minute.micros()));
        count(tx, quota, &[piece], window_start.as_microsecond(), &mut moves).await?;
    }
    store::counters_move(tx, &moves_merged(moves)).await?;
    Ok(start)
}

#[derive(FromRow)]
struct UsedRow {
    subject: String,
    model: String,
    used: i64,
}

/// Sums what a budget counts in these pieces of time.
async fn count(
    tx: &mut Connection,
    quota: &QuotaSpec,
    pieces: &[(Level, i64, i64)],
    window_start: i64,
    moves: &mut Vec<CounterMove>,
) -> Result<(), StoreError> {
    if pieces.is_empty() {
        return Ok(());
    }
    let rows: Vec<UsedRow> =
        build(quota, pieces).build_query_as().fetch_all(tx).await.doing("counting a budget")?;
    for UsedRow { subject, model, used } in rows {
        let model = Some(model.as_str()).filter(|model| !model.is_empty());
        if used != 0 && quota.counts_model(model) {
            moves.push(CounterMove { quota_id: quota.id.clone(), window_start, subject, amount: used });
        }
    }
    Ok(())
}

fn build(quota: &QuotaSpec, pieces: &[(Level, i64, i64)]) -> QueryBuilder {
    let subject = match quota.scope.kind {
        SubjectKind::Org => "org_id",
        SubjectKind::Team => "team_id",
        SubjectKind::User => "user_id",
        SubjectKind::Project => "project_id",
        SubjectKind::Key => "key_id",
    };
    // The same as `Charge`: the sums hold neither tokens nor cost of refused requests, and other events are told by their type.
    let amount = match quota.unit {
        QuotaUnit::Requests => "requests - denied",
        QuotaUnit::Tokens => {
            "input_tokens + output_tokens + cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens"
        }
        QuotaUnit::Cost => "cost_nano_usd",
    };
    let mut sql = QueryBuilder::new(format!(
        "SELECT {subject} AS subject, model, CAST(sum(amount) AS BIGINT) AS used FROM ("
    ));
    for (index, (level, from, to)) in pieces.iter().enumerate() {
        let union = if index > 0 { " UNION ALL " } else { "" };
        sql.push(format!("{union}SELECT dim_id, {amount} AS amount FROM {} WHERE bucket >= ", level.table()));
        sql.push_bind(*from).push(" AND bucket < ").push_bind(*to);
    }
    sql.push(") AS pieces JOIN usage_dims USING (dim_id) WHERE event_type = 'api_call' AND org_id = ");
    sql.push_bind(quota.org_id.as_str().to_owned());
    match &quota.scope.id {
        Some(id) => sql.push(format!(" AND {subject} = ")).push_bind(id.to_string()),
        None => sql.push(format!(" AND {subject} <> ''")),
    };
    sql.push(" GROUP BY 1, 2");
    sql
}

/// The minutes from this moment on in which anything was used.
async fn minutes_from(tx: &mut Connection, from: i64) -> Result<Vec<i64>, StoreError> {
    sql::query_scalar("SELECT DISTINCT bucket FROM usage_minute WHERE bucket >= ?")
        .bind(from)
        .fetch_all(tx)
        .await
        .doing("looking for usage of windows to come")
}

/// One move for each counter: models and pieces of one subject come separately.
fn moves_merged(mut moves: Vec<CounterMove>) -> Vec<CounterMove> {
    moves.sort_unstable_by(|a, b| a.key().cmp(&b.key()));
    moves.dedup_by(|next, kept| {
        let same = next.key() == kept.key();
        if same {
            kept.amount = kept.amount.saturating_add(next.amount);
        }
        same
    });
    moves
}
