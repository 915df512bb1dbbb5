//! The session whose lock says who leads.

use std::io;

use sqlx::{Connection as _, PgConnection};

use super::postgres::{LEADER_LOCK, PostgresDb, only_reads};

/// The server ends a leader's session after this long without a word: many times the pause between two questions.
const SILENCE: &str = "SET idle_session_timeout = '20s'";

/// A session that leads or would like to. The lead ends with it.
#[derive(Debug)]
pub(crate) enum LeaderSession {
    /// A file has one control plane.
    Alone,
    /// One of several control planes of a server.
    Server {
        /// Outside of the pool: what is returned there would keep the lock.
        connection: Box<PgConnection>,
        /// Whether it has the lock.
        leads: bool,
    },
}

impl LeaderSession {
    /// A session with a server.
    pub(super) async fn connect(db: &PostgresDb) -> Result<Self, sqlx::Error> {
        let mut connection = db.connect().await?;
        sqlx::query(SILENCE).execute(&mut connection).await?;
        Ok(Self::Server { connection: Box::new(connection), leads: false })
    }

    /// Whether it leads, after taking the lead if it is free. Of a database that may only be read there is no leader: it fails.
    pub(crate) async fn leads(&mut self) -> Result<bool, sqlx::Error> {
        let Self::Server { connection, leads } = self else { return Ok(true) };
        if only_reads(connection).await? {
            return Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "it may only be read").into());
        }
        // A session that lives has its lock.
        if !*leads {
            let lock = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(LEADER_LOCK);
            *leads = lock.fetch_one(&mut **connection).await?;
        }
        Ok(*leads)
    }

    /// Gives the lead back, so that another control plane has it at once.
    pub(crate) async fn end(self) {
        if let Self::Server { connection, .. } = self
            && let Err(error) = connection.close().await
        {
            tracing::debug!(%error, "the session of the leader did not end in order"); // the server notices
        }
    }
}
