//! The server: pools of connections, and one lock that stands for SQLite's one writer.

use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, PgConnection, Row as _};
use tokio::time::{Instant, sleep, timeout};

use super::address::Address;
use super::error::OpenError;
use super::schema::{MigrateMode, Recorded, SchemaError};

/// How long a caller waits for a connection before the answer is "busy". Also how long a start waits for a server that is
/// starting too.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection that is given back may take to answer before it is thrown away.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);
/// A session that may only read is replaced, in the hope that a new one may write, once it is so old: readers go on meanwhile, and
/// a server that is a standby for long is not asked for a session by every one of them.
const READ_ONLY_AGE: Duration = Duration::from_secs(1);
/// How long a statement waits for a server from which nothing comes, as when its machine is gone: a little more than the
/// server itself allows the longest.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(130);
/// Between two attempts to reach a server that is not there yet.
const CONNECT_PAUSE: Duration = Duration::from_millis(200);
/// The oldest server that has what is used here; the newest of it is `idle_session_timeout`.
const LEAST_SERVER: i32 = 140_000;

/// Fewest connections of one control plane: one that writes, one that books events, two that read.
pub const LEAST_CONNECTIONS: u32 = 4;

/// The advisory lock that all writers of the ledger take: writers of the API, rollups and retention alone, as SQLite's one
/// writer is; ingest transactions together. The number is ours alone within the database, as are the next two.
pub(crate) const LEDGER_LOCK: i64 = 0x6d77_5f6c_6564_6772;
/// Whoever has it runs the jobs that run once.
pub(super) const LEADER_LOCK: i64 = 0x6d77_5f6c_6561_6472;
/// Whoever has it changes the schema.
const MIGRATION_LOCK: i64 = 0x6d77_5f6d_6967_7274;

/// What every session is told. A client that hangs in a transaction must not keep the others waiting for long; a connection
/// whose other end is gone must not keep its locks.
const SESSION: &str = "SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '10s'; \
     SET tcp_user_timeout = '20s'; SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";
/// And with TimescaleDB: late events for compressed pieces may unpack as much as they need.
const SESSION_TIMESCALE: &str = "; SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0";
/// What may take long on a server: the rollup of many hours.
const WRITE_TIMEOUT: &str = "SET statement_timeout = '2min'; ";
/// A question or a batch of events that takes longer is given up.
const STATEMENT_TIMEOUT: &str = "SET statement_timeout = '30s'; ";

/// The server's pools. Those who wait for the writers' lock do not take the readers' connections.
#[derive(Clone, Debug)]
pub(super) struct PostgresDb {
    /// One connection: writers queue here, in order, instead of at the server.
    pub(super) writer: PgPool,
    pub(super) ingest: PgPool,
    pub(super) readers: PgPool,
}

impl PostgresDb {
    /// Connects, sees to the schema, and makes the pools, which take so many connections together.
    pub(super) async fn open(
        url: &str,
        connections: u32,
        list: &Migrator,
        mode: MigrateMode,
    ) -> Result<Self, OpenError> {
        let address = Address::read(url)?;
        let mut first = connect(&address).await?;
        let schema = match migrate(&mut first, list, mode).await {
            Ok(()) => has_timescale(&mut first).await,
            Err(error) => Err(error),
        };
        if is_exposed(&mut first, &address).await.unwrap_or_default() {
            tracing::warn!(
                database = address.shown,
                "what goes to and from the database can be read and changed on its way: set sslmode=verify-full"
            );
        }
        drop(first.close().await); // whatever it holds ends with the session
        let schema = schema.map_err(|cause| OpenError::Schema { database: address.shown.clone(), cause });
        let timescale = if schema? { SESSION_TIMESCALE } else { "" };
        let ingest = connections.max(LEAST_CONNECTIONS) / 3;
        let readers = connections.max(LEAST_CONNECTIONS).saturating_sub(ingest).saturating_sub(1);
        let pool = |size, limit: &str| pool(&address, size, format!("{limit}{SESSION}{timescale}"));
        Ok(Self {
            writer: pool(1, WRITE_TIMEOUT),
            ingest: pool(ingest, STATEMENT_TIMEOUT),
            readers: pool(readers, STATEMENT_TIMEOUT),
        })
    }

    /// A connection of its own, outside of the pools.
    pub(super) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let options = self.readers.connect_options();
        match timeout(CONNECT_TIMEOUT, options.connect()).await {
            Ok(connected) => connected,
            Err(_) => Err(sqlx::Error::PoolTimedOut),
        }
    }

    /// Waits for running statements and closes.
    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.ingest.close().await;
        self.writer.close().await;
    }
}

fn pool(address: &Address, size: u32, session: String) -> PgPool {
    let session: Arc<str> = session.into();
    PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // After a restart of the server every connection is dead: found out here, not by whoever asked. The question
        // takes as long as the pool's own test.
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                Ok(match only_reads(connection).await {
                    Ok(only_reads) => !only_reads || meta.age < READ_ONLY_AGE,
                    Err(error) => {
                        tracing::info!(%error, "a connection to the database was lost");
                        false
                    }
                })
            })
        })
        // A connection that was left in the middle of a statement, to a server that is gone, must not keep its place.
        .after_release(|connection, _| {
            Box::pin(async move {
                let answer = timeout(RELEASE_TIMEOUT, connection.ping()).await;
                answer.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map(|()| true)
            })
        })
        .after_connect(move |connection, _| {
            let session = AssertSqlSafe(Arc::clone(&session));
            Box::pin(async move { sqlx::raw_sql(session).execute(connection).await.map(drop) })
        })
        .connect_lazy_with(address.options.clone())
}

/// Whether a session may only read: it is at a standby, or was opened while the database was closed to writers. Then it stays so,
/// even when the database is opened to them again.
pub(super) async fn only_reads(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let told = sqlx::raw_sql("SHOW transaction_read_only").fetch_one(connection).await?;
    Ok(told.try_get::<String, _>(0)? == "on")
}

/// Waits for the server's answer, but not for ever: a connection to a machine that is gone looks like one that is silent.
pub(crate) async fn answered<T>(
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let silent = || Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()));
    timeout(ANSWER_TIMEOUT, answer).await.unwrap_or_else(|_| silent())
}

/// Whether a connection leaves this machine in the clear.
pub(super) async fn is_exposed(
    connection: &mut PgConnection,
    address: &Address,
) -> Result<bool, sqlx::Error> {
    let encrypted = sqlx::query_scalar("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
    let encrypted: Option<bool> = encrypted.fetch_optional(connection).await?;
    Ok(!address.is_local() && encrypted == Some(false))
}

/// Whether the big tables are hypertables.
async fn has_timescale(connection: &mut PgConnection) -> Result<bool, SchemaError> {
    let partitioning: String =
        sqlx::query_scalar("SELECT partitioning FROM usage_storage").fetch_one(connection).await?;
    Ok(partitioning == "timescaledb")
}

/// The first connection, to a server that can be used.
pub(super) async fn connect(address: &Address) -> Result<PgConnection, OpenError> {
    let failed = |cause| OpenError::server(&address.shown, cause);
    let patience = Instant::now() + ACQUIRE_TIMEOUT;
    let mut connection = loop {
        let connected = timeout(CONNECT_TIMEOUT, address.options.connect()).await;
        match connected.unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut)) {
            Ok(connection) => break connection,
            Err(error) if is_starting(&error) && Instant::now() < patience => sleep(CONNECT_PAUSE).await,
            Err(error) => return Err(failed(error)),
        }
    };
    let (version, encoding): (String, String) =
        sqlx::query_as("SELECT current_setting('server_version_num'), current_setting('server_encoding')")
            .fetch_one(&mut connection)
            .await
            .map_err(failed)?;
    let reason = match version.parse::<i32>() {
        Ok(version) if version >= LEAST_SERVER && encoding == "UTF8" => return Ok(connection),
        Ok(version) if version >= LEAST_SERVER => {
            format!(
                "its encoding is {encoding}, it must be UTF8: make it with `CREATE DATABASE .. ENCODING 'UTF8' TEMPLATE template0`"
            )
        }
        _ => format!("the server is of version {version}, it must be PostgreSQL 14 or later"),
    };
    Err(OpenError::Unfit { database: address.shown.clone(), reason })
}

/// Whether the server may be there in a moment.
fn is_starting(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        sqlx::Error::Database(error) => error.code().as_deref() == Some("57P03"),
        _ => false,
    }
}

/// How often a migration that could not have a table for itself is tried.
const LOCK_TRIES: u32 = 5;
/// The pause between two of them.
const LOCK_PAUSE: Duration = Duration::from_secs(2);

/// Brings the schema up to date, or looks whether it is. Of several that start at once, one does it and the others wait.
pub(super) async fn migrate(
    connection: &mut PgConnection,
    list: &Migrator,
    mode: MigrateMode,
) -> Result<(), SchemaError> {
    if mode == MigrateMode::Check {
        return Recorded::of_postgres(connection).await?.plan(list)?.up_to_date();
    }
    sqlx::raw_sql("SET statement_timeout = 0; SET lock_timeout = 0").execute(&mut *connection).await?;
    sqlx::query("SELECT pg_advisory_lock($1)").bind(MIGRATION_LOCK).execute(&mut *connection).await?;
    let plan = Recorded::of_postgres(connection).await?.plan(list)?;
    if !plan.newer.is_empty() {
        tracing::info!(migrations = ?plan.newer, "a newer MindWeave has changed the database, and says that this one may use it");
    }
    if plan.pending.is_empty() {
        return Ok(());
    }
    tracing::info!(migrations = ?plan.pending, "changing the database's schema");
    // A change waits for whoever uses the table, and whoever comes after waits for the change.
    sqlx::query("SET lock_timeout = '5s'").execute(&mut *connection).await?;
    let mut tries = 1;
    loop {
        match list.run_direct(None, connection, false).await {
            Err(error) if is_lock_timeout(&error) && tries < LOCK_TRIES => tries = tries.saturating_add(1),
            done => return Ok(done?),
        }
        sleep(LOCK_PAUSE).await;
    }
}

fn is_lock_timeout(error: &sqlx::migrate::MigrateError) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<sqlx::Error>());
    matches!(cause, Some(sqlx::Error::Database(cause)) if cause.code().as_deref() == Some("55P03"))
}
