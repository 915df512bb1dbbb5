//! The account of a person who is erased, and their place in the organisation.

use crate::access::{OrgPermit, grants_read};
use crate::audit::Chain;
use crate::clock;
use crate::db::{Connection, Doing, StoreError, sql};
use crate::http::problem::Problem;
use crate::members::{MANUAL, Source, bindings_of, role_unbind};

use super::store;

/// A person with an account who has a role in the organisation, or had one: the usual order is to remove somebody, and to erase them when
/// they ask for it.
pub(super) struct Member {
    id: String,
    email: String,
    email_key: String,
    installation_admin: bool,
}

impl Member {
    /// As it was typed.
    pub(super) fn email(&self) -> &str {
        &self.email
    }
}

/// The member with this id.
pub(super) async fn member_find(
    tx: &mut Connection,
    org_id: &str,
    user_id: &str,
) -> Result<Option<Member>, StoreError> {
    let row: Option<(String, String, i64)> = sql::query_as(
        "SELECT email, email_key, installation_admin FROM users u WHERE id = ? AND erased_at IS NULL
             AND (EXISTS (SELECT 1 FROM role_bindings b WHERE b.principal_id = u.id AND b.org_id = ?)
                  OR EXISTS (SELECT 1 FROM audit_log a WHERE a.chain = ? AND a.target_id = u.id)
                  OR EXISTS (SELECT 1 FROM audit_log a WHERE a.chain = ? AND a.actor_id = u.id)
                  OR EXISTS (SELECT 1 FROM invitations i WHERE i.org_id = ? AND i.accepted_by = u.id))",
    )
    .bind(user_id)
    .bind(org_id)
    .bind(org_id)
    .bind(org_id)
    .bind(org_id)
    .fetch_optional(tx)
    .await
    .doing("looking for a member")?;
    Ok(row.map(|(email, email_key, admin)| Member {
        id: user_id.to_owned(),
        email,
        email_key,
        installation_admin: admin != 0,
    }))
}

/// Takes the roles away, and where none is left anywhere, the account: whoever is somebody elsewhere stays that.
///
/// # Errors
/// 409 `last_owner` when the organisation would have none.
pub(super) async fn member_erase(
    tx: &mut Connection,
    permit: &OrgPermit,
    member: &Member,
    pseudonym: &str,
) -> Result<(), Problem> {
    for binding in bindings_of(tx, permit.org_id(), &member.id).await? {
        let source = match binding.source.as_str() {
            MANUAL => Source::Manual,
            provider => Source::SignOn(provider),
        };
        role_unbind(tx, permit, &member.id, &binding.place, source).await?;
    }
    invitations_erase(tx, permit.org_id(), &member.email_key, pseudonym).await?;
    if !member.installation_admin && grants_read(tx, &member.id).await?.0.is_empty() {
        account_erase(tx, &member.id, pseudonym).await?;
    }
    Ok(())
}

pub(super) async fn invitations_erase(
    tx: &mut Connection,
    org_id: &str,
    email_key: &str,
    pseudonym: &str,
) -> Result<(), StoreError> {
    sql::query(
        "UPDATE invitations SET email = ?, email_key = ?, revoked_at = coalesce(revoked_at, accepted_at, ?)
         WHERE org_id = ? AND email_key = ?",
    )
    .bind(pseudonym)
    .bind(pseudonym)
    .bind(clock::now().as_microsecond())
    .bind(org_id)
    .bind(email_key)
    .execute(tx)
    .await
    .doing("erasing invitations")
    .map(drop)
}

/// Nobody can sign in with it any more, and nothing of it says whose it was.
async fn account_erase(tx: &mut Connection, user_id: &str, pseudonym: &str) -> Result<(), StoreError> {
    const DOING: &str = "erasing an account";
    let now = clock::now().as_microsecond();
    sql::query(
        "UPDATE users SET email = ?, email_key = ?, name = ?, password_hash = NULL, email_verified_at = NULL,
             last_login_at = NULL, updated_at = ?, erased_at = ? WHERE id = ?",
    )
    .bind(pseudonym)
    .bind(pseudonym)
    .bind(pseudonym)
    .bind(now)
    .bind(now)
    .bind(user_id)
    .execute(&mut *tx)
    .await
    .doing(DOING)?;
    for statement in [
        "DELETE FROM session_tokens WHERE session_id IN (SELECT id FROM sessions WHERE user_id = ?)",
        "DELETE FROM sessions WHERE user_id = ?",
        "DELETE FROM api_tokens WHERE principal_id = ?",
        "DELETE FROM one_time_tokens WHERE user_id = ?",
        "DELETE FROM totp_secrets WHERE user_id = ?",
        "DELETE FROM recovery_codes WHERE user_id = ?",
        "DELETE FROM passkeys WHERE user_id = ?",
        "DELETE FROM external_identities WHERE user_id = ?",
    ] {
        sql::query(statement).bind(user_id).execute(&mut *tx).await.doing(DOING)?;
    }
    store::entries_erase(tx, Chain::Installation.as_str(), user_id).await
}
