//! Writes to a server. One statement holds any number of rows, as arrays, or by [`copy`](super::copy).
//!
//! Transactions that book events run beside each other. They meet only in rows that both write, and every one of them comes
//! by such rows in the same order, so that no two wait for each other: the source's offset, batch items, events, dimensions,
//! minutes, hours, days, the journals' offsets, the number of the last move of counters, counters; and within a table
//! by the order of its key.

use std::borrow::Cow;
use std::collections::HashSet;

use mindweave_metering::EventId;
use sqlx::{AssertSqlSafe, PgConnection, SqlSafeStr};

use super::{Sum, event_type_text, outcome_text};
use crate::db::{Doing, StoreError};
use crate::rollup::Level;
use crate::usage::decode::Decoded;
use crate::usage::dims::without_nul;
use crate::usage::totals::{self, Totals};

/// Only one transaction at a time books events whose ids say nothing about their time. Ours within the database.
const FOREIGN_IDS_LOCK: i64 = 0x6d77_5f69_645f_6174;

/// An event as the server stores it.
pub(super) struct EventRow<'a> {
    pub(super) event_id: &'a [u8; 16],
    pub(super) id_at: i64,
    pub(super) ended_at: i64,
    pub(super) project_id: Cow<'a, str>,
    pub(super) key_id: Option<Cow<'a, str>>,
    pub(super) user_id: Option<Cow<'a, str>>,
    pub(super) model: Option<Cow<'a, str>>,
    pub(super) outcome: &'static str,
    pub(super) request_id: Option<Cow<'a, str>>,
    /// JSON, which holds no NUL as it is.
    pub(super) event: &'a str,
    pub(super) event_type: &'static str,
    pub(super) flagged: i64,
}

impl<'a> EventRow<'a> {
    pub(super) fn of(decoded: &'a Decoded<'_>) -> Self {
        let Decoded { fields, json, .. } = decoded;
        let ended_at = fields.timestamp.as_microsecond();
        Self {
            event_id: fields.event_id.as_bytes(),
            id_at: id_at(&fields.event_id, ended_at),
            ended_at,
            project_id: without_nul(&fields.project_id),
            key_id: fields.key_id.as_deref().map(without_nul),
            user_id: fields.user_id.as_deref().map(without_nul),
            model: fields.model().map(without_nul),
            outcome: outcome_text(fields.outcome),
            request_id: fields.request_id.as_deref().map(without_nul),
            event: json,
            event_type: event_type_text(fields.event_type),
            flagged: i64::from(fields.decision.is_flagged()),
        }
    }
}

/// The time by which an event is filed, in microseconds: when its id was made or, where that does not say so, when it ended. A
/// function of the event, so that an id has one place.
pub(crate) fn id_at(id: &EventId, ended_at: i64) -> i64 {
    id_time(id).unwrap_or(ended_at)
}

/// When an id was made, in microseconds, if it says so (RFC 9562, version 7).
pub(super) fn id_time(id: &EventId) -> Option<i64> {
    let bytes = id.as_bytes();
    let [a, b, c, d, e, f, version, _, variant, ..] = *bytes;
    let is_v7 = version >> 4 == 7 && variant >> 6 == 0b10;
    let millis = i64::from_be_bytes([0, 0, a, b, c, d, e, f]);
    is_v7.then(|| millis.saturating_mul(1_000))
}

/// Which of these events are in the ledger already.
pub(super) async fn events_existing(
    tx: &mut PgConnection,
    ids: &[EventId],
) -> Result<HashSet<Vec<u8>>, StoreError> {
    let ids: Vec<&[u8]> = ids.iter().map(|id| id.as_bytes().as_slice()).collect();
    let found: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT event_id FROM usage_events WHERE event_id = ANY($1)")
            .bind(ids)
            .fetch_all(tx)
            .await
            .doing("looking for known events")?;
    Ok(found.into_iter().collect())
}

/// Leaves out known events whose ids do not tell their time: the table is unique by id and time, and whoever makes up ids may
/// send the same one with another time. None of them can come in by another transaction until this one ends.
pub(super) async fn foreign_ids_leave_out(
    tx: &mut PgConnection,
    events: &mut Vec<Decoded<'_>>,
) -> Result<(), StoreError> {
    let ids = events.iter().map(|event| event.fields.event_id);
    let foreign: Vec<_> = ids.filter(|id| id_time(id).is_none()).collect();
    if foreign.is_empty() {
        return Ok(());
    }
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(FOREIGN_IDS_LOCK)
        .execute(&mut *tx)
        .await
        .doing("waiting for other foreign events")?;
    let existing = events_existing(tx, &foreign).await?;
    events.retain(|event| !existing.contains(event.fields.event_id.as_bytes().as_slice()));
    Ok(())
}

/// Stores those of these events that are not in the ledger, and returns their ids.
pub(super) async fn events_insert(
    tx: &mut PgConnection,
    rows: &[EventRow<'_>],
) -> Result<HashSet<Vec<u8>>, StoreError> {
    fn texts<'r>(
        rows: &'r [EventRow<'_>],
        text: fn(&'r EventRow<'_>) -> Option<&'r str>,
    ) -> Vec<Option<&'r str>> {
        rows.iter().map(text).collect()
    }
    let numbers = |number: fn(&EventRow<'_>) -> i64| rows.iter().map(number).collect::<Vec<_>>();
    let stored: Vec<Vec<u8>> = sqlx::query_scalar(
        "INSERT INTO usage_events (event_id, id_at, ended_at, project_id, key_id, user_id, model, outcome, request_id,
             event, event_type, flagged)
         SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],
             $8::text[], $9::text[], $10::text[], $11::text[], $12::bigint[])
         ON CONFLICT DO NOTHING RETURNING event_id",
    )
    .bind(rows.iter().map(|row| row.event_id.as_slice()).collect::<Vec<_>>())
    .bind(numbers(|row| row.id_at))
    .bind(numbers(|row| row.ended_at))
    .bind(texts(rows, |row| Some(&row.project_id)))
    .bind(texts(rows, |row| row.key_id.as_deref()))
    .bind(texts(rows, |row| row.user_id.as_deref()))
    .bind(texts(rows, |row| row.model.as_deref()))
    .bind(texts(rows, |row| Some(row.outcome)))
    .bind(texts(rows, |row| row.request_id.as_deref()))
    .bind(texts(rows, |row| Some(row.event)))
    .bind(texts(rows, |row| Some(row.event_type)))
    .bind(numbers(|row| row.flagged))
    .fetch_all(tx)
    .await
    .doing("storing events")?;
    Ok(stored.into_iter().collect())
}

/// Books batch items. Returns those that were not booked before. An item that another transaction is booking is waited for.
pub(super) async fn batch_items_book(
    tx: &mut PgConnection,
    items: &[(&str, &str)],
    now: i64,
) -> Result<Vec<(String, String)>, StoreError> {
    let (batches, items): (Vec<_>, Vec<_>) =
        items.iter().map(|(batch, item)| (without_nul(batch), without_nul(item))).unzip();
    sqlx::query_as(
        "INSERT INTO booked_batch_items (batch_id, custom_id, booked_at)
         SELECT batch_id, custom_id, $3 FROM unnest($1::text[], $2::text[]) AS item (batch_id, custom_id)
         ON CONFLICT DO NOTHING RETURNING batch_id, custom_id",
    )
    .bind(batches)
    .bind(items)
    .bind(now)
    .fetch_all(tx)
    .await
    .doing("booking batch items")
}

/// Adds sums, which are in the order of the table's key, to the rows of a level.
pub(super) async fn sums_add(tx: &mut PgConnection, level: Level, sums: &[Sum]) -> Result<(), StoreError> {
    let table = level.table();
    let columns = Totals::COLUMNS.join(", ");
    let arrays = (1..=Totals::COLUMNS.len().saturating_add(2)).map(|number| format!("${number}::bigint[]"));
    let sql = format!(
        "INSERT INTO {table} (bucket, dim_id, {columns}) SELECT * FROM unnest({arrays})
         ON CONFLICT (bucket, dim_id) DO UPDATE SET {merge}",
        arrays = arrays.collect::<Vec<_>>().join(", "),
        merge = totals::merge_sql(table),
    );
    let mut columns = vec![Vec::with_capacity(sums.len()); Totals::COLUMNS.len()];
    for sum in sums {
        for (column, value) in columns.iter_mut().zip(sum.totals.values()) {
            column.push(value);
        }
    }
    let query = sqlx::query(AssertSqlSafe(sql).into_sql_str())
        .bind(sums.iter().map(|sum| sum.bucket).collect::<Vec<_>>())
        .bind(sums.iter().map(|sum| sum.dim_id).collect::<Vec<_>>());
    let query = columns.into_iter().fold(query, |query, column| query.bind(column));
    query.execute(tx).await.doing("adding to sums").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_when_it_was_made_or_nothing() {
        let at = |text: &str| id_time(&text.parse().unwrap());
        // The example of RFC 9562, appendix A.6: Tuesday, February 22, 2022 2:22:22.00 PM GMT-05:00.
        assert_eq!(at("017f22e2-79b0-7cc3-98c4-dc0c0c07398f"), Some(1_645_557_742_000_000));
        assert_eq!(at("919108f7-52d1-4320-9bac-f847db4148a8"), None, "version 4");
        assert_eq!(at("017f22e2-79b0-7cc3-18c4-dc0c0c07398f"), None, "another variant");
    }
}
