//! Moves a ledger from a file into an empty database of a server, exactly and wholly or not at all.
//!
//! The file is read by this process alone, in pages, and stays as it is. Everything is written in one transaction, which keeps
//! control planes from the database until it ends. Before it does, counts and sums of every table are compared.

mod rows;
mod source;
mod tables;
mod target;

use std::path::Path;

use serde::Serialize;

use crate::clock;
use crate::db::{Database, OpenError};
use rows::Form;
use source::Source;
use tables::{TABLES, Table};
use target::Target;

/// Why a ledger was not moved. Nothing is changed then, but that the server's database may have its tables.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// There is only one way to move.
    #[error(
        "a ledger is imported into PostgreSQL: set `control_plane.database` to the `postgres://` address of an empty database"
    )]
    NotAServer,
    /// File or server cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Two ledgers do not become one.
    #[error(
        "the database {database} is not empty: its table `{table}` has rows{}",
        if *.table == "installation" { ", so a control plane has been started on it" } else { "" }
    )]
    NotEmpty {
        /// Database and server, without credentials.
        database: String,
        /// The first table with something in it.
        table: &'static str,
    },
    /// The two sides are not of one schema, which migrations should not let happen.
    #[error("the table `{table}` is not the same on both sides")]
    Columns {
        /// Which.
        table: &'static str,
    },
    /// The file could not be read.
    #[error("the file cannot be read")]
    Read(#[source] sqlx::Error),
    /// The server refused or went away.
    #[error("the database cannot be written")]
    Write(#[source] sqlx::Error),
    /// The server refused the rows of a table, or went away.
    #[error("the table `{table}` cannot be written")]
    Copy {
        /// Which.
        table: &'static str,
        /// What the server said.
        #[source]
        cause: sqlx::Error,
    },
    /// What arrived is not what was sent.
    #[error("the table `{table}` does not sum up to what it was: nothing was imported")]
    Differs {
        /// Which.
        table: &'static str,
    },
}

/// How far an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportProgress {
    /// The table that is being moved.
    pub table: &'static str,
    /// Rows of it that were sent.
    pub sent: u64,
    /// Rows that it has.
    pub of: u64,
}

/// A table that was moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImportedTable {
    /// Its name.
    pub table: &'static str,
    /// How many rows it has.
    pub rows: u64,
}

/// What was moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImportReport {
    /// The file.
    pub from: String,
    /// Database and server, without credentials.
    pub database: String,
    /// Every table.
    pub tables: Vec<ImportedTable>,
}

/// Moves the ledger of a file into an empty database of a server, whose schema is brought up to date. Tells `progress` of
/// every page of rows, and of the end of each table.
///
/// # Errors
/// See [`ImportError`].
pub async fn ledger_import(
    from: &Path,
    to: &Database,
    mut progress: impl FnMut(ImportProgress),
) -> Result<ImportReport, ImportError> {
    let Database::Postgres(url) = to else { return Err(ImportError::NotAServer) };
    let mut source = Source::open(from).await?;
    let mut target = Target::open(url).await?;
    let (mut tables, mut forms) = (Vec::new(), Vec::new());
    for table in TABLES {
        let (rows, form) = move_table(table, &mut source, &mut target, &mut progress).await?;
        tables.push(ImportedTable { table: table.name, rows });
        forms.push((table, form));
    }
    // Last, of everything as it will be.
    for (table, form) in &forms {
        compare(*table, form, &mut source, &mut target).await?;
    }
    let database = target.shown.clone();
    target.commit().await?;
    source.close().await;
    Ok(ImportReport { from: from.display().to_string(), database, tables })
}

async fn move_table(
    table: Table,
    source: &mut Source,
    target: &mut Target,
    progress: &mut impl FnMut(ImportProgress),
) -> Result<(u64, Form), ImportError> {
    if let Some(step) = target.step(table).await? {
        let latest = clock::now().as_microsecond();
        for moment in source.steps(table, step, latest).await? {
            target.make_piece(table, moment).await?;
        }
    }
    let of = source.count(table).await?;
    let mut reader = source.reader(table).await?;
    let mut form = Form::of(table, &reader.columns)?;
    let names = form.names();
    target.must_have(table, &form).await?;
    let mut sent = 0_u64;
    progress(ImportProgress { table: table.name, sent, of });
    let copied = target.copy(table, &names, async |out: &mut Vec<u8>| {
        let page = source.page(&mut reader).await?;
        page.iter().try_for_each(|row| form.add(row, out))?;
        sent = sent.saturating_add(u64::try_from(page.len()).unwrap_or_default());
        if !page.is_empty() {
            progress(ImportProgress { table: table.name, sent, of });
        }
        Ok(!page.is_empty())
    });
    copied.await?;
    target.finish_table(table, &form).await?;
    Ok((sent, form))
}

async fn compare(
    table: Table,
    form: &Form,
    source: &mut Source,
    target: &mut Target,
) -> Result<(), ImportError> {
    let columns = source.reader(table).await?.columns;
    let expected = form.expected(source.figures(table, &columns).await?);
    if target.figures(table, &columns).await? == expected {
        Ok(())
    } else {
        Err(ImportError::Differs { table: table.name })
    }
}

#[cfg(test)]
mod tests;
