//! A connection within a transaction, on either engine.

use std::ops::{Deref, DerefMut};

use sqlx::{Postgres, Sqlite};

use super::postgres::answered;

/// What runs the statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// A file, one writer.
    Sqlite,
    /// A server, with or without TimescaleDB.
    Postgres,
}

/// A connection within a transaction.
#[derive(Debug)]
pub(crate) enum Connection {
    /// To the file.
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    /// To the server.
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Connection {
    /// What runs its statements: for SQL that only one engine understands.
    pub(crate) fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }
}

/// A transaction. Dropping it rolls it back.
#[derive(Debug)]
pub(crate) struct Transaction(pub(super) Connection);

impl Transaction {
    /// Makes what was done last.
    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        match self.0 {
            Connection::Sqlite(tx) => tx.commit().await,
            Connection::Postgres(tx) => answered(tx.commit()).await,
        }
    }
}

impl Deref for Transaction {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.0
    }
}
