//! The schema's migrations, compiled in. Listed by hand: the list is the order, and the compiler watches the files.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Version, what changed, statements. A test holds this list equal to the folder.
const SQLITE: &[(i64, &str, &str)] = &[
    (1, "accounts", include_str!("../../../migrations/sqlite/0001_accounts.sql")),
    (2, "usage_events", include_str!("../../../migrations/sqlite/0002_usage_events.sql")),
    (3, "usage_rollups", include_str!("../../../migrations/sqlite/0003_usage_rollups.sql")),
    (4, "governance", include_str!("../../../migrations/sqlite/0004_governance.sql")),
    (5, "usage_governance", include_str!("../../../migrations/sqlite/0005_usage_governance.sql")),
    (
        6,
        "decision_log_by_project",
        include_str!("../../../migrations/sqlite/0006_decision_log_by_project.sql"),
    ),
    (7, "governance_revisions", include_str!("../../../migrations/sqlite/0007_governance_revisions.sql")),
];

/// The same for PostgreSQL.
const POSTGRES: &[(i64, &str, &str)] = &[];

/// Brings a SQLite database up to date, each migration in its own transaction.
pub(crate) fn sqlite() -> Migrator {
    migrator(SQLITE)
}

/// Brings a PostgreSQL database up to date, each migration in its own transaction.
pub(crate) fn postgres() -> Migrator {
    migrator(POSTGRES)
}

fn migrator(list: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migration = |&(version, description, sql): &(i64, &'static str, &'static str)| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(list.iter().map(migration).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_listed_under_its_name() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/sqlite");
        let entries = std::fs::read_dir(folder).unwrap();
        let mut files: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        let listed: Vec<_> = SQLITE
            .iter()
            .map(|(version, description, _)| format!("{version:04}_{description}.sql"))
            .collect();
        assert_eq!(files, listed);
    }
}
