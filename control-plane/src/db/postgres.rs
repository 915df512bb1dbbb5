//! The server: a pool, and one lock that stands for SQLite's one writer.

use std::str::FromStr;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::error::OpenError;
use super::migrations;

/// How long a caller waits for a connection before the answer is "busy".
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections of one control plane.
const CONNECTIONS: u32 = 16;

/// The advisory lock that all writers of the ledger take: writers of the API, rollups and retention alone, as SQLite's one
/// writer is; ingest transactions together. The number is ours alone within the database.
pub(super) const LEDGER_LOCK: i64 = 0x6d77_5f6c_6564_6772;

/// The server's pool.
#[derive(Clone, Debug)]
pub(super) struct PostgresDb {
    pub(super) pool: PgPool,
}

impl PostgresDb {
    /// Connects and brings the schema up to date.
    pub(super) async fn open(url: &str) -> Result<Self, OpenError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| OpenError::Address { reason: error.to_string() })?
            .application_name("mindweave");
        let database = || {
            format!("{}:{}/{}", options.get_host(), options.get_port(), options.get_database().unwrap_or(""))
        };
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options.clone())
            .await
            .map_err(|cause| OpenError::Open { database: database(), cause })?;
        migrations::postgres()
            .run(&pool)
            .await
            .map_err(|cause| OpenError::Migrate { database: database(), cause })?;
        Ok(Self { pool })
    }
}
