//! The database: SQLite in a file, or PostgreSQL. One SQL text wherever both understand it; see [`sql`].

mod address;
mod connection;
mod error;
mod leader;
mod migrations;
mod postgres;
mod schema;
pub(crate) mod sql;
mod sqlite;
mod value;

use std::path::PathBuf;

use mindweave_policy::Secret;
use sqlx::PgPool;
use sqlx::migrate::Migrator;

pub(crate) use connection::{Connection, Engine, Transaction};
pub(crate) use error::Doing;
pub use error::{OpenError, StoreError};
pub(crate) use leader::LeaderSession;
pub use postgres::LEAST_CONNECTIONS;
pub use schema::{MigrateMode, SchemaError};
pub(crate) use sql::Readers;

use postgres::{LEDGER_LOCK, PostgresDb};
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

/// The open database. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Db {
    engine: Pools,
    readers: Readers,
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
        Ok(match database {
            Database::Sqlite(path) => {
                let db = SqliteDb::open(path, migrations, migrate).await?;
                Self { readers: Readers::Sqlite(db.readers.clone()), engine: Pools::Sqlite(db) }
            }
            Database::Postgres(url) => {
                let db = PostgresDb::open(url.expose_secret(), connections, migrations, migrate).await?;
                Self { readers: Readers::Postgres(db.readers.clone()), engine: Pools::Postgres(db) }
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

    /// Begins a transaction that sees one state of the database.
    pub(crate) async fn begin_read(&self) -> Result<Transaction, StoreError> {
        const WAITING: &str = "waiting for a reader";
        Ok(Transaction(match &self.engine {
            Pools::Sqlite(db) => Connection::Sqlite(db.readers.begin().await.doing(WAITING)?),
            Pools::Postgres(db) => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                Connection::Postgres(db.readers.begin_with(begin).await.doing(WAITING)?)
            }
        }))
    }

    /// For single statements that only read.
    pub(crate) fn readers(&self) -> &Readers {
        &self.readers
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
    let mut tx = pool.begin().await.doing(WAITING_TO_WRITE)?;
    // Statements after it see what was committed before: the isolation level is READ COMMITTED.
    sqlx::query(lock).bind(LEDGER_LOCK).execute(&mut *tx).await.doing(WAITING_TO_WRITE)?;
    Ok(Transaction(Connection::Postgres(tx)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn an_empty_file_is_migrated_once_and_opened_again_with_its_data() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        for start in 0..2 {
            let db = Db::open(&Database::Sqlite(path.clone()), DatabaseOptions::default()).await.unwrap();
            let mut tx = db.begin_write().await.unwrap();
            sql::query("INSERT INTO orgs (id, name, created_at) VALUES (?, 'x', 0)")
                .bind(format!("org_{start}"))
                .execute(&mut *tx)
                .await
                .unwrap();
            tx.commit().await.unwrap();
            let orgs: i64 =
                sql::query_scalar("SELECT count(*) FROM orgs").fetch_one(db.readers()).await.unwrap();
            assert_eq!(orgs, start + 1);
            db.close().await;
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        std::fs::write(&path, "this is a text file, not a database".repeat(100)).unwrap();
        let before = std::fs::read(&path).unwrap();
        let error = Db::open(&Database::Sqlite(path.clone()), DatabaseOptions::default()).await.unwrap_err();
        assert!(error.to_string().contains("ledger.db"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[tokio::test]
    async fn readers_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&Database::Sqlite(folder.path().join("ledger.db")), DatabaseOptions::default())
            .await
            .unwrap();
        assert!(sql::query("DELETE FROM orgs").execute(db.readers()).await.is_err());
    }
}
