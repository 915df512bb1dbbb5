//! Sessions: one sign-in on one device. An access token calls the API for some minutes; a refresh token gets the next pair, once. A
//! refresh token that comes twice was stolen, or its thief's came first: the session ends, whoever it was.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mindweave_policy::{Fingerprint, Secret};
use serde::{Serialize, Serializer};

use super::one_time::TokenError;
use super::service::Identity;
use super::session_store::{self, NewRow};
use super::token::TokenKind;
use super::users::{self, User};
use crate::access::{Actor, Caller, Grants, Scopes};
use crate::audit::{self, Chain, Change};
use crate::clock;
use crate::db::{Connection, Db, StoreError};
use crate::http::problem::{Code, Problem};

/// How somebody proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method<'a> {
    /// A password.
    Password,
    /// A passkey.
    Passkey,
    /// The link of the first start.
    OwnerLink,
    /// The sign-on provider with this id.
    SignOn(&'a str),
}

impl<'a> Method<'a> {
    /// As it is stored and shown.
    pub(crate) fn as_str(self) -> &'a str {
        match self {
            Self::Password => "password",
            Self::Passkey => "passkey",
            Self::OwnerLink => "owner_link",
            Self::SignOn(provider) => provider,
        }
    }
}

/// Why a session ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Its holder signed out.
    SignedOut,
    /// Its holder ended it from another one.
    Revoked,
    /// A refresh token came twice.
    ReuseDetected,
    /// The password was changed or reset.
    PasswordChanged,
}

impl Ended {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::SignedOut => "signed_out",
            Self::Revoked => "revoked",
            Self::ReuseDetected => "reuse_detected",
            Self::PasswordChanged => "password_changed",
        }
    }
}

/// The two tokens of a session: what every sign-in answers, and every refresh.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Tokens {
    /// For the header `authorization: Bearer <access_token>`.
    #[serde(serialize_with = "exposed")]
    #[schema(value_type = String, example = "mwa_..")]
    pub(crate) access_token: Secret,
    /// `Bearer`.
    pub(crate) token_type: &'static str,
    /// Seconds for which the access token is good.
    pub(crate) expires_in: u64,
    /// For `POST /auth/refresh`, once.
    #[serde(serialize_with = "exposed")]
    #[schema(value_type = String, example = "mwr_..")]
    pub(crate) refresh_token: Secret,
    /// When the session ends unless it is refreshed.
    pub(crate) refresh_expires_at: Timestamp,
}

/// A new session.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct NewSession {
    /// `ses_..`
    pub(crate) session_id: String,
    #[serde(flatten)]
    pub(crate) tokens: Tokens,
    /// Who signed in.
    pub(crate) user: User,
}

/// The one place where a token is written out: into the answer to whoever it is for.
fn exposed<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

#[derive(Serialize)]
struct LoginShown<'a> {
    session_id: &'a str,
    method: &'a str,
    second_factor: bool,
}

/// Begins a session of somebody who has proved who they are, and writes `user.login` to the audit log. The transaction must be one of
/// [`Db::begin_write`]; `caller` says from where.
///
/// # Errors
/// When the database fails or there are no random bytes. Whether the user may sign in ([`users::Account::disabled`]) is asked before.
pub(crate) async fn begin(
    tx: &mut Connection,
    identity: &Identity,
    caller: &Caller,
    user_id: &str,
    method: Method<'_>,
    second_factor: bool,
) -> Result<NewSession, Problem> {
    let now = clock::now();
    let settings = identity.settings();
    let ends_at = later(now, settings.refresh_lifetime.min(settings.session_lifetime));
    let session_id = session_store::id(now)?;
    let origin = caller.origin();
    let row = NewRow {
        id: &session_id,
        user_id,
        method: method.as_str(),
        second_factor,
        address: origin.address.map(|address| address.to_string()),
        user_agent: origin.user_agent.as_deref(),
        now,
        ends_at,
    };
    session_store::session_insert(tx, &row).await?;
    let tokens = tokens_issue(tx, identity, &session_id, now, ends_at).await?;
    let gone = StoreError::Corrupt { what: "a user who is signing in" };
    let user = users::user_view(tx, user_id).await?.ok_or(gone)?;
    let shown = LoginShown { session_id: &session_id, method: method.as_str(), second_factor };
    let actor = acting_as(caller, &user, Some(&session_id));
    audit::record(tx, &actor, Change::new(Chain::Installation, "user.login", "user", user_id).after(&shown))
        .await?;
    Ok(NewSession { session_id, tokens, user })
}

/// The same request, as of somebody whom it has just proved to be from: for the audit log.
pub(crate) fn acting_as(caller: &Caller, user: &User, session_id: Option<&str>) -> Caller {
    let actor = Actor::User {
        id: user.id.as_str().into(),
        session_id: session_id.map(Into::into),
        token_id: None,
        installation_admin: user.installation_admin,
    };
    Caller::new(actor, Grants::default(), Scopes::All, Arc::new(caller.origin().clone()))
}

async fn tokens_issue(
    tx: &mut Connection,
    identity: &Identity,
    session_id: &str,
    now: Timestamp,
    ends_at: Timestamp,
) -> Result<Tokens, TokenError> {
    let (access_token, refresh_token) = (TokenKind::Access.generate()?, TokenKind::Refresh.generate()?);
    let lifetime = identity.settings().access_lifetime;
    let access_ends = later(now, lifetime).min(ends_at);
    for (token, kind, ends_at) in
        [(&access_token, TokenKind::Access, access_ends), (&refresh_token, TokenKind::Refresh, ends_at)]
    {
        let fingerprint = Fingerprint::of(token.expose_secret().as_bytes());
        session_store::token_insert(tx, &fingerprint, session_id, kind, (now, ends_at)).await?;
    }
    let seconds = access_ends.duration_since(now).as_secs();
    Ok(Tokens {
        access_token,
        token_type: "Bearer",
        expires_in: u64::try_from(seconds).unwrap_or_default(),
        refresh_token,
        refresh_expires_at: ends_at,
    })
}

/// Exchanges a refresh token for the next pair. Of several who present it at a time exactly one gets an answer, and the others end the
/// session: there is no time of grace, in which a thief who came first would stay unnoticed.
///
/// # Errors
/// 401 `session_ended`.
pub(super) async fn refresh(
    db: &Db,
    identity: &Identity,
    caller: &Caller,
    token: &Secret,
) -> Result<Tokens, Problem> {
    let fingerprint = Fingerprint::of(token.expose_secret().as_bytes());
    let now = clock::now();
    let mut tx = db.begin_apart().await?;
    if let Some(session) = session_store::refresh_use(&mut tx, &fingerprint, now).await? {
        let settings = identity.settings();
        let at_most = later(session.created_at()?, settings.session_lifetime);
        let ends_at = later(now, settings.refresh_lifetime).min(at_most);
        session_store::session_used(&mut tx, &session.id, now, ends_at).await?;
        let tokens = tokens_issue(&mut tx, identity, &session.id, now, ends_at).await?;
        tx.commit().await.map_err(|cause| StoreError::Database { doing: "refreshing a session", cause })?;
        return Ok(tokens);
    }
    drop(tx);
    end_if_reused(db, caller, &fingerprint, now).await?;
    Err(Problem::new(
        Code::SessionEnded,
        "this refresh token is not good (any more): sign in again. Each is good for one exchange, and using one twice ends its session",
    ))
}

/// Ends the session of a refresh token that was used before.
async fn end_if_reused(
    db: &Db,
    caller: &Caller,
    fingerprint: &Fingerprint,
    now: Timestamp,
) -> Result<(), Problem> {
    let mut tx = db.begin_write().await?;
    let Some((session_id, user_id)) = session_store::used_before(&mut tx, fingerprint).await? else {
        return Ok(());
    };
    if session_store::session_end(&mut tx, &session_id, Ended::ReuseDetected, now).await? {
        let shown = SessionShown { user_id: &user_id };
        let change = Change::new(Chain::Installation, "session.reuse_detected", "session", &session_id);
        audit::record(&mut tx, caller, change.after(&shown)).await?;
        tx.commit().await.map_err(|cause| StoreError::Database { doing: "ending a session", cause })?;
        tracing::warn!(session_id, user_id, "a refresh token was used twice: its session is over");
    }
    Ok(())
}

#[derive(Serialize)]
struct SessionShown<'a> {
    user_id: &'a str,
}

/// Which sessions of somebody.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which<'a> {
    /// All.
    All,
    /// All but this one.
    AllBut(&'a str),
}

/// Ends sessions of somebody, each with its entry in the audit log, and returns how many. The transaction must be one of
/// [`Db::begin_write`].
pub(crate) async fn end_all(
    tx: &mut Connection,
    caller: &Caller,
    user_id: &str,
    which: Which<'_>,
    why: Ended,
) -> Result<usize, Problem> {
    let now = clock::now();
    let kept = match which {
        Which::All => None,
        Which::AllBut(session_id) => Some(session_id),
    };
    let mut ended = 0_usize;
    for id in session_store::live_ids(tx, user_id, now).await? {
        if Some(id.as_str()) != kept && end(tx, caller, user_id, &id, why).await? {
            ended = ended.saturating_add(1);
        }
    }
    Ok(ended)
}

#[derive(Serialize)]
struct EndShown<'a> {
    user_id: &'a str,
    reason: &'static str,
}

/// Ends one session of somebody; whether it was live. Like [`end_all`].
pub(crate) async fn end(
    tx: &mut Connection,
    caller: &Caller,
    user_id: &str,
    session_id: &str,
    why: Ended,
) -> Result<bool, Problem> {
    if !session_store::session_end(tx, session_id, why, clock::now()).await? {
        return Ok(false);
    }
    let action = if why == Ended::SignedOut { "user.logout" } else { "session.revoked" };
    let change = Change::new(Chain::Installation, action, "session", session_id);
    audit::record(tx, caller, change.after(&EndShown { user_id, reason: why.as_str() })).await?;
    Ok(true)
}

/// So much later; the end of time at most.
pub(super) fn later(now: Timestamp, by: Duration) -> Timestamp {
    now.checked_add(by).unwrap_or(Timestamp::MAX)
}
