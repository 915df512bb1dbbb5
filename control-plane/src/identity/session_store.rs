//! All SQL of sessions and their tokens.

use std::net::IpAddr;

use jiff::Timestamp;
use mindweave_policy::Fingerprint;
use serde::Serialize;
use sqlx::FromRow;

use super::session::Ended;
use super::token::TokenKind;
use crate::db::{Connection, Doing, StoreError, sql};
use crate::entropy;
use crate::stored::timestamp;

/// What ids of sessions start with.
const ID_PREFIX: &str = "ses_";
/// Most live sessions of one person that are shown and ended at once: more than anybody has devices.
const MAX_SESSIONS: i64 = 1_000;

/// A new id.
pub(super) fn id(now: Timestamp) -> Result<String, super::one_time::TokenError> {
    let millis = u64::try_from(now.as_millisecond()).unwrap_or(0); // before 1970: a broken clock, not a reason to fail
    let random = entropy::bytes()?;
    Ok(format!(
        "{ID_PREFIX}{}",
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().simple()
    ))
}

/// A session that begins.
pub(super) struct NewRow<'a> {
    pub(super) id: &'a str,
    pub(super) user_id: &'a str,
    pub(super) method: &'a str,
    pub(super) second_factor: bool,
    pub(super) address: Option<String>,
    pub(super) user_agent: Option<&'a str>,
    pub(super) now: Timestamp,
    pub(super) ends_at: Timestamp,
}

/// Makes a session, and notes when its user signed in last.
pub(super) async fn session_insert(tx: &mut Connection, new: &NewRow<'_>) -> Result<(), StoreError> {
    const DOING: &str = "beginning a session";
    let now = new.now.as_microsecond();
    sql::query(
        "INSERT INTO sessions (id, user_id, method, second_factor_at, address, user_agent, created_at, last_used_at, expires_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(new.id)
    .bind(new.user_id)
    .bind(new.method)
    .bind(new.second_factor.then_some(now))
    .bind(new.address.clone())
    .bind(new.user_agent.map(str::to_owned))
    .bind(now)
    .bind(now)
    .bind(new.ends_at.as_microsecond())
    .execute(&mut *tx)
    .await
    .doing(DOING)?;
    sql::query("UPDATE users SET last_login_at = ? WHERE id = ?")
        .bind(now)
        .bind(new.user_id)
        .execute(tx)
        .await
        .doing(DOING)
        .map(drop)
}

/// Stores a token of a session; `times` are when it was made and when it ends.
pub(super) async fn token_insert(
    tx: &mut Connection,
    fingerprint: &Fingerprint,
    session_id: &str,
    kind: TokenKind,
    times: (Timestamp, Timestamp),
) -> Result<(), StoreError> {
    let kind = if kind == TokenKind::Access { "access" } else { "refresh" };
    sql::query(
        "INSERT INTO session_tokens (fingerprint, session_id, kind, created_at, expires_at) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(fingerprint.as_bytes().as_slice())
    .bind(session_id)
    .bind(kind)
    .bind(times.0.as_microsecond())
    .bind(times.1.as_microsecond())
    .execute(tx)
    .await
    .doing("storing a token of a session")
    .map(drop)
}

/// The session of a refresh token.
#[derive(Debug, FromRow)]
pub(super) struct Refreshed {
    pub(super) id: String,
    created_at: i64,
}

impl Refreshed {
    pub(super) fn created_at(&self) -> Result<Timestamp, StoreError> {
        timestamp(self.created_at)
    }
}

/// Uses a refresh token up. `None`: it is unknown, expired or used, its session is over, its user may not sign in.
pub(super) async fn refresh_use(
    tx: &mut Connection,
    fingerprint: &Fingerprint,
    now: Timestamp,
) -> Result<Option<Refreshed>, StoreError> {
    const DOING: &str = "using a refresh token";
    let now = now.as_microsecond();
    // Whoever comes second waits here for the first one's commit, and then finds it used.
    let used = sql::query(
        "UPDATE session_tokens SET used_at = ?
         WHERE fingerprint = ? AND kind = 'refresh' AND used_at IS NULL AND expires_at > ?",
    )
    .bind(now)
    .bind(fingerprint.as_bytes().as_slice())
    .bind(now)
    .execute(&mut *tx)
    .await
    .doing(DOING)?;
    if used.rows_affected() == 0 {
        return Ok(None);
    }
    sql::query_as(
        "SELECT s.id, s.created_at FROM session_tokens t JOIN sessions s ON s.id = t.session_id JOIN users u ON u.id = s.user_id
         WHERE t.fingerprint = ? AND s.revoked_at IS NULL AND s.expires_at > ? AND u.disabled_at IS NULL AND u.erased_at IS NULL",
    )
    .bind(fingerprint.as_bytes().as_slice())
    .bind(now)
    .fetch_optional(tx)
    .await
    .doing(DOING)
}

/// Notes that a session was refreshed.
pub(super) async fn session_used(
    tx: &mut Connection,
    id: &str,
    now: Timestamp,
    ends_at: Timestamp,
) -> Result<(), StoreError> {
    sql::query("UPDATE sessions SET last_used_at = ?, expires_at = ? WHERE id = ?")
        .bind(now.as_microsecond())
        .bind(ends_at.as_microsecond())
        .bind(id)
        .execute(tx)
        .await
        .doing("refreshing a session")
        .map(drop)
}

/// Session and user of a refresh token that was used before.
pub(super) async fn used_before(
    tx: &mut Connection,
    fingerprint: &Fingerprint,
) -> Result<Option<(String, String)>, StoreError> {
    sql::query_as(
        "SELECT s.id, s.user_id FROM session_tokens t JOIN sessions s ON s.id = t.session_id
         WHERE t.fingerprint = ? AND t.kind = 'refresh' AND t.used_at IS NOT NULL",
    )
    .bind(fingerprint.as_bytes().as_slice())
    .fetch_optional(tx)
    .await
    .doing("looking for a refresh token")
}

/// Ends a session; whether it had not ended before. Its tokens are not good any more from the commit on.
pub(super) async fn session_end(
    tx: &mut Connection,
    id: &str,
    why: Ended,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sql::query(
        "UPDATE sessions SET revoked_at = ?, revoked_reason = ? WHERE id = ? AND revoked_at IS NULL AND expires_at > ?",
    )
    .bind(now.as_microsecond())
    .bind(why.as_str())
    .bind(id)
    .bind(now.as_microsecond())
    .execute(tx)
    .await
    .doing("ending a session")?;
    Ok(done.rows_affected() > 0)
}

/// Ids of somebody's sessions that have not ended.
pub(super) async fn live_ids(
    tx: &mut Connection,
    user_id: &str,
    now: Timestamp,
) -> Result<Vec<String>, StoreError> {
    Ok(sessions_list(tx, user_id, now).await?.into_iter().map(|session| session.id).collect())
}

/// A session as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct Session {
    /// `ses_..`
    pub(crate) id: String,
    /// `password`, `passkey`, `owner_link`, or the id of a sign-on provider.
    pub(crate) method: String,
    /// When a second factor was shown.
    pub(crate) second_factor_at: Option<Timestamp>,
    /// From where it began.
    #[schema(value_type = Option<String>)]
    pub(crate) address: Option<IpAddr>,
    pub(crate) user_agent: Option<String>,
    pub(crate) created_at: Timestamp,
    /// When it began, or was refreshed last.
    pub(crate) last_used_at: Timestamp,
    /// When it ends unless it is refreshed.
    pub(crate) expires_at: Timestamp,
    /// Whether it is the one that asks.
    pub(crate) current: bool,
}

#[derive(FromRow)]
struct Row {
    id: String,
    method: String,
    second_factor_at: Option<i64>,
    address: Option<String>,
    user_agent: Option<String>,
    created_at: i64,
    last_used_at: i64,
    expires_at: i64,
}

impl TryFrom<Row> for Session {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            method: row.method,
            second_factor_at: row.second_factor_at.map(timestamp).transpose()?,
            address: row.address.and_then(|text| text.parse().ok()),
            user_agent: row.user_agent,
            created_at: timestamp(row.created_at)?,
            last_used_at: timestamp(row.last_used_at)?,
            expires_at: timestamp(row.expires_at)?,
            current: false,
        })
    }
}

/// Somebody's sessions that have not ended, oldest first.
pub(super) async fn sessions_list(
    tx: &mut Connection,
    user_id: &str,
    now: Timestamp,
) -> Result<Vec<Session>, StoreError> {
    let rows: Vec<Row> = sql::query_as(
        "SELECT id, method, second_factor_at, address, user_agent, created_at, last_used_at, expires_at FROM sessions
         WHERE user_id = ? AND revoked_at IS NULL AND expires_at > ? ORDER BY id LIMIT ?",
    )
    .bind(user_id)
    .bind(now.as_microsecond())
    .bind(MAX_SESSIONS)
    .fetch_all(tx)
    .await
    .doing("listing sessions")?;
    rows.into_iter().map(Session::try_from).collect()
}

/// Whether somebody has signed in from an address and that session is still known.
pub(super) async fn address_known(
    tx: &mut Connection,
    user_id: &str,
    address: Option<IpAddr>,
) -> Result<bool, StoreError> {
    sql::query_scalar("SELECT EXISTS (SELECT 1 FROM sessions WHERE user_id = ? AND address = ?)")
        .bind(user_id)
        .bind(address.map(|address| address.to_string()).unwrap_or_default())
        .fetch_one(tx)
        .await
        .doing("looking for sessions")
}
