use std::path::{Path, PathBuf};
use std::time::Duration;

use mindweave_eventlog::Sequence;
use mindweave_policy::Secret;
use mindweave_test_servers::Postgres;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, SqliteConnection};
use tempfile::TempDir;

use super::tables::{LEFT_OUT, TABLES};
use super::*;
use crate::db::{DatabaseOptions, Db, sql};
use crate::http::problem::chain;
use crate::testing::{DAY, HOUR, Ledger, MINUTE, NOON, SECOND, event, install, record};

/// What no API is needed for: something in every table that ingest and the first start leave empty, with what is hard to move:
/// nothing at all, quotes, line ends, the character NUL, bytes of every kind, numbers below zero and beyond 32 bits.
const ROWS: &[&str] = &[
    "INSERT INTO upstream_credentials VALUES ('prj_1', x'00ff5c0a0d7c', 'abcd', 1768478400000001)",
    "INSERT INTO keys VALUES ('key_1', 'prj_1', 'it''s \"|\\', zeroblob(32), 'wxyz', NULL, 'u', '{\"a\":\"ü\"}', 5, NULL, 6, '[]', 7, 8, randomblob(32), 'prev', 9)",
    "INSERT INTO client_credentials VALUES ('cred_1', 'prj_1', 'n', randomblob(32), 'h', 't', NULL, '{}', 7, '[\"r\"]')",
    "INSERT INTO policies VALUES ('pol_1', 'org_1', 'p', 'shadow', '{}', 'deny', 2, 1, 2, NULL)",
    "INSERT INTO policy_versions VALUES ('pol_1', 1, 'package a' || char(10) || char(9) || '\\N', '{}', NULL, NULL, 'a', '[]', '[]', 1)",
    "INSERT INTO policy_versions VALUES ('pol_1', 2, 'package a', '{}', 'models', 1, 'a', '[]', '[]', 2)",
    "INSERT INTO limits VALUES ('lim_1', 'org_1', 'l', '{}', 1, 2, 3)",
    "INSERT INTO quotas VALUES ('quo_1', 'org_1', 'q', '{}', 1, 2, 3)",
    "INSERT INTO proxy_tokens VALUES ('ptk_1', 'n', randomblob(32), 'h', '[\"watch\"]', NULL, 1, NULL, 2, 3)",
    "INSERT INTO consumer_offsets VALUES ('kafka:c:t:0', NULL, 3, 9), ('pxy_2', 9223372036854775807, 1, 9)",
    "INSERT INTO booked_batch_items VALUES ('b', '1', 1), ('b', '10', 2), ('b', '2', 3), ('ba', '', 4)",
    "INSERT INTO budget_counters VALUES ('quo_1', -5, '', -9223372036854775808, 17), ('quo_1', 5, 's', 1, 18)",
    "INSERT INTO budget_countings VALUES ('quo_1', '{}', 4)",
    "INSERT INTO key_uses VALUES ('key_1', 1768478400000000)",
    "INSERT INTO users VALUES ('usr_1', 'Ada@Example.org', 'ada@example.org', 'Ada', '$argon2id$v=19$', 1, 0, 2, 3, 4, NULL, NULL)",
    "INSERT INTO service_accounts VALUES ('sva_1', 'org_1', 'ci', 1, 2, NULL, 3)",
    "INSERT INTO teams VALUES ('team_1', 'org_1', 'web', 1, 2, NULL)",
    "UPDATE projects SET team_id = 'team_1', settings = '{\"required_metadata\":[\"é\"]}', updated_at = 3",
    "INSERT INTO role_bindings VALUES ('rol_1', 'usr_1', 'org_1', 'team', 'team_1', 'owner', 'manual', 1, 2)",
    "INSERT INTO invitations (id, org_id, email, email_key, place, place_id, role, fingerprint, invited_by, created_at, expires_at, mailed, sent_at)
     VALUES ('inv_1', 'org_1', 'B@x', 'b@x', 'org', 'org_1', 'auditor', randomblob(32), 'usr_1', 1, 2, 1, 3)",
    "INSERT INTO sessions VALUES ('ses_1', 'usr_1', 'password', NULL, '::1', 'curl', 1, 2, 3, NULL, NULL)",
    "INSERT INTO session_tokens VALUES (randomblob(32), 'ses_1', 'access', 1, 2, NULL), (randomblob(32), 'ses_1', 'refresh', 1, 2, 3)",
    "INSERT INTO api_tokens VALUES ('tok_1', 'usr_1', 'n', randomblob(32), 'h', '[\"*\"]', 'usr_1', 1, NULL, NULL, NULL)",
    "INSERT INTO one_time_tokens VALUES (randomblob(32), 'reset', NULL, '{}', 1, 2, NULL)",
    "INSERT INTO totp_secrets VALUES ('usr_1', x'00ff5c', 1, NULL, 0)",
    "INSERT INTO recovery_codes VALUES ('usr_1', randomblob(32), NULL), ('usr_1', randomblob(32), 1)",
    "INSERT INTO passkeys VALUES ('pky_1', 'usr_1', x'000a', 'n', '{}', 1, NULL)",
    "INSERT INTO oidc_providers VALUES ('okta', 'org_1', 'n', 'https://issuer', 'client', NULL, '{}', 1, 1, 2)",
    "INSERT INTO external_identities VALUES ('https://issuer', 's', 'usr_1', 'okta', 1, 2)",
    "INSERT INTO attempts VALUES ('b', 1, 2, 3)",
    "INSERT INTO audit_log VALUES ('org_1', 1, 1, 'key.created', 'usr_1', 'key', 'key_1', NULL, 'r', '{}', NULL, NULL, randomblob(32), zeroblob(32), randomblob(32))",
    "INSERT INTO audit_heads VALUES ('org_1', 1, randomblob(32), 0)",
    "INSERT INTO erasures VALUES ('era_1', 'org_1', randomblob(32), 'usr_2', 'u@example.com', 'erased_1', 3, 4, 5, 6, NULL)",
    "INSERT INTO erasure_salt VALUES (1, randomblob(32))",
    "INSERT INTO idempotent_requests VALUES ('usr_1', 'k', randomblob(32), NULL, NULL, 1, 2)",
    "UPDATE budget_moves SET moved = 18",
    "UPDATE installation SET snapshot_revision = 41, governance_revision = 42, budgets_revision = 43",
    "INSERT INTO usage_hour (bucket, dim_id, requests, errors, input_tokens, output_tokens, cache_read_tokens,
         cache_write_5m_tokens, cache_write_1h_tokens, thinking_tokens, web_search_requests, cost_nano_usd, unknown_cost_events,
         estimated_events, latency_ms_sum, latency_ms_max, denied, mcp_tool_calls)
     SELECT bucket, dim_id, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9000000000000000000, 11, 12, 13, 14, 15, 16 FROM usage_minute",
    "INSERT INTO usage_day SELECT * FROM usage_hour",
    "UPDATE rollup_state SET complete_until = 3600000000, kept_from = 60000000 WHERE level = 'hour'",
    "INSERT INTO live_proxies VALUES ('pxy_1', 1, NULL, NULL, NULL, NULL), ('pxy_2', 2, 2, 3, 4, '[]')",
    "UPDATE live_proxies_kept SET kept_at = 77, before_at = 76",
    // Of a program that could still book such a model.
    "UPDATE usage_events SET model = 'a' || char(0) || 'b' WHERE landed = 2",
];

/// A ledger in a file that nobody has open.
struct Left {
    path: PathBuf,
    _folder: TempDir,
}

impl Left {
    /// With something in every table, and so many events more than a page has.
    async fn full() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let ledger = Ledger::open(Database::Sqlite(path.clone())).await;
        install(&ledger.db).await;
        let mut moments: Vec<i64> = (0..700).map(|number| NOON - 3 * DAY + number * 10 * MINUTE).collect();
        moments.extend([NOON + 400 * DAY, NOON - 2_000 * DAY, SECOND, -5]); // clocks that are ahead, or stand still
        let mut events: Vec<_> =
            (1..).zip(moments).map(|(number, moment)| event(number, moment, number)).collect();
        // Ids that say nothing of their time.
        events[3].event_id = "919108f7-52d1-4320-9bac-f847db4148a8".parse().unwrap();
        let records: Vec<_> = (1..).zip(&events).map(|(sequence, event)| record(sequence, event)).collect();
        let (mut claim, _) = ledger.ingest.claim("pxy_1").await.unwrap();
        ledger.ingest.apply(&mut claim, &records, Sequence::new(704)).await.unwrap();
        let mut tx = ledger.db.begin_write().await.unwrap();
        for sql in ROWS {
            sql::query(*sql).execute(&mut *tx).await.unwrap();
        }
        tx.commit().await.unwrap();
        ledger.db.close().await;
        Self { path, _folder: folder }
    }

    async fn connection(&self) -> SqliteConnection {
        sqlx::sqlite::SqliteConnectOptions::new().filename(&self.path).connect().await.unwrap()
    }

    async fn execute(&self, sql: &'static str) {
        let mut connection = self.connection().await;
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Every row of a table as a text, by an independent way.
    async fn rows(&self, table: &str) -> (Vec<(String, String)>, Vec<String>) {
        let mut connection = self.connection().await;
        let columns: Vec<(String, String)> = sqlx::query_as("SELECT name, type FROM pragma_table_info(?)")
            .bind(table)
            .fetch_all(&mut connection)
            .await
            .unwrap();
        let texts = columns.iter().map(|(name, kind)| match kind.as_str() {
            "BLOB" => format!("iif({name} IS NULL, '~', lower(hex({name})))"),
            "TEXT" => format!("iif({name} IS NULL, '~', lower(hex({name})))"),
            _ => format!("coalesce(CAST({name} AS TEXT), '~')"),
        });
        let sql = format!("SELECT {} FROM {table}", texts.collect::<Vec<_>>().join(" || '|' || "));
        let mut rows: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
        rows.sort();
        connection.close().await.unwrap();
        (columns, rows)
    }
}

async fn empty_databases() -> Vec<Database> {
    tokio::task::spawn_blocking(|| {
        let mut urls = vec![Postgres::shared().create_database()];
        if mindweave_test_servers::timescale().is_some() {
            urls.push(Postgres::shared().create_timescale_database());
        } else {
            eprintln!("TimescaleDB is not installed here: skipped");
        }
        urls.into_iter().map(|url| Database::Postgres(Secret::new(url))).collect()
    })
    .await
    .unwrap()
}

async fn empty_database() -> Database {
    empty_databases().await.swap_remove(0)
}

async fn open(database: &Database) -> Db {
    Db::open(database, DatabaseOptions::default()).await.unwrap()
}

async fn rows_on(db: &Db, table: &str, columns: &[(String, String)]) -> Vec<String> {
    let texts = columns.iter().map(|(name, kind)| match kind.as_str() {
        "BLOB" => format!("coalesce(encode({name}, 'hex'), '~')"),
        "TEXT" => format!("coalesce(encode(convert_to({name}, 'UTF8'), 'hex'), '~')"),
        _ => format!("coalesce(CAST({name} AS TEXT), '~')"),
    });
    let sql = format!("SELECT {} FROM {table}", texts.collect::<Vec<_>>().join(" || '|' || "));
    let mut rows: Vec<String> = sql::query_scalar(AssertSqlSafe(sql)).fetch_all(db.readers()).await.unwrap();
    rows.sort();
    rows
}

async fn number(db: &Db, sql: &'static str) -> i64 {
    sql::query_scalar(sql).fetch_one(db.readers()).await.unwrap()
}

async fn import(left: &Left, to: &Database) -> Result<ImportReport, ImportError> {
    ledger_import(&left.path, to, |_| {}).await
}

async fn refused(path: &Path, to: &Database) -> String {
    chain(&ledger_import(path, to, |_| {}).await.unwrap_err())
}

/// Nothing but what an empty database has.
async fn assert_untouched(to: &Database) {
    let db = open(to).await;
    for table in TABLES.into_iter().filter(|table| !table.seeded) {
        let sql = format!("SELECT count(*) FROM {}", table.name);
        let rows: i64 = sql::query_scalar(AssertSqlSafe(sql)).fetch_one(db.readers()).await.unwrap();
        assert_eq!(rows, 0, "{}", table.name);
    }
    assert_eq!(number(&db, "SELECT count(*) FROM rollup_state WHERE complete_until = 0").await, 3);
    db.close().await;
}

#[tokio::test]
async fn every_table_of_a_file_is_moved_or_left_out_on_purpose() {
    let ledger = Ledger::new().await;
    let mut there: Vec<String> = sql::query_scalar(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY name",
    )
    .fetch_all(ledger.db.readers())
    .await
    .unwrap();
    let mut listed: Vec<_> = TABLES.into_iter().map(|table| table.name).chain(LEFT_OUT).collect();
    listed.sort_unstable();
    there.sort();
    assert_eq!(there, listed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_arrives_as_it_was_table_by_table() {
    let left = Left::full().await;
    for to in empty_databases().await {
        let mut told = Vec::new();
        let report = ledger_import(&left.path, &to, |progress| told.push(progress)).await.unwrap();
        let db = open(&to).await;
        for (table, ImportedTable { table: name, rows }) in TABLES.into_iter().zip(&report.tables) {
            assert_eq!(table.name, *name);
            let (columns, before) = left.rows(name).await;
            assert!(!before.is_empty(), "the test has no row in {name}");
            // Of `a\0b`, once, the one thing that a server's texts cannot hold.
            let before: Vec<_> = before.iter().map(|row| row.replace("|610062|", "|61efbfbd62|")).collect();
            assert_eq!(before, rows_on(&db, name, &columns).await, "{name}");
            assert_eq!(*rows, u64::try_from(before.len()).unwrap());
            let last = told.iter().rev().find(|told| told.table == *name).unwrap();
            assert_eq!((last.sent, last.of), (*rows, *rows), "{name}");
        }
        // Filed as ingest files them.
        let misfiled = "SELECT count(*) FROM usage_events WHERE id_at <> CASE
            WHEN substr(encode(event_id, 'hex'), 13, 1) = '7' AND substr(encode(event_id, 'hex'), 17, 1) IN ('8', '9', 'a', 'b')
            THEN ('x' || substr(encode(event_id, 'hex'), 1, 12))::bit(48)::bigint * 1000 ELSE ended_at END";
        assert_eq!(number(&db, misfiled).await, 0);
        db.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_afterwards_lands_behind_what_was_there_and_is_known_again() {
    let left = Left::full().await;
    for to in empty_databases().await {
        import(&left, &to).await.unwrap();
        let ledger = Ledger::open(to).await;
        let (mut claim, position) = ledger.ingest.claim("pxy_1").await.unwrap();
        assert_eq!(position, Some(704));
        let known = record(705, &event(1, NOON - 3 * DAY, 1));
        let mut other = event(9_001, NOON + HOUR, 5);
        other.model = Some("another".into());
        let again = [known, record(706, &other)];
        assert_eq!(ledger.ingest.apply(&mut claim, &again, Sequence::new(706)).await.unwrap(), 1);
        let landed = "SELECT landed FROM usage_events ORDER BY landed DESC LIMIT 1";
        assert!(ledger.number(landed).await > 704);
        assert_eq!(
            ledger.number("SELECT count(*) FROM usage_events").await,
            705,
            "the known one is not booked again"
        );
        assert_eq!(ledger.number("SELECT count(DISTINCT dim_id) FROM usage_dims").await, 2);
        assert_eq!(ledger.number("SELECT position FROM consumer_offsets WHERE source = 'pxy_1'").await, 706);
        ledger.db.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_rows_for_its_time_gets_partitions_and_the_rest_waits() {
    let (left, to) = (Left::full().await, empty_database().await);
    import(&left, &to).await.unwrap();
    let db = open(&to).await;
    let elsewhere = number(&db, "SELECT count(*) FROM usage_events_default").await;
    assert_eq!(elsewhere, 1, "that of a clock that is ahead");
    assert!(number(&db, "SELECT count(*) FROM usage_pieces('usage_minute')").await > 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_ledgers_do_not_become_one() {
    let (left, to) = (Left::full().await, empty_database().await);
    let db = open(&to).await;
    install(&db).await;
    let told = refused(&left.path, &to).await;
    assert!(told.contains("a control plane has been started on it"), "{told}");
    let other = empty_database().await;
    let started = open(&other).await;
    let mut tx = started.begin_write().await.unwrap();
    sql::query("INSERT INTO booked_batch_items VALUES ('b', 'c', 1)").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let told = refused(&left.path, &other).await;
    assert!(told.contains("`booked_batch_items` has rows"), "{told}");
    // And not twice.
    let third = empty_database().await;
    import(&left, &third).await.unwrap();
    assert!(refused(&left.path, &third).await.contains("is not empty"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_imports_at_once_one_is_refused() {
    let (one, other, to) = (Left::full().await, Left::full().await, empty_database().await);
    let (first, second) = tokio::join!(import(&one, &to), import(&other, &to));
    assert_eq!(u8::from(first.is_ok()) + u8::from(second.is_ok()), 1, "{first:?} {second:?}");
    let db = open(&to).await;
    assert_eq!(number(&db, "SELECT count(*) FROM usage_events").await, 704);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_starts_meanwhile_waits_and_then_finds_the_ledger() {
    let (left, to) = (Left::full().await, empty_database().await);
    let Database::Postgres(url) = &to else { panic!("a server") };
    let held = Target::open(url).await.unwrap();
    let starting = to.clone();
    let start = tokio::spawn(async move { open(&starting).await });
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let looker = sqlx::PgPool::connect(url.expose_secret()).await.unwrap();
    loop {
        assert!(!start.is_finished(), "it must wait");
        let count: i64 = sqlx::query_scalar(waiting).fetch_one(&looker).await.unwrap();
        if count > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await; // the pause between two looks
    }
    drop(held);
    let db = start.await.unwrap();
    assert_eq!(
        number(&db, "SELECT count(*) FROM orgs").await,
        0,
        "the transaction ended with its connection"
    );
    db.close().await;
    import(&left, &to).await.unwrap();
    assert_eq!(number(&open(&to).await, "SELECT count(*) FROM orgs").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_another_process_has_open_is_refused_and_so_is_the_other_process_meanwhile() {
    let (left, to) = (Left::full().await, empty_database().await);
    let server = open(&Database::Sqlite(left.path.clone())).await;
    number(&server, "SELECT count(*) FROM orgs").await;
    let told = refused(&left.path, &to).await;
    assert!(told.contains("another process has it open"), "{told}");
    server.close().await;
    let held = Source::open(&left.path).await.unwrap();
    let mut reader = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(&left.path)
        .busy_timeout(Duration::ZERO)
        .connect()
        .await
        .unwrap();
    assert!(sqlx::query("SELECT * FROM orgs").fetch_all(&mut reader).await.is_err());
    held.close().await;
    reader.close().await.unwrap();
    import(&left, &to).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_ledger_of_this_very_program_is_refused_with_what_to_do() {
    let to = empty_database().await;
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent.db");
    let told = refused(&absent, &to).await;
    assert!(told.contains("cannot be opened") && !absent.exists(), "{told}");
    let text = folder.path().join("text.db");
    std::fs::write(
        &text,
        "not a database at all, but long enough to have a head of a hundred bytes, which SQLite reads first",
    )
    .unwrap();
    assert!(refused(&text, &to).await.contains("not a database"));
    let empty = folder.path().join("empty.db");
    std::fs::write(&empty, "").unwrap();
    assert!(refused(&empty, &to).await.contains("no ledger of MindWeave"));
    let older = Left::full().await;
    older
        .execute("DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)")
        .await;
    let told = refused(&older.path, &to).await;
    assert!(told.contains("lacks 1 migrations") && told.contains("mindweave migrate up"), "{told}");
    let newer = Left::full().await;
    newer.execute("INSERT INTO _sqlx_migrations SELECT 9000, description, installed_on, success, checksum, execution_time FROM _sqlx_migrations LIMIT 1").await;
    let told = refused(&newer.path, &to).await;
    assert!(told.contains("a newer MindWeave made its schema (version 9000)"), "{told}");
    let left = Left::full().await;
    let told = refused(&left.path, &Database::Sqlite(folder.path().join("other.db"))).await;
    assert!(told.contains("control_plane.database") && told.contains("postgres://"), "{told}");
    assert_untouched(&to).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_half_way_leaves_nothing_and_can_be_done_again() {
    let left = Left::full().await;
    for to in empty_databases().await {
        let db = open(&to).await;
        let mut tx = db.begin_write().await.unwrap();
        sql::query("ALTER TABLE usage_events ADD CONSTRAINT made_up CHECK (landed < 600)")
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        db.close().await;
        let told = refused(&left.path, &to).await;
        assert!(told.contains("`usage_events` cannot be written") && told.contains("made_up"), "{told}");
        assert_untouched(&to).await;
        let db = open(&to).await;
        let mut tx = db.begin_write().await.unwrap();
        sql::query("ALTER TABLE usage_events DROP CONSTRAINT made_up").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        db.close().await;
        import(&left, &to).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_as_something_else_is_noticed() {
    let left = Left::full().await;
    for change in ["NEW.used := NEW.used + 1", "NEW.subject := NEW.subject || 'x'"] {
        let to = empty_database().await;
        let db = open(&to).await;
        let mut tx = db.begin_write().await.unwrap();
        let function = format!(
            "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {change}; RETURN NEW; END $$"
        );
        sql::query(AssertSqlSafe(function)).execute(&mut *tx).await.unwrap();
        let trigger =
            "CREATE TRIGGER spoil BEFORE INSERT ON budget_counters FOR EACH ROW EXECUTE FUNCTION spoil()";
        sql::query(trigger).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        db.close().await;
        let told = refused(&left.path, &to).await;
        assert!(told.contains("`budget_counters` does not sum up"), "{told}");
        assert_untouched(&to).await;
    }
}
