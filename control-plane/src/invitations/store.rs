//! All SQL of invitations.

use jiff::Timestamp;
use mindweave_policy::Fingerprint;
use sqlx::FromRow;

use crate::access::{Place, Role};
use crate::db::{Connection, Doing, StoreError, sql};

/// An invitation that can be accepted.
#[derive(FromRow)]
pub(super) struct Open {
    pub(super) id: String,
    pub(super) org_id: String,
    pub(super) email: String,
    pub(super) email_key: String,
    place: String,
    place_id: String,
    role: String,
    pub(super) mailed: i64,
    pub(super) invited_by: String,
}

impl Open {
    pub(super) fn place(&self) -> Result<Place, StoreError> {
        let corrupt = StoreError::Corrupt { what: "the place of an invitation" };
        Place::from_stored(&self.place, self.place_id.clone()).ok_or(corrupt)
    }

    pub(super) fn role(&self) -> Result<Role, StoreError> {
        Role::from_text(&self.role).ok_or(StoreError::Corrupt { what: "the role of an invitation" })
    }
}

/// The invitation with this token, if it can be accepted now.
pub(super) async fn open_find(
    tx: &mut Connection,
    fingerprint: &Fingerprint,
    now: Timestamp,
) -> Result<Option<Open>, StoreError> {
    sql::query_as(
        "SELECT id, org_id, email, email_key, place, place_id, role, mailed, invited_by FROM invitations
         WHERE fingerprint = ? AND expires_at > ? AND accepted_at IS NULL AND revoked_at IS NULL",
    )
    .bind(fingerprint.as_bytes().as_slice())
    .bind(now.as_microsecond())
    .fetch_optional(tx)
    .await
    .doing("looking for an invitation")
}

/// The address of a person, as addresses are compared.
pub(super) async fn email_key_of(tx: &mut Connection, user_id: &str) -> Result<Option<String>, StoreError> {
    sql::query_scalar(
        "SELECT email_key FROM users WHERE id = ? AND disabled_at IS NULL AND erased_at IS NULL",
    )
    .bind(user_id)
    .fetch_optional(tx)
    .await
    .doing("reading an e-mail address")
}

/// Notes that an invitation was accepted.
pub(super) async fn accepted_set(
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
