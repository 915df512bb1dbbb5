//! Statements that run on either engine: one text, with `?` for what is bound.
//!
//! The functions and methods are named as sqlx names its own. SQL that only one engine understands is chosen by
//! [`Connection::engine`].

use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::Arc;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, FromRow, PgPool, Postgres, SqlSafeStr, SqlStr, Sqlite, SqlitePool};

use super::connection::Connection;
use super::postgres::answered;
use super::value::Value;

/// A row of either engine.
pub(crate) trait Row:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

impl<T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin> Row for T {}

/// Connections for single statements that only read.
#[derive(Clone, Debug)]
pub(crate) enum Readers {
    /// To the file.
    Sqlite(SqlitePool),
    /// To the server.
    Postgres(PgPool),
}

/// What a statement runs on.
pub(crate) enum On<'c> {
    /// Any free connection.
    Readers(&'c Readers),
    /// This one.
    Connection(&'c mut Connection),
}

impl<'c> From<&'c Readers> for On<'c> {
    fn from(readers: &'c Readers) -> Self {
        Self::Readers(readers)
    }
}

impl<'c> From<&'c mut Connection> for On<'c> {
    fn from(connection: &'c mut Connection) -> Self {
        Self::Connection(connection)
    }
}

/// Runs a statement of sqlx on what there is; both engines' arms read alike.
macro_rules! run {
    ($statement:expr, $on:expr, $make:ident, $end:ident) => {
        match $on {
            On::Readers(Readers::Sqlite(pool)) => $make!(Sqlite, $statement.sqlite()).$end(pool).await,
            On::Readers(Readers::Postgres(pool)) => $make!(Postgres, $statement.postgres()).$end(pool).await,
            On::Connection(Connection::Sqlite(tx)) => {
                $make!(Sqlite, $statement.sqlite()).$end(&mut **tx).await
            }
            On::Connection(Connection::Postgres(tx)) => {
                $make!(Postgres, $statement.postgres()).$end(&mut **tx).await
            }
        }
    };
}

macro_rules! rows {
    ($engine:ty, $parts:expr) => {{
        let (sql, arguments) = $parts;
        sqlx::query_as_with::<$engine, T, _>(sql, arguments?)
    }};
}

macro_rules! scalars {
    ($engine:ty, $parts:expr) => {{
        let (sql, arguments) = $parts;
        sqlx::query_scalar_with::<$engine, T, _>(sql, arguments?)
    }};
}

macro_rules! plain {
    ($engine:ty, $parts:expr) => {{
        let (sql, arguments) = $parts;
        sqlx::query_with::<$engine, _>(sql, arguments?)
    }};
}

/// A text and what is bound to it.
#[derive(Debug)]
struct Statement {
    sql: SqlStr,
    values: Vec<Value>,
}

impl Statement {
    fn new(sql: impl SqlSafeStr) -> Self {
        Self { sql: sql.into_sql_str(), values: Vec::new() }
    }

    fn sqlite(self) -> (SqlStr, Result<SqliteArguments, sqlx::Error>) {
        let mut arguments = SqliteArguments::default();
        let added = self.values.into_iter().try_for_each(|value| match value {
            Value::Integer(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
        });
        (self.sql, added.map(|()| arguments).map_err(sqlx::Error::Encode))
    }

    fn postgres(self) -> (SqlStr, Result<PgArguments, sqlx::Error>) {
        let mut arguments = PgArguments::default();
        let added = self.values.into_iter().try_for_each(|value| match value {
            Value::Integer(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value.map(without_nul)),
            Value::Bytes(value) => arguments.add(value),
        });
        let sql = match numbered(self.sql.as_str()) {
            Cow::Borrowed(_) => self.sql,
            // The text that was declared safe, with other marks.
            Cow::Owned(sql) => AssertSqlSafe(sql).into_sql_str(),
        };
        (sql, added.map(|()| arguments).map_err(sqlx::Error::Encode))
    }
}

/// PostgreSQL's texts cannot hold the character NUL, which a client may well put into the name of a model.
pub(crate) fn without_nul(text: Arc<str>) -> Arc<str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text }
}

/// The text with `$1`, `$2`, .. for `?` and `?1`, `?2`, .. outside of quotes.
fn numbered(sql: &str) -> Cow<'_, str> {
    if !sql.contains('?') {
        return Cow::Borrowed(sql);
    }
    let mut out = String::with_capacity(sql.len().saturating_add(16));
    let (mut quote, mut last) = (None, 0_usize);
    let mut rest = sql.chars().peekable();
    while let Some(char) = rest.next() {
        match (quote, char) {
            (None, '?') => {
                let mut number = String::new();
                while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                    number.push(digit);
                }
                if number.is_empty() {
                    last = last.saturating_add(1);
                    number = last.to_string();
                }
                out.push('$');
                out.push_str(&number);
                continue;
            }
            (None, '\'' | '"') => quote = Some(char),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
        out.push(char);
    }
    Cow::Owned(out)
}

/// A statement whose rows nobody reads.
#[derive(Debug)]
pub(crate) struct Query(Statement);

/// A statement whose rows become `T`.
#[derive(Debug)]
pub(crate) struct QueryAs<T>(Statement, PhantomData<fn() -> T>);

/// A statement whose rows have one column, which becomes `T`.
#[derive(Debug)]
pub(crate) struct QueryScalar<T>(Statement, PhantomData<fn() -> T>);

/// A statement whose rows nobody reads.
pub(crate) fn query(sql: impl SqlSafeStr) -> Query {
    Query(Statement::new(sql))
}

/// A statement whose rows become `T`.
pub(crate) fn query_as<T>(sql: impl SqlSafeStr) -> QueryAs<T> {
    QueryAs(Statement::new(sql), PhantomData)
}

/// A statement whose rows have one column, which becomes `T`.
pub(crate) fn query_scalar<T>(sql: impl SqlSafeStr) -> QueryScalar<T> {
    QueryScalar(Statement::new(sql), PhantomData)
}

/// What a statement did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done(u64);

impl Done {
    /// Rows inserted, changed or deleted.
    pub(crate) fn rows_affected(self) -> u64 {
        self.0
    }
}

impl Query {
    /// Binds the next value.
    #[must_use]
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.0.values.push(value.into());
        self
    }

    /// Runs it.
    pub(crate) async fn execute<'c>(self, on: impl Into<On<'c>>) -> Result<Done, sqlx::Error> {
        Ok(match on.into() {
            On::Readers(Readers::Sqlite(pool)) => {
                Done(plain!(Sqlite, self.0.sqlite()).execute(pool).await?.rows_affected())
            }
            On::Readers(Readers::Postgres(pool)) => {
                Done(answered(plain!(Postgres, self.0.postgres()).execute(pool)).await?.rows_affected())
            }
            On::Connection(Connection::Sqlite(tx)) => {
                Done(plain!(Sqlite, self.0.sqlite()).execute(&mut **tx).await?.rows_affected())
            }
            On::Connection(Connection::Postgres(tx)) => {
                Done(answered(plain!(Postgres, self.0.postgres()).execute(&mut **tx)).await?.rows_affected())
            }
        })
    }
}

impl<T: Row> QueryAs<T> {
    /// Binds the next value.
    #[must_use]
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.0.values.push(value.into());
        self
    }

    /// Every row.
    pub(crate) async fn fetch_all<'c>(self, on: impl Into<On<'c>>) -> Result<Vec<T>, sqlx::Error> {
        run!(self.0, on.into(), rows, fetch_all)
    }

    /// The first row, if there is one.
    pub(crate) async fn fetch_optional<'c>(self, on: impl Into<On<'c>>) -> Result<Option<T>, sqlx::Error> {
        run!(self.0, on.into(), rows, fetch_optional)
    }

    /// The first row, which there must be.
    pub(crate) async fn fetch_one<'c>(self, on: impl Into<On<'c>>) -> Result<T, sqlx::Error> {
        run!(self.0, on.into(), rows, fetch_one)
    }
}

impl<T> QueryScalar<T>
where
    T: Send + Unpin,
    (T,): Row,
{
    /// Binds the next value.
    #[must_use]
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.0.values.push(value.into());
        self
    }

    /// The value of every row.
    pub(crate) async fn fetch_all<'c>(self, on: impl Into<On<'c>>) -> Result<Vec<T>, sqlx::Error> {
        run!(self.0, on.into(), scalars, fetch_all)
    }

    /// The value of the first row, if there is one.
    pub(crate) async fn fetch_optional<'c>(self, on: impl Into<On<'c>>) -> Result<Option<T>, sqlx::Error> {
        run!(self.0, on.into(), scalars, fetch_optional)
    }

    /// The value of the first row, which there must be.
    pub(crate) async fn fetch_one<'c>(self, on: impl Into<On<'c>>) -> Result<T, sqlx::Error> {
        run!(self.0, on.into(), scalars, fetch_one)
    }
}

/// A statement made of pieces.
#[derive(Debug)]
pub(crate) struct QueryBuilder {
    sql: String,
    values: Vec<Value>,
}

impl QueryBuilder {
    /// Begins with this piece.
    pub(crate) fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), values: Vec::new() }
    }

    /// Adds a piece. Never one that holds what somebody sent.
    pub(crate) fn push(&mut self, sql: impl AsRef<str>) -> &mut Self {
        self.sql.push_str(sql.as_ref());
        self
    }

    /// Adds a mark and binds a value to it.
    pub(crate) fn push_bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.sql.push('?');
        self.values.push(value.into());
        self
    }

    /// The statement, whose rows become `T`.
    pub(crate) fn build_query_as<T: Row>(self) -> QueryAs<T> {
        let statement = Statement { sql: AssertSqlSafe(self.sql).into_sql_str(), values: self.values };
        QueryAs(statement, PhantomData)
    }

    /// How SQLite would run it, for tests that ask which index it walks.
    #[cfg(test)]
    pub(crate) async fn plan<'c>(&self, on: impl Into<On<'c>>) -> String {
        let sql = format!("EXPLAIN QUERY PLAN {}", self.sql);
        let steps: Vec<(i64, i64, i64, String)> = query_as(AssertSqlSafe(sql)).fetch_all(on).await.unwrap();
        steps.into_iter().map(|(.., detail)| detail).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_numbered_outside_of_quotes() {
        assert_eq!(numbered("SELECT 1"), "SELECT 1");
        assert_eq!(numbered("a = ? AND b = ?"), "a = $1 AND b = $2");
        assert_eq!(numbered("a = ?1 AND b = ?1 AND c = ?12"), "a = $1 AND b = $1 AND c = $12");
        assert_eq!(
            numbered("a = '?' AND \"?\" = ? AND b = 'it''s?'"),
            "a = '?' AND \"?\" = $1 AND b = 'it''s?'"
        );
    }

    #[test]
    fn a_text_loses_the_character_that_postgresql_cannot_hold() {
        assert_eq!(&*without_nul("a\0b".into()), "a\u{fffd}b");
        assert_eq!(&*without_nul("ab".into()), "ab");
    }
}
