//! The database: SQLite in a file, or PostgreSQL. One SQL text wherever both understand it; see [`sql`].

mod address;
mod connection;
mod copy_form;
mod error;
mod leader;
mod migrations;
mod notify;
mod postgres;
mod schema;
pub(crate) mod sql;
mod sqlite;
mod status;
pub(crate) mod transfer;
mod value;

use std::path::PathBuf;

use mindweave_policy::Secret;
use sqlx::PgPool;
use sqlx::migrate::Migrator;

pub(crate) use connection::{Connection, Engine, Transaction};
pub(crate) use copy_form::{COPY_END, COPY_HEAD, COPY_PIECE_BYTES, copy_field};
pub(crate) use error::Doing;
pub use error::{OpenError, StoreError};
pub(crate) use leader::LeaderSession;
pub(crate) use notify::{News, Topic};
pub use postgres::LEAST_CONNECTIONS;
pub use schema::{MigrateMode, SchemaError};
pub(crate) use sql::Readers;
pub use status::{DividedTable, PendingMigration, SchemaState, SchemaStatus};

pub(crate) use postgres::{LEDGER_LOCK, answered};

use postgres::PostgresDb;
use sqlite::SqliteDb;

/// Where the ledger is.
#[derive(Clone, Debug)]
pub enum Database {
    /// A file. Created, for its owner only, when absent.
    Sqlite(PathBuf),
    /// `postgres://user:password@host:port/database?sslmode=verify-full..`
    Postgres(Secret),
}

/// How a database is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseOptions {
    /// What is done about its schema.
    pub migrate: MigrateMode,
    /// Connections to a server, at least [`LEAST_CONNECTIONS`]. Two more are for telling who leads and for news of changes.
    pub connections: u32,
}

impl Default for DatabaseOptions {
    fn default() -> Self {
        Self { migrate: MigrateMode::Auto, connections: 16 }
    }
}

/// Tables that are divided by time on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Divided {
    /// Raw events.
    Events,
    /// Sums.
    Sums,
}

impl Divided {
    fn lock(self) -> &'static str {
        match self {
            Self::Events => "LOCK TABLE usage_events IN ACCESS SHARE MODE",
            Self::Sums => "LOCK TABLE usage_minute, usage_hour IN ACCESS SHARE MODE",
        }
    }
}

/// The open database. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Db {
    engine: Pools,
    readers: Readers,
    news: News,
}

#[derive(Clone, Debug)]
enum Pools {
    Sqlite(SqliteDb),
    Postgres(PostgresDb),
}

impl Db {
    /// Opens the database and sees to its schema.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub(crate) async fn open(database: &Database, options: DatabaseOptions) -> Result<Self, OpenError> {
        let migrations = match database {
            Database::Sqlite(_) => migrations::sqlite(),
            Database::Postgres(_) => migrations::postgres(),
        };
        Self::open_with(database, options, &migrations).await
    }

    async fn open_with(
        database: &Database,
        options: DatabaseOptions,
        migrations: &Migrator,
    ) -> Result<Self, OpenError> {
        let DatabaseOptions { migrate, connections } = options;
        let news = News::default();
        Ok(match database {
            Database::Sqlite(path) => {
                let db = SqliteDb::open(path, migrations, migrate).await?;
                Self { readers: Readers::Sqlite(db.readers.clone()), engine: Pools::Sqlite(db), news }
            }
            Database::Postgres(url) => {
                let db = PostgresDb::open(url.expose_secret(), connections, migrations, migrate).await?;
                Self { readers: Readers::Postgres(db.readers.clone()), engine: Pools::Postgres(db), news }
            }
        })
    }

    /// What runs the statements.
    pub(crate) fn engine(&self) -> Engine {
        match self.engine {
            Pools::Sqlite(_) => Engine::Sqlite,
            Pools::Postgres(_) => Engine::Postgres,
        }
    }

    /// Begins a transaction that no other writer runs beside, from its first moment on, so that it cannot fail half-way for
    /// another one. Dropping it rolls it back. Keep it short: everybody else waits.
    pub(crate) async fn begin_write(&self) -> Result<Transaction, StoreError> {
        match &self.engine {
            Pools::Sqlite(db) => begin_immediate(db).await,
            Pools::Postgres(db) => begin_locked(&db.writer, "SELECT pg_advisory_xact_lock($1)").await,
        }
    }

    /// Begins a transaction that books events: beside others of its kind where the engine allows it, never beside one of
    /// [`Self::begin_write`].
    pub(crate) async fn begin_ingest(&self) -> Result<Transaction, StoreError> {
        match &self.engine {
            Pools::Sqlite(db) => begin_immediate(db).await,
            Pools::Postgres(db) => begin_locked(&db.ingest, "SELECT pg_advisory_xact_lock_shared($1)").await,
        }
    }

    /// Begins a transaction that writes nothing of the ledger: it waits for no writer of it, nor keeps one waiting, where the
    /// engine allows that.
    pub(crate) async fn begin_apart(&self) -> Result<Transaction, StoreError> {
        match &self.engine {
            Pools::Sqlite(db) => begin_immediate(db).await,
            Pools::Postgres(db) => {
                let pool = db.readers.clone();
                let begin = to_its_end(async move { pool.begin().await });
                Ok(Transaction(Connection::Postgres(begin.await.doing(WAITING_TO_WRITE)?)))
            }
        }
    }

    /// Begins a transaction that sees one state of the database.
    pub(crate) async fn begin_read(&self) -> Result<Transaction, StoreError> {
        const WAITING: &str = "waiting for a reader";
        Ok(Transaction(match &self.engine {
            Pools::Sqlite(db) => Connection::Sqlite(db.readers.begin().await.doing(WAITING)?),
            Pools::Postgres(db) => {
                const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                let pool = db.readers.clone();
                let begin = to_its_end(async move { pool.begin_with(BEGIN).await });
                Connection::Postgres(begin.await.doing(WAITING)?)
            }
        }))
    }

    /// The same for questions about tables that are divided by time. While it lasts none of their pieces is made or dropped: rows that
    /// move into a new piece would be seen in neither, because a state of the database is one of its rows, not of its tables.
    pub(crate) async fn begin_read_of(&self, divided: Divided) -> Result<Transaction, StoreError> {
        let mut tx = self.begin_read().await?;
        if self.engine() == Engine::Postgres {
            // Before the first question, which fixes the state.
            sql::query(divided.lock()).execute(&mut *tx).await.doing("waiting for tables to be divided")?;
        }
        Ok(tx)
    }

    /// For single statements that only read.
    pub(crate) fn readers(&self) -> &Readers {
        &self.readers
    }

    /// News of changes, also by other control planes of this database, while [`News::carry`] runs.
    pub(crate) fn news(&self) -> &News {
        &self.news
    }

    /// A session that says who leads the control planes of this database.
    pub(crate) async fn leader_session(&self) -> Result<LeaderSession, sqlx::Error> {
        match &self.engine {
            Pools::Sqlite(_) => Ok(LeaderSession::Alone),
            Pools::Postgres(db) => LeaderSession::connect(db).await,
        }
    }

    /// Runs a statement of a server, which may take as long as it wants, on a connection of its own and outside of a
    /// transaction. Nothing of it runs on a file.
    pub(crate) async fn run_long(&self, sql: &'static str, argument: &str) -> Result<(), sqlx::Error> {
        let Pools::Postgres(db) = &self.engine else { return Ok(()) };
        let mut connection = db.connect().await?;
        sqlx::query(sql).bind(argument).execute(&mut connection).await?;
        sqlx::Connection::close(connection).await
    }

    /// Waits for running statements and closes; a file's log is folded into it.
    pub(crate) async fn close(&self) {
        match &self.engine {
            Pools::Sqlite(db) => {
                db.readers.close().await;
                db.writer.close().await;
            }
            Pools::Postgres(db) => db.close().await,
        }
    }
}

const WAITING_TO_WRITE: &str = "waiting for the write lock";

async fn begin_immediate(db: &SqliteDb) -> Result<Transaction, StoreError> {
    let tx = db.writer.begin_with("BEGIN IMMEDIATE").await.doing(WAITING_TO_WRITE)?;
    Ok(Transaction(Connection::Sqlite(tx)))
}

async fn begin_locked(pool: &PgPool, lock: &'static str) -> Result<Transaction, StoreError> {
    let pool = pool.clone();
    let begin = to_its_end(async move {
        let mut tx = pool.begin().await?;
        // Statements after it see what was committed before: the isolation level is READ COMMITTED.
        sqlx::query(lock).bind(LEDGER_LOCK).execute(&mut *tx).await?;
        Ok(tx)
    });
    Ok(Transaction(Connection::Postgres(begin.await.doing(WAITING_TO_WRITE)?)))
}

/// Goes on when whoever waits for it is dropped: a BEGIN that is left before its answer is not rolled back, and the connection
/// would go back into its pool with a transaction open.
async fn to_its_end<T: Send + 'static>(
    begin: impl Future<Output = Result<T, sqlx::Error>> + Send + 'static,
) -> Result<T, sqlx::Error> {
    tokio::spawn(answered(begin)).await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}

#[cfg(test)]
mod tests;
