//! All SQL of the audit log.

use jiff::Timestamp;

use super::chain::{Hash, Link};
use crate::db::{Connection, Doing, StoreError, sql};

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
pub(super) async fn head(tx: &mut Connection, chain: &str) -> Result<(i64, Vec<u8>), StoreError> {
    let head: Option<(i64, Vec<u8>)> =
        sql::query_as("SELECT sequence, hash FROM audit_heads WHERE chain = ?")
            .bind(chain)
            .fetch_optional(tx)
            .await
            .doing("reading the end of the audit log")?;
    Ok(head.unwrap_or_else(|| (0, vec![0; 32])))
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
    .bind(personal_hash)
    .bind(previous_hash)
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
