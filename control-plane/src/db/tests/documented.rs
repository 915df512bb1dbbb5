//! The SQL of docs/postgres.md works as it stands there.

use mindweave_eventlog::Sequence;

use super::*;
use crate::rollup::rollup_run;
use crate::testing::{DAY, HOUR, Ledger, NOON, at, event, install, record};

/// The statements of the block that has this text.
fn documented(text: &str) -> &'static str {
    let blocks = include_str!("../../../../docs/postgres.md").split("```sql\n").skip(1);
    let mut blocks = blocks.filter_map(|block| block.split("```").next());
    blocks.find(|block| block.contains(text)).unwrap_or_else(|| panic!("no block has {text}"))
}

fn url(ledger: &Ledger) -> &str {
    match &ledger.database {
        Database::Postgres(url) => url.expose_secret(),
        Database::Sqlite(path) => panic!("{}", path.display()),
    }
}

/// A ledger with usage in closed days, in closed hours and in minutes.
async fn used(ledger: &Ledger) {
    install(&ledger.db).await;
    let (mut claim, _) = ledger.ingest.claim("journal").await.unwrap();
    for (number, ended_at) in (1..).zip([NOON - 2 * DAY, NOON - 2 * DAY + HOUR, NOON - 3 * HOUR, NOON]) {
        let records = [record(number, &event(number, ended_at, 1_000 * number))];
        ledger.ingest.apply(&mut claim, &records, Sequence::new(number)).await.unwrap();
        rollup_run(&ledger.db, at(ended_at)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_view_for_people_has_every_event_once() {
    let server = Postgres::shared();
    let mut ledgers = vec![Ledger::on_postgres().await];
    ledgers.extend(Ledger::on_timescale().await);
    for ledger in ledgers {
        used(&ledger).await;
        server.query(url(&ledger), documented("CREATE VIEW cost_by_day"));
        let requests = "SELECT CAST(sum(requests) AS BIGINT) FROM cost_by_day";
        assert_eq!(number(&ledger.db, requests).await, 4);
        let days = "SELECT count(DISTINCT day) FROM cost_by_day";
        assert_eq!(number(&ledger.db, days).await, 2);
        let off = "SELECT CAST(sum(cost_usd) * 1e9 AS BIGINT) - (SELECT CAST(sum(cost_nano_usd) AS BIGINT) FROM usage_minute)
             FROM cost_by_day";
        assert_eq!(number(&ledger.db, off).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_continuous_aggregate_sums_as_the_minutes_do() {
    let Some(ledger) = Ledger::on_timescale().await else { return };
    used(&ledger).await;
    let server = Postgres::shared();
    for statement in documented("timescaledb.continuous").split_inclusive(';') {
        server.query(url(&ledger), statement);
    }
    server.query(url(&ledger), "CALL refresh_continuous_aggregate('cost_by_hour', NULL, NULL)");
    let off = "SELECT CAST(sum(cost_nano_usd) AS BIGINT) - (SELECT CAST(sum(cost_nano_usd) AS BIGINT) FROM usage_minute)
         FROM cost_by_hour";
    assert_eq!(number(&ledger.db, off).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reader_sees_usage_and_no_secret_also_in_pieces_that_come_later() {
    let ledger = Ledger::on_postgres().await;
    used(&ledger).await;
    let server = Postgres::shared();
    let (_, name) = url(&ledger).rsplit_once('/').unwrap();
    let admin = server.admin_url();
    let admin = format!("{}/{name}", admin.rsplit_once('/').unwrap().0);
    // Roles are the server's, which other tests share.
    let reader = format!("reader_of_{name}");
    server.query(&admin, &documented("CREATE ROLE mindweave_read").replace("mindweave_read", &reader));
    crate::rollup::storage_run(&ledger.db, &crate::rollup::Retention::default(), at(NOON)).await.unwrap();
    let read = |sql: &str| server.query(&admin, &format!("SET ROLE {reader}; {sql}"));
    assert_eq!(read("SELECT count(*) FROM usage_events"), "4");
    assert_eq!(read("SELECT sum(requests) FROM usage_minute JOIN usage_dims USING (dim_id)"), "4");
    let forbidden = "SELECT has_table_privilege('upstream_credentials', 'SELECT')";
    assert_eq!(read(forbidden), "f");
}
