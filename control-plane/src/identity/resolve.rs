//! From a bearer token to whoever holds it.

use mindweave_policy::Fingerprint;
use sqlx::FromRow;

use super::token::TokenKind;
use crate::access::{Actor, Grants, Scopes, grants_read};
use crate::clock;
use crate::db::{Connection, Db, Doing, StoreError, sql};

/// Whoever holds a token, and what it is limited to.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) actor: Actor,
    pub(crate) grants: Grants,
    pub(crate) scopes: Scopes,
}

/// Looks a token up. `None`: unknown, expired or revoked, or its holder was disabled.
pub(crate) async fn resolve(db: &Db, token: &[u8]) -> Result<Option<Resolved>, StoreError> {
    let is = |kind: TokenKind| token.starts_with(kind.prefix().as_bytes());
    if !is(TokenKind::Access) && !is(TokenKind::Api) {
        return Ok(None);
    }
    let fingerprint = Fingerprint::of(token);
    let mut tx = db.begin_read().await?;
    let found = if is(TokenKind::Access) {
        by_session(&mut tx, &fingerprint).await?
    } else {
        by_api_token(&mut tx, &fingerprint).await?
    };
    let Some((actor, scopes)) = found else { return Ok(None) };
    let grants = grants_read(&mut tx, actor.id()).await?;
    Ok(Some(Resolved { actor, grants, scopes }))
}

#[derive(FromRow)]
struct SessionRow {
    session_id: String,
    user_id: String,
    installation_admin: i64,
}

async fn by_session(
    tx: &mut Connection,
    fingerprint: &Fingerprint,
) -> Result<Option<(Actor, Scopes)>, StoreError> {
    let now = clock::now().as_microsecond();
    let row: Option<SessionRow> = sql::query_as(
        "SELECT s.id AS session_id, s.user_id, u.installation_admin
         FROM session_tokens t JOIN sessions s ON s.id = t.session_id JOIN users u ON u.id = s.user_id
         WHERE t.fingerprint = ? AND t.kind = 'access' AND t.expires_at > ? AND s.expires_at > ? AND s.revoked_at IS NULL
             AND u.disabled_at IS NULL AND u.erased_at IS NULL",
    )
    .bind(fingerprint.as_bytes().as_slice())
    .bind(now)
    .bind(now)
    .fetch_optional(tx)
    .await
    .doing("looking for a session")?;
    Ok(row.map(|row| {
        let actor = Actor::User {
            id: row.user_id.into(),
            session_id: Some(row.session_id.into()),
            token_id: None,
            installation_admin: row.installation_admin != 0,
        };
        (actor, Scopes::All)
    }))
}

#[derive(FromRow)]
struct ApiTokenRow {
    id: String,
    principal_id: String,
    scopes: String,
    installation_admin: Option<i64>,
}

async fn by_api_token(
    tx: &mut Connection,
    fingerprint: &Fingerprint,
) -> Result<Option<(Actor, Scopes)>, StoreError> {
    let row: Option<ApiTokenRow> = sql::query_as(
        "SELECT t.id, t.principal_id, t.scopes, u.installation_admin
         FROM api_tokens t
         LEFT JOIN users u ON u.id = t.principal_id AND u.disabled_at IS NULL AND u.erased_at IS NULL
         LEFT JOIN service_accounts s ON s.id = t.principal_id AND s.disabled_at IS NULL AND s.deleted_at IS NULL
         WHERE t.fingerprint = ? AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > ?)
             AND (u.id IS NOT NULL OR s.id IS NOT NULL)",
    )
    .bind(fingerprint.as_bytes().as_slice())
    .bind(clock::now().as_microsecond())
    .fetch_optional(tx)
    .await
    .doing("looking for an access token")?;
    let Some(row) = row else { return Ok(None) };
    let corrupt = || StoreError::Corrupt { what: "the scopes of a token" };
    let texts: Vec<String> = serde_json::from_str(&row.scopes).map_err(|_| corrupt())?;
    let scopes = Scopes::parse(texts.iter().map(String::as_str)).map_err(|_| corrupt())?;
    let (id, token_id) = (row.principal_id.into(), row.id.into());
    let actor = match row.installation_admin {
        Some(admin) => {
            Actor::User { id, session_id: None, token_id: Some(token_id), installation_admin: admin != 0 }
        }
        None => Actor::ServiceAccount { id, token_id },
    };
    Ok(Some((actor, scopes)))
}
