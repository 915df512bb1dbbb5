//! The database: one writer, a few readers, migrations.
//!
//! SQLite has one writer at a time anyway; a pool of one makes writers queue here, in order, instead of polling a lock.
//! Readers see the last commit and never wait for the writer (write-ahead log).

mod migrations;

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqlitePool, Transaction};

/// How long SQLite itself waits for a lock, for example of another process that has the file open.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller waits for a connection before the answer is "busy".
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Reading connections. Each is a thread; reads are short and the machine has few cores.
const READERS: u32 = 4;
/// The log is folded into the file each time it has grown by this many pages (4 MiB). Whoever commits then waits for the
/// disk: with four times as many, the slowest writes of the API under full ingest took four times as long.
const CHECKPOINT_PAGES: &str = "1000";
/// The log file is cut back to this size after a checkpoint.
const LOG_SIZE_LIMIT_BYTES: &str = "67108864";
/// Page cache of the writer, in KiB (negative: that is how SQLite tells KiB from pages).
const WRITER_CACHE: &str = "-32768";

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file could not be made.
    #[error("the database file {path} cannot be created")]
    Create {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        cause: io::Error,
    },
    /// The file is there but is not a usable database.
    #[error("the database {path} cannot be opened")]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        cause: sqlx::Error,
    },
    /// The schema could not be brought up to date. The file is as it was before the migration that failed.
    #[error("the database {path} cannot be migrated")]
    Migrate {
        /// The file.
        path: PathBuf,
        /// Which migration failed and why.
        #[source]
        cause: sqlx::migrate::MigrateError,
    },
}

/// A database operation failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or could not be reached.
    #[error("the database failed while {doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What it said. Never contains bound values.
        #[source]
        cause: sqlx::Error,
    },
    /// A stored value is not what this version writes.
    #[error("the database holds {what} that cannot be read")]
    Corrupt {
        /// Which value.
        what: &'static str,
    },
}

impl StoreError {
    /// Whether a unique constraint refused the write.
    pub(crate) fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Database { cause: sqlx::Error::Database(cause), .. } if cause.is_unique_violation())
    }

    /// Whether the same operation may succeed in a moment.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self, Self::Database { cause: sqlx::Error::PoolTimedOut, .. })
    }
}

/// Says what was being done when the database failed.
pub(crate) trait Doing<T> {
    /// Turns the database's error into ours.
    fn doing(self, what: &'static str) -> Result<T, StoreError>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, what: &'static str) -> Result<T, StoreError> {
        self.map_err(|cause| StoreError::Database { doing: what, cause })
    }
}

/// The open database. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Db {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Db {
    /// Opens the file, which is created for its owner only, and brings its schema up to date.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub(crate) async fn open(path: &Path) -> Result<Self, OpenError> {
        let open_failed = |cause| OpenError::Open { path: path.to_owned(), cause };
        create_private(path).map_err(|cause| OpenError::Create { path: path.to_owned(), cause })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            // The journal forgets an event once this database has it: a commit must outlive a power cut.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true);
        let writer = options
            .clone()
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
            .pragma("journal_size_limit", LOG_SIZE_LIMIT_BYTES)
            .pragma("cache_size", WRITER_CACHE);
        let writer = pool(1).connect_with(writer).await.map_err(open_failed)?;
        migrations::sqlite()
            .run(&writer)
            .await
            .map_err(|cause| OpenError::Migrate { path: path.to_owned(), cause })?;
        let readers = options.pragma("query_only", "ON");
        let readers = pool(READERS).connect_with(readers).await.map_err(open_failed)?;
        Ok(Self { writer, readers })
    }

    /// Begins a transaction that holds the write lock from its first moment, so that it cannot fail half-way for
    /// another writer. Dropping it rolls it back. Keep it short: everybody else waits.
    pub(crate) async fn begin_write(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.writer.begin_with("BEGIN IMMEDIATE").await.doing("waiting for the write lock")
    }

    /// Begins a transaction that sees one state of the database.
    pub(crate) async fn begin_read(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.readers.begin().await.doing("waiting for a reader")
    }

    /// For single statements that only read.
    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Waits for running statements and closes the file; the log is folded into it.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

fn pool(size: u32) -> SqlitePoolOptions {
    // Connections to a local file do not go stale: no health check per use, no end of life.
    SqlitePoolOptions::new()
        .max_connections(size)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
}

/// Creates the file for its owner only; SQLite gives its log files the same mode.
fn create_private(path: &Path) -> io::Result<()> {
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
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
            let db = Db::open(&path).await.unwrap();
            let mut tx = db.begin_write().await.unwrap();
            sqlx::query("INSERT INTO orgs (id, name, created_at) VALUES (?, 'x', 0)")
                .bind(format!("org_{start}"))
                .execute(&mut *tx)
                .await
                .unwrap();
            tx.commit().await.unwrap();
            let orgs: i64 =
                sqlx::query_scalar("SELECT count(*) FROM orgs").fetch_one(db.readers()).await.unwrap();
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
        let error = Db::open(&path).await.unwrap_err();
        assert!(error.to_string().contains("ledger.db"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[tokio::test]
    async fn readers_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&folder.path().join("ledger.db")).await.unwrap();
        assert!(sqlx::query("DELETE FROM orgs").execute(db.readers()).await.is_err());
    }
}
