//! SQL for whoever is invited.

use jiff::Timestamp;
use mindweave_policy::Fingerprint;
use serde::Serialize;
use sqlx::FromRow;

use crate::access::{Place, Role};
use crate::db::sql::QueryBuilder;
use crate::db::{Connection, Doing, StoreError, sql};
use crate::http::sorting::Sorting;
use crate::stored::timestamp;

/// An invitation that can be accepted.
#[derive(FromRow)]
pub(in crate::invitations) struct Open {
    pub(in crate::invitations) id: String,
    pub(in crate::invitations) org_id: String,
    pub(in crate::invitations) email_key: String,
    place: String,
    place_id: String,
    role: String,
    pub(in crate::invitations) mailed: i64,
    pub(in crate::invitations) invited_by: String,
}

impl Open {
    pub(in crate::invitations) fn place(&self) -> Result<Place, StoreError> {
        super::place(&self.place, self.place_id.clone())
    }

    pub(in crate::invitations) fn role(&self) -> Result<Role, StoreError> {
        super::role(&self.role)
    }
}

/// The invitation with this token, if it can be accepted now.
pub(in crate::invitations) async fn open_find(
    tx: &mut Connection,
    fingerprint: &Fingerprint,
    now: Timestamp,
) -> Result<Option<Open>, StoreError> {
    sql::query_as(
        "SELECT i.id, i.org_id, i.email_key, i.place, i.place_id, i.role, i.mailed, i.invited_by
         FROM invitations i JOIN orgs o ON o.id = i.org_id
         WHERE i.fingerprint = ? AND i.expires_at > ? AND i.accepted_at IS NULL AND i.revoked_at IS NULL
             AND o.deleted_at IS NULL",
    )
    .bind(fingerprint.as_bytes().as_slice())
    .bind(now.as_microsecond())
    .fetch_optional(tx)
    .await
    .doing("looking for an invitation")
}

/// A person's address, as addresses are compared.
pub(in crate::invitations) struct Address {
    pub(in crate::invitations) key: String,
    /// Whether it is known to be theirs.
    pub(in crate::invitations) verified: bool,
}

/// The address of a person who may sign in.
pub(in crate::invitations) async fn address_of(
    tx: &mut Connection,
    user_id: &str,
) -> Result<Option<Address>, StoreError> {
    let row: Option<(String, Option<i64>)> = sql::query_as(
        "SELECT email_key, email_verified_at FROM users
         WHERE id = ? AND disabled_at IS NULL AND erased_at IS NULL",
    )
    .bind(user_id)
    .fetch_optional(tx)
    .await
    .doing("reading an e-mail address")?;
    Ok(row.map(|(key, verified_at)| Address { key, verified: verified_at.is_some() }))
}

/// Notes that an invitation was accepted.
pub(in crate::invitations) async fn accepted_set(
    tx: &mut Connection,
    id: &str,
    user_id: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sql::query("UPDATE invitations SET accepted_at = ?, accepted_by = ? WHERE id = ?")
        .bind(now.as_microsecond())
        .bind(user_id)
        .bind(id)
        .execute(tx)
        .await
        .doing("accepting an invitation")
        .map(drop)
}

/// An invitation as whoever is invited sees it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = MyInvitation)]
pub(in crate::invitations) struct Mine {
    pub(in crate::invitations) id: String,
    pub(in crate::invitations) org_id: String,
    pub(in crate::invitations) org_name: String,
    /// `org`, `team` or `project`.
    place: &'static str,
    role: Role,
    pub(in crate::invitations) created_at: Timestamp,
    expires_at: Timestamp,
}

#[derive(FromRow)]
struct MineRow {
    id: String,
    org_id: String,
    org_name: String,
    place: String,
    role: String,
    created_at: i64,
    expires_at: i64,
}

/// The invitations to a verified address that can be accepted now.
pub(in crate::invitations) async fn mine_list(
    tx: &mut Connection,
    address: &Address,
    now: Timestamp,
    sorting: &Sorting,
    limit: u64,
) -> Result<Vec<Mine>, StoreError> {
    if !address.verified {
        return Ok(Vec::new());
    }
    let mut sql = QueryBuilder::new(
        "SELECT i.id, i.org_id, o.name AS org_name, i.place, i.role, i.created_at, i.expires_at
         FROM invitations i JOIN orgs o ON o.id = i.org_id
         WHERE o.deleted_at IS NULL AND i.accepted_at IS NULL AND i.revoked_at IS NULL AND i.email_key = ",
    );
    sql.push_bind(&address.key).push(" AND i.expires_at > ").push_bind(now.as_microsecond());
    sorting.push(&mut sql, "i.id", limit);
    let rows: Vec<MineRow> =
        sql.build_query_as().fetch_all(tx).await.doing("listing somebody's invitations")?;
    let mine = |row: MineRow| {
        Ok(Mine {
            id: row.id,
            org_id: row.org_id,
            org_name: row.org_name,
            place: super::place(&row.place, String::new())?.kind(),
            role: super::role(&row.role)?,
            created_at: timestamp(row.created_at)?,
            expires_at: timestamp(row.expires_at)?,
        })
    };
    rows.into_iter().map(mine).collect()
}
