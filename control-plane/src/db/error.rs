//! What can go wrong with the database.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use super::schema::SchemaError;

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
    /// The file is not a usable database, or the server refuses or cannot be reached.
    #[error("the database {database} cannot be opened{hint}")]
    Open {
        /// The file, or database and server, without credentials.
        database: String,
        /// What may help, in brackets, or nothing.
        hint: &'static str,
        /// What the engine said.
        #[source]
        cause: sqlx::Error,
    },
    /// The server or the database in it is not of a kind that can be used.
    #[error("the database {database} cannot be used: {reason}")]
    Unfit {
        /// Database and server, without credentials.
        database: String,
        /// What it lacks.
        reason: String,
    },
    /// The schema is not one that this program can use, or could not be brought up to date.
    #[error("the database {database} cannot be used with its schema")]
    Schema {
        /// The file, or database and server, without credentials.
        database: String,
        /// Why.
        #[source]
        cause: SchemaError,
    },
}

impl OpenError {
    /// A server did not let us in.
    pub(super) fn server(database: &str, cause: sqlx::Error) -> Self {
        Self::Open { database: database.to_owned(), hint: hint(&cause), cause }
    }
}

/// What to do about a server that does not let us in.
fn hint(cause: &sqlx::Error) -> &'static str {
    match cause {
        sqlx::Error::Io(cause) => match cause.kind() {
            io::ErrorKind::ConnectionRefused => {
                " (nothing listens there: does the server run, and are host and port right?)"
            }
            io::ErrorKind::NotFound => {
                " (there is no such file: is it the socket, or a certificate of the address?)"
            }
            // What the TLS library says comes as data that makes no sense.
            io::ErrorKind::InvalidData => {
                " (TLS failed: `sslrootcert` names the file of the authority that made the server's certificate, which with \
                 `sslmode=verify-full` has to be for this very host)"
            }
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                " (the server hung up: is it PostgreSQL, and does it take connections of this kind, with or without TLS?)"
            }
            _ => "",
        },
        sqlx::Error::Tls(_) => {
            " (the server does not speak TLS: switch it on there; `sslmode=disable` is for trusted networks only)"
        }
        sqlx::Error::PoolTimedOut => {
            " (no answer: are host and port right, and does a firewall let this through?)"
        }
        sqlx::Error::Database(cause) => match cause.code().as_deref() {
            Some("28P01") => " (user or password is wrong)",
            Some("28000") => {
                " (the server's pg_hba.conf does not let this user in from here, or only with TLS)"
            }
            Some("3D000") => " (create it first: `CREATE DATABASE .. OWNER ..`)",
            Some("53300") => {
                " (the server has no connection left: raise its `max_connections`, or lower `control_plane.database_connections`)"
            }
            Some("57P03") => " (the server is starting or stopping)",
            _ => "",
        },
        _ => "",
    }
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
        self.is_away() || self.code_is(&BUSY)
    }

    /// Whether a value was refused, and will be however often it is tried.
    pub(crate) fn is_unfit(&self) -> bool {
        self.code_is(&UNFIT)
    }

    /// Whether the server gave the transaction up for the sake of another one: it may be tried again at once.
    pub(crate) fn is_conflict(&self) -> bool {
        self.code_is(&CONFLICT)
    }

    /// Whether the server cannot be reached, has just gone, or cannot serve now.
    pub(crate) fn is_away(&self) -> bool {
        use sqlx::Error;
        let Self::Database { cause, .. } = self else { return false };
        matches!(cause, Error::PoolTimedOut | Error::Io(_) | Error::Tls(_))
            || self.code().is_some_and(|code| is_away_code(&code))
    }

    /// Whether the database gave the question up because it took too long.
    pub(crate) fn is_timeout(&self) -> bool {
        self.code_is(&["57014"])
    }

    fn code_is(&self, codes: &[&str]) -> bool {
        self.code().is_some_and(|code| codes.contains(&&*code))
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        let Self::Database { cause: sqlx::Error::Database(cause), .. } = self else { return None };
        cause.code()
    }
}

/// Whether this is a code of PostgreSQL's that says that the session cannot serve now, whatever it is asked.
pub(super) fn is_away_code(code: &str) -> bool {
    // SQLite's codes are shorter.
    code.len() == SQLSTATE_LENGTH && AWAY.iter().any(|away| code.starts_with(away))
}

/// PostgreSQL's codes, and SQLite's last, for what it cannot hold: a text of a form or length that no column or index takes, a
/// check that fails. Not 22003: a sum that overflows is no row's fault.
const UNFIT: [&str; 7] = ["22001", "22021", "22P05", "23502", "23514", "54000", "275"];
/// PostgreSQL's codes for a deadlock and a serialization failure.
const CONFLICT: [&str; 2] = ["40P01", "40001"];
/// Its codes for what the next attempt may not meet again: a lock not had in time, a deadlock, a serialization
/// failure. (SQLite's are numbers, so none is among them by accident.)
const BUSY: [&str; 3] = ["55P03", "40P01", "40001"];
/// How long a code of PostgreSQL's is.
const SQLSTATE_LENGTH: usize = 5;
/// The beginnings of its codes for a session that cannot serve now, whatever it is asked: the connection failed (08); the session may
/// only read, as at a standby or with a full disk (25006), or was ended (25P03 to 25P04, 57P..), also because the server starts
/// or stops; connections, memory or disk are used up (53); the machine failed (58000, 58030).
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
const AWAY: [&str; 8] = ["08", "25006", "25P03", "25P04", "53", "57P", "58000", "58030"];

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
