//! All SQL of raw events, booked batch items and the sums that ingest writes.
//!
//! Every statement to SQLite costs some hundred microseconds of waking its thread, so rows go in many at a time, in a few
//! fixed sizes: each size is one prepared statement.

use std::collections::HashSet;

use jiff::Timestamp;
use mindweave_metering::{Outcome, UsageEvent};
use sqlx::query_builder::Separated;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::decode::Decoded;
use super::dims;
use super::totals::{self, Totals};
use crate::db::{Doing, StoreError};
use crate::rollup::Level;

/// Rows of one statement, greatest first. The greatest keeps a statement of 16 columns below SQLite's limit of 32 766
/// parameters; the fourfold steps keep the number of statements for any batch small.
const ROWS_PER_STATEMENT: [usize; 5] = [256, 64, 16, 4, 1];

/// Splits rows into runs of the fixed sizes.
fn runs<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let size = ROWS_PER_STATEMENT.into_iter().find(|size| *size <= rest.len())?;
        let (run, after) = rest.split_at_checked(size)?;
        rest = after;
        Some(run)
    })
}

/// Which of these events are in the ledger already.
pub(crate) async fn events_existing(
    tx: &mut SqliteConnection,
    events: &[Decoded],
) -> Result<HashSet<Vec<u8>>, StoreError> {
    let mut existing = HashSet::new();
    for run in runs(events) {
        let mut sql = QueryBuilder::<Sqlite>::new("SELECT event_id FROM usage_events WHERE event_id IN (");
        let mut ids = sql.separated(", ");
        for decoded in run {
            ids.push_bind(decoded.event.event_id.as_bytes().to_vec());
        }
        sql.push(")");
        let found: Vec<Vec<u8>> =
            sql.build_query_scalar().fetch_all(&mut *tx).await.doing("looking for known events")?;
        existing.extend(found);
    }
    Ok(existing)
}

/// Stores events that are not in the ledger yet.
pub(crate) async fn events_insert(tx: &mut SqliteConnection, events: &[Decoded]) -> Result<(), StoreError> {
    for run in runs(events) {
        let mut sql = QueryBuilder::<Sqlite>::new(
            "INSERT INTO usage_events
                 (event_id, ended_at, project_id, key_id, user_id, model, outcome, request_id, event) ",
        );
        sql.push_values(run, push_event);
        sql.build().execute(&mut *tx).await.doing("storing events")?;
    }
    Ok(())
}

fn push_event(mut row: Separated<'_, Sqlite, &'static str>, decoded: &Decoded) {
    let event = &decoded.event;
    row.push_bind(event.event_id.as_bytes().to_vec())
        .push_bind(event.timestamp.as_microsecond())
        .push_bind(event.project_id.to_string())
        .push_bind(event.key_id.as_ref().map(ToString::to_string))
        .push_bind(event.user_id.as_ref().map(ToString::to_string))
        .push_bind(dims::model(event).map(str::to_owned))
        .push_bind(outcome_text(event.outcome))
        .push_bind(event.request_id.as_ref().map(ToString::to_string))
        .push_bind(decoded.json.clone());
}

/// An outcome as it stands in the column and in the API.
pub(crate) fn outcome_text(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Complete => "complete",
        Outcome::UpstreamError => "upstream_error",
        Outcome::ClientGone => "client_gone",
        Outcome::UpstreamCut => "upstream_cut",
        Outcome::Deadline => "deadline",
        Outcome::Denied => "denied",
        Outcome::Interrupted => "interrupted",
    }
}

/// Books an event's batch items. Returns the ids of those that were not booked before.
pub(crate) async fn batch_items_book(
    tx: &mut SqliteConnection,
    event: &UsageEvent,
    now: Timestamp,
) -> Result<HashSet<String>, StoreError> {
    let mut new = HashSet::new();
    let Some(batch) = &event.batch else { return Ok(new) };
    for run in runs(&batch.items) {
        let mut sql =
            QueryBuilder::<Sqlite>::new("INSERT INTO booked_batch_items (batch_id, custom_id, booked_at) ");
        sql.push_values(run, |mut row, item| {
            row.push_bind(batch.batch_id.to_string())
                .push_bind(item.custom_id.to_string())
                .push_bind(now.as_microsecond());
        });
        sql.push(" ON CONFLICT DO NOTHING RETURNING custom_id");
        let booked: Vec<String> =
            sql.build_query_scalar().fetch_all(&mut *tx).await.doing("booking batch items")?;
        new.extend(booked);
    }
    Ok(new)
}

/// One row of sums to add.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sum {
    pub(crate) bucket: i64,
    pub(crate) dim_id: i64,
    pub(crate) totals: Totals,
}

/// Adds sums to the rows of a level.
pub(crate) async fn sums_add(
    tx: &mut SqliteConnection,
    level: Level,
    sums: &[Sum],
) -> Result<(), StoreError> {
    let table = level.table();
    let merge = totals::merge_sql(table);
    let columns = Totals::COLUMNS.join(", ");
    for run in runs(sums) {
        let mut sql =
            QueryBuilder::<Sqlite>::new(format!("INSERT INTO {table} (bucket, dim_id, {columns}) "));
        sql.push_values(run, |mut row, sum| {
            row.push_bind(sum.bucket).push_bind(sum.dim_id);
            for value in sum.totals.values() {
                row.push_bind(value);
            }
        });
        sql.push(format!(" ON CONFLICT (bucket, dim_id) DO UPDATE SET {merge}"));
        sql.build().execute(&mut *tx).await.doing("adding to sums")?;
    }
    Ok(())
}
