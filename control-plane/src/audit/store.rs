//! All SQL of the audit log, but for questions about many chains.

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, FromRow};

use super::chain::{Hash, Link, NO_HASH, Salt};
use super::permit::ChainPermit;
use super::verify::{Anchor, Entry, Fault, FaultKind};
use crate::db::sql::QueryBuilder;
use crate::db::{Connection, Db, Doing, StoreError, sql};

/// An entry to be written.
pub(super) struct NewEntry<'a> {
    pub(super) link: Link<'a>,
    pub(super) at: Timestamp,
    pub(super) action: &'a str,
    pub(super) actor_id: &'a str,
    pub(super) target_kind: &'a str,
    pub(super) target_id: &'a str,
    pub(super) project_id: Option<&'a str>,
    pub(super) request_id: &'a str,
    pub(super) personal: &'a str,
    pub(super) personal_salt: &'a [u8],
    pub(super) hash: &'a Hash,
}

/// The last entry of a chain: its number and hash; zero of a chain that has none.
pub(super) async fn head(tx: &mut Connection, chain: &str) -> Result<Anchor, StoreError> {
    let head: Option<(i64, Vec<u8>)> =
        sql::query_as("SELECT sequence, hash FROM audit_heads WHERE chain = ?")
            .bind(chain)
            .fetch_optional(tx)
            .await
            .doing("reading the end of the audit log")?;
    match head {
        Some((sequence, hash)) => Ok(Anchor { sequence, hash: stored_hash(&hash)? }),
        None => Ok(Anchor { sequence: 0, hash: NO_HASH }),
    }
}

fn stored_hash(bytes: &[u8]) -> Result<Hash, StoreError> {
    Hash::try_from(bytes).map_err(|_| StoreError::Corrupt { what: "a hash of the audit log" })
}

/// The number of the last entry that is there, whatever the head says.
pub(super) async fn last_sequence(tx: &mut Connection, chain: &str) -> Result<i64, StoreError> {
    sql::query_scalar("SELECT coalesce(max(sequence), 0) FROM audit_log WHERE chain = ?")
        .bind(chain)
        .fetch_one(tx)
        .await
        .doing("looking for the end of the audit log")
}

/// Writes an entry, which is the last one from then on.
pub(super) async fn entry_insert(tx: &mut Connection, entry: &NewEntry<'_>) -> Result<(), StoreError> {
    const DOING: &str = "writing to the audit log";
    let Link { chain, sequence, previous_hash, personal_hash, body } = entry.link;
    sql::query(
        "INSERT INTO audit_log (chain, sequence, at, action, actor_id, target_kind, target_id, project_id, request_id, body,
             personal, personal_salt, personal_hash, previous_hash, hash)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(chain)
    .bind(sequence)
    .bind(entry.at.as_microsecond())
    .bind(entry.action)
    .bind(entry.actor_id)
    .bind(entry.target_kind)
    .bind(entry.target_id)
    .bind(entry.project_id.map(str::to_owned))
    .bind(entry.request_id)
    .bind(body)
    .bind(entry.personal)
    .bind(entry.personal_salt)
    .bind(personal_hash.as_slice())
    .bind(previous_hash.as_slice())
    .bind(entry.hash.as_slice())
    .execute(&mut *tx)
    .await
    .doing(DOING)?;
    sql::query(
        "INSERT INTO audit_heads (chain, sequence, hash) VALUES (?, ?, ?)
         ON CONFLICT (chain) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash",
    )
    .bind(chain)
    .bind(sequence)
    .bind(entry.hash.as_slice())
    .execute(tx)
    .await
    .doing(DOING)
    .map(drop)
}

/// An entry as it is stored, with the columns by which it is found.
#[derive(Clone, Debug, FromRow)]
pub(super) struct EntryRow {
    pub(super) chain: String,
    pub(super) sequence: i64,
    pub(super) at: i64,
    pub(super) action: String,
    pub(super) actor_id: String,
    pub(super) target_kind: String,
    pub(super) target_id: String,
    pub(super) project_id: Option<String>,
    pub(super) request_id: String,
    pub(super) body: String,
    pub(super) personal: Option<String>,
    personal_salt: Option<Vec<u8>>,
    personal_hash: Vec<u8>,
    previous_hash: Vec<u8>,
    hash: Vec<u8>,
}

const COLUMNS: &str =
    "SELECT chain, sequence, at, action, actor_id, target_kind, target_id, project_id, request_id, body,
     personal, personal_salt, personal_hash, previous_hash, hash FROM audit_log";

/// The hashes of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hashes {
    personal_salt: Option<Salt>,
    personal_hash: Hash,
    previous_hash: Hash,
    hash: Hash,
}

impl EntryRow {
    /// Reads the hashes; what has another length, or only half of what was erased, was not written by us.
    pub(super) fn hashes(&self) -> Result<Hashes, Fault> {
        let fault = |kind| Fault::at(self.sequence, kind);
        let hash = |bytes: &[u8]| Hash::try_from(bytes).map_err(|_| fault(FaultKind::Unreadable));
        let personal_salt = match (&self.personal, &self.personal_salt) {
            (None, None) => None,
            (Some(_), Some(salt)) => {
                Some(Salt::try_from(salt.as_slice()).map_err(|_| fault(FaultKind::PersonalChanged))?)
            }
            (Some(_), None) | (None, Some(_)) => return Err(fault(FaultKind::PersonalChanged)),
        };
        Ok(Hashes {
            personal_salt,
            personal_hash: hash(&self.personal_hash)?,
            previous_hash: hash(&self.previous_hash)?,
            hash: hash(&self.hash)?,
        })
    }

    /// The entry, with its hashes.
    pub(super) fn entry<'a>(&'a self, hashes: &'a Hashes) -> Entry<'a> {
        Entry {
            chain: &self.chain,
            sequence: self.sequence,
            previous_hash: &hashes.previous_hash,
            personal_hash: &hashes.personal_hash,
            hash: &hashes.hash,
            body: &self.body,
            personal: self.personal.as_deref().zip(hashes.personal_salt.as_ref()),
        }
    }

    /// The hash of the entry and that of the one before, as they are stored.
    pub(super) fn shown_hashes(&self) -> (&[u8], &[u8]) {
        (&self.hash, &self.previous_hash)
    }
}

/// At most so many entries of a chain behind one, up to another one, oldest first.
pub(super) async fn entries_after(
    db: &Db,
    chain: &str,
    after: i64,
    last: i64,
    limit: i64,
) -> Result<Vec<EntryRow>, StoreError> {
    sql::query_as(AssertSqlSafe(format!(
        "{COLUMNS} WHERE chain = ? AND sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?"
    )))
    .bind(chain)
    .bind(after)
    .bind(last)
    .bind(limit)
    .fetch_all(db.readers())
    .await
    .doing("reading the audit log")
}

/// What to look for.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    pub(super) action: Option<String>,
    pub(super) actor_id: Option<String>,
    pub(super) target_id: Option<String>,
    pub(super) target_kind: Option<String>,
    pub(super) project_id: Option<String>,
    pub(super) request_id: Option<String>,
    /// At or after.
    pub(super) from: Option<Timestamp>,
    /// Before.
    pub(super) to: Option<Timestamp>,
}

/// At most so many entries before one, newest first.
pub(super) async fn entry_list(
    db: &Db,
    permit: &ChainPermit,
    filter: &Filter,
    before: Option<i64>,
    limit: u64,
) -> Result<Vec<EntryRow>, StoreError> {
    let sql = build(permit.chain(), filter, before, limit);
    sql.build_query_as().fetch_all(db.readers()).await.doing("reading the audit log")
}

fn build(chain: &str, filter: &Filter, before: Option<i64>, limit: u64) -> QueryBuilder {
    let mut sql = QueryBuilder::new(format!("{COLUMNS} WHERE chain = "));
    sql.push_bind(chain);
    let texts = [
        (" AND action = ", &filter.action),
        (" AND actor_id = ", &filter.actor_id),
        (" AND target_id = ", &filter.target_id),
        (" AND target_kind = ", &filter.target_kind),
        (" AND project_id = ", &filter.project_id),
        (" AND request_id = ", &filter.request_id),
    ];
    for (clause, value) in texts {
        if let Some(value) = value {
            sql.push(clause).push_bind(value.clone());
        }
    }
    if let Some(from) = filter.from {
        sql.push(" AND at >= ").push_bind(from.as_microsecond());
    }
    if let Some(to) = filter.to {
        sql.push(" AND at < ").push_bind(to.as_microsecond());
    }
    if let Some(before) = before {
        sql.push(" AND sequence < ").push_bind(before);
    }
    sql.push(" ORDER BY sequence DESC LIMIT ").push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
    sql
}

/// Whether there is such a chain.
pub(super) async fn chain_exists(tx: &mut Connection, chain: &str) -> Result<bool, StoreError> {
    sql::query_scalar("SELECT EXISTS (SELECT 1 FROM audit_heads WHERE chain = ?)")
        .bind(chain)
        .fetch_one(tx)
        .await
        .doing("looking for an audit log")
}

#[cfg(test)]
mod tests;
