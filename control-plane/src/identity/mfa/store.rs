//! All SQL of codes.

use jiff::Timestamp;
use mindweave_policy::Fingerprint;
use sqlx::FromRow;

use crate::db::{Connection, Doing, StoreError, sql};
use crate::stored::timestamp;

/// What an app shares with us, as it is stored.
#[derive(Debug, FromRow)]
pub(super) struct TotpRow {
    /// Sealed for [`crate::secrets::totp_owner`].
    pub(super) sealed: Vec<u8>,
    pub(super) confirmed_at: Option<i64>,
}

/// The secret of somebody's app.
pub(super) async fn totp_find(tx: &mut Connection, user_id: &str) -> Result<Option<TotpRow>, StoreError> {
    sql::query_as("SELECT sealed, confirmed_at FROM totp_secrets WHERE user_id = ?")
        .bind(user_id)
        .fetch_optional(tx)
        .await
        .doing("reading a secret of one-time passwords")
}

/// Stores a secret that is still to be confirmed, over one that was never confirmed. Whether it was: a confirmed one stays.
pub(super) async fn totp_put(
    tx: &mut Connection,
    user_id: &str,
    sealed: &[u8],
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sql::query(
        "INSERT INTO totp_secrets (user_id, sealed, created_at) VALUES (?, ?, ?)
         ON CONFLICT (user_id) DO UPDATE SET sealed = excluded.sealed, created_at = excluded.created_at, last_step = 0
         WHERE totp_secrets.confirmed_at IS NULL",
    )
    .bind(user_id)
    .bind(sealed)
    .bind(now.as_microsecond())
    .execute(tx)
    .await
    .doing("storing a secret of one-time passwords")?;
    Ok(done.rows_affected() > 0)
}

/// Takes a time step, if it is later than every one that was taken. Of several who come with it at a time one gets it.
pub(super) async fn totp_step_take(
    tx: &mut Connection,
    user_id: &str,
    step: u64,
) -> Result<bool, StoreError> {
    let step = i64::try_from(step).unwrap_or(i64::MAX);
    let done = sql::query("UPDATE totp_secrets SET last_step = ? WHERE user_id = ? AND last_step < ?")
        .bind(step)
        .bind(user_id)
        .bind(step)
        .execute(tx)
        .await
        .doing("taking a one-time password")?;
    Ok(done.rows_affected() > 0)
}

/// Switches the codes of somebody's app on; whether they were off.
pub(super) async fn totp_confirm(
    tx: &mut Connection,
    user_id: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done =
        sql::query("UPDATE totp_secrets SET confirmed_at = ? WHERE user_id = ? AND confirmed_at IS NULL")
            .bind(now.as_microsecond())
            .bind(user_id)
            .execute(tx)
            .await
            .doing("confirming a secret of one-time passwords")?;
    Ok(done.rows_affected() > 0)
}

/// Forgets somebody's secret; whether there was one that was on.
pub(super) async fn totp_delete(tx: &mut Connection, user_id: &str) -> Result<bool, StoreError> {
    let done = sql::query("DELETE FROM totp_secrets WHERE user_id = ? AND confirmed_at IS NOT NULL")
        .bind(user_id)
        .execute(tx)
        .await
        .doing("deleting a secret of one-time passwords")?;
    Ok(done.rows_affected() > 0)
}

/// Stores recovery codes in place of those that somebody had.
pub(super) async fn recovery_put(
    tx: &mut Connection,
    user_id: &str,
    codes: &[Fingerprint],
) -> Result<(), StoreError> {
    recovery_delete(tx, user_id).await?;
    for code in codes {
        sql::query("INSERT INTO recovery_codes (user_id, fingerprint) VALUES (?, ?)")
            .bind(user_id)
            .bind(code.as_bytes().as_slice())
            .execute(&mut *tx)
            .await
            .doing("storing recovery codes")?;
    }
    Ok(())
}

/// Uses a recovery code up; whether it was one that nobody has used.
pub(super) async fn recovery_use(
    tx: &mut Connection,
    user_id: &str,
    code: &Fingerprint,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sql::query(
        "UPDATE recovery_codes SET used_at = ? WHERE user_id = ? AND fingerprint = ? AND used_at IS NULL",
    )
    .bind(now.as_microsecond())
    .bind(user_id)
    .bind(code.as_bytes().as_slice())
    .execute(tx)
    .await
    .doing("using a recovery code")?;
    Ok(done.rows_affected() > 0)
}

/// How many recovery codes somebody has that are not used.
pub(super) async fn recovery_left(tx: &mut Connection, user_id: &str) -> Result<i64, StoreError> {
    sql::query_scalar("SELECT count(*) FROM recovery_codes WHERE user_id = ? AND used_at IS NULL")
        .bind(user_id)
        .fetch_one(tx)
        .await
        .doing("counting recovery codes")
}

/// Ends all recovery codes of somebody.
pub(super) async fn recovery_delete(tx: &mut Connection, user_id: &str) -> Result<(), StoreError> {
    sql::query("DELETE FROM recovery_codes WHERE user_id = ?")
        .bind(user_id)
        .execute(tx)
        .await
        .doing("deleting recovery codes")
        .map(drop)
}

/// When a session began.
pub(super) async fn session_began(
    tx: &mut Connection,
    session_id: &str,
) -> Result<Option<Timestamp>, StoreError> {
    let micros: Option<i64> = sql::query_scalar("SELECT created_at FROM sessions WHERE id = ?")
        .bind(session_id)
        .fetch_optional(tx)
        .await
        .doing("reading when a session began")?;
    micros.map(timestamp).transpose()
}
