//! From one master key to the next: what is stored is sealed anew, beside running servers.
//!
//! Rows are read without holding anybody up, and replaced in small transactions, each row only if it still is what was read.
//! A run that is killed leaves every row under one key or the other, and the next run does the rest. Passes are repeated until
//! one finds nothing to do: a server that still seals under the previous key is noticed, and said to be there.

use serde::Serialize;

use super::store::{COLUMNS, Place, SealedColumn, SealedRow};
use super::{MasterKey, Under};
use crate::access::Caller;
use crate::audit::{self, AuditError, Chain, Change};
use crate::db::{Database, DatabaseOptions, Db, Doing, MigrateMode, OpenError, StoreError};
use crate::entropy::NoEntropy;

/// Rows of one transaction: some milliseconds, in which nobody else writes.
const BATCH: usize = 100;
/// The same, as the database wants it.
const BATCH_LIMIT: i64 = 100;
/// More passes than this find only what others write meanwhile.
const MAX_PASSES: usize = 5;
/// Rows that do not open and are named, of each table.
const MAX_NAMED: usize = 20;

/// Why what is sealed could not be looked at, or sealed anew.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// The database could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
}

impl From<AuditError> for RotationError {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Store(error) => Self::Store(error),
            AuditError::Entropy(error) => Self::Entropy(error),
        }
    }
}

/// What is sealed, and under which key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecretsReport {
    /// The key that seals: its [`MasterKey::id`].
    pub key_id: String,
    /// The keys that only open.
    pub previous_key_ids: Vec<String>,
    /// Each kind of secret.
    pub tables: Vec<SecretsTable>,
}

/// What one table has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SecretsTable {
    /// For people.
    pub what: &'static str,
    /// Its name.
    pub table: &'static str,
    /// Secrets under the key that seals.
    pub current: u64,
    /// Secrets under a previous key, or in an older form.
    pub previous: u64,
    /// Secrets that no key opens.
    pub unreadable: u64,
    /// The rows of the first of those.
    pub unreadable_ids: Vec<String>,
    /// Secrets that this run sealed anew.
    pub resealed: u64,
}

impl SecretsReport {
    /// Whether the key that seals opens everything.
    pub fn is_current(&self) -> bool {
        self.tables.iter().all(|table| table.previous == 0 && table.unreadable == 0)
    }

    /// How many secrets no key opens.
    pub fn unreadable(&self) -> u64 {
        self.tables.iter().map(|table| table.unreadable).sum()
    }
}

/// Says what is sealed under which key. Changes nothing; a database whose schema lacks migrations is refused.
///
/// # Errors
/// See [`RotationError`].
pub async fn secrets_check(database: &Database, key: &MasterKey) -> Result<SecretsReport, RotationError> {
    let db = open(database).await?;
    let report = survey(&db, key).await;
    db.close().await;
    Ok(report?)
}

/// Seals everything under the current key that is not, and says what is sealed how then. Servers may run beside it, if all of
/// them have both keys and seal under the new one.
///
/// # Errors
/// See [`RotationError`]; what was sealed anew until then stays so.
pub async fn secrets_rotate(database: &Database, key: &MasterKey) -> Result<SecretsReport, RotationError> {
    let db = open(database).await?;
    let report = rotate(&db, key).await;
    db.close().await;
    report
}

async fn open(database: &Database) -> Result<Db, OpenError> {
    let options = DatabaseOptions { migrate: MigrateMode::Check, connections: crate::db::LEAST_CONNECTIONS };
    Db::open(database, options).await
}

pub(super) async fn rotate(db: &Db, key: &MasterKey) -> Result<SecretsReport, RotationError> {
    let mut resealed = [0_u64; COLUMNS.len()];
    for _ in 0..MAX_PASSES {
        let mut found = 0_u64;
        for (column, resealed) in COLUMNS.iter().zip(&mut resealed) {
            let changed = pass(db, key, column).await?;
            *resealed = resealed.saturating_add(changed);
            found = found.saturating_add(changed);
        }
        if found == 0 {
            break;
        }
    }
    let mut report = survey(db, key).await?;
    for (table, resealed) in report.tables.iter_mut().zip(resealed) {
        table.resealed = resealed;
    }
    if resealed.iter().any(|count| *count > 0) {
        note(db, &report).await?;
    }
    Ok(report)
}

/// One walk through a column. How many secrets were sealed anew.
async fn pass(db: &Db, key: &MasterKey, column: &SealedColumn) -> Result<u64, RotationError> {
    let (mut place, mut changed) = (Place::default(), 0_u64);
    loop {
        let rows = column.rows_after(db, &place, BATCH_LIMIT).await?;
        let Some(last) = rows.last() else { return Ok(changed) };
        place = (last.first.clone(), last.second.clone());
        let ended = rows.len() < BATCH;
        let mut anew = Vec::new();
        for row in rows {
            let owner = column.owner(&row);
            if let Ok((secret, Under::Previous | Under::OlderForm)) = key.open_and_tell(&owner, &row.sealed) {
                anew.push((key.seal(&owner, &secret)?, row));
            }
        }
        if !anew.is_empty() {
            changed = changed.saturating_add(replace(db, column, anew).await?);
        }
        if ended {
            return Ok(changed);
        }
    }
}

async fn replace(
    db: &Db,
    column: &SealedColumn,
    anew: Vec<(Vec<u8>, SealedRow)>,
) -> Result<u64, RotationError> {
    let (mut tx, mut changed) = (db.begin_write().await?, 0_u64);
    for (sealed, row) in anew {
        changed = changed.saturating_add(u64::from(column.replace(&mut tx, &row, sealed).await?));
    }
    tx.commit().await.doing("sealing secrets anew")?;
    Ok(changed)
}

pub(super) async fn survey(db: &Db, key: &MasterKey) -> Result<SecretsReport, StoreError> {
    let mut tables = Vec::with_capacity(COLUMNS.len());
    for column in &COLUMNS {
        tables.push(survey_column(db, key, column).await?);
    }
    Ok(SecretsReport { key_id: key.id(), previous_key_ids: key.previous_ids(), tables })
}

async fn survey_column(db: &Db, key: &MasterKey, column: &SealedColumn) -> Result<SecretsTable, StoreError> {
    let mut found = SecretsTable { what: column.what, table: column.table, ..SecretsTable::default() };
    let mut place = Place::default();
    loop {
        let rows = column.rows_after(db, &place, BATCH_LIMIT).await?;
        let Some(last) = rows.last() else { return Ok(found) };
        place = (last.first.clone(), last.second.clone());
        for row in rows {
            match key.open_and_tell(&column.owner(&row), &row.sealed) {
                Ok((_, Under::Current)) => found.current = found.current.saturating_add(1),
                Ok((_, Under::Previous | Under::OlderForm)) => {
                    found.previous = found.previous.saturating_add(1);
                }
                Err(_) => {
                    found.unreadable = found.unreadable.saturating_add(1);
                    if found.unreadable_ids.len() < MAX_NAMED {
                        found.unreadable_ids.push(row.first);
                    }
                }
            }
        }
    }
}

/// What the audit log says of a rotation.
#[derive(Serialize)]
struct Rotated<'a> {
    key_id: &'a str,
    resealed: u64,
}

async fn note(db: &Db, report: &SecretsReport) -> Result<(), RotationError> {
    let resealed = report.tables.iter().map(|table| table.resealed).sum();
    let after = Rotated { key_id: &report.key_id, resealed };
    let mut tx = db.begin_write().await?;
    let change = Change::new(Chain::Installation, "master_key.rotated", "master_key", &report.key_id);
    audit::record(&mut tx, &Caller::system(), change.after(&after)).await?;
    tx.commit().await.doing("noting a rotation")?;
    Ok(())
}

#[cfg(test)]
mod tests;
