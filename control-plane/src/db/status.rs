//! What a database's schema is, for those who run it.

use jiff::Timestamp;
use serde::Serialize;
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, PgConnection};

use super::address::Address;
use super::error::OpenError;
use super::schema::{Recorded, SchemaError};
use super::{Database, DatabaseOptions, Db, migrations, postgres};

/// Most rows that are counted in a partition for everything else, which should have next to none.
const MOST_COUNTED: i64 = 100_000;

/// Whether this program can use a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SchemaState {
    /// It has what this program knows, or more that does not matter to it.
    UpToDate,
    /// It lacks migrations that this program has.
    Pending,
    /// This program must not touch it.
    Unusable,
}

/// A migration of this program.
#[derive(Clone, Debug, Serialize)]
pub struct PendingMigration {
    /// Its number.
    pub version: i64,
    /// What it changes.
    pub description: String,
}

/// A table in pieces by time.
#[derive(Clone, Debug, Serialize)]
pub struct DividedTable {
    /// Its name.
    pub table: String,
    /// How many pieces of time it has.
    pub pieces: i64,
    /// How many of them are compressed.
    pub compressed: i64,
    /// Where the first begins.
    pub starts: Option<Timestamp>,
    /// Where the last ends.
    pub ends: Option<Timestamp>,
    /// Rows for whose time there is no piece; a hundred thousand stands for more, too. Hypertables have none such.
    pub rows_elsewhere: Option<i64>,
}

/// What a database is and what its schema lacks.
#[derive(Clone, Debug, Serialize)]
pub struct SchemaStatus {
    /// `sqlite` or `postgresql`.
    pub engine: &'static str,
    /// The file, or database and server, without credentials.
    pub database: String,
    /// The server's version.
    pub server: Option<String>,
    /// The version of TimescaleDB that is made in the database.
    pub timescaledb: Option<String>,
    /// Whether the connection to another machine is neither encrypted nor checked.
    pub exposed: bool,
    /// How the big tables are divided: `native` or `timescaledb`. Decided when they were made.
    pub partitioning: Option<String>,
    /// The last migration that the database has.
    pub version: Option<i64>,
    /// The last that this program knows.
    pub known: i64,
    /// What comes of that.
    pub state: SchemaState,
    /// Why it cannot be used.
    pub problem: Option<String>,
    /// What this program would do.
    pub pending: Vec<PendingMigration>,
    /// Migrations of newer programs.
    pub newer: Vec<i64>,
    /// The big tables of a server.
    pub tables: Vec<DividedTable>,
}

impl SchemaStatus {
    /// Looks at a database and changes nothing.
    ///
    /// # Errors
    /// When it cannot be read. A file that is not there is a database that lacks everything.
    pub async fn read(database: &Database) -> Result<Self, OpenError> {
        match database {
            Database::Sqlite(path) => {
                let shown = path.display().to_string();
                let recorded = if path.exists() {
                    let options = SqliteConnectOptions::new().filename(path).read_only(true);
                    let failed = |cause| OpenError::Open { database: shown.clone(), hint: "", cause };
                    let mut connection = options.connect().await.map_err(failed)?;
                    let recorded = Recorded::of_sqlite(&mut connection).await;
                    recorded.map_err(|cause| OpenError::Schema { database: shown.clone(), cause })?
                } else {
                    Recorded::default()
                };
                Ok(Self::of("sqlite", shown, &recorded, &migrations::sqlite()))
            }
            Database::Postgres(url) => {
                let address = Address::read(url.expose_secret())?;
                let mut connection = postgres::connect(&address).await?;
                let status = of_server(&mut connection, &address).await;
                drop(connection.close().await); // it only read
                status.map_err(|cause| OpenError::Schema { database: address.shown, cause })
            }
        }
    }

    /// Brings a database up to date, as a start does. Safe while programs start or run.
    ///
    /// # Errors
    /// When it cannot be opened or must not be touched, or a migration fails, before which everything then is as it was.
    pub async fn bring_up_to_date(database: &Database) -> Result<(), OpenError> {
        Db::open(database, DatabaseOptions::default()).await?.close().await;
        Ok(())
    }

    fn of(engine: &'static str, database: String, recorded: &Recorded, list: &Migrator) -> Self {
        let plan = recorded.plan(list);
        let (state, problem) = match &plan {
            Ok(plan) if plan.pending.is_empty() => (SchemaState::UpToDate, None),
            Ok(_) => (SchemaState::Pending, None),
            Err(error) => (SchemaState::Unusable, Some(error.to_string())),
        };
        let plan = plan.unwrap_or_default();
        let pending = list.iter().filter(|migration| plan.pending.contains(&migration.version));
        Self {
            engine,
            database,
            server: None,
            timescaledb: None,
            exposed: false,
            partitioning: None,
            version: recorded.applied.iter().map(|applied| applied.version).max(),
            known: list.iter().map(|migration| migration.version).max().unwrap_or_default(),
            state,
            problem,
            pending: pending
                .map(|migration| PendingMigration {
                    version: migration.version,
                    description: migration.description.to_string(),
                })
                .collect(),
            newer: plan.newer,
            tables: Vec::new(),
        }
    }
}

async fn of_server(connection: &mut PgConnection, address: &Address) -> Result<SchemaStatus, SchemaError> {
    let recorded = Recorded::of_postgres(connection).await?;
    let mut status =
        SchemaStatus::of("postgresql", address.shown.clone(), &recorded, &migrations::postgres());
    status.exposed = postgres::is_exposed(connection, address).await?;
    let server = "SELECT split_part(current_setting('server_version'), ' ', 1)";
    status.server = Some(sqlx::query_scalar(server).fetch_one(&mut *connection).await?);
    let extension = "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'";
    status.timescaledb = sqlx::query_scalar(extension).fetch_optional(&mut *connection).await?;
    let divided: bool = sqlx::query_scalar("SELECT to_regclass('usage_storage') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if divided {
        let partitioning = "SELECT partitioning FROM usage_storage";
        status.partitioning = sqlx::query_scalar(partitioning).fetch_optional(&mut *connection).await?;
        status.tables = tables(connection, status.partitioning.as_deref() == Some("native")).await?;
    }
    Ok(status)
}

async fn tables(connection: &mut PgConnection, native: bool) -> Result<Vec<DividedTable>, SchemaError> {
    let names: Vec<String> = sqlx::query_scalar("SELECT table_name FROM usage_divisions ORDER BY table_name")
        .fetch_all(&mut *connection)
        .await?;
    let mut tables = Vec::new();
    for table in names {
        let (pieces, compressed, starts, ends): (i64, i64, Option<i64>, Option<i64>) = sqlx::query_as(
            "SELECT count(starts), count(*) FILTER (WHERE compressed), min(starts), max(ends) FROM usage_pieces($1)",
        )
        .bind(&table)
        .fetch_one(&mut *connection)
        .await?;
        let rows_elsewhere = if native {
            // The name comes from our own table of tables.
            let sql =
                format!("SELECT count(*) FROM (SELECT FROM {table}_default LIMIT {MOST_COUNTED}) AS rows");
            Some(sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *connection).await?)
        } else {
            None
        };
        let time = |micros: Option<i64>| micros.and_then(|micros| Timestamp::from_microsecond(micros).ok());
        let (starts, ends) = (time(starts), time(ends));
        tables.push(DividedTable { table, pieces, compressed, starts, ends, rows_elsewhere });
    }
    Ok(tables)
}
