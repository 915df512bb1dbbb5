//! What may be used once, and soon: links in e-mails, challenges, the state of a sign-on. The token itself is stored nowhere, only
//! its SHA-256.

use std::time::Duration;

use mindweave_policy::{Fingerprint, Secret};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::{AssertSqlSafe, FromRow};

use super::token::TokenKind;
use crate::clock;
use crate::db::{Connection, Doing, StoreError, sql};
use crate::entropy::NoEntropy;
use crate::http::problem::Problem;

/// What a token is for. One made for one purpose is none for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Makes the first owner.
    OwnerSetup,
    /// Sets a new password in place of a forgotten one.
    PasswordReset,
    /// Proves that an address belongs to whoever registers with it.
    Registration,
    /// Proves that an address belongs to the user who wants to change to it.
    EmailChange,
    /// Goes on with a sign-in that wants a second factor.
    SecondFactor,
    /// The challenge of a passkey that is added.
    PasskeyRegistration,
    /// The challenge of a passkey that signs in.
    PasskeySignIn,
    /// The state of a sign-on at a provider.
    SignOn,
    /// The end of a sign-on, which the browser brings to the page or program that wanted it.
    SignOnCode,
}

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Self::OwnerSetup => "owner_setup",
            Self::PasswordReset => "password_reset",
            Self::Registration => "registration",
            Self::EmailChange => "email_change",
            Self::SecondFactor => "second_factor",
            Self::PasskeyRegistration => "passkey_registration",
            Self::PasskeySignIn => "passkey_sign_in",
            Self::SignOn => "sign_on",
            Self::SignOnCode => "sign_on_code",
        }
    }
}

/// Why a token could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Store(error) => error.into(),
            TokenError::Entropy(error) => Self::internal(&error),
        }
    }
}

/// What a token stood for.
#[derive(Debug)]
pub(crate) struct Taken<T> {
    /// Whom it was made for, if there was somebody.
    pub(crate) user_id: Option<String>,
    /// What was noted when it was made.
    pub(crate) data: T,
}

#[derive(FromRow)]
struct Row {
    user_id: Option<String>,
    data: String,
}

impl<T: DeserializeOwned> TryFrom<Row> for Taken<T> {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let corrupt = |_| StoreError::Corrupt { what: "the data of a one-time token" };
        Ok(Self { user_id: row.user_id, data: serde_json::from_str(&row.data).map_err(corrupt)? })
    }
}

/// Makes a token. `data` is stored as it is, so nothing secret may be in it but hashes.
pub(crate) async fn issue(
    tx: &mut Connection,
    purpose: Purpose,
    user_id: Option<&str>,
    data: &impl Serialize,
    lifetime: Duration,
) -> Result<Secret, TokenError> {
    let token = TokenKind::OneTime.generate()?;
    let now = clock::now().as_microsecond();
    let lifetime = i64::try_from(lifetime.as_micros()).unwrap_or(i64::MAX);
    let data = serde_json::to_string(data).map_err(|_| StoreError::Corrupt { what: "data of a token" })?;
    sql::query(
        "INSERT INTO one_time_tokens (fingerprint, purpose, user_id, data, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(Fingerprint::of(token.expose_secret().as_bytes()).as_bytes().as_slice())
    .bind(purpose.as_str())
    .bind(user_id.map(str::to_owned))
    .bind(data)
    .bind(now)
    .bind(now.saturating_add(lifetime))
    .execute(tx)
    .await
    .doing("making a one-time token")?;
    Ok(token)
}

/// Uses a token up. `None`: it is unknown, expired, for something else, or was used. Of several who try at a time one gets it.
pub(crate) async fn take<T: DeserializeOwned>(
    tx: &mut Connection,
    purpose: Purpose,
    token: &str,
) -> Result<Option<Taken<T>>, StoreError> {
    let sql = "UPDATE one_time_tokens SET used_at = ?
               WHERE fingerprint = ? AND purpose = ? AND used_at IS NULL AND expires_at > ? RETURNING user_id, data";
    let now = clock::now().as_microsecond();
    let row: Option<Row> = sql::query_as(sql)
        .bind(now)
        .bind(Fingerprint::of(token.as_bytes()).as_bytes().as_slice())
        .bind(purpose.as_str())
        .bind(now)
        .fetch_optional(tx)
        .await
        .doing("using a one-time token")?;
    row.map(Taken::try_from).transpose()
}

/// Looks at a token without using it up: for what takes more than the token, and may be tried again.
pub(crate) async fn look<T: DeserializeOwned>(
    tx: &mut Connection,
    purpose: Purpose,
    token: &str,
) -> Result<Option<Taken<T>>, StoreError> {
    let sql = "SELECT user_id, data FROM one_time_tokens
               WHERE fingerprint = ? AND purpose = ? AND used_at IS NULL AND expires_at > ?";
    let row: Option<Row> = sql::query_as(sql)
        .bind(Fingerprint::of(token.as_bytes()).as_bytes().as_slice())
        .bind(purpose.as_str())
        .bind(clock::now().as_microsecond())
        .fetch_optional(tx)
        .await
        .doing("looking at a one-time token")?;
    row.map(Taken::try_from).transpose()
}

/// Ends all tokens of a purpose that are not used yet: those of one user, or with `None` those of everybody.
pub(crate) async fn revoke(
    tx: &mut Connection,
    purpose: Purpose,
    user_id: Option<&str>,
) -> Result<(), StoreError> {
    let whose = if user_id.is_some() { " AND user_id = ?" } else { "" };
    let sql = format!("DELETE FROM one_time_tokens WHERE purpose = ? AND used_at IS NULL{whose}");
    let mut query = sql::query(AssertSqlSafe(sql)).bind(purpose.as_str());
    if let Some(user_id) = user_id {
        query = query.bind(user_id);
    }
    query.execute(tx).await.doing("ending one-time tokens").map(drop)
}
