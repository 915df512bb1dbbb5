//! A dump that is put back into another database is the same ledger, and goes on where the dump was made.

use std::process::Command;

use mindweave_eventlog::Sequence;

use super::*;
use crate::rollup::{Retention, storage_run};
use crate::testing::{DAY, Ledger, NOON, at, event, record};

fn pg(program: &str, arguments: &[&str]) {
    let output = Command::new(Postgres::shared().bin(program)).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

fn url(database: &Database) -> &str {
    match database {
        Database::Postgres(url) => url.expose_secret(),
        Database::Sqlite(path) => panic!("{}", path.display()),
    }
}

/// The address of the same database for the server's administrator.
fn as_admin(database_url: &str) -> String {
    let admin = Postgres::shared().admin_url();
    let (server, _) = admin.rsplit_once('/').unwrap();
    let (_, name) = database_url.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

/// Everything that is counted or summed.
async fn told(db: &Db) -> Vec<i64> {
    let mut told = Vec::new();
    for sql in [
        "SELECT count(*) FROM usage_events",
        "SELECT CAST(sum(landed) AS BIGINT) FROM usage_events",
        "SELECT CAST(sum(cost_nano_usd) AS BIGINT) FROM usage_minute",
        "SELECT CAST(sum(requests) AS BIGINT) FROM usage_minute",
        "SELECT position FROM consumer_offsets",
        "SELECT snapshot_revision FROM installation",
        "SELECT count(*) FROM usage_events WHERE event_type = 'api_call'",
    ] {
        told.push(number(db, sql).await);
    }
    told
}

async fn goes_on_after_a_restore(before: Ledger, restore: impl Fn(&str, &str) -> String) {
    crate::testing::install(&before.db).await;
    let late = NOON - 5 * DAY; // for which there is a partition by then, or a compressed chunk
    let events: Vec<_> =
        (1..=300).map(|n| record(n, &event(n, if n % 3 == 0 { late } else { NOON }, n))).collect();
    let (mut claim, _) = before.ingest.claim("journal").await.unwrap();
    before.ingest.apply(&mut claim, &events[..200], Sequence::new(200)).await.unwrap();
    storage_run(&before.db, &Retention::default(), at(NOON)).await.unwrap();
    let at_the_dump = told(&before.db).await;
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("ledger.dump");
    let dump = dump.to_str().unwrap();
    // While others write: a dump is of one moment.
    pg("pg_dump", &["--format=custom", "--file", dump, "--dbname", url(&before.database)]);
    before.ingest.apply(&mut claim, &events[200..250], Sequence::new(250)).await.unwrap();
    before.db.close().await;
    let restored = tokio::task::block_in_place(|| restore(dump, url(&before.database)));
    let after = Ledger::open(Database::Postgres(Secret::new(restored))).await;
    assert_eq!(told(&after.db).await, at_the_dump);
    // The proxy still has what came after the dump if its journal is kept: it delivers from the position that it is told.
    let (mut claim, position) = after.ingest.claim("journal").await.unwrap();
    assert_eq!(position, Some(200));
    let new = after.ingest.apply(&mut claim, &events[150..], Sequence::new(300)).await.unwrap();
    assert_eq!(new, 100);
    assert_eq!(number(&after.db, "SELECT count(*) FROM usage_events").await, 300);
    let tokens = "SELECT CAST(sum(input_tokens) AS BIGINT) FROM usage_minute";
    assert_eq!(number(&after.db, tokens).await, 300 * 301 / 2);
    assert_eq!(number(&after.db, "SELECT count(DISTINCT landed) FROM usage_events").await, 300);
    storage_run(&after.db, &Retention::default(), at(NOON + DAY)).await.unwrap();
    assert_eq!(number(&after.db, "SELECT count(*) FROM usage_events").await, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_with_native_partitions_goes_on() {
    goes_on_after_a_restore(Ledger::on_postgres().await, |dump, _| {
        let restored = Postgres::shared().create_database();
        pg("pg_restore", &["--no-owner", "--exit-on-error", "--dbname", &restored, dump]);
        restored
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_with_hypertables_goes_on() {
    let Some(before) = Ledger::on_timescale().await else { return };
    goes_on_after_a_restore(before, |dump, _| {
        let server = Postgres::shared();
        let restored = server.create_timescale_database();
        let admin = as_admin(&restored);
        server.query(&admin, "SELECT timescaledb_pre_restore()");
        pg("pg_restore", &["--exit-on-error", "--dbname", &admin, dump]);
        server.query(&admin, "SELECT timescaledb_post_restore()");
        restored
    })
    .await;
}
