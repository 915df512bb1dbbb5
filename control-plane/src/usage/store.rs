//! All SQL of raw events, booked batch items and the sums that ingest writes.
//!
//! Every statement to SQLite costs tens of microseconds of waking its thread and being woken by it, so rows go in many at a
//! time. Statements have a few fixed sizes, so that each is prepared once; rows that a statement has room for and that are
//! not there are left unbound, which is NULL, and passed over.

mod copy;
mod postgres;

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use mindweave_metering::{EventId, EventType, Outcome};
use sqlx::AssertSqlSafe;

use super::decode::Decoded;
use super::totals::{self, Totals};
use crate::db::{Connection, Doing, StoreError, Transaction, sql};
use crate::rollup::Level;

use postgres::EventRow;
pub(crate) use postgres::id_at;

/// Fewest events that are copied into a server. A COPY takes three round trips, a statement with arrays one.
const LEAST_COPIED: usize = 200;

/// Rows that one statement has room for. The greatest keeps a statement of 18 columns below SQLite's limit of 32 766
/// parameters; the twofold steps keep the empty rows, a tenth of a microsecond each, below the number of full ones.
const ROWS_PER_STATEMENT: [usize; 8] = [1, 8, 16, 32, 64, 128, 256, 512];
/// The greatest of them.
pub(super) const MAX_ROWS_PER_STATEMENT: usize = 512;

/// `before (VALUES ...) after`, with room for at least so many rows of so many columns. The rows are the table
/// `(VALUES ...)` of SQLite, whose columns are named `column1` and so on.
pub(super) fn rows_sql(before: &str, rows: usize, columns: usize, after: &str) -> String {
    let room = ROWS_PER_STATEMENT.into_iter().find(|room| *room >= rows).unwrap_or(MAX_ROWS_PER_STATEMENT);
    let marks = ["?"].repeat(columns).join(",");
    let values = format!(",({marks})").repeat(room);
    let values = values.strip_prefix(',').unwrap_or_default();
    format!("{before} (VALUES {values}) WHERE column1 IS NOT NULL {after}")
}

/// Which of these events are in the ledger already.
pub(crate) async fn events_existing(
    tx: &mut Connection,
    ids: &[EventId],
) -> Result<HashSet<Vec<u8>>, StoreError> {
    if let Connection::Postgres(tx) = tx {
        return postgres::events_existing(tx, ids).await;
    }
    let mut existing = HashSet::new();
    for run in ids.chunks(MAX_ROWS_PER_STATEMENT) {
        let before = "SELECT event_id FROM usage_events WHERE event_id IN (SELECT column1 FROM";
        let sql = rows_sql(before, run.len(), 1, ")");
        let query = sql::query_scalar(AssertSqlSafe(sql));
        let query = run.iter().fold(query, |query, id| query.bind(id.as_bytes().to_vec()));
        let found: Vec<Vec<u8>> = query.fetch_all(&mut *tx).await.doing("looking for known events")?;
        existing.extend(found);
    }
    Ok(existing)
}

/// Stores events and leaves out those that the ledger knows by their id.
///
/// Mostly it knows none, so it is not asked beforehand, unless `repeats` says that it knew some a moment ago.
pub(crate) async fn events_insert(
    mut tx: Transaction,
    events: &mut Vec<Decoded<'_>>,
    last_landed: i64,
    repeats: bool,
) -> Result<Transaction, StoreError> {
    let new = match &mut *tx {
        Connection::Sqlite(_) => {
            let inserted = events_insert_sqlite(&mut tx, events).await?;
            if inserted == events.len() {
                return Ok(tx);
            }
            // The rows above those that were there before are ours: nobody else writes.
            events_after(&mut tx, last_landed).await?
        }
        Connection::Postgres(connection) => {
            events.sort_unstable_by_key(|event| *event.fields.event_id.as_bytes());
            postgres::foreign_ids_leave_out(connection, events).await?;
            let rows: Vec<_> = events.iter().map(EventRow::of).collect();
            if rows.len() >= LEAST_COPIED && !repeats {
                let (back, copied) = copy::events_copy(tx, copy::encode(&rows)).await?;
                if copied {
                    return Ok(back);
                }
                tx = back;
            }
            let Connection::Postgres(connection) = &mut *tx else { return Ok(tx) };
            postgres::events_insert(connection, &rows).await?
        }
    };
    events.retain(|event| new.contains(event.fields.event_id.as_bytes().as_slice()));
    Ok(tx)
}

/// Returns how many were new; they are above those that were there in the order of arrival.
async fn events_insert_sqlite(tx: &mut Connection, events: &[Decoded<'_>]) -> Result<usize, StoreError> {
    let mut inserted = 0_u64;
    for run in events.chunks(MAX_ROWS_PER_STATEMENT) {
        let before = "INSERT INTO usage_events
             (event_id, ended_at, project_id, key_id, user_id, model, outcome, request_id, event, event_type, flagged)
             SELECT * FROM";
        let sql = rows_sql(before, run.len(), 11, "ON CONFLICT (event_id) DO NOTHING");
        let query = run.iter().fold(sql::query(AssertSqlSafe(sql)), bind_event);
        let done = query.execute(&mut *tx).await.doing("storing events")?;
        inserted = inserted.saturating_add(done.rows_affected());
    }
    Ok(usize::try_from(inserted).unwrap_or(usize::MAX))
}

fn bind_event(row: sql::Query, decoded: &Decoded<'_>) -> sql::Query {
    let event = &decoded.fields;
    row.bind(event.event_id.as_bytes().to_vec())
        .bind(event.timestamp.as_microsecond())
        .bind(String::from(&*event.project_id))
        .bind(event.key_id.as_deref().map(str::to_owned))
        .bind(event.user_id.as_deref().map(str::to_owned))
        .bind(event.model().map(str::to_owned))
        .bind(outcome_text(event.outcome))
        .bind(event.request_id.as_deref().map(str::to_owned))
        .bind(Arc::clone(&decoded.json))
        .bind(event_type_text(event.event_type))
        .bind(event.decision.is_flagged())
}

/// The ids of the events that arrived after this one.
async fn events_after(tx: &mut Connection, landed: i64) -> Result<HashSet<Vec<u8>>, StoreError> {
    let ids: Vec<Vec<u8>> = sql::query_scalar("SELECT event_id FROM usage_events WHERE landed > ?")
        .bind(landed)
        .fetch_all(tx)
        .await
        .doing("looking for new events")?;
    Ok(ids.into_iter().collect())
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

/// A type as it stands in the column and in the API.
pub(crate) fn event_type_text(event_type: EventType) -> &'static str {
    match event_type {
        EventType::ApiCall => "api_call",
        EventType::McpTool => "mcp_tool",
        EventType::Session => "session",
    }
}

/// Books batch items, which are given by batch and item in ascending order. Returns those that were not booked before.
pub(crate) async fn batch_items_book(
    tx: &mut Connection,
    items: &[(&str, &str)],
    now: Timestamp,
) -> Result<HashSet<(String, String)>, StoreError> {
    let now = now.as_microsecond();
    if let Connection::Postgres(tx) = tx {
        return Ok(postgres::batch_items_book(tx, items, now).await?.into_iter().collect());
    }
    let mut new = HashSet::new();
    for run in items.chunks(MAX_ROWS_PER_STATEMENT) {
        let before = "INSERT INTO booked_batch_items (batch_id, custom_id, booked_at) SELECT * FROM";
        let sql = rows_sql(before, run.len(), 3, "ON CONFLICT DO NOTHING RETURNING batch_id, custom_id");
        let query = run.iter().fold(sql::query_as(AssertSqlSafe(sql)), |query, (batch, item)| {
            query.bind(*batch).bind(*item).bind(now)
        });
        let booked: Vec<(String, String)> = query.fetch_all(&mut *tx).await.doing("booking batch items")?;
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

/// Adds sums, which are in the order of the table's key, to the rows of a level.
pub(crate) async fn sums_add(tx: &mut Connection, level: Level, sums: &[Sum]) -> Result<(), StoreError> {
    if sums.is_empty() {
        return Ok(());
    }
    if let Connection::Postgres(tx) = tx {
        return postgres::sums_add(tx, level, sums).await;
    }
    let table = level.table();
    let before =
        format!("INSERT INTO {table} (bucket, dim_id, {}) SELECT * FROM", Totals::COLUMNS.join(", "));
    let after = format!("ON CONFLICT (bucket, dim_id) DO UPDATE SET {}", totals::merge_sql(table));
    let columns = Totals::COLUMNS.len().saturating_add(2);
    for run in sums.chunks(MAX_ROWS_PER_STATEMENT) {
        let sql = rows_sql(&before, run.len(), columns, &after);
        let query = run.iter().fold(sql::query(AssertSqlSafe(sql)), |query, sum| {
            let query = query.bind(sum.bucket).bind(sum.dim_id);
            sum.totals.values().into_iter().fold(query, sql::Query::bind)
        });
        query.execute(&mut *tx).await.doing("adding to sums")?;
    }
    Ok(())
}
