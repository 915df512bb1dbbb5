mod same_answers;

use super::*;
use crate::db::DatabaseOptions;
use crate::rollup::{Retention, retention_run, storage_run};
use crate::testing::{DAY as DAY_MICROS, Ledger, MINUTE, NOON, at};

/// The servers that can be had here.
async fn servers() -> Vec<Ledger> {
    let mut servers = vec![Ledger::on_postgres().await];
    servers.extend(Ledger::on_timescale().await);
    servers
}

async fn write(db: &Db, sql: &str) {
    let mut tx = db.begin_write().await.unwrap();
    sql::query(AssertSqlSafe(sql)).execute(&mut *tx).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
    tx.commit().await.unwrap();
}

/// Adds a request to a minute, as ingest does.
async fn add_minute(db: &Db, bucket: i64) {
    add(db, "usage_minute", bucket).await;
}

async fn add(db: &Db, table: &str, bucket: i64) {
    let sql = format!(
        "INSERT INTO {table} (bucket, dim_id, requests, errors, input_tokens, output_tokens, cache_read_tokens,
             cache_write_5m_tokens, cache_write_1h_tokens, thinking_tokens, web_search_requests, cost_nano_usd,
             unknown_cost_events, estimated_events, latency_ms_sum, latency_ms_max)
         VALUES ({bucket}, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
         ON CONFLICT (bucket, dim_id) DO UPDATE SET requests = {table}.requests + 1"
    );
    write(db, &sql).await;
}

async fn add_event(db: &Db, number: i64, id_at: i64) {
    let sql = format!(
        "INSERT INTO usage_events (event_id, id_at, ended_at, project_id, outcome, event)
         VALUES (decode(lpad(to_hex({number}), 32, '0'), 'hex'), {id_at}, {id_at}, 'prj_1', 'complete', '{{}}')
         ON CONFLICT (event_id, id_at) DO NOTHING"
    );
    write(db, &sql).await;
}

async fn pieces(db: &Db, table: &str) -> Vec<(String, Option<i64>, Option<i64>)> {
    sql::query_as("SELECT piece, starts, ends FROM usage_pieces(?)")
        .bind(table)
        .fetch_all(db.readers())
        .await
        .unwrap()
}

/// The starts of a table's pieces, in days since noon's day.
async fn days(db: &Db, table: &str) -> Vec<i64> {
    let starts = pieces(db, table).await.into_iter().filter_map(|(_, starts, _)| starts);
    starts.map(|starts| (starts - Level::Day.floor(NOON)) / DAY_MICROS).collect()
}

async fn count(db: &Db, sql: &str) -> i64 {
    sql::query_scalar(AssertSqlSafe(sql)).fetch_one(db.readers()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_made_ahead_and_again_each_day() {
    let db = Ledger::on_postgres().await.db;
    storage_run(&db, &Retention::default(), at(NOON)).await.unwrap();
    assert_eq!(days(&db, "usage_events").await, [0, 1, 2]);
    assert_eq!(days(&db, "usage_minute").await, [0, 1, 2]);
    assert_eq!(pieces(&db, "usage_hour").await.len(), 4);
    storage_run(&db, &Retention::default(), at(NOON)).await.unwrap();
    assert_eq!(days(&db, "usage_events").await, [0, 1, 2]);
    // A control plane that was away for longer than was made ahead.
    storage_run(&db, &Retention::default(), at(NOON + 5 * DAY_MICROS)).await.unwrap();
    assert_eq!(days(&db, "usage_events").await, [0, 1, 2, 5, 6, 7]);
    let (piece, starts, ends) = pieces(&db, "usage_events").await.swap_remove(0);
    assert_eq!(piece, "usage_events_20260115");
    assert_eq!(ends.unwrap() - starts.unwrap(), DAY_MICROS);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrived_before_its_partition_moves_into_it_and_keeps_its_place() {
    let db = Ledger::on_postgres().await.db;
    let far = NOON + 4_000 * DAY_MICROS; // somebody's clock
    for (number, id_at) in [(1, NOON), (2, NOON - 3 * DAY_MICROS), (3, far), (4, NOON + DAY_MICROS)] {
        add_event(&db, number, id_at).await;
    }
    assert_eq!(count(&db, "SELECT count(*) FROM usage_events_default").await, 4);
    let landed = "SELECT CAST(sum(landed * ended_at % 1000003) AS BIGINT) FROM usage_events";
    let before = count(&db, landed).await;
    storage_run(&db, &Retention::default(), at(NOON)).await.unwrap();
    assert_eq!(days(&db, "usage_events").await, [-3, 0, 1, 2]);
    assert_eq!(count(&db, "SELECT count(*) FROM usage_events_default").await, 1);
    assert_eq!(count(&db, landed).await, before);
    // They are known where they are now: none is booked again.
    for (number, id_at) in [(1, NOON), (2, NOON - 3 * DAY_MICROS), (3, far)] {
        add_event(&db, number, id_at).await;
    }
    assert_eq!(count(&db, "SELECT count(*) FROM usage_events").await, 4);
    // And new ones have later places.
    add_event(&db, 5, NOON).await;
    assert_eq!(count(&db, "SELECT count(*) FROM usage_events WHERE landed > 4").await, 1);
    // A partition that was made like its table has its indexes too.
    let indexes = "SELECT count(*) FROM pg_indexes WHERE tablename = ";
    let parent = count(&db, &format!("{indexes}'usage_events'")).await;
    assert_eq!(count(&db, &format!("{indexes}'usage_events_20260115'")).await, parent);
    let attached = "SELECT count(*) FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
         WHERE relkind = 'i' AND relname LIKE 'usage_events_20260115%'";
    assert_eq!(count(&db, attached).await, parent);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_passed_its_time_goes_by_the_piece_with_its_cut() {
    for server in servers().await {
        let db = &server.db;
        storage_run(db, &Retention::default(), at(NOON)).await.unwrap();
        for day in 0..3 {
            add_minute(db, NOON + day * DAY_MICROS).await;
            add_event(db, day, NOON + day * DAY_MICROS).await;
        }
        add_event(db, 77, NOON - 500 * DAY_MICROS).await; // late beyond its time
        add_minute(db, NOON + 4_000 * DAY_MICROS).await;
        // Minutes go only below what is summed: nothing is.
        let later = at(NOON + 60 * DAY_MICROS);
        retention_run(db, &Retention::default(), later).await.unwrap();
        assert_eq!(count(db, "SELECT count(*) FROM usage_minute").await, 4);
        assert_eq!(count(db, "SELECT count(*) FROM usage_events").await, 0);
        let summed = NOON + DAY_MICROS;
        write(
            db,
            &format!("UPDATE rollup_state SET complete_until = {summed} WHERE level IN ('hour', 'day')"),
        )
        .await;
        retention_run(db, &Retention::default(), later).await.unwrap();
        let kept = "SELECT kept_from FROM rollup_state WHERE level = 'minute'";
        assert_eq!(count(db, kept).await, summed);
        // The first day is gone. The second stays, as its second half is not summed yet.
        assert_eq!(count(db, "SELECT count(*) FROM usage_minute").await, 3);
        assert!(!days(db, "usage_minute").await.contains(&0));
        assert!(days(db, "usage_minute").await.contains(&1));
        // A second run, and one with a clock that went back, take nothing and give nothing back.
        retention_run(db, &Retention::default(), at(NOON)).await.unwrap();
        assert_eq!(count(db, kept).await, summed);
        assert_eq!(count(db, "SELECT count(*) FROM usage_minute").await, 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_kept_by_the_end_of_their_request() {
    for server in servers().await {
        let db = &server.db;
        storage_run(db, &Retention::default(), at(NOON)).await.unwrap();
        add_event(db, 1, NOON).await;
        // Seven days after its begin something that ended a day later is still within its time.
        retention_run(db, &Retention::default(), at(NOON + 7 * DAY_MICROS)).await.unwrap();
        assert_eq!(count(db, "SELECT count(*) FROM usage_events").await, 1);
        retention_run(db, &Retention::default(), at(NOON + 9 * DAY_MICROS)).await.unwrap();
        assert_eq!(count(db, "SELECT count(*) FROM usage_events").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_for_long_delays_a_drop_and_is_not_cut_off() {
    let db = Ledger::on_postgres().await.db;
    storage_run(&db, &Retention::default(), at(NOON)).await.unwrap();
    add_event(&db, 1, NOON).await;
    let mut reading = db.begin_read().await.unwrap();
    let seen: i64 =
        sql::query_scalar("SELECT count(*) FROM usage_events").fetch_one(&mut *reading).await.unwrap();
    let dropping = {
        let db = db.clone();
        tokio::spawn(
            async move { retention_run(&db, &Retention::default(), at(NOON + 30 * DAY_MICROS)).await },
        )
    };
    sleep(Duration::from_secs(3)).await; // longer than one attempt waits
    // Between its attempts others get in.
    let mut others = 0;
    while others == 0 {
        let ingest = tokio::time::timeout(Duration::from_secs(4), db.begin_ingest()).await;
        if let Ok(Ok(tx)) = ingest {
            tx.commit().await.unwrap();
            others += 1;
        }
    }
    let again: i64 =
        sql::query_scalar("SELECT count(*) FROM usage_events").fetch_one(&mut *reading).await.unwrap();
    assert_eq!((seen, again), (1, 1));
    reading.commit().await.unwrap();
    dropping.await.unwrap().unwrap();
    assert_eq!(count(&db, "SELECT count(*) FROM usage_events").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn late_events_for_compressed_pieces_are_right() {
    let Some(server) = Ledger::on_timescale().await else { return };
    let db = &server.db;
    let minutes: Vec<_> = (0..600).map(|minute| Level::Day.floor(NOON) + minute * MINUTE).collect();
    for minute in &minutes {
        add_minute(db, *minute).await;
    }
    add(db, "usage_hour", Level::Day.floor(NOON)).await;
    for number in 0..500 {
        add_event(db, number, NOON + number).await;
    }
    let later = NOON + 100 * DAY_MICROS;
    let century = Duration::from_secs(100 * 365 * 86_400);
    let for_ever = Retention { raw: century, minute: century, hour: century };
    let compressed = "SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed";
    storage_run(db, &for_ever, at(NOON + DAY_MICROS)).await.unwrap();
    assert_eq!(count(db, compressed).await, 0, "too young");
    storage_run(db, &for_ever, at(later)).await.unwrap();
    assert_eq!(count(db, compressed).await, 3);
    let sums = "SELECT CAST(sum(requests) AS BIGINT) FROM usage_minute";
    assert_eq!(count(db, sums).await, 600);
    for _ in 0..2 {
        for minute in minutes.iter().step_by(3) {
            add_minute(db, *minute).await; // one that is there
        }
        add_minute(db, NOON + 5 * 60 * MINUTE).await; // one that is not
        add(db, "usage_hour", Level::Day.floor(NOON)).await;
        for number in 0..700 {
            add_event(db, number, NOON + number).await; // some again, some new
        }
        storage_run(db, &for_ever, at(later)).await.unwrap();
    }
    assert_eq!(count(db, sums).await, 600 + 400 + 2);
    assert_eq!(count(db, "SELECT count(*) FROM usage_minute").await, 601);
    assert_eq!(count(db, "SELECT CAST(sum(requests) AS BIGINT) FROM usage_hour").await, 3);
    assert_eq!(count(db, "SELECT count(*) FROM usage_events").await, 700);
    // The session's limit of what may be unpacked is off, or a replay of many would be stuck for ever.
    let limit =
        "SELECT CAST(current_setting('timescaledb.max_tuples_decompressed_per_dml_transaction') AS BIGINT)";
    assert_eq!(count(db, limit).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_keeps_the_way_its_tables_were_divided_when_the_extension_comes_later() {
    if mindweave_test_servers::timescale().is_none() {
        eprintln!("TimescaleDB is not installed here: skipped");
        return;
    }
    let server = Ledger::on_postgres().await;
    let crate::db::Database::Postgres(url) = &server.database else { panic!("a server") };
    let postgres = mindweave_test_servers::Postgres::shared();
    let (_, name) = url.expose_secret().rsplit_once('/').unwrap();
    let admin = postgres.admin_url();
    let (server_of, _) = admin.rsplit_once('/').unwrap();
    let admin = format!("{server_of}/{name}");
    postgres.query(&admin, "CREATE EXTENSION timescaledb");
    let again = Db::open(&server.database, DatabaseOptions::default()).await.unwrap();
    storage_run(&again, &Retention::default(), at(NOON)).await.unwrap();
    assert_eq!(days(&again, "usage_events").await, [0, 1, 2]);
}
