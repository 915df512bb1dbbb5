//! Opening and migrating, on both engines.

mod backup;
mod documented;
mod files;
mod migrating;
mod opening;
mod read_only;

use std::collections::BTreeMap;

use mindweave_test_servers::Postgres;
use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType};
use tempfile::TempDir;

use super::*;

/// An empty database of each kind that can be had here, and the folder of the first.
fn empty_databases() -> (TempDir, Vec<Database>) {
    let folder = tempfile::tempdir().unwrap();
    let mut databases = vec![Database::Sqlite(folder.path().join("ledger.db")), empty_postgres()];
    if mindweave_test_servers::timescale().is_some() {
        let url = Postgres::shared().create_timescale_database();
        databases.push(Database::Postgres(Secret::new(url)));
    } else {
        eprintln!("TimescaleDB is not installed here: skipped");
    }
    (folder, databases)
}

fn empty_postgres() -> Database {
    Database::Postgres(Secret::new(Postgres::shared().create_database()))
}

fn own_list(database: &Database) -> Migrator {
    match database {
        Database::Sqlite(_) => migrations::sqlite(),
        Database::Postgres(_) => migrations::postgres(),
    }
}

/// The first `count` of this program's migrations, as an older program has them.
fn older_list(database: &Database, count: usize) -> Migrator {
    list_of(own_list(database).iter().take(count).cloned().collect())
}

/// This program's migrations and one more, as a newer program has them.
fn newer_list(database: &Database, sql: &'static str) -> Migrator {
    let mut list: Vec<_> = own_list(database).iter().cloned().collect();
    list.push(Migration::new(9_000, "newer".into(), MigrationType::Simple, sql.into_sql_str(), false));
    list_of(list)
}

fn list_of(migrations: Vec<Migration>) -> Migrator {
    let mut list = Migrator::with_migrations(migrations);
    list.set_ignore_missing(true);
    list
}

async fn open(database: &Database) -> Result<Db, OpenError> {
    Db::open(database, DatabaseOptions::default()).await
}

async fn open_as(database: &Database, list: &Migrator) -> Result<Db, OpenError> {
    Db::open_with(database, DatabaseOptions::default(), list).await
}

/// The error with its causes, as it is printed.
fn told(error: &OpenError) -> String {
    crate::http::problem::chain(error)
}

async fn number(db: &Db, sql: &'static str) -> i64 {
    sql::query_scalar(sql).fetch_one(db.readers()).await.unwrap()
}
