//! All SQL of requests with an `Idempotency-Key`. Every condition is in the database, which all control planes share.

use std::time::Duration;

use axum::http::StatusCode;
use jiff::Timestamp;
use mindweave_policy::Secret;
use serde_json::json;
use sqlx::FromRow;

use super::{Answer, Asked, GIVE_UP_AFTER, KEPT_FOR};
use crate::app::App;
use crate::clock;
use crate::db::{Db, Doing, StoreError, sql};
use crate::http::problem::Problem;
use crate::secrets::idempotent_owner;

/// What is to be done with a request.
#[derive(Debug)]
pub(super) enum Begun {
    /// Carry it out.
    Run(Running),
    /// The first one is not done.
    Running,
    /// It was another request.
    Other,
    /// Give this answer.
    Answered(Answer),
    /// It was answered, and the answer is not to be had any more.
    NotKept,
}

/// A request that is carried out now. Whoever began later, because this one counted as dead, has another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    began: Timestamp,
}

#[derive(FromRow)]
struct Row {
    request_hash: Vec<u8>,
    status: Option<i64>,
    sealed: Option<Vec<u8>>,
    created_at: i64,
    expires_at: i64,
}

/// Notes a request with its key, unless the key was used.
pub(super) async fn request_begin(app: &App, asked: &Asked) -> Result<Begun, Problem> {
    let now = clock::now();
    let mut tx = app.db.begin_write().await?;
    let row: Option<Row> = sql::query_as(
        "SELECT request_hash, status, sealed, created_at, expires_at FROM idempotent_requests WHERE caller = ? AND key = ?",
    )
    .bind(&*asked.caller)
    .bind(&*asked.key)
    .fetch_optional(&mut *tx)
    .await
    .doing("looking for an idempotency key")?;
    let in_force = row.filter(|row| row.expires_at > now.as_microsecond());
    if let Some(row) = in_force {
        if row.request_hash != asked.request_hash {
            return Ok(Begun::Other);
        }
        if let Some(status) = row.status {
            return Ok(opened(app, asked, status, row.sealed));
        }
        if row.created_at > ago(now, GIVE_UP_AFTER).as_microsecond() {
            return Ok(Begun::Running);
        }
    }
    sql::query(
        "INSERT INTO idempotent_requests (caller, key, request_hash, status, sealed, created_at, expires_at)
         VALUES (?, ?, ?, NULL, NULL, ?, ?)
         ON CONFLICT (caller, key) DO UPDATE SET request_hash = excluded.request_hash, status = NULL, sealed = NULL,
             created_at = excluded.created_at, expires_at = excluded.expires_at",
    )
    .bind(&*asked.caller)
    .bind(&*asked.key)
    .bind(asked.request_hash.as_slice())
    .bind(now.as_microsecond())
    .bind(after(now, KEPT_FOR).as_microsecond())
    .execute(&mut *tx)
    .await
    .doing("noting an idempotency key")?;
    tx.commit().await.doing("noting an idempotency key")?;
    Ok(Begun::Run(Running { began: now }))
}

/// Keeps an answer; without one, only that there was one.
pub(super) async fn request_answered(
    app: &App,
    asked: &Asked,
    running: Running,
    status: StatusCode,
    answer: Option<Answer>,
) -> Result<(), Problem> {
    let sealed = match answer {
        Some(answer) => seal(app, asked, &answer)?,
        None => Vec::new(), // which does not open
    };
    let mut tx = app.db.begin_write().await?;
    sql::query(
        "UPDATE idempotent_requests SET status = ?, sealed = ?
         WHERE caller = ? AND key = ? AND created_at = ? AND status IS NULL",
    )
    .bind(i64::from(status.as_u16()))
    .bind(sealed)
    .bind(&*asked.caller)
    .bind(&*asked.key)
    .bind(running.began.as_microsecond())
    .execute(&mut *tx)
    .await
    .doing("keeping an answer")?;
    Ok(tx.commit().await.doing("noting an answer")?)
}

/// Frees a key: the request may be tried again.
pub(super) async fn request_forget(app: &App, asked: &Asked, running: Running) -> Result<(), Problem> {
    let mut tx = app.db.begin_write().await?;
    sql::query(
        "DELETE FROM idempotent_requests WHERE caller = ? AND key = ? AND created_at = ? AND status IS NULL",
    )
    .bind(&*asked.caller)
    .bind(&*asked.key)
    .bind(running.began.as_microsecond())
    .execute(&mut *tx)
    .await
    .doing("freeing an idempotency key")?;
    Ok(tx.commit().await.doing("noting an answer")?)
}

/// Deletes what was kept for its time.
pub(crate) async fn requests_prune(db: &Db, now: Timestamp) -> Result<(), StoreError> {
    let mut tx = db.begin_write().await?;
    sql::query("DELETE FROM idempotent_requests WHERE expires_at <= ?")
        .bind(now.as_microsecond())
        .execute(&mut *tx)
        .await
        .doing("deleting old idempotency keys")?;
    tx.commit().await.doing("deleting old idempotency keys")
}

/// What an answer is sealed for.
fn owner(asked: &Asked) -> String {
    idempotent_owner(&asked.caller, &asked.key)
}

fn seal(app: &App, asked: &Asked, answer: &Answer) -> Result<Vec<u8>, Problem> {
    let text = Secret::new(json!({ "headers": answer.headers, "body": answer.body }).to_string());
    app.master_key.seal(&owner(asked), &text).map_err(|error| Problem::internal(&error))
}

fn opened(app: &App, asked: &Asked, status: i64, sealed: Option<Vec<u8>>) -> Begun {
    // One that was sealed with a master key of before is gone, and that is all: it would have been deleted within a day.
    let text = sealed.and_then(|sealed| app.master_key.open(&owner(asked), &sealed).ok());
    let parts = text.and_then(|text| serde_json::from_str::<Kept>(text.expose_secret()).ok());
    match (parts, u16::try_from(status)) {
        (Some(Kept { headers, body }), Ok(status)) => Begun::Answered(Answer { status, headers, body }),
        _ => Begun::NotKept,
    }
}

#[derive(serde::Deserialize)]
struct Kept {
    headers: Vec<(String, String)>,
    body: String,
}

fn ago(now: Timestamp, past: Duration) -> Timestamp {
    now.checked_sub(past).unwrap_or(Timestamp::MIN)
}

fn after(now: Timestamp, time: Duration) -> Timestamp {
    now.checked_add(time).unwrap_or(Timestamp::MAX)
}
