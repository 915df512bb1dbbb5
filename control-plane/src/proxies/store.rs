//! All SQL of proxy tokens.

use jiff::Timestamp;
use mindweave_policy::Fingerprint;
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow};

use super::scope::{self, Scope};
use crate::access::InstallationPermit;
use crate::db::{Connection, Db, Doing, StoreError, sql};
use crate::stored::timestamp;

/// A token as the API shows it: everything but its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = ProxyToken)]
pub(super) struct Token {
    pub(super) id: String,
    pub(super) name: String,
    /// The secret's last four characters.
    pub(super) hint: String,
    pub(super) scopes: Vec<Scope>,
    /// Only a proxy whose certificate is made out to this name may use it.
    pub(super) certificate_name: Option<String>,
    pub(super) created_at: Timestamp,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) revoked_at: Option<Timestamp>,
    /// To the minute: uses are noted together.
    pub(super) last_used_at: Option<Timestamp>,
}

#[derive(FromRow)]
struct TokenRow {
    id: String,
    name: String,
    hint: String,
    scopes: String,
    certificate_name: Option<String>,
    created_at: i64,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
    last_used_at: Option<i64>,
}

impl TryFrom<TokenRow> for Token {
    type Error = StoreError;

    fn try_from(row: TokenRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            name: row.name,
            hint: row.hint,
            scopes: scope::read(&row.scopes)?,
            certificate_name: row.certificate_name,
            created_at: timestamp(row.created_at)?,
            expires_at: row.expires_at.map(timestamp).transpose()?,
            revoked_at: row.revoked_at.map(timestamp).transpose()?,
            last_used_at: row.last_used_at.map(timestamp).transpose()?,
        })
    }
}

/// A token as requests are judged by it.
#[derive(FromRow)]
struct LiveRow {
    id: String,
    fingerprint: Vec<u8>,
    scopes: String,
    certificate_name: Option<String>,
    expires_at: Option<i64>,
}

/// What a token that was not revoked allows, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Live {
    pub(super) id: String,
    pub(super) fingerprint: Fingerprint,
    pub(super) scopes: Vec<Scope>,
    pub(super) certificate_name: Option<String>,
    pub(super) expires_at: Option<Timestamp>,
}

impl TryFrom<LiveRow> for Live {
    type Error = StoreError;

    fn try_from(row: LiveRow) -> Result<Self, StoreError> {
        let corrupt = StoreError::Corrupt { what: "the fingerprint of a proxy token" };
        Ok(Self {
            id: row.id,
            fingerprint: Fingerprint::from_bytes(&row.fingerprint).ok_or(corrupt)?,
            scopes: scope::read(&row.scopes)?,
            certificate_name: row.certificate_name,
            expires_at: row.expires_at.map(timestamp).transpose()?,
        })
    }
}

const SELECT: &str = "SELECT id, name, hint, scopes, certificate_name, created_at, expires_at, revoked_at, last_used_at FROM proxy_tokens";

/// How many tokens there are that could still be used.
pub(super) async fn token_count(tx: &mut Connection, now: Timestamp) -> Result<i64, StoreError> {
    sql::query_scalar(
        "SELECT count(*) FROM proxy_tokens WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)",
    )
    .bind(now.as_microsecond())
    .fetch_one(tx)
    .await
    .doing("counting proxy tokens")
}

/// Stores a token.
pub(super) async fn token_insert(
    tx: &mut Connection,
    _permit: &InstallationPermit,
    token: &Token,
    fingerprint: &Fingerprint,
) -> Result<(), StoreError> {
    sql::query(
        "INSERT INTO proxy_tokens (id, name, fingerprint, hint, scopes, certificate_name, created_at, expires_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&token.id)
    .bind(&token.name)
    .bind(fingerprint.as_bytes().as_slice())
    .bind(&token.hint)
    .bind(scope::stored(&token.scopes))
    .bind(&token.certificate_name)
    .bind(token.created_at.as_microsecond())
    .bind(token.expires_at.map(|at| at.as_microsecond()))
    .execute(tx)
    .await
    .doing("inserting a proxy token")
    .map(drop)
}

/// The token with this id, also when it was revoked.
pub(super) async fn token_view(
    tx: &mut Connection,
    _permit: &InstallationPermit,
    id: &str,
) -> Result<Option<Token>, StoreError> {
    let row: Option<TokenRow> = sql::query_as(AssertSqlSafe(format!("{SELECT} WHERE id = ?")))
        .bind(id)
        .fetch_optional(tx)
        .await
        .doing("reading a proxy token")?;
    row.map(Token::try_from).transpose()
}

/// The tokens after this id, oldest first, revoked ones included.
pub(super) async fn token_list(
    db: &Db,
    _permit: &InstallationPermit,
    after: &str,
    limit: u64,
) -> Result<Vec<Token>, StoreError> {
    let sql = format!("{SELECT} WHERE id > ? ORDER BY id LIMIT ?");
    let rows: Vec<TokenRow> = sql::query_as(AssertSqlSafe(sql))
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(db.readers())
        .await
        .doing("listing proxy tokens")?;
    rows.into_iter().map(Token::try_from).collect()
}

/// Revokes a token.
pub(super) async fn token_revoke(
    tx: &mut Connection,
    _permit: &InstallationPermit,
    id: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sql::query("UPDATE proxy_tokens SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?")
        .bind(now.as_microsecond())
        .bind(id)
        .execute(tx)
        .await
        .doing("revoking a proxy token")
        .map(drop)
}

/// Every token that was not revoked. Those that have expired are among them: time passes between two readings.
pub(super) async fn tokens_live(db: &Db) -> Result<Vec<Live>, StoreError> {
    let rows: Vec<LiveRow> = sql::query_as(
        "SELECT id, fingerprint, scopes, certificate_name, expires_at FROM proxy_tokens
         WHERE revoked_at IS NULL ORDER BY id",
    )
    .fetch_all(db.readers())
    .await
    .doing("reading proxy tokens")?;
    rows.into_iter().map(Live::try_from).collect()
}

/// Notes when tokens were used, as far as nobody has noted a later use.
pub(super) async fn tokens_used(db: &Db, used: &[(String, Timestamp)]) -> Result<(), StoreError> {
    let mut tx = db.begin_write().await?;
    for (id, at) in used {
        sql::query(
            "UPDATE proxy_tokens SET last_used_at = ? WHERE id = ? AND (last_used_at IS NULL OR last_used_at < ?)",
        )
        .bind(at.as_microsecond())
        .bind(id)
        .bind(at.as_microsecond())
        .execute(&mut *tx)
        .await
        .doing("noting the use of a proxy token")?;
    }
    tx.commit().await.doing("committing the use of proxy tokens")
}
