//! `COPY .. FROM STDIN (FORMAT binary)`: the fastest way for rows into a server.

use sqlx::PgConnection;

use super::postgres::EventRow;
use crate::db::{
    COPY_END, COPY_HEAD, COPY_PIECE_BYTES, Connection, Doing, StoreError, Transaction, answered,
    copy_field as field,
};

const STATEMENT: &str = "COPY usage_events
     (event_id, id_at, ended_at, project_id, key_id, user_id, model, outcome, request_id, event, event_type, flagged)
     FROM STDIN (FORMAT binary)";
const COLUMNS: i16 = 12;

/// Rows as they are sent.
pub(super) fn encode(rows: &[EventRow<'_>]) -> Vec<u8> {
    let texts: usize = rows.iter().map(|row| row.event.len()).sum();
    let mut out = Vec::with_capacity(rows.len().saturating_mul(256).saturating_add(texts));
    out.extend_from_slice(COPY_HEAD);
    for row in rows {
        out.extend_from_slice(&COLUMNS.to_be_bytes());
        field(&mut out, Some(row.event_id));
        field(&mut out, Some(&row.id_at.to_be_bytes()));
        field(&mut out, Some(&row.ended_at.to_be_bytes()));
        field(&mut out, Some(row.project_id.as_bytes()));
        for text in [&row.key_id, &row.user_id, &row.model] {
            field(&mut out, text.as_deref().map(str::as_bytes));
        }
        field(&mut out, Some(row.outcome.as_bytes()));
        field(&mut out, row.request_id.as_deref().map(str::as_bytes));
        field(&mut out, Some(row.event.as_bytes()));
        field(&mut out, Some(row.event_type.as_bytes()));
        field(&mut out, Some(&row.flagged.to_be_bytes()));
    }
    out.extend_from_slice(&COPY_END);
    out
}

/// Stores the encoded rows, all or, when one of them is known, none. The answer is whether it did.
///
/// Runs in a task of its own, which goes on when whoever waits for it is dropped: a connection that is left in the middle of a
/// COPY takes the rollback for a broken row, and would go back into its pool with the transaction open.
pub(super) async fn events_copy(tx: Transaction, rows: Vec<u8>) -> Result<(Transaction, bool), StoreError> {
    let copying = tokio::spawn(async move {
        let mut tx = tx;
        let copied = match &mut *tx {
            Connection::Postgres(connection) => answered(copy(connection, &rows)).await,
            Connection::Sqlite(_) => Ok(false),
        };
        copied.doing("copying events").map(|copied| (tx, copied))
    });
    match copying.await {
        Ok(done) => done,
        Err(_) => Err(sqlx::Error::WorkerCrashed).doing("copying events"),
    }
}

async fn copy(connection: &mut PgConnection, rows: &[u8]) -> Result<bool, sqlx::Error> {
    sqlx::raw_sql("SAVEPOINT before_events").execute(&mut *connection).await?;
    let mut copy = connection.copy_in_raw(STATEMENT).await?;
    for piece in rows.chunks(COPY_PIECE_BYTES) {
        copy.send(piece).await?;
    }
    match copy.finish().await {
        Ok(_) => Ok(true), // the savepoint ends with the transaction
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            sqlx::raw_sql("ROLLBACK TO SAVEPOINT before_events").execute(connection).await?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
