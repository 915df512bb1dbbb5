//! Replaces erased people in what is stored already, in steps that keep nobody waiting for long.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use sqlx::FromRow;

use crate::db::{Connection, Db, Divided, Doing, StoreError, sql};

/// How often it is looked for something to replace.
pub(crate) const ERASURE_PERIOD: Duration = Duration::from_secs(5);
/// Events changed in one transaction: ingest and the API wait for it, some ten milliseconds.
const EVENTS_PER_STEP: i64 = 500;
/// Time looked through at once, in microseconds: there is an index by time, and none by person.
const WINDOW: i64 = 10 * 60 * 1_000_000;
/// Entries of the audit log looked at in one transaction.
const ENTRIES_PER_STEP: i64 = 2_000;
/// How far behind an erasure the time of events can be that were booked before it: producers' clocks may be ahead so much.
const CLOCKS_AHEAD: i64 = 10 * 60 * 1_000_000;

/// An erasure that is not finished.
#[derive(Debug, FromRow)]
struct Open {
    id: String,
    org_id: String,
    user_id: String,
    email: Option<String>,
    pseudonym: String,
    events_until: Option<i64>,
    audit_until: i64,
    created_at: i64,
}

#[derive(FromRow)]
struct EventRow {
    event_id: Vec<u8>,
    event: String,
}

/// Finishes what was begun. Goes on where the last run, of whichever process, has stopped.
///
/// # Errors
/// When the database fails; what was done stays done.
pub(crate) async fn erasures_run(db: &Db, now: Timestamp) -> Result<(), StoreError> {
    loop {
        let mut tx = db.begin_read().await?;
        let open: Option<Open> = sql::query_as(
            "SELECT id, org_id, user_id, email, pseudonym, events_until, audit_until, created_at FROM erasures
             WHERE finished_at IS NULL ORDER BY id LIMIT 1",
        )
        .fetch_optional(&mut *tx)
        .await
        .doing("looking for erasures")?;
        drop(tx);
        let Some(open) = open else { return Ok(()) };
        tracing::debug!(id = open.id, "replacing an erased person in what is stored");
        events_replace(db, &open).await?;
        entries_erase(db, &open).await?;
        finish(db, &open.id, now).await?;
    }
}

async fn events_replace(db: &Db, open: &Open) -> Result<(), StoreError> {
    let end = open.created_at.saturating_add(CLOCKS_AHEAD);
    let mut from = match open.events_until {
        Some(until) => until,
        None => first_event(db).await?.unwrap_or(end),
    };
    while from < end {
        let until = from.saturating_add(WINDOW);
        while window_replace(db, open, from, until).await? {}
        from = match next_event(db, until).await? {
            Some(next) => next.max(until),
            None => end,
        };
    }
    Ok(())
}

/// The time of the oldest event.
async fn first_event(db: &Db) -> Result<Option<i64>, StoreError> {
    next_event(db, i64::MIN).await
}

/// The time of the oldest event from this moment on: what is empty is not walked through window by window.
async fn next_event(db: &Db, from: i64) -> Result<Option<i64>, StoreError> {
    let mut tx = db.begin_read_of(Divided::Events).await?;
    sql::query_scalar("SELECT ended_at FROM usage_events WHERE ended_at >= ? ORDER BY ended_at LIMIT 1")
        .bind(from)
        .fetch_optional(&mut *tx)
        .await
        .doing("looking for events")
}

/// Changes some of the events of a window. `false`: there are none left in it, which is noted.
async fn window_replace(db: &Db, open: &Open, from: i64, until: i64) -> Result<bool, StoreError> {
    let mut tx = db.begin_write().await?;
    let rows: Vec<EventRow> = sql::query_as(
        "SELECT event_id, event FROM usage_events
         WHERE ended_at >= ? AND ended_at < ? AND user_id = ? AND project_id IN (SELECT id FROM projects WHERE org_id = ?)
         LIMIT ?",
    )
    .bind(from)
    .bind(until)
    .bind(&open.user_id)
    .bind(&open.org_id)
    .bind(EVENTS_PER_STEP)
    .fetch_all(&mut *tx)
    .await
    .doing("reading events of an erased person")?;
    for row in &rows {
        event_replace(&mut tx, open, row, from, until).await?;
    }
    let changed = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let reached = if rows.is_empty() { until } else { from };
    sql::query("UPDATE erasures SET events = events + ?, events_until = ? WHERE id = ?")
        .bind(changed)
        .bind(reached)
        .bind(&open.id)
        .execute(&mut *tx)
        .await
        .doing("noting how far an erasure is")?;
    tx.commit().await.doing("committing replaced events")?;
    Ok(!rows.is_empty())
}

/// The time is named as well: a divided table is then looked up in one of its pieces.
async fn event_replace(
    tx: &mut Connection,
    open: &Open,
    row: &EventRow,
    from: i64,
    until: i64,
) -> Result<(), StoreError> {
    let event = with_user(&row.event, &open.pseudonym).ok_or(StoreError::Corrupt { what: "an event" })?;
    sql::query(
        "UPDATE usage_events SET user_id = ?, event = ? WHERE event_id = ? AND ended_at >= ? AND ended_at < ?",
    )
    .bind(&open.pseudonym)
    .bind(event)
    .bind(row.event_id.clone())
    .bind(from)
    .bind(until)
    .execute(tx)
    .await
    .doing("replacing who made a call")
    .map(drop)
}

/// Fields of an event's `request` by which a person may be known.
const NETWORK_FIELDS: [&str; 2] = ["client_ip", "user_agent"];

/// An event whose user has this name, and that does not say from where they called; everything else stays as it is.
pub(crate) fn with_user(event: &str, user_id: &str) -> Option<String> {
    let mut event: Value = serde_json::from_str(event).ok()?;
    event.as_object_mut()?.insert("user_id".to_owned(), Value::from(user_id));
    if let Some(request) = event.get_mut("request").and_then(Value::as_object_mut) {
        request.retain(|name, _| !NETWORK_FIELDS.contains(&name.as_str()));
    }
    serde_json::to_string(&event).ok()
}

/// Takes away what other entries of the audit log say of the person: those about keys that were theirs, and invitations to them.
async fn entries_erase(db: &Db, open: &Open) -> Result<(), StoreError> {
    let mut from = open.audit_until;
    loop {
        let mut tx = db.begin_write().await?;
        let last: Option<i64> = sql::query_scalar("SELECT sequence FROM audit_heads WHERE chain = ?")
            .bind(&open.org_id)
            .fetch_optional(&mut *tx)
            .await
            .doing("reading the end of the audit log")?;
        let until = from.saturating_add(ENTRIES_PER_STEP);
        let entries: Vec<(i64, String)> = sql::query_as(
            "SELECT sequence, personal FROM audit_log
             WHERE chain = ? AND sequence > ? AND sequence <= ? AND personal IS NOT NULL",
        )
        .bind(&open.org_id)
        .bind(from)
        .bind(until)
        .fetch_all(&mut *tx)
        .await
        .doing("reading the audit log")?;
        for (sequence, _) in entries.iter().filter(|(_, personal)| open.is_named_in(personal)) {
            sql::query(
                "UPDATE audit_log SET personal = NULL, personal_salt = NULL WHERE chain = ? AND sequence = ?",
            )
            .bind(&open.org_id)
            .bind(*sequence)
            .execute(&mut *tx)
            .await
            .doing("erasing a person from the audit log")?;
        }
        sql::query("UPDATE erasures SET audit_until = ? WHERE id = ?")
            .bind(until)
            .bind(&open.id)
            .execute(&mut *tx)
            .await
            .doing("noting how far an erasure is")?;
        tx.commit().await.doing("committing erased entries")?;
        from = until;
        if last.is_none_or(|last| until >= last) {
            return Ok(());
        }
    }
}

impl Open {
    /// Whether any text of an entry is this person's id or address, however the latter is written.
    fn is_named_in(&self, personal: &str) -> bool {
        let is_theirs = |text: &str| {
            text == self.user_id
                || self
                    .email
                    .as_ref()
                    .is_some_and(|email| text.trim().to_lowercase() == email.trim().to_lowercase())
        };
        serde_json::from_str(personal).is_ok_and(|value: Value| any_text(&value, &is_theirs))
    }
}

fn any_text(value: &Value, is_wanted: &impl Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => is_wanted(text),
        Value::Array(values) => values.iter().any(|value| any_text(value, is_wanted)),
        Value::Object(fields) => fields.values().any(|value| any_text(value, is_wanted)),
        _ => false,
    }
}

/// Nothing says any more who it was.
async fn finish(db: &Db, id: &str, now: Timestamp) -> Result<(), StoreError> {
    let mut tx = db.begin_write().await?;
    sql::query("UPDATE erasures SET user_id = NULL, email = NULL, finished_at = ? WHERE id = ?")
        .bind(now.as_microsecond())
        .bind(id)
        .execute(&mut *tx)
        .await
        .doing("finishing an erasure")?;
    tx.commit().await.doing("committing the end of an erasure")
}
