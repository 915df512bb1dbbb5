//! `mindweave secrets`: a new master key, and the way from one to the next.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use mindweave_control_plane::{MasterKey, SecretsReport, secrets_check, secrets_rotate};

use super::stored_master_key;
use crate::cli::SecretsAction;
use crate::config::{Config, ConfigError, Environment};
use crate::hardening::keep_memory_private;
use crate::table::{Align, Table};

/// Does what was asked for. The code says whether everything is under the present key then.
///
/// # Errors
/// When there is no key, or the database cannot be read or written.
pub(crate) fn run(
    config: Result<Config, ConfigError>,
    environment: &Environment,
    action: &SecretsAction,
    out: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    match action {
        SecretsAction::NewKey => {
            writeln!(out, "{}", MasterKey::generate_text()?.expose_secret())?;
            Ok(ExitCode::SUCCESS)
        }
        SecretsAction::Rotate { check, json } => {
            let config = config?;
            keep_memory_private(config.process_core_dumps);
            rotate(&config, environment, *check, *json, out)
        }
    }
}

fn rotate(
    config: &Config,
    environment: &Environment,
    check: bool,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    let key = stored_master_key(config, environment)?;
    let database = config.ledger();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the async runtime")?;
    let report = if check {
        runtime.block_on(secrets_check(&database, &key))?
    } else {
        runtime.block_on(secrets_rotate(&database, &key))?
    };
    if json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        print(&report, out)?;
    }
    Ok(if report.is_current() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(report: &SecretsReport, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "present key   {}", report.key_id)?;
    for id in &report.previous_key_ids {
        writeln!(out, "previous key  {id}")?;
    }
    writeln!(out)?;
    let mut table = Table::new([
        ("SECRETS", Align::Left),
        ("PRESENT KEY", Align::Right),
        ("PREVIOUS KEY", Align::Right),
        ("SEALED ANEW", Align::Right),
        ("DO NOT OPEN", Align::Right),
    ]);
    for row in &report.tables {
        let figures = [row.current, row.previous, row.resealed, row.unreadable];
        let mut cells = vec![row.what.to_owned()];
        cells.extend(figures.map(|figure| figure.to_string()));
        table.row(cells);
    }
    table.print(out)?;
    for row in report.tables.iter().filter(|row| row.unreadable > 0) {
        writeln!(out, "\n{} that no key opens: {}", row.what, row.unreadable_ids.join(", "))?;
    }
    if report.is_current() {
        writeln!(out, "\nThe present key opens everything: previous keys are needed no more.")
    } else if report.unreadable() > 0 {
        writeln!(out, "\nGive the missing key as MINDWEAVE_MASTER_KEY_PREVIOUS, or store those secrets anew.")
    } else {
        writeln!(
            out,
            "\nNot everything is under the present key. Run `mindweave secrets rotate`; if it did run, a server\nstill seals under a previous key."
        )
    }
}
