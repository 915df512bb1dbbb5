use std::ops::RangeInclusive;

use mindweave_eventlog::Sequence;

use super::*;
use crate::analytics::{Answer, GroupBy, UsageQuery, usage_query};
use crate::rollup::{Level, rollup_run};
use crate::testing::{DAY, NOON, at, event, install, record};
use crate::usage::{Ingest, LiveEvents};

/// Rows for each table, by the migration after which it can have them.
fn rows(engine: Engine) -> BTreeMap<i64, Vec<&'static str>> {
    let accounts = vec![
        "INSERT INTO orgs (id, name, created_at) VALUES ('org_1', 'Acme', 7)",
        "INSERT INTO projects (id, org_id, name, created_at) VALUES ('prj_1', 'org_1', 'default', 7)",
        "INSERT INTO installation (only_row, default_project_id, snapshot_revision) VALUES (1, 'prj_1', 3)",
    ];
    let sums = vec![
        "INSERT INTO usage_dims (org_id, project_id, team_id, user_id, key_id, model, event_type)
         VALUES ('org_1', 'prj_1', '', '', '', 'm', 'api_call')",
        "INSERT INTO usage_minute (bucket, dim_id, requests, errors, input_tokens, output_tokens, cache_read_tokens,
             cache_write_5m_tokens, cache_write_1h_tokens, thinking_tokens, web_search_requests, cost_nano_usd,
             unknown_cost_events, estimated_events, latency_ms_sum, latency_ms_max)
         VALUES (60000000, 1, 2, 0, 5, 0, 0, 0, 0, 0, 0, 11, 0, 0, 9, 9)",
    ];
    let offset =
        "INSERT INTO consumer_offsets (source, position, epoch, updated_at) VALUES ('journal', 41, 1, 7)";
    match engine {
        Engine::Sqlite => BTreeMap::from([
            (1, accounts),
            (
                2,
                vec![
                    offset,
                    "INSERT INTO usage_events (event_id, ended_at, project_id, outcome, event)
                     VALUES (x'000102030405060708090a0b0c0d0e0f', 60000000, 'prj_1', 'complete', '{}')",
                ],
            ),
            (3, sums),
        ]),
        Engine::Postgres => BTreeMap::from([
            (1, accounts),
            (
                4,
                vec![
                    offset,
                    "INSERT INTO usage_events (event_id, id_at, ended_at, project_id, outcome, event)
                     VALUES ('\\x000102030405060708090a0b0c0d0e0f', 60000000, 60000000, 'prj_1', 'complete', '{}')",
                ],
            ),
            (5, sums),
        ]),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_earlier_schema_comes_up_to_date_with_its_data() {
    let (_folder, empty) = empty_databases();
    for (kind, example) in empty.iter().enumerate() {
        let count = own_list(example).iter().count();
        for earlier in 0..=count {
            let (_folder, mut databases) = empty_databases();
            let database = databases.swap_remove(kind);
            let older = older_list(&database, earlier);
            let through = older.iter().map(|migration| migration.version).max().unwrap_or_default();
            let mut inserted = 0;
            if earlier > 0 {
                // Not by opening: an older program would look for less than this one.
                run(&database, &older).await;
                for sql in rows(engine_of(&database)).range(..=through).flat_map(|(_, rows)| rows) {
                    execute(&database, sql).await;
                    inserted += 1;
                }
            }
            let db = open(&database).await.unwrap();
            let applied = number(&db, "SELECT count(*) FROM _sqlx_migrations").await;
            assert_eq!(applied, i64::try_from(count).unwrap(), "{database:?} from {earlier}");
            if inserted >= 3 {
                assert_eq!(number(&db, "SELECT created_at FROM orgs WHERE time_zone = 'UTC'").await, 7);
                assert_eq!(number(&db, "SELECT snapshot_revision FROM installation").await, 3);
            }
            if inserted >= 5 {
                assert_eq!(number(&db, "SELECT position FROM consumer_offsets").await, 41);
                let kept = "SELECT count(*) FROM usage_events WHERE event_type = 'api_call' AND flagged = 0";
                assert_eq!(number(&db, kept).await, 1);
            }
            if inserted >= 7 {
                let kept =
                    "SELECT cost_nano_usd FROM usage_minute JOIN usage_dims USING (dim_id) WHERE denied = 0";
                assert_eq!(number(&db, kept).await, 11);
            }
            db.close().await;
        }
    }
}

fn engine_of(database: &Database) -> Engine {
    match database {
        Database::Sqlite(_) => Engine::Sqlite,
        Database::Postgres(_) => Engine::Postgres,
    }
}

/// Runs migrations without further ado.
async fn run(database: &Database, list: &Migrator) {
    match database {
        Database::Sqlite(path) => {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
            let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
            list.run(&pool).await.unwrap();
            pool.close().await;
        }
        Database::Postgres(url) => {
            let pool = PgPool::connect(url.expose_secret()).await.unwrap();
            list.run(&pool).await.unwrap();
            pool.close().await;
        }
    }
}

pub(super) async fn execute(database: &Database, sql: &'static str) {
    match database {
        Database::Sqlite(path) => {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
            let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
            sqlx::query(sql).execute(&pool).await.unwrap();
            pool.close().await;
        }
        Database::Postgres(url) => {
            let pool = PgPool::connect(url.expose_secret()).await.unwrap();
            sqlx::query(sql).execute(&pool).await.unwrap();
            pool.close().await;
        }
    }
}

/// Every kind at first, then files alone, which are cheap and where it is closest.
fn empty_databases_of_round(round: u32) -> (TempDir, Vec<Database>) {
    if round < 3 {
        return empty_databases();
    }
    let folder = tempfile::tempdir().unwrap();
    let file = Database::Sqlite(folder.path().join("ledger.db"));
    (folder, vec![file])
}

#[tokio::test(flavor = "multi_thread")]
async fn four_that_start_at_once_migrate_once() {
    for round in 0..30 {
        let (_folder, databases) = empty_databases_of_round(round);
        for database in databases {
            let starts = (0..4).map(|_| {
                let database = database.clone();
                tokio::spawn(async move { open(&database).await })
            });
            let mut opened = Vec::new();
            for start in starts.collect::<Vec<_>>() {
                opened.push(start.await.unwrap().unwrap_or_else(|error| panic!("{}", told(&error))));
            }
            let count = i64::try_from(own_list(&database).iter().count()).unwrap();
            for db in opened {
                assert_eq!(number(&db, "SELECT count(*) FROM _sqlx_migrations").await, count);
                db.close().await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_and_a_new_program_share_a_database_that_was_only_added_to() {
    let (_folder, databases) = empty_databases();
    for database in databases {
        let old = open(&database).await.unwrap();
        install(&old).await;
        book(&old, "journal-of-old", 1..=300).await;
        // The new one starts, and changes the tables that both write, while the old one goes on.
        let newer = newer_list(
            &database,
            "ALTER TABLE orgs ADD COLUMN colour TEXT;
             ALTER TABLE usage_events ADD COLUMN note TEXT;
             ALTER TABLE usage_minute ADD COLUMN smiles BIGINT NOT NULL DEFAULT 0",
        );
        let newer = match &database {
            Database::Sqlite(_) => newer_list(
                &database,
                "ALTER TABLE orgs ADD COLUMN colour TEXT;
                 ALTER TABLE usage_events ADD COLUMN note TEXT;
                 ALTER TABLE usage_minute ADD COLUMN smiles INTEGER NOT NULL DEFAULT 0",
            ),
            Database::Postgres(_) => newer,
        };
        let (new, _) = tokio::join!(open_as(&database, &newer), book(&old, "journal-of-old", 301..=600));
        let new = new.unwrap_or_else(|error| panic!("{}", told(&error)));
        tokio::join!(book(&old, "journal-of-old", 601..=900), book(&new, "journal-of-new", 901..=1_200));
        let expected: i64 = (1..=1_200).sum();
        for db in [&old, &new] {
            assert_eq!(tokens(db).await, expected);
            assert_eq!(number(db, "SELECT count(*) FROM usage_events").await, 1_200);
        }
        assert_eq!(number(&new, "SELECT count(*) FROM usage_events WHERE note IS NULL").await, 1_200);
        old.close().await;
        // The old one starts again while the new one runs; it must not take the newer migration back or repeat its own.
        let old = open(&database).await.unwrap_or_else(|error| panic!("{}", told(&error)));
        book(&old, "journal-of-old", 1_201..=1_300).await;
        assert_eq!(tokens(&new).await, (1..=1_300).sum::<i64>());
        let check = DatabaseOptions { migrate: MigrateMode::Check, ..DatabaseOptions::default() };
        Db::open(&database, check).await.unwrap().close().await;
        old.close().await;
        new.close().await;
    }
}

/// Books events of as many tokens as their number says, and rolls them up.
async fn book(db: &Db, source: &str, numbers: RangeInclusive<u64>) {
    let ingest = Ingest::new(db.clone(), LiveEvents::new(db.engine()));
    let (mut claim, _) = ingest.claim(source).await.unwrap();
    let last = *numbers.end();
    let records: Vec<_> = numbers.map(|number| record(number, &event(number, NOON, number))).collect();
    for part in records.chunks(50) {
        let end = part.last().map_or(last, |record| record.sequence.get());
        ingest.apply(&mut claim, part, Sequence::new(end)).await.unwrap();
    }
    rollup_run(db, at(NOON + DAY)).await.unwrap();
}

/// What an hour's question says, which goes over the levels.
async fn tokens(db: &Db) -> i64 {
    let query = UsageQuery {
        interval: Level::Hour,
        from: NOON - DAY,
        to: NOON + DAY,
        group_by: vec![GroupBy::Model],
        only: Vec::new(),
    };
    let Answer::Rows(rows) = usage_query(db, &crate::testing::everywhere(), &query, 10).await.unwrap() else {
        panic!("kept")
    };
    rows.iter().map(|row| row.totals.input_tokens).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_needs_newer_programs_is_refused_and_left_alone() {
    let (_folder, databases) = empty_databases();
    for database in databases {
        let newer = newer_list(
            &database,
            "ALTER TABLE orgs RENAME COLUMN name TO title; UPDATE schema_compatibility SET usable_from = 9000",
        );
        open_as(&database, &newer).await.unwrap().close().await;
        let error = told(&open(&database).await.unwrap_err());
        assert!(
            error.contains("is at version 9000, for programs that know version 9000 or later"),
            "{error}"
        );
        assert!(error.contains("use a newer MindWeave"), "{error}");
        let db = open_as(&database, &newer).await.unwrap();
        assert_eq!(number(&db, "SELECT count(title) FROM orgs").await, 0);
        db.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_with_another_history_is_refused() {
    let (_folder, databases) = empty_databases();
    for database in databases {
        let mut list: Vec<_> = own_list(&database).iter().cloned().collect();
        list[0] = Migration::new(1, "other".into(), MigrationType::Simple, "SELECT 1".into_sql_str(), false);
        list.truncate(1);
        run(&database, &list_of(list)).await;
        let error = told(&open(&database).await.unwrap_err());
        assert!(error.contains("its migration 1 is not the one of this program"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_check_a_database_must_be_up_to_date_already() {
    let check = DatabaseOptions { migrate: MigrateMode::Check, ..DatabaseOptions::default() };
    let (_folder, databases) = empty_databases();
    for database in databases {
        let older = older_list(&database, 2);
        run(&database, &older).await;
        let error = told(&Db::open(&database, check).await.unwrap_err());
        assert!(error.contains("run `mindweave migrate up`"), "{error}");
        execute(&database, "SELECT name FROM orgs").await;
        open(&database).await.unwrap().close().await;
        Db::open(&database, check).await.unwrap().close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_fails_leaves_the_database_as_it_was() {
    let (_folder, databases) = empty_databases();
    for database in databases {
        open(&database).await.unwrap().close().await;
        let broken = newer_list(&database, "CREATE TABLE half (x INTEGER); SELECT no_such_column FROM half");
        let error = told(&open_as(&database, &broken).await.unwrap_err());
        assert!(error.contains("no_such_column"), "{error}");
        let db = open(&database).await.unwrap();
        assert!(sql::query("SELECT x FROM half").execute(db.readers()).await.is_err());
        db.close().await;
    }
}
