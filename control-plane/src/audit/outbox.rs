//! Tells others of the audit log: a topic, entry by entry, and the program's own log, of where each chain ends.
//!
//! The table is the outbox: an entry is there with its change, and `told` says how far a chain was told. It is raised once a batch
//! was taken, so an entry may come twice and none is left out. Each batch begins behind what was taken and is sent in order, so that
//! the first copy of an entry never comes before one of the entry before it, also while two leaders overlap.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mindweave_metering::{Envelope, EventId};
use parking_lot::Mutex;

use super::chain::hex;
use super::store::{self, EntryRow};
use super::view::AuditEntry;
use crate::db::{Db, Doing, StoreError, sql};
use crate::http::problem::chain as causes;
use crate::tasks::Stop;

/// How often is looked for entries that the topic does not have yet.
pub(crate) const TELL_PERIOD: Duration = Duration::from_secs(1);
/// How often the log is told of the ends of chains.
pub(crate) const HEADS_PERIOD: Duration = Duration::from_secs(60);
/// Chains that are looked at together.
const CHAINS: i64 = 100;
/// Entries of a batch.
const BATCH: i64 = 64;
/// Largest message: what a topic takes by Kafka's own defaults, with room for key and headers. An entry that is larger comes
/// without what was before and after.
const MAX_MESSAGE_BYTES: usize = 900_000;
/// How often the log is told that entries cannot be told.
const REMINDER: Duration = Duration::from_secs(60);
/// The form of `data`.
const VERSION: &str = "1.0";
/// Who sends.
const SOURCE: &str = "mindweave-control-plane";
/// In `metadata` of what comes without `before` and `after`.
const LEFT_OUT: (&str, &str) = ("left_out", "before,after");

/// An entry on its way to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditMessage {
    /// Whose entry it is: an organisation, or `installation`. Messages of one chain must stay in order.
    pub chain: String,
    /// Its number in the chain.
    pub sequence: i64,
    /// The envelope, JSON.
    pub payload: Vec<u8>,
}

/// What a sink says when it did not take everything.
pub type NotTold = Box<dyn Error + Send + Sync>;

/// Where entries are told.
pub trait AuditSink: Send + Sync {
    /// Takes a batch, in its order; when this returns without error, all of it is safe there.
    fn tell<'a>(
        &'a self,
        batch: &'a [AuditMessage],
    ) -> Pin<Box<dyn Future<Output = Result<(), NotTold>> + Send + 'a>>;
}

/// A sink that can stand in a configuration.
#[derive(Clone)]
pub struct AuditTopic(Arc<dyn AuditSink>);

impl AuditTopic {
    /// Takes a sink.
    pub fn new(sink: impl AuditSink + 'static) -> Self {
        Self(Arc::new(sink))
    }
}

impl fmt::Debug for AuditTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditTopic(..)")
    }
}

/// Tells everything that is new, unless the stop comes.
pub(crate) async fn tell(db: &Db, topic: &AuditTopic, mut stop: Stop) -> Result<(), StoreError> {
    static WARNED: Mutex<Option<Instant>> = Mutex::new(None);
    tokio::select! {
        () = stop.stopped() => Ok(()),
        told = tell_all(db, topic) => match told {
            Ok(()) => Ok(()),
            Err(Untold::Store(error)) => Err(error),
            Err(Untold::Topic(error)) => {
                let mut warned = WARNED.lock();
                if warned.is_none_or(|at| at.elapsed() >= REMINDER) {
                    *warned = Some(Instant::now());
                    let error = causes(&*error);
                    tracing::warn!(error, "entries of the audit log wait for their topic; trying again");
                }
                Ok(())
            }
        },
    }
}

/// Why entries were not told.
enum Untold {
    Store(StoreError),
    Topic(NotTold),
}

impl From<StoreError> for Untold {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

async fn tell_all(db: &Db, topic: &AuditTopic) -> Result<(), Untold> {
    let mut after = String::new();
    loop {
        let waiting = chains_waiting(db, &after).await?;
        let Some((last, ..)) = waiting.last() else {
            if after.is_empty() {
                return Ok(());
            }
            after.clear(); // once more from the beginning: each chain had one batch
            continue;
        };
        after.clone_from(last);
        for (chain, told, last) in waiting {
            let rows = store::entries_after(db, &chain, told, last, BATCH).await?;
            let Some(end) = rows.last().map(|row| row.sequence) else {
                tracing::error!(
                    chain,
                    told,
                    "entries of the audit log are gone that were never told; passing them over"
                );
                note_told(db, &chain, last).await?;
                continue;
            };
            let batch = rows.into_iter().map(message).collect::<Result<Vec<_>, _>>()?;
            topic.0.tell(&batch).await.map_err(Untold::Topic)?;
            note_told(db, &chain, end).await?;
        }
    }
}

/// Chains behind this one with entries that were not told: with the last one that was, and the last one.
async fn chains_waiting(db: &Db, after: &str) -> Result<Vec<(String, i64, i64)>, StoreError> {
    const SQL: &str = "SELECT chain, told, sequence FROM audit_heads WHERE told < sequence AND chain > ? ORDER BY chain LIMIT ?";
    sql::query_as(SQL)
        .bind(after)
        .bind(CHAINS)
        .fetch_all(db.readers())
        .await
        .doing("looking for what of the audit log was not told")
}

async fn note_told(db: &Db, chain: &str, told: i64) -> Result<(), StoreError> {
    const DOING: &str = "noting what of the audit log was told";
    let mut tx = db.begin_apart().await?;
    sql::query("UPDATE audit_heads SET told = ? WHERE chain = ? AND told < ?")
        .bind(told)
        .bind(chain)
        .bind(told)
        .execute(&mut *tx)
        .await
        .doing(DOING)?;
    tx.commit().await.doing(DOING)
}

fn message(row: EntryRow) -> Result<AuditMessage, StoreError> {
    let mut entry = AuditEntry::try_from(row)?;
    let mut payload = envelope(&entry, BTreeMap::new())?;
    if payload.len() > MAX_MESSAGE_BYTES {
        (entry.content.before, entry.content.after) = (None, None);
        let (name, value) = LEFT_OUT;
        payload = envelope(&entry, BTreeMap::from([(name.into(), value.into())]))?;
    }
    Ok(AuditMessage { sequence: entry.sequence, payload, chain: entry.chain })
}

fn envelope(entry: &AuditEntry, metadata: BTreeMap<Arc<str>, Arc<str>>) -> Result<Vec<u8>, StoreError> {
    // The same entry has the same id, however often it is told.
    let mut id = [0; 16];
    id.iter_mut().zip(entry.hash.as_bytes().chunks(2)).for_each(|(byte, digits)| {
        let digits = std::str::from_utf8(digits).unwrap_or_default(); // hexadecimal, by `view`
        *byte = u8::from_str_radix(digits, 16).unwrap_or_default();
    });
    let envelope = Envelope {
        id: EventId::from_bytes(id),
        kind: entry.content.action.as_str().into(),
        source: SOURCE.into(),
        timestamp: entry.content.at,
        version: VERSION.into(),
        correlation_id: entry.content.request_id.as_str().into(),
        data: entry,
        metadata,
    };
    serde_json::to_vec(&envelope).map_err(|_| StoreError::Corrupt { what: "an entry of the audit log" })
}

/// Ends of chains that the log was told of.
#[derive(Debug, Default)]
pub(crate) struct Heads(Mutex<HashMap<String, i64>>);

impl Heads {
    /// Tells the log of the ends that moved: whoever keeps the log elsewhere can show that a chain was cut off.
    pub(crate) async fn tell(&self, db: &Db) -> Result<(), StoreError> {
        let mut after = String::new();
        loop {
            let heads: Vec<(String, i64, Vec<u8>)> = sql::query_as(
                "SELECT chain, sequence, hash FROM audit_heads WHERE chain > ? ORDER BY chain LIMIT ?",
            )
            .bind(&after)
            .bind(CHAINS)
            .fetch_all(db.readers())
            .await
            .doing("reading the ends of the audit log")?;
            let Some((last, ..)) = heads.last() else { return Ok(()) };
            after.clone_from(last);
            for (chain, sequence, hash) in heads {
                if self.0.lock().insert(chain.clone(), sequence) != Some(sequence) {
                    let head = format!("{sequence}:{}", hex(&hash));
                    tracing::info!(chain, head, "end of an audit log");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
