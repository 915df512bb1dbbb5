//! The schema's migrations, compiled in. Listed by hand: the list is the order, and the compiler watches the files.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Version, what changed, statements.
type Listed = (i64, &'static str, &'static str);

/// A migration of an engine's folder, which bears the name `NNNN_what_changed.sql`.
macro_rules! listed {
    ($folder:literal, $($number:literal $version:literal $name:literal),+ $(,)?) => {
        &[$(($version, $name, include_str!(concat!("../../../migrations/", $folder, "/", $number, "_", $name, ".sql")))),+]
    };
}

/// Those of SQLite. A test holds this list equal to the folder.
const SQLITE: &[Listed] = listed!(
    "sqlite",
    "0001" 1 "accounts",
    "0002" 2 "usage_events",
    "0003" 3 "usage_rollups",
    "0004" 4 "governance",
    "0005" 5 "usage_governance",
    "0006" 6 "decision_log_by_project",
    "0007" 7 "governance_revisions",
    "0008" 8 "proxy_tokens",
    "0009" 9 "schema_compatibility",
    "0010" 10 "live_proxies",
    "0011" 11 "people_and_roles",
    "0012" 12 "sign_in",
    "0013" 13 "audit_log",
    "0014" 14 "erasures",
);

/// Those of PostgreSQL, which began when SQLite's were at 7.
const POSTGRES: &[Listed] = listed!(
    "postgres",
    "0001" 1 "accounts",
    "0002" 2 "governance",
    "0003" 3 "divided_tables",
    "0004" 4 "usage_events",
    "0005" 5 "usage_rollups",
    "0006" 6 "budget_counters",
    "0007" 7 "proxy_tokens",
    "0008" 8 "live_proxies",
    "0009" 9 "live_events",
    "0010" 10 "people_and_roles",
    "0011" 11 "sign_in",
    "0012" 12 "audit_log",
    "0013" 13 "erasures",
);

/// Brings a SQLite database up to date, each migration in its own transaction.
pub(super) fn sqlite() -> Migrator {
    migrator(SQLITE)
}

/// Brings a PostgreSQL database up to date, each migration in its own transaction.
pub(super) fn postgres() -> Migrator {
    migrator(POSTGRES)
}

fn migrator(list: &[Listed]) -> Migrator {
    let migration = |&(version, description, sql): &Listed| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    let mut migrator = Migrator::with_migrations(list.iter().map(migration).collect());
    migrator.set_ignore_missing(true); // which unknown ones are no obstacle is decided before: see `schema`
    migrator
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folders_is_listed_under_its_name() {
        for (folder, list) in [("sqlite", SQLITE), ("postgres", POSTGRES)] {
            let folder = format!("{}/../migrations/{folder}", env!("CARGO_MANIFEST_DIR"));
            let entries = std::fs::read_dir(folder).unwrap();
            let mut files: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            files.sort();
            let listed: Vec<_> = list
                .iter()
                .map(|(version, description, _)| format!("{version:04}_{description}.sql"))
                .collect();
            assert_eq!(files, listed);
        }
    }
}
