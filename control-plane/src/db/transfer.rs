//! A file and a server, each with one connection of its own outside of the pools: for moving a ledger from one to the other.

use std::path::Path;
use std::time::Duration;

use mindweave_policy::Secret;
use sqlx::sqlite::{SqliteConnectOptions, SqliteLockingMode};
use sqlx::{ConnectOptions, PgConnection, SqliteConnection};

use super::address::Address;
use super::error::OpenError;
use super::schema::{MigrateMode, Plan, Recorded};
use super::{migrations, postgres};

/// How long another process may still have the file after its end.
const FILE_PATIENCE: Duration = Duration::from_secs(2);
/// SQLite's code for a file that another process has open, when it is wanted alone.
const SQLITE_BUSY: &str = "5";
/// What the session of a transfer is told: statements take as long as there are rows, and nobody else works meanwhile.
const SESSION: &str = "SET statement_timeout = 0; SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = 0; \
     SET tcp_user_timeout = '20s'; SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";

/// A server whose schema is up to date.
#[derive(Debug)]
pub(crate) struct Server {
    /// Outside of every pool.
    pub(crate) connection: PgConnection,
    /// Database and server, without credentials.
    pub(crate) shown: String,
}

/// Opens a ledger's file for this process alone, until the connection is closed. Changes nothing in it.
///
/// # Errors
/// When another process has it open, when it is no ledger, or not one of exactly this program's schema.
pub(crate) async fn open_file(path: &Path) -> Result<SqliteConnection, OpenError> {
    let shown = path.display().to_string();
    let unfit = |reason: String| OpenError::Unfit { database: shown.clone(), reason };
    let failed = |cause: sqlx::Error| {
        let busy =
            matches!(&cause, sqlx::Error::Database(cause) if cause.code().as_deref() == Some(SQLITE_BUSY));
        if busy {
            return unfit("another process has it open; stop that first".to_owned());
        }
        OpenError::Open { database: shown.clone(), hint: "", cause }
    };
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        // Set before anything is read, it lets no other process have the file, not even one that only reads.
        .locking_mode(SqliteLockingMode::Exclusive)
        .busy_timeout(FILE_PATIENCE);
    let mut connection = options.connect().await.map_err(failed)?;
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut connection).await.map_err(failed)?;
    let schema = |cause| OpenError::Schema { database: shown.clone(), cause };
    let recorded = Recorded::of_sqlite(&mut connection).await.map_err(schema)?;
    if recorded.applied.is_empty() {
        return Err(unfit("it is no ledger of MindWeave".to_owned()));
    }
    let Plan { pending, newer } = recorded.plan(&migrations::sqlite()).map_err(schema)?;
    if let Some(newest) = newer.iter().max() {
        return Err(unfit(format!("a newer MindWeave made its schema (version {newest}); use that one")));
    }
    if !pending.is_empty() {
        return Err(unfit(format!(
            "its schema lacks {} migrations; run `mindweave migrate up` with `control_plane.database = \"sqlite:{shown}\"` first",
            pending.len()
        )));
    }
    Ok(connection)
}

/// Connects to a server, and brings its schema up to date.
///
/// # Errors
/// When it cannot be reached, or its schema is not one that this program can fill.
pub(crate) async fn open_server(url: &Secret) -> Result<Server, OpenError> {
    let address = Address::read(url.expose_secret())?;
    let shown = address.shown.clone();
    let schema = |cause| OpenError::Schema { database: shown.clone(), cause };
    let mut connection = postgres::connect(&address).await?;
    let list = migrations::postgres();
    postgres::migrate(&mut connection, &list, MigrateMode::Auto).await.map_err(schema)?;
    let recorded = Recorded::of_postgres(&mut connection).await.map_err(schema)?;
    if let Some(newest) = recorded.plan(&list).map_err(schema)?.newer.iter().max() {
        let reason = format!("a newer MindWeave made its schema (version {newest}); use that one");
        return Err(OpenError::Unfit { database: shown, reason });
    }
    sqlx::raw_sql(SESSION)
        .execute(&mut connection)
        .await
        .map_err(|cause| OpenError::server(&shown, cause))?;
    Ok(Server { connection, shown })
}
