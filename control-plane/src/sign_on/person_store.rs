//! All SQL of who somebody is at a provider.

use jiff::Timestamp;
use sqlx::FromRow;

use crate::db::{Connection, Doing, StoreError, sql};

/// Who somebody is at an issuer. Subjects are only unique there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity<'a> {
    pub(super) issuer: &'a str,
    pub(super) subject: &'a str,
}

/// Whose identity it is.
pub(super) async fn identity_find(
    tx: &mut Connection,
    identity: Identity<'_>,
) -> Result<Option<String>, StoreError> {
    sql::query_scalar("SELECT user_id FROM external_identities WHERE issuer = ? AND subject = ?")
        .bind(identity.issuer)
        .bind(identity.subject)
        .fetch_optional(tx)
        .await
        .doing("looking for an identity")
}

/// Notes whose identity it is from now on, or that they came by it again.
pub(super) async fn identity_note(
    tx: &mut Connection,
    identity: Identity<'_>,
    user_id: &str,
    provider_id: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sql::query(
        "INSERT INTO external_identities (issuer, subject, user_id, provider_id, created_at, last_login_at)
         VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (issuer, subject) DO UPDATE SET provider_id = excluded.provider_id, last_login_at = excluded.last_login_at",
    )
    .bind(identity.issuer)
    .bind(identity.subject)
    .bind(user_id)
    .bind(provider_id)
    .bind(now.as_microsecond())
    .bind(now.as_microsecond())
    .execute(tx)
    .await
    .doing("noting an identity")
    .map(drop)
}

/// Where somebody has roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub(super) struct Membership {
    here: i64,
    elsewhere: i64,
    owner: i64,
}

impl Membership {
    /// In this organisation.
    pub(super) fn is_here(self) -> bool {
        self.here > 0
    }

    /// In another one.
    pub(super) fn is_elsewhere(self) -> bool {
        self.elsewhere > 0
    }

    /// As an owner of anything in it.
    pub(super) fn is_owner(self) -> bool {
        self.owner > 0
    }
}

/// Where somebody has roles, seen from an organisation.
pub(super) async fn membership(
    tx: &mut Connection,
    user_id: &str,
    org_id: &str,
) -> Result<Membership, StoreError> {
    sql::query_as(
        "SELECT CAST(coalesce(sum(CASE WHEN org_id = ? THEN 1 ELSE 0 END), 0) AS BIGINT) AS here,
             CAST(coalesce(sum(CASE WHEN org_id <> ? THEN 1 ELSE 0 END), 0) AS BIGINT) AS elsewhere,
             CAST(coalesce(sum(CASE WHEN role = 'owner' THEN 1 ELSE 0 END), 0) AS BIGINT) AS owner
         FROM role_bindings WHERE principal_id = ?",
    )
    .bind(org_id)
    .bind(org_id)
    .bind(user_id)
    .fetch_one(tx)
    .await
    .doing("looking where somebody has roles")
}

/// Whether somebody owns the organisation by a provider's groups, and nobody else owns it, nor they by another way.
pub(super) async fn is_last_owner_by(
    tx: &mut Connection,
    org_id: &str,
    user_id: &str,
    provider_id: &str,
) -> Result<bool, StoreError> {
    let owners: Vec<(String, String)> = sql::query_as(
        "SELECT b.principal_id, b.source FROM role_bindings b JOIN users u ON u.id = b.principal_id
         WHERE b.org_id = ? AND b.place = 'org' AND b.role = 'owner' AND u.disabled_at IS NULL AND u.erased_at IS NULL
         ORDER BY b.id LIMIT 2",
    )
    .bind(org_id)
    .fetch_all(tx)
    .await
    .doing("looking for owners")?;
    Ok(matches!(owners.as_slice(), [(user, source)] if user == user_id && source == provider_id))
}
