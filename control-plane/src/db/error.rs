//! What can go wrong with the database.

use std::io;
use std::path::PathBuf;

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
    /// The address is not one of a database.
    #[error("the database's address cannot be read: {reason}")]
    Address {
        /// Why. Repeats no part of the address, which may hold a password.
        reason: String,
    },
    /// The file is not a usable database, or the server cannot be used.
    #[error("the database {database} cannot be opened")]
    Open {
        /// The file, or server and database, without credentials.
        database: String,
        /// What the engine said.
        #[source]
        cause: sqlx::Error,
    },
    /// The schema could not be brought up to date. The database is as it was before the migration that failed.
    #[error("the database {database} cannot be migrated")]
    Migrate {
        /// The file, or server and database, without credentials.
        database: String,
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
