//! All SQL of erasures.

use std::sync::Arc;

use jiff::Timestamp;
use mindweave_metering::EventId;
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow};

use super::arrivals::{Digest, Erased};
use crate::access::OrgPermit;
use crate::db::{Connection, Doing, StoreError, sql};
use crate::identity::users::email_key;
use crate::stored::timestamp;

/// What the API shows of an erasure. Nothing says who it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct Erasure {
    #[schema(example = "era_0198c0ffee")]
    pub(crate) id: String,
    pub(crate) org_id: String,
    /// What stands everywhere in the place of the person.
    pub(crate) pseudonym: String,
    /// Stored events that were changed so far.
    pub(crate) events: i64,
    pub(crate) created_at: Timestamp,
    /// When the last stored event was changed; `null` while that goes on.
    pub(crate) finished_at: Option<Timestamp>,
}

#[derive(FromRow)]
struct ErasureRow {
    id: String,
    org_id: String,
    pseudonym: String,
    events: i64,
    created_at: i64,
    finished_at: Option<i64>,
}

impl TryFrom<ErasureRow> for Erasure {
    type Error = StoreError;

    fn try_from(row: ErasureRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            org_id: row.org_id,
            pseudonym: row.pseudonym,
            events: row.events,
            created_at: timestamp(row.created_at)?,
            finished_at: row.finished_at.map(timestamp).transpose()?,
        })
    }
}

const COLUMNS: &str = "SELECT id, org_id, pseudonym, events, created_at, finished_at FROM erasures";

/// An id: a prefix and a UUIDv7, so that ids sort by age.
pub(super) fn new_id(prefix: &str, now: Timestamp, random: [u8; 10]) -> String {
    format!("{prefix}{}", EventId::generate(now, random).to_string().replace('-', ""))
}

/// Erasures of the organisation after this id, oldest first.
pub(super) async fn erasure_list(
    tx: &mut Connection,
    permit: &OrgPermit,
    after: &str,
    limit: u64,
) -> Result<Vec<Erasure>, StoreError> {
    let sql = format!("{COLUMNS} WHERE org_id = ? AND id > ? ORDER BY id LIMIT ?");
    let rows: Vec<ErasureRow> = sql::query_as(AssertSqlSafe(sql))
        .bind(permit.org_id())
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(tx)
        .await
        .doing("listing erasures")?;
    rows.into_iter().map(Erasure::try_from).collect()
}

/// One of them.
pub(super) async fn erasure_view(
    tx: &mut Connection,
    permit: &OrgPermit,
    id: &str,
) -> Result<Option<Erasure>, StoreError> {
    let row: Option<ErasureRow> =
        sql::query_as(AssertSqlSafe(format!("{COLUMNS} WHERE org_id = ? AND id = ?")))
            .bind(permit.org_id())
            .bind(id)
            .fetch_optional(tx)
            .await
            .doing("reading an erasure")?;
    row.map(Erasure::try_from).transpose()
}

/// The salt of this database; the given one if it has none yet.
pub(super) async fn salt_ensure(tx: &mut Connection, new: &[u8]) -> Result<Vec<u8>, StoreError> {
    const DOING: &str = "reading the salt of erasures";
    sql::query("INSERT INTO erasure_salt (only_row, salt) VALUES (1, ?) ON CONFLICT (only_row) DO NOTHING")
        .bind(new)
        .execute(&mut *tx)
        .await
        .doing(DOING)?;
    sql::query_scalar("SELECT salt FROM erasure_salt").fetch_one(tx).await.doing(DOING)
}

/// The pseudonym that this person got before, and the erasure.
pub(super) async fn erasure_before(
    tx: &mut Connection,
    permit: &OrgPermit,
    digest: &Digest,
) -> Result<Option<(String, String)>, StoreError> {
    sql::query_as("SELECT id, pseudonym FROM erasures WHERE org_id = ? AND digest = ?")
        .bind(permit.org_id())
        .bind(digest.as_slice())
        .fetch_optional(tx)
        .await
        .doing("looking for an erasure")
}

/// Notes an erasure; whoever books events knows of it from this transaction's commit on. One that was there begins anew: somebody who
/// was erased has come back.
pub(super) async fn erasure_note(
    tx: &mut Connection,
    erasure: &Erasure,
    person: &Person<'_>,
) -> Result<(), StoreError> {
    sql::query(
        "INSERT INTO erasures (id, org_id, digest, user_id, email, pseudonym, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (org_id, digest) DO UPDATE SET user_id = excluded.user_id, email = excluded.email,
             events = 0, events_until = NULL, audit_until = 0, created_at = excluded.created_at, finished_at = NULL",
    )
    .bind(&erasure.id)
    .bind(&erasure.org_id)
    .bind(person.digest.as_slice())
    .bind(person.user_id)
    .bind(person.email.map(str::to_owned))
    .bind(&erasure.pseudonym)
    .bind(erasure.created_at.as_microsecond())
    .execute(&mut *tx)
    .await
    .doing("noting an erasure")?;
    sql::query("UPDATE installation SET erasures_revision = erasures_revision + 1")
        .execute(tx)
        .await
        .doing("telling of an erasure")
        .map(drop)
}

/// Who is erased.
#[derive(Clone, Copy, Debug)]
pub(super) struct Person<'a> {
    pub(super) digest: &'a Digest,
    pub(super) user_id: &'a str,
    /// Of the account, if there is one.
    pub(super) email: Option<&'a str>,
}

/// Everybody who was erased.
pub(super) async fn erased_read(tx: &mut Connection) -> Result<Erased, StoreError> {
    const DOING: &str = "reading who was erased";
    let rows: Vec<(Vec<u8>, String)> =
        sql::query_as("SELECT digest, pseudonym FROM erasures").fetch_all(&mut *tx).await.doing(DOING)?;
    let salt: Option<Vec<u8>> =
        sql::query_scalar("SELECT salt FROM erasure_salt").fetch_optional(tx).await.doing(DOING)?;
    let entry = |(digest, pseudonym): (Vec<u8>, String)| {
        let digest = Digest::try_from(digest).map_err(|_| StoreError::Corrupt { what: "a digest" })?;
        Ok((digest, Arc::from(pseudonym)))
    };
    let entries = rows.into_iter().map(entry).collect::<Result<Vec<_>, StoreError>>()?;
    Ok(Erased::new(salt.unwrap_or_default(), entries))
}

/// Whether anything of the organisation names such a person.
pub(super) async fn person_known(
    tx: &mut Connection,
    permit: &OrgPermit,
    user_id: &str,
) -> Result<bool, StoreError> {
    sql::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM usage_dims WHERE org_id = ? AND user_id = ?)
             OR EXISTS (SELECT 1 FROM keys k JOIN projects p ON p.id = k.project_id WHERE p.org_id = ? AND k.user_id = ?)
             OR EXISTS (SELECT 1 FROM client_credentials c JOIN projects p ON p.id = c.project_id
                        WHERE p.org_id = ? AND c.user_id = ?)
             OR EXISTS (SELECT 1 FROM invitations WHERE org_id = ? AND email_key = ?)",
    )
    .bind(permit.org_id())
    .bind(user_id)
    .bind(permit.org_id())
    .bind(user_id)
    .bind(permit.org_id())
    .bind(user_id)
    .bind(permit.org_id())
    .bind(email_key(user_id))
    .fetch_one(tx)
    .await
    .doing("looking for a person")
}

/// Keys and credentials carry the pseudonym from now on.
pub(super) async fn carriers_replace(
    tx: &mut Connection,
    permit: &OrgPermit,
    user_id: &str,
    pseudonym: &str,
) -> Result<(), StoreError> {
    for table in ["keys", "client_credentials"] {
        let sql = format!(
            "UPDATE {table} SET user_id = ? WHERE user_id = ? AND project_id IN (SELECT id FROM projects WHERE org_id = ?)"
        );
        sql::query(AssertSqlSafe(sql))
            .bind(pseudonym)
            .bind(user_id)
            .bind(permit.org_id())
            .execute(&mut *tx)
            .await
            .doing("replacing who has keys")?;
    }
    Ok(())
}

/// Sums are those of the pseudonym from now on. No figure moves: a new pseudonym has no row that one of these could meet.
pub(super) async fn sums_replace(
    tx: &mut Connection,
    permit: &OrgPermit,
    user_id: &str,
    pseudonym: &str,
) -> Result<(), StoreError> {
    sql::query("UPDATE usage_dims SET user_id = ? WHERE org_id = ? AND user_id = ?")
        .bind(pseudonym)
        .bind(permit.org_id())
        .bind(user_id)
        .execute(tx)
        .await
        .doing("replacing whose sums they are")
        .map(drop)
}

/// What governs by counting.
#[derive(Clone, Copy, Debug)]
pub(super) enum Specs {
    Limits,
    Quotas,
}

impl Specs {
    fn table(self) -> &'static str {
        match self {
            Self::Limits => "limits",
            Self::Quotas => "quotas",
        }
    }
}

/// All of an organisation, with their ids; also deleted ones.
pub(super) async fn specs_read(
    tx: &mut Connection,
    permit: &OrgPermit,
    specs: Specs,
) -> Result<Vec<(String, String)>, StoreError> {
    let sql = format!("SELECT id, spec FROM {} WHERE org_id = ?", specs.table());
    sql::query_as(AssertSqlSafe(sql)).bind(permit.org_id()).fetch_all(tx).await.doing("reading what governs")
}

/// Replaces one of them.
pub(super) async fn spec_write(
    tx: &mut Connection,
    permit: &OrgPermit,
    specs: Specs,
    id: &str,
    spec: &str,
) -> Result<(), StoreError> {
    let sql = format!("UPDATE {} SET spec = ? WHERE org_id = ? AND id = ?", specs.table());
    sql::query(AssertSqlSafe(sql))
        .bind(spec)
        .bind(permit.org_id())
        .bind(id)
        .execute(tx)
        .await
        .doing("replacing whom something is about")
        .map(drop)
}

/// Counters of a budget for each user are those of the pseudonym from now on. They move, so that proxies hear of it.
pub(super) async fn subject_replace(
    tx: &mut Connection,
    quota_id: &str,
    user_id: &str,
    pseudonym: &str,
) -> Result<(), StoreError> {
    const DOING: &str = "replacing whose counters they are";
    let moved: i64 = sql::query_scalar("UPDATE budget_moves SET moved = moved + 1 RETURNING moved")
        .fetch_one(&mut *tx)
        .await
        .doing(DOING)?;
    sql::query("UPDATE budget_counters SET subject = ?, moved = ? WHERE quota_id = ? AND subject = ?")
        .bind(pseudonym)
        .bind(moved)
        .bind(quota_id)
        .bind(user_id)
        .execute(tx)
        .await
        .doing(DOING)
        .map(drop)
}

/// Takes away what entries of the audit log by or about this person say of who they are. The chain stays whole.
pub(super) async fn audit_erase(
    tx: &mut Connection,
    permit: &OrgPermit,
    user_id: &str,
) -> Result<(), StoreError> {
    entries_erase(tx, permit.org_id(), user_id).await
}

/// The same in any chain.
pub(super) async fn entries_erase(tx: &mut Connection, chain: &str, user_id: &str) -> Result<(), StoreError> {
    sql::query(
        "UPDATE audit_log SET personal = NULL, personal_salt = NULL
         WHERE chain = ? AND (target_id = ? OR actor_id = ?) AND personal IS NOT NULL",
    )
    .bind(chain)
    .bind(user_id)
    .bind(user_id)
    .execute(tx)
    .await
    .doing("erasing a person from the audit log")
    .map(drop)
}
