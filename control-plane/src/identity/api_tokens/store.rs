//! All SQL of tokens, but for telling whose one is, which [`crate::identity::resolve`] does.

use jiff::Timestamp;
use mindweave_policy::Fingerprint;
use sqlx::{AssertSqlSafe, FromRow};

use super::holder::Holder;
use super::view::{ApiToken, Scope};
use crate::db::{Connection, Db, Doing, StoreError, sql};
use crate::stored::timestamp;

const COLUMNS: &str = "SELECT id, name, hint, scopes, created_by, created_at, expires_at, last_used_at, revoked_at FROM api_tokens";

#[derive(FromRow)]
struct TokenRow {
    id: String,
    name: String,
    hint: String,
    scopes: String,
    created_by: String,
    created_at: i64,
    expires_at: Option<i64>,
    last_used_at: Option<i64>,
    revoked_at: Option<i64>,
}

impl TryFrom<TokenRow> for ApiToken {
    type Error = StoreError;

    fn try_from(row: TokenRow) -> Result<Self, StoreError> {
        let scopes: Vec<Scope> = serde_json::from_str(&row.scopes)
            .map_err(|_| StoreError::Corrupt { what: "the scopes of a token" })?;
        Ok(Self {
            id: row.id,
            name: row.name,
            hint: row.hint,
            scopes,
            created_by: row.created_by,
            created_at: timestamp(row.created_at)?,
            expires_at: row.expires_at.map(timestamp).transpose()?,
            last_used_at: row.last_used_at.map(timestamp).transpose()?,
            revoked_at: row.revoked_at.map(timestamp).transpose()?,
        })
    }
}

/// How many tokens the holder has that are good.
pub(super) async fn token_count(
    tx: &mut Connection,
    holder: &Holder<'_>,
    now: Timestamp,
) -> Result<i64, StoreError> {
    sql::query_scalar(
        "SELECT count(*) FROM api_tokens
         WHERE principal_id = ? AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)",
    )
    .bind(holder.principal_id())
    .bind(now.as_microsecond())
    .fetch_one(tx)
    .await
    .doing("counting tokens")
}

/// Stores a token of the holder.
pub(super) async fn token_insert(
    tx: &mut Connection,
    holder: &Holder<'_>,
    token: &ApiToken,
    fingerprint: &Fingerprint,
) -> Result<(), StoreError> {
    let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.0.as_str()).collect();
    let scopes = serde_json::to_string(&scopes).unwrap_or_else(|_| "[]".to_owned()); // texts always serialise
    sql::query(
        "INSERT INTO api_tokens (id, principal_id, name, fingerprint, hint, scopes, created_by, created_at, expires_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&token.id)
    .bind(holder.principal_id())
    .bind(&token.name)
    .bind(fingerprint.as_bytes().as_slice())
    .bind(&token.hint)
    .bind(scopes)
    .bind(&token.created_by)
    .bind(token.created_at.as_microsecond())
    .bind(token.expires_at.map(|at| at.as_microsecond()))
    .execute(tx)
    .await
    .doing("inserting a token")
    .map(drop)
}

/// A token of the holder, also when it was revoked.
pub(crate) async fn token_find(
    tx: &mut Connection,
    holder: &Holder<'_>,
    token_id: &str,
) -> Result<Option<ApiToken>, StoreError> {
    let row: Option<TokenRow> =
        sql::query_as(AssertSqlSafe(format!("{COLUMNS} WHERE principal_id = ? AND id = ?")))
            .bind(holder.principal_id())
            .bind(token_id)
            .fetch_optional(tx)
            .await
            .doing("reading a token")?;
    row.map(ApiToken::try_from).transpose()
}

/// The holder's tokens after this id, oldest first, those that were revoked included.
pub(crate) async fn token_list(
    tx: &mut Connection,
    holder: &Holder<'_>,
    after: &str,
    limit: u64,
) -> Result<Vec<ApiToken>, StoreError> {
    let sql = format!("{COLUMNS} WHERE principal_id = ? AND id > ? ORDER BY id LIMIT ?");
    let rows: Vec<TokenRow> = sql::query_as(AssertSqlSafe(sql))
        .bind(holder.principal_id())
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(tx)
        .await
        .doing("listing tokens")?;
    rows.into_iter().map(ApiToken::try_from).collect()
}

/// Revokes a token of the holder; the time of a first revocation stays.
pub(crate) async fn token_revoke(
    tx: &mut Connection,
    holder: &Holder<'_>,
    token_id: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sql::query("UPDATE api_tokens SET revoked_at = coalesce(revoked_at, ?) WHERE principal_id = ? AND id = ?")
        .bind(now.as_microsecond())
        .bind(holder.principal_id())
        .bind(token_id)
        .execute(tx)
        .await
        .doing("revoking a token")
        .map(drop)
}

/// Revokes every token of the holder. Returns how many were good until now.
pub(crate) async fn tokens_revoke_all(
    tx: &mut Connection,
    holder: &Holder<'_>,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let done =
        sql::query("UPDATE api_tokens SET revoked_at = ? WHERE principal_id = ? AND revoked_at IS NULL")
            .bind(now.as_microsecond())
            .bind(holder.principal_id())
            .execute(tx)
            .await
            .doing("revoking tokens")?;
    Ok(done.rows_affected())
}

/// Notes when tokens were used, as far as nobody has noted a later use.
pub(super) async fn tokens_used(db: &Db, used: &[(String, Timestamp)]) -> Result<(), StoreError> {
    const DOING: &str = "noting the use of tokens";
    let mut tx = db.begin_apart().await?;
    for (id, at) in used {
        sql::query(
            "UPDATE api_tokens SET last_used_at = ? WHERE id = ? AND (last_used_at IS NULL OR last_used_at < ?)",
        )
        .bind(at.as_microsecond())
        .bind(id)
        .bind(at.as_microsecond())
        .execute(&mut *tx)
        .await
        .doing(DOING)?;
    }
    tx.commit().await.doing(DOING)
}
