//! The file: one writer, a few readers.
//!
//! SQLite has one writer at a time anyway; a pool of one makes writers queue here, in order, instead of polling a lock.
//! Readers see the last commit and never wait for the writer (write-ahead log).

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, SqlitePool};
use tokio::time::{Instant, sleep};

use super::error::OpenError;
use super::schema::{MigrateMode, Recorded, SchemaError};

/// How long SQLite itself waits for a lock, for example of another process that has the file open.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a start waits for others who have the file, such as one that brings its schema up to date.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two attempts at what SQLite does not wait for itself.
const PAUSE: Duration = Duration::from_millis(20);
/// SQLite's code for a file that somebody else has locked.
const SQLITE_BUSY: u32 = 5;
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

/// The open file.
#[derive(Clone, Debug)]
pub(super) struct SqliteDb {
    pub(super) writer: SqlitePool,
    pub(super) readers: SqlitePool,
}

impl SqliteDb {
    /// Opens the file, which is created for its owner only, and sees to its schema.
    pub(super) async fn open(path: &Path, list: &Migrator, mode: MigrateMode) -> Result<Self, OpenError> {
        let open_failed = |cause| OpenError::Open { database: path.display().to_string(), hint: "", cause };
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
        let writer = connect(1, &writer).await.map_err(open_failed)?;
        migrate(&writer, list, mode)
            .await
            .map_err(|cause| OpenError::Schema { database: path.display().to_string(), cause })?;
        let readers = options.pragma("query_only", "ON");
        let readers = connect(READERS, &readers).await.map_err(open_failed)?;
        Ok(Self { writer, readers })
    }
}

/// Brings the schema up to date, or looks whether it is. All of it or nothing; of several processes that start at once, one
/// does it and the others wait for its lock.
async fn migrate(writer: &SqlitePool, list: &Migrator, mode: MigrateMode) -> Result<(), SchemaError> {
    let mut connection = writer.acquire().await?;
    let plan = Recorded::of_sqlite(&mut connection).await?.plan(list)?;
    if mode == MigrateMode::Check || plan.pending.is_empty() {
        return plan.up_to_date();
    }
    let patience = Instant::now() + PATIENCE;
    let mut tx = loop {
        match connection.begin_with("BEGIN IMMEDIATE").await {
            Err(error) if is_locked(&error) && Instant::now() < patience => {}
            begun => break begun?,
        }
    };
    Recorded::of_sqlite(&mut tx).await?.plan(list)?; // somebody may have been quicker
    list.run_direct(None, &mut *tx, false).await?;
    Ok(tx.commit().await?)
}

/// Connects. SQLite does not wait when several processes switch a new file to its log at once, or read one back after a crash.
async fn connect(size: u32, options: &SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
    let patience = Instant::now() + PATIENCE;
    loop {
        match pool(size).connect_with(options.clone()).await {
            Err(error) if is_locked(&error) && Instant::now() < patience => sleep(PAUSE).await,
            connected => return connected,
        }
    }
}

/// Whether somebody else has the file at this moment.
fn is_locked(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    // The low byte is SQLITE_BUSY; what is above it says why.
    error.code().and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code % 256 == SQLITE_BUSY)
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
