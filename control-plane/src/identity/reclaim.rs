//! Who first proves that an address is theirs starts anew.
//!
//! A sign-on provider makes accounts for addresses that it only claims to know. Whoever controls it could make one for somebody else's,
//! keep a way in, and wait until its rightful holder sets a password by mail and is given roles elsewhere. So all ways in that are
//! older than the first proof are closed by it.

use super::users::User;
use crate::access::Caller;
use crate::audit::{self, Chain, Change};
use crate::clock;
use crate::db::{Connection, Doing, sql};
use crate::http::problem::Problem;

/// Closes what opens an account that a provider made and whose address nobody had verified yet. Sessions are the caller's to end.
pub(super) async fn reclaim(tx: &mut Connection, caller: &Caller, user: &User) -> Result<(), Problem> {
    const DOING: &str = "closing what opened an account before";
    // One with a password is no provider's making: a mail must not take its second factor away.
    if user.email_verified || user.has_password {
        return Ok(());
    }
    let mut closed: u64 = 0;
    for statement in [
        "DELETE FROM external_identities WHERE user_id = ?",
        "DELETE FROM passkeys WHERE user_id = ?",
        "DELETE FROM totp_secrets WHERE user_id = ?",
        "DELETE FROM recovery_codes WHERE user_id = ?",
        "DELETE FROM one_time_tokens WHERE user_id = ? AND used_at IS NULL",
    ] {
        let done = sql::query(statement).bind(&user.id).execute(&mut *tx).await.doing(DOING)?;
        closed = closed.saturating_add(done.rows_affected());
    }
    let revoke = "UPDATE api_tokens SET revoked_at = ? WHERE principal_id = ? AND revoked_at IS NULL";
    let revoke = sql::query(revoke).bind(clock::now().as_microsecond()).bind(&user.id);
    closed = closed.saturating_add(revoke.execute(&mut *tx).await.doing(DOING)?.rows_affected());
    if closed > 0 {
        let change = Change::new(Chain::Installation, "user.reclaimed", "user", &user.id);
        audit::record(tx, caller, change).await?;
    }
    Ok(())
}
