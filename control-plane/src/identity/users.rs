//! All SQL of people.

use jiff::Timestamp;
use mindweave_metering::UserId;
use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow};

use super::one_time::TokenError;
use crate::access::Caller;
use crate::audit::{self, Chain, Change};
use crate::clock;
use crate::db::{Connection, Doing, StoreError, sql};
use crate::entropy;
use crate::http::problem::Problem;
use crate::stored::timestamp;

/// A person as the API shows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct User {
    #[schema(example = "usr_0198c0ffee")]
    pub(crate) id: String,
    pub(crate) email: String,
    /// Whether the address is known to be theirs.
    pub(crate) email_verified: bool,
    pub(crate) name: String,
    /// May also do what belongs to the installation, and everything in every organisation.
    pub(crate) installation_admin: bool,
    /// Whether they can sign in with a password.
    pub(crate) has_password: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) last_login_at: Option<Timestamp>,
}

/// A person with what the API never shows.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) user: User,
    /// PHC string.
    pub(crate) password_hash: Option<String>,
    /// May not sign in.
    pub(crate) disabled: bool,
}

/// Somebody who is new.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewUser<'a> {
    /// As it was typed.
    pub(crate) email: &'a str,
    pub(crate) email_verified: bool,
    pub(crate) name: &'a str,
    /// PHC string; without one they sign in elsewhere.
    pub(crate) password_hash: Option<&'a str>,
    pub(crate) installation_admin: bool,
}

#[derive(FromRow)]
struct Row {
    id: String,
    email: String,
    name: String,
    password_hash: Option<String>,
    email_verified_at: Option<i64>,
    installation_admin: i64,
    created_at: i64,
    updated_at: i64,
    last_login_at: Option<i64>,
    disabled_at: Option<i64>,
}

const COLUMNS: &str =
    "SELECT id, email, name, password_hash, email_verified_at, installation_admin, created_at, updated_at,
    last_login_at, disabled_at FROM users WHERE erased_at IS NULL AND ";

impl TryFrom<Row> for Account {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let user = User {
            id: row.id,
            email: row.email,
            email_verified: row.email_verified_at.is_some(),
            name: row.name,
            installation_admin: row.installation_admin != 0,
            has_password: row.password_hash.is_some(),
            created_at: timestamp(row.created_at)?,
            updated_at: timestamp(row.updated_at)?,
            last_login_at: row.last_login_at.map(timestamp).transpose()?,
        };
        Ok(Self { user, password_hash: row.password_hash, disabled: row.disabled_at.is_some() })
    }
}

/// An address as it is compared: in small letters, without blanks around it. No provider of mail tells apart more than that.
pub(crate) fn email_key(email: &str) -> String {
    email.trim().to_lowercase()
}

/// Somebody by their id.
pub(crate) async fn account_by_id(tx: &mut Connection, id: &str) -> Result<Option<Account>, StoreError> {
    account(tx, "id = ?", id).await
}

/// Somebody by their address, however it is written.
pub(crate) async fn user_by_email(tx: &mut Connection, email: &str) -> Result<Option<Account>, StoreError> {
    account(tx, "email_key = ?", &email_key(email)).await
}

/// Somebody as the API shows them.
pub(crate) async fn user_view(tx: &mut Connection, id: &str) -> Result<Option<User>, StoreError> {
    Ok(account_by_id(tx, id).await?.map(|account| account.user))
}

async fn account(
    tx: &mut Connection,
    condition: &'static str,
    value: &str,
) -> Result<Option<Account>, StoreError> {
    let row: Option<Row> = sql::query_as(AssertSqlSafe(format!("{COLUMNS}{condition}")))
        .bind(value)
        .fetch_optional(tx)
        .await
        .doing("reading a user")?;
    row.map(Account::try_from).transpose()
}

/// Whether there is anybody.
pub(crate) async fn user_any(tx: &mut Connection) -> Result<bool, StoreError> {
    sql::query_scalar("SELECT EXISTS (SELECT 1 FROM users)").fetch_one(tx).await.doing("looking for users")
}

/// Makes somebody, and returns their id. A taken address fails as a unique violation: see [`StoreError::is_unique_violation`]; on
/// a server the transaction is then over, so ask [`user_by_email`] before, in the same transaction.
pub(crate) async fn user_insert(tx: &mut Connection, new: NewUser<'_>) -> Result<String, TokenError> {
    let now = clock::now();
    let id = UserId::generate(now, entropy::bytes()?).as_str().to_owned();
    let now = now.as_microsecond();
    sql::query(
        "INSERT INTO users (id, email, email_key, name, password_hash, email_verified_at, installation_admin, created_at, updated_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&id)
    .bind(new.email.trim())
    .bind(email_key(new.email))
    .bind(new.name)
    .bind(new.password_hash.map(str::to_owned))
    .bind(new.email_verified.then_some(now))
    .bind(i64::from(new.installation_admin))
    .bind(now)
    .bind(now)
    .execute(tx)
    .await
    .doing("making a user")?;
    Ok(id)
}

/// Changes somebody's name.
pub(super) async fn user_rename(tx: &mut Connection, id: &str, name: &str) -> Result<(), StoreError> {
    sql::query("UPDATE users SET name = ?, updated_at = ? WHERE id = ?")
        .bind(name)
        .bind(clock::now().as_microsecond())
        .bind(id)
        .execute(tx)
        .await
        .doing("changing a user")
        .map(drop)
}

/// Changes somebody's address to one that was proved to be theirs.
pub(super) async fn user_readdress(tx: &mut Connection, id: &str, email: &str) -> Result<(), StoreError> {
    let now = clock::now().as_microsecond();
    sql::query(
        "UPDATE users SET email = ?, email_key = ?, email_verified_at = ?, updated_at = ? WHERE id = ?",
    )
    .bind(email.trim())
    .bind(email_key(email))
    .bind(now)
    .bind(now)
    .bind(id)
    .execute(tx)
    .await
    .doing("changing an address")
    .map(drop)
}

/// Notes that an address was proved to be theirs.
pub(crate) async fn user_verified(tx: &mut Connection, id: &str) -> Result<(), StoreError> {
    sql::query("UPDATE users SET email_verified_at = ? WHERE id = ? AND email_verified_at IS NULL")
        .bind(clock::now().as_microsecond())
        .bind(id)
        .execute(tx)
        .await
        .doing("noting a verified address")
        .map(drop)
}

/// Stores the hash of the same password under other parameters: nothing of the user changes.
pub(super) async fn password_renew(tx: &mut Connection, id: &str, hash: &str) -> Result<(), StoreError> {
    sql::query("UPDATE users SET password_hash = ? WHERE id = ?")
        .bind(hash)
        .bind(id)
        .execute(tx)
        .await
        .doing("renewing the hash of a password")
        .map(drop)
}

/// Stores the hash of another password.
pub(super) async fn password_set(tx: &mut Connection, id: &str, hash: &str) -> Result<(), StoreError> {
    sql::query("UPDATE users SET password_hash = ?, updated_at = ? WHERE id = ?")
        .bind(hash)
        .bind(clock::now().as_microsecond())
        .bind(id)
        .execute(tx)
        .await
        .doing("storing a password")
        .map(drop)
}

/// Makes somebody like [`user_insert`], and writes `user.created` to the audit log. The transaction must be one of
/// [`crate::db::Db::begin_write`].
pub(crate) async fn user_create(
    tx: &mut Connection,
    caller: &Caller,
    new: NewUser<'_>,
) -> Result<User, Problem> {
    let id = user_insert(tx, new).await?;
    let gone = StoreError::Corrupt { what: "a user who was just made" };
    let user = user_view(tx, &id).await?.ok_or(gone)?;
    let change = Change::new(Chain::Installation, "user.created", "user", &id).after(&user).identifying();
    audit::record(tx, caller, change).await?;
    Ok(user)
}
