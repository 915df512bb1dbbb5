//! `mindweave migrate`: the schema of the ledger's database, and the way from one database to another.

mod import;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use mindweave_control_plane::{Database, DividedTable, SchemaState, SchemaStatus};
use rustix::fs::Mode;

use crate::cli::MigrateAction;
use crate::config::Config;
use crate::table::{Align, Table};

/// Does what was asked for. The code says whether the database is up to date then.
///
/// # Errors
/// When the database cannot be reached, or must not be changed by this program.
pub(crate) fn run(config: &Config, action: &MigrateAction, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let database = config.ledger();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the async runtime")?;
    let json = match action {
        MigrateAction::Status { json } => *json,
        MigrateAction::Up { json } => {
            rustix::process::umask(Mode::from_raw_mode(0o077)); // the ledger is nobody else's business
            if let Database::Sqlite(_) = database {
                std::fs::create_dir_all(&config.data_dir).context("cannot make the data folder")?;
            }
            runtime.block_on(SchemaStatus::bring_up_to_date(&database))?;
            *json
        }
        MigrateAction::Import { from, json } => {
            runtime.block_on(import::run(config, from, *json, out))?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let status = runtime.block_on(SchemaStatus::read(&database))?;
    if json {
        writeln!(out, "{}", serde_json::to_string(&status)?)?;
    } else {
        print(&status, out)?;
    }
    Ok(if status.state == SchemaState::UpToDate { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(status: &SchemaStatus, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "database   {}", status.database)?;
    writeln!(out, "engine     {}", engine(status))?;
    let version = status.version.map_or_else(|| "none".to_owned(), |version| version.to_string());
    let state = match status.state {
        SchemaState::UpToDate if status.newer.is_empty() => "up to date",
        SchemaState::UpToDate => "changed by a newer MindWeave; this one may use it",
        SchemaState::Pending => "not up to date",
        SchemaState::Unusable => "cannot be used",
    };
    writeln!(out, "schema     {version}, this program knows {}: {state}", status.known)?;
    if let Some(problem) = &status.problem {
        writeln!(out, "problem    {problem}")?;
    }
    if !status.pending.is_empty() {
        writeln!(out)?;
        let mut table = Table::new([("PENDING", Align::Right), ("CHANGES", Align::Left)]);
        for migration in &status.pending {
            table.row(vec![migration.version.to_string(), migration.description.replace('_', " ")]);
        }
        table.print(out)?;
    }
    if !status.tables.is_empty() {
        writeln!(out)?;
        print_tables(&status.tables, out)?;
    }
    Ok(())
}

fn engine(status: &SchemaStatus) -> String {
    if status.engine == "sqlite" {
        return "SQLite".to_owned();
    }
    let server = status.server.as_deref().unwrap_or_default();
    let extension = match &status.timescaledb {
        Some(version) => format!(" with TimescaleDB {version}"),
        None => String::new(),
    };
    let divided = match status.partitioning.as_deref() {
        Some("native") => ", native partitions",
        Some(_) => ", hypertables",
        None => "",
    };
    format!("PostgreSQL {server}{extension}{divided}")
}

fn print_tables(tables: &[DividedTable], out: &mut impl Write) -> std::io::Result<()> {
    let mut shown = Table::new([
        ("TABLE", Align::Left),
        ("PIECES", Align::Right),
        ("COMPRESSED", Align::Right),
        ("FROM", Align::Left),
        ("TO", Align::Left),
        ("ROWS ELSEWHERE", Align::Right),
    ]);
    for table in tables {
        let day = |at: Option<jiff::Timestamp>| {
            at.map(|at| at.to_string().split('T').next().unwrap_or_default().to_owned()).unwrap_or_default()
        };
        shown.row(vec![
            table.table.clone(),
            table.pieces.to_string(),
            table.compressed.to_string(),
            day(table.starts),
            day(table.ends),
            table.rows_elsewhere.map(|rows| rows.to_string()).unwrap_or_default(),
        ]);
    }
    shown.print(out)
}
