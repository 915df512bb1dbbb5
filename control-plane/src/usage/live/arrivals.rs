//! What the control planes of a server book, told to whoever watches at one of them.
//!
//! A control plane with subscribers says so in the database, alone with the ledger: whoever books from then on sees it, and
//! notes in its transaction which events it books. The notes are few and live for minutes; which of them were told is
//! remembered one by one, because their numbers become visible in another order than they were given out in. So every event
//! that lands between the greeting and the end of a stream is told once.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use super::{LiveEvent, LiveEvents};
use crate::db::{Connection, Db, Divided, Doing, StoreError, Topic, sql};
use crate::http::problem::chain;
use crate::usage::decode::Decoded;
use crate::usage::store::id_at;

/// How long a control plane follows without saying so again. One that was killed costs the others their notes for so long.
const LEASE_MICROS: i64 = 30_000_000;
/// How often it says so.
const RENEW_AFTER: Duration = Duration::from_secs(10);
/// How long notes are kept: longer than any transaction takes from its beginning, which is their time, until it is read.
const KEPT_MICROS: i64 = 60_000_000;
/// Least time between two readings, each of which goes through all notes.
const LEAST_PAUSE: Duration = Duration::from_millis(25);
/// Longest time between two readings, for want of news.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Pause after the database has failed.
const RETRY: Duration = Duration::from_millis(500);
/// How long a stop waits for the word that nobody follows any more.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);
/// Events read in one statement.
const EVENTS_PER_READING: usize = 250;
/// Bytes of an event in a note: its id, and the time of the id.
const NOTED_BYTES: usize = 24;

/// Notes which events a transaction books.
pub(in crate::usage) async fn arrivals_note(
    tx: &mut Connection,
    events: &[Decoded<'_>],
) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let mut noted = Vec::with_capacity(events.len().saturating_mul(NOTED_BYTES));
    for Decoded { fields, .. } in events {
        noted.extend_from_slice(fields.event_id.as_bytes());
        noted.extend_from_slice(&id_at(&fields.event_id, fields.timestamp.as_microsecond()).to_be_bytes());
    }
    sql::query("INSERT INTO usage_arrivals (arrived_at, events) VALUES (usage_now(), ?)")
        .bind(noted)
        .execute(tx)
        .await
        .doing("noting what arrived")
        .map(drop)
}

/// The follower of one control plane.
pub(super) struct Follower {
    live: LiveEvents,
    db: Db,
    /// Its number, while it follows.
    number: Option<i64>,
    told: BTreeSet<i64>,
}

impl Follower {
    pub(super) fn new(live: LiveEvents, db: Db) -> Self {
        Self { live, db, number: None, told: BTreeSet::new() }
    }

    /// Follows whenever somebody wants to know. Does not end.
    pub(super) async fn run(&mut self) {
        loop {
            self.live.wanted().await;
            match self.join().await {
                Ok(()) => {
                    self.live.begin();
                    self.tell_until_left().await;
                    self.leave().await;
                }
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "what lands cannot be followed; trying again shortly");
                    self.leave().await;
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Says that this control plane follows. What was noted before was booked before.
    async fn join(&mut self) -> Result<(), StoreError> {
        let mut tx = self.db.begin_write().await?;
        let number: i64 = sql::query_scalar(
            "INSERT INTO live_followers (follows_until) VALUES (usage_now() + ?) RETURNING follower",
        )
        .bind(LEASE_MICROS)
        .fetch_one(&mut *tx)
        .await
        .doing("following what lands")?;
        self.told = noted(&mut tx).await?.into_iter().collect();
        self.number = Some(number); // also when it is not known whether it was committed: then it is to be forgotten
        tx.commit().await.doing("committing a follower")
    }

    /// Says that it does not any more. When that cannot be said, it is known in a while.
    pub(super) async fn leave(&mut self) {
        let Some(number) = self.number.take() else { return };
        let forgotten = async {
            let mut tx = self.db.begin_ingest().await?;
            // And those that were killed.
            sql::query("DELETE FROM live_followers WHERE follower = ? OR follows_until <= usage_now()")
                .bind(number)
                .execute(&mut *tx)
                .await
                .doing("forgetting a follower")?;
            tx.commit().await.doing("forgetting a follower")
        };
        if let Ok(Err(error)) = timeout(LEAVE_TIMEOUT, forgotten).await {
            tracing::debug!(error = %chain(&error), "a follower of live events is not forgotten yet");
        }
    }

    /// Until nobody wants to know, or it is not known what was missed.
    async fn tell_until_left(&mut self) {
        let mut news = self.db.news().of(Topic::Events);
        let mut renewal = Instant::now() + RENEW_AFTER;
        while !self.live.is_left() {
            let renews = Instant::now() >= renewal;
            match if renews { self.renew().await } else { self.tell_new().await } {
                Ok(true) if renews => {
                    renewal = Instant::now() + RENEW_AFTER;
                    continue;
                }
                Ok(true) => {}
                Ok(false) => {
                    self.live.lose();
                    return;
                }
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "what landed was not read; trying again shortly");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            }
            tokio::select! {
                () = sleep_until((Instant::now() + LONGEST_PAUSE).min(renewal)) => {}
                Ok(()) = news.changed() => tokio::time::sleep(LEAST_PAUSE).await,
            }
        }
    }

    /// Says again that this control plane follows; whether it did all the time. Old notes go.
    async fn renew(&self) -> Result<bool, StoreError> {
        let mut tx = self.db.begin_ingest().await?;
        let renewed = sql::query(
            "UPDATE live_followers SET follows_until = usage_now() + ?
             WHERE follower = ? AND follows_until > usage_now()",
        )
        .bind(LEASE_MICROS)
        .bind(self.number)
        .execute(&mut *tx)
        .await
        .doing("following what lands")?;
        // By the order of their numbers, and none that another control plane is about to delete.
        sql::query(
            "DELETE FROM usage_arrivals WHERE arrival IN
                 (SELECT arrival FROM usage_arrivals WHERE arrived_at < usage_now() - ? FOR UPDATE SKIP LOCKED)",
        )
        .bind(KEPT_MICROS)
        .execute(&mut *tx)
        .await
        .doing("forgetting what arrived")?;
        tx.commit().await.doing("committing a follower")?;
        Ok(renewed.rows_affected() == 1)
    }

    /// Tells what was noted since.
    async fn tell_new(&mut self) -> Result<bool, StoreError> {
        let noted = noted(&mut *self.db.begin_read().await?).await?;
        for arrival in &noted {
            if !self.told.contains(arrival) {
                self.tell(*arrival).await?;
                self.told.insert(*arrival);
            }
        }
        let noted: BTreeSet<_> = noted.into_iter().collect();
        self.told.retain(|arrival| noted.contains(arrival)); // the others are gone, and their numbers do not come back
        Ok(true)
    }

    /// Reads all of it before any of it is told: what fails is read again from the start.
    async fn tell(&self, arrival: i64) -> Result<(), StoreError> {
        let mut tx = self.db.begin_read_of(Divided::Events).await?;
        let events: Option<Vec<u8>> =
            sql::query_scalar("SELECT events FROM usage_arrivals WHERE arrival = ?")
                .bind(arrival)
                .fetch_optional(&mut *tx)
                .await
                .doing("reading what arrived")?;
        let events = events.unwrap_or_default();
        let mut told = Vec::with_capacity(events.len() / NOTED_BYTES);
        for run in events.chunks(NOTED_BYTES.saturating_mul(EVENTS_PER_READING)) {
            told.extend(events_read(&mut tx, run).await?);
        }
        drop(tx);
        for run in told.chunks(EVENTS_PER_READING) {
            self.live.room().await;
            run.iter().cloned().for_each(|event| self.live.tell(event));
        }
        Ok(())
    }
}

/// The notes that there are.
async fn noted(tx: &mut Connection) -> Result<Vec<i64>, StoreError> {
    sql::query_scalar("SELECT arrival FROM usage_arrivals ORDER BY arrival")
        .fetch_all(tx)
        .await
        .doing("looking what arrived")
}

/// The noted events, in the order of their arrival. Retention may have been there before.
async fn events_read(tx: &mut Connection, noted: &[u8]) -> Result<Vec<LiveEvent>, StoreError> {
    let Connection::Postgres(tx) = tx else { return Ok(Vec::new()) };
    let (mut ids, mut times) = (Vec::new(), Vec::new());
    for event in noted.chunks_exact(NOTED_BYTES) {
        if let Some((id, time)) = event.split_first_chunk::<16>()
            && let Ok(time) = time.try_into()
        {
            ids.push(id.as_slice());
            times.push(i64::from_be_bytes(time));
        }
    }
    let rows: Vec<(Vec<u8>, String, String, String)> = sqlx::query_as(
        "SELECT event_id, project_id, event_type, event
         FROM unnest($1::bytea[], $2::bigint[]) AS noted (event_id, id_at)
         JOIN usage_events USING (event_id, id_at) ORDER BY landed",
    )
    .bind(ids)
    .bind(times)
    .fetch_all(&mut **tx)
    .await
    .doing("reading events that landed")?;
    let live = |(id, project_id, event_type, json): (Vec<u8>, String, String, String)| {
        let id = uuid::Uuid::from_slice(&id).map_err(|_| StoreError::Corrupt { what: "an event's id" })?;
        Ok(LiveEvent::new(&project_id, &event_type, id, &json))
    };
    rows.into_iter().map(live).collect()
}
