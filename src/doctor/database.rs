//! The ledger's database server: whether it lets us in, what its schema lacks, and whether the way there is protected.

use anyhow::Context;
use mindweave_control_plane::{Database, MigrateMode, SchemaState, SchemaStatus};

use super::Check;
use crate::config::Config;

const NAME: &str = "database";

/// The checks of a server; a file is among what this machine has to offer.
pub(super) fn checks(config: &Config) -> Vec<Check> {
    let database = config.ledger();
    if !matches!(database, Database::Postgres(_)) {
        return Vec::new();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let status = runtime
        .context("the async runtime does not start")
        .and_then(|runtime| Ok(runtime.block_on(SchemaStatus::read(&database))?));
    match status {
        Ok(status) => judge(&status, config.control_plane_migrate),
        Err(error) => {
            let advice = "docs/postgres.md says what is needed; the address is control_plane.database";
            vec![Check::fail(NAME, crate::chain(&error), advice)]
        }
    }
}

fn judge(status: &SchemaStatus, migrate: MigrateMode) -> Vec<Check> {
    let server = status.server.as_deref().unwrap_or_default();
    let found = format!("{}, PostgreSQL {server}", status.database);
    let pending = status.pending.len();
    let mut checks = vec![match (status.state, migrate) {
        (SchemaState::UpToDate, _) => Check::ok(NAME, format!("{found}, schema up to date")),
        (SchemaState::Pending, MigrateMode::Auto) => {
            Check::ok(NAME, format!("{found}, {pending} migrations to be made by the next start"))
        }
        (SchemaState::Pending, MigrateMode::Check) => {
            Check::fail(NAME, format!("{found}, lacks {pending} migrations"), "run `mindweave migrate up`")
        }
        (SchemaState::Unusable, _) => {
            let problem = status.problem.as_deref().unwrap_or("cannot be used");
            Check::fail(NAME, format!("{found}: {problem}"), "point control_plane.database to another one")
        }
    }];
    if status.exposed {
        checks.push(Check::warn(
            "way to database",
            "neither encrypted nor checked, and the server is on another machine",
            "set sslmode=verify-full and sslrootcert in control_plane.database",
        ));
    }
    checks
}
