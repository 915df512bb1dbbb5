//! All SQL of roles.

use jiff::Timestamp;
use sqlx::FromRow;

use super::bind::Seat;
use crate::access::{Place, Role};
use crate::db::{Connection, Doing, StoreError, sql};
use crate::stored::timestamp;

/// What somebody is to an organisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Principal {
    /// Has a role somewhere in it, or is a service account of it.
    Member,
    /// A person without a role in it.
    Stranger,
}

/// A role that somebody has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) place: Place,
    pub(crate) role: Role,
    /// `manual`, or the sign-on provider whose groups gave it.
    pub(crate) source: String,
    pub(crate) created_at: Timestamp,
}

/// A role as it is stored.
#[derive(FromRow)]
pub(super) struct BindingRow {
    place: String,
    place_id: String,
    role: String,
    source: String,
    created_at: i64,
}

impl TryFrom<BindingRow> for Binding {
    type Error = StoreError;

    fn try_from(row: BindingRow) -> Result<Self, StoreError> {
        let place = Place::from_stored(&row.place, row.place_id);
        Ok(Self {
            place: place.ok_or(StoreError::Corrupt { what: "the place of a role" })?,
            role: role(&row.role)?,
            source: row.source,
            created_at: timestamp(row.created_at)?,
        })
    }
}

fn role(text: &str) -> Result<Role, StoreError> {
    Role::from_text(text).ok_or(StoreError::Corrupt { what: "a role" })
}

/// What this person or service account is to the organisation. `None`: there is no such person, or it is a service account of another.
pub(super) async fn principal_find(
    tx: &mut Connection,
    org_id: &str,
    principal_id: &str,
) -> Result<Option<Principal>, StoreError> {
    let member: Option<i64> = sql::query_scalar(
        "SELECT CAST(count(b.id) AS BIGINT) FROM users u
         LEFT JOIN role_bindings b ON b.principal_id = u.id AND b.org_id = ?
         WHERE u.id = ? AND u.erased_at IS NULL GROUP BY u.id
         UNION ALL
         SELECT 1 FROM service_accounts WHERE org_id = ? AND id = ? AND deleted_at IS NULL",
    )
    .bind(org_id)
    .bind(principal_id)
    .bind(org_id)
    .bind(principal_id)
    .fetch_optional(tx)
    .await
    .doing("looking for a member")?;
    Ok(member.map(|roles| if roles > 0 { Principal::Member } else { Principal::Stranger }))
}

/// The role that a source gave somebody in a place.
pub(super) async fn binding_find(
    tx: &mut Connection,
    seat: &Seat<'_>,
    principal_id: &str,
    source: &str,
) -> Result<Option<Role>, StoreError> {
    let found: Option<String> = sql::query_scalar(
        "SELECT role FROM role_bindings
         WHERE principal_id = ? AND org_id = ? AND place = ? AND place_id = ? AND source = ?",
    )
    .bind(principal_id)
    .bind(seat.org_id)
    .bind(seat.place.kind())
    .bind(seat.place_id())
    .bind(source)
    .fetch_optional(tx)
    .await
    .doing("reading a role")?;
    found.as_deref().map(role).transpose()
}

/// All roles of somebody in an organisation, oldest first.
pub(crate) async fn bindings_of(
    tx: &mut Connection,
    org_id: &str,
    principal_id: &str,
) -> Result<Vec<Binding>, StoreError> {
    let rows: Vec<BindingRow> = sql::query_as(
        "SELECT place, place_id, role, source, created_at FROM role_bindings
         WHERE principal_id = ? AND org_id = ? ORDER BY id",
    )
    .bind(principal_id)
    .bind(org_id)
    .fetch_all(tx)
    .await
    .doing("reading a member's roles")?;
    rows.into_iter().map(Binding::try_from).collect()
}

/// Writes a role, over the one that the same source gave there. A new one gets this id.
pub(super) async fn binding_upsert(
    tx: &mut Connection,
    seat: &Seat<'_>,
    principal_id: &str,
    (role, source): (Role, &str),
    (id, now): (String, Timestamp),
) -> Result<(), StoreError> {
    sql::query(
        "INSERT INTO role_bindings (id, principal_id, org_id, place, place_id, role, source, created_at, updated_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (principal_id, place, place_id, source)
         DO UPDATE SET role = excluded.role, updated_at = excluded.updated_at",
    )
    .bind(id)
    .bind(principal_id)
    .bind(seat.org_id)
    .bind(seat.place.kind())
    .bind(seat.place_id())
    .bind(role.as_str())
    .bind(source)
    .bind(now.as_microsecond())
    .bind(now.as_microsecond())
    .execute(tx)
    .await
    .doing("giving a role")
    .map(drop)
}

/// Deletes the role that a source gave somebody in a place.
pub(super) async fn binding_delete(
    tx: &mut Connection,
    seat: &Seat<'_>,
    principal_id: &str,
    source: &str,
) -> Result<(), StoreError> {
    sql::query(
        "DELETE FROM role_bindings
         WHERE principal_id = ? AND org_id = ? AND place = ? AND place_id = ? AND source = ?",
    )
    .bind(principal_id)
    .bind(seat.org_id)
    .bind(seat.place.kind())
    .bind(seat.place_id())
    .bind(source)
    .execute(tx)
    .await
    .doing("taking a role")
    .map(drop)
}

/// Whether a person who can sign in owns the organisation by another role than the one that this source gave this principal.
pub(super) async fn has_other_owner(
    tx: &mut Connection,
    org_id: &str,
    principal_id: &str,
    source: &str,
) -> Result<bool, StoreError> {
    sql::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM role_bindings b JOIN users u ON u.id = b.principal_id
         WHERE b.org_id = ? AND b.place = 'org' AND b.role = 'owner' AND u.disabled_at IS NULL AND u.erased_at IS NULL
             AND NOT (b.principal_id = ? AND b.source = ?))",
    )
    .bind(org_id)
    .bind(principal_id)
    .bind(source)
    .fetch_one(tx)
    .await
    .doing("looking for an owner")
}
