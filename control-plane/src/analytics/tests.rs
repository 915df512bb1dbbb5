use std::collections::BTreeMap;
use std::time::Duration;

use mindweave_eventlog::Sequence;
use mindweave_metering::UsageEvent;
use proptest::collection::vec;
use proptest::prelude::*;

use super::store::{Answer, GroupBy, UsageQuery, UsageRow, usage_query};
use crate::db::{Db, Divided, sql};
use crate::rollup::{Level, Retention, retention_run, rollup_run};
use crate::testing::{
    DAY, HOUR, Ledger, MINUTE, NOON, SECOND, at, event, everywhere, on_every_kind_of_ledger, record, run_on,
};
use crate::usage::decode;
use crate::usage::totals::Totals;

/// Shorter than in production, so that a test of two weeks meets every cut.
const RETENTION: Retention = Retention {
    raw: Duration::from_secs(3 * 86_400),
    minute: Duration::from_secs(2 * 86_400),
    hour: Duration::from_secs(5 * 86_400),
};

/// One thing that happens to a ledger.
#[derive(Clone, Debug)]
enum Step {
    /// Time passes: minutes.
    Wait(i64),
    /// Events arrive, each so many seconds old (negative: ahead of our clock), of one of three models.
    Deliver(Vec<(i64, u8)>),
    Rollup,
    Retention,
}

fn step() -> impl Strategy<Value = Step> {
    let age = prop_oneof![
        4 => -120..600_i64,
        2 => 0..3 * 3_600_i64,
        1 => 0..10 * 86_400_i64,
    ];
    prop_oneof![
        3 => prop_oneof![1..90_i64, 60..3_000_i64].prop_map(Step::Wait),
        4 => vec((age, 0..3_u8), 1..6).prop_map(Step::Deliver),
        3 => Just(Step::Rollup),
        1 => Just(Step::Retention),
    ]
}

/// What the ledger should say: every event that was delivered.
#[derive(Default)]
struct Model {
    events: Vec<UsageEvent>,
}

impl Model {
    fn sums(&self, level: Level, from: i64) -> BTreeMap<(i64, String), Totals> {
        let mut sums: BTreeMap<_, Totals> = BTreeMap::new();
        for event in &self.events {
            let bucket = level.floor(event.timestamp.as_microsecond());
            if bucket >= from {
                let model = event.model.as_deref().unwrap_or_default().to_owned();
                let record = record(1, event);
                sums.entry((bucket, model)).or_default().add(&Totals::of(&decode(&record).unwrap().fields));
            }
        }
        sums
    }
}

async fn ask(db: &Db, interval: Level, from: i64) -> Result<Vec<UsageRow>, i64> {
    let query =
        UsageQuery { interval, from, to: NOON + 400 * DAY, group_by: vec![GroupBy::Model], only: Vec::new() };
    match usage_query(db, &everywhere(), &query, 100_000).await.unwrap() {
        Answer::Rows(rows) => Ok(rows),
        Answer::NotKept { from } => Err(from),
    }
}

/// Compares every interval, each over all of the time for which it is kept.
async fn assert_equal_to(model: &Model, db: &Db) {
    for interval in Level::ALL {
        let beginning = Level::Day.floor(NOON - 30 * DAY);
        let (from, rows) = match ask(db, interval, beginning).await {
            Ok(rows) => (beginning, rows),
            Err(kept_from) => (kept_from, ask(db, interval, kept_from).await.unwrap()),
        };
        let seen: BTreeMap<_, _> =
            rows.into_iter().map(|row| ((row.bucket, row.model), row.totals)).collect();
        assert_eq!(seen, model.sums(interval, from), "by {} from {}", interval.name(), at(from));
    }
}

async fn run(ledger: Ledger, steps: Vec<Step>) {
    let (mut claim, _) = ledger.ingest.claim("journal").await.unwrap();
    let (mut now, mut model, mut sequence) = (NOON, Model::default(), 0);
    for step in steps {
        match step {
            Step::Wait(minutes) => now += minutes * MINUTE,
            Step::Deliver(arrivals) => {
                let mut batch = Vec::new();
                for (age, number) in arrivals {
                    sequence += 1;
                    let mut event = event(sequence, now - age * SECOND, 10 + sequence);
                    event.model = Some(format!("model-{number}").into());
                    batch.push(record(sequence, &event));
                    model.events.push(event);
                }
                ledger.ingest.apply(&mut claim, &batch, Sequence::new(sequence)).await.unwrap();
            }
            Step::Rollup => rollup_run(&ledger.db, at(now)).await.unwrap(),
            Step::Retention => retention_run(&ledger.db, &RETENTION, at(now)).await.unwrap(),
        }
        assert_equal_to(&model, &ledger.db).await;
    }
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, max_shrink_iters: 200, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn stitched_sums_equal_the_raw_sums_at_every_moment(steps in vec(step(), 1..40)) {
        run_on(Ledger::new(), |ledger| run(ledger, steps));
    }
}

proptest! {
    #![proptest_config(cases(6))]

    #[test]
    fn stitched_sums_equal_the_raw_sums_at_every_moment_on_postgresql(steps in vec(step(), 1..40)) {
        run_on(Ledger::on_postgres(), |ledger| run(ledger, steps));
    }

    #[test]
    fn stitched_sums_equal_the_raw_sums_at_every_moment_on_timescaledb(steps in vec(step(), 1..40)) {
        run_on(Ledger::on_timescale(), |ledger| async {
            if let Some(ledger) = ledger {
                run(ledger, steps).await;
            }
        });
    }
}

async fn sums_survive_the_end_of_what_they_were_made_from(ledger: Ledger) {
    let (mut claim, _) = ledger.ingest.claim("journal").await.unwrap();
    ledger.ingest.apply(&mut claim, &[record(1, &event(1, NOON, 10))], Sequence::new(1)).await.unwrap();
    let later = at(NOON + 60 * DAY); // a piece of the hours has thirty days and goes as a whole
    rollup_run(&ledger.db, later).await.unwrap();
    retention_run(&ledger.db, &RETENTION, later).await.unwrap();
    for table in ["usage_events", "usage_minute", "usage_hour"] {
        let sql = format!("SELECT count(*) FROM {table}");
        let rows: i64 =
            sql::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(ledger.db.readers()).await.unwrap();
        assert_eq!(rows, 0, "{table}");
    }
    let days = ask(&ledger.db, Level::Day, Level::Day.floor(NOON)).await.unwrap();
    assert_eq!(days[0].totals.input_tokens, 10);
}

async fn an_event_older_than_the_minutes_and_hours_kept_still_finds_its_day(ledger: Ledger) {
    let (mut claim, _) = ledger.ingest.claim("journal").await.unwrap();
    let later = at(NOON + 20 * DAY);
    rollup_run(&ledger.db, later).await.unwrap();
    retention_run(&ledger.db, &RETENTION, later).await.unwrap();
    ledger.ingest.apply(&mut claim, &[record(1, &event(1, NOON, 10))], Sequence::new(1)).await.unwrap();
    let days = ask(&ledger.db, Level::Day, Level::Day.floor(NOON)).await.unwrap();
    assert_eq!(days[0].totals.input_tokens, 10);
    assert_eq!(ledger.number("SELECT count(*) FROM usage_minute").await, 0);
    assert_eq!(ledger.number("SELECT count(*) FROM usage_hour").await, 0);
    // Neither a second rollup nor a second retention run changes what is there.
    rollup_run(&ledger.db, at(NOON + 21 * DAY)).await.unwrap();
    retention_run(&ledger.db, &RETENTION, at(NOON + 21 * DAY)).await.unwrap();
    assert_eq!(ask(&ledger.db, Level::Day, Level::Day.floor(NOON)).await.unwrap(), days);
}

async fn retention_drops_nothing_that_is_not_summed_yet(ledger: Ledger) {
    let (mut claim, _) = ledger.ingest.claim("journal").await.unwrap();
    ledger.ingest.apply(&mut claim, &[record(1, &event(1, NOON, 10))], Sequence::new(1)).await.unwrap();
    retention_run(&ledger.db, &RETENTION, at(NOON + 300 * DAY)).await.unwrap();
    assert_eq!(ledger.number("SELECT count(*) FROM usage_minute").await, 1);
    rollup_run(&ledger.db, at(NOON + 300 * DAY)).await.unwrap();
    let days = ask(&ledger.db, Level::Day, Level::Day.floor(NOON)).await.unwrap();
    assert_eq!(days[0].totals.input_tokens, 10);
}

async fn an_answer_before_the_kept_time_is_refused_instead_of_being_too_small(ledger: Ledger) {
    let later = at(NOON + 20 * DAY);
    rollup_run(&ledger.db, later).await.unwrap();
    retention_run(&ledger.db, &RETENTION, later).await.unwrap();
    assert!(ask(&ledger.db, Level::Minute, NOON).await.is_err());
    assert!(ask(&ledger.db, Level::Hour, NOON).await.is_err());
    assert!(ask(&ledger.db, Level::Hour, NOON + 19 * DAY + HOUR).await.is_ok());
}

/// What arrived for a time that had no partition yet moves into it when it is made. Whoever is asking meanwhile, in a state of the
/// database from before, must not look for it in the new one.
#[tokio::test(flavor = "multi_thread")]
async fn what_moves_into_a_new_partition_is_not_lost_to_a_question_that_has_begun() {
    let ledger = Ledger::on_postgres().await;
    let (mut claim, _) = ledger.ingest.claim("journal").await.unwrap();
    ledger.ingest.apply(&mut claim, &[record(1, &event(1, NOON, 10))], Sequence::new(1)).await.unwrap();
    for (divided, table, column) in
        [(Divided::Sums, "usage_minute", "bucket"), (Divided::Events, "usage_events", "id_at")]
    {
        let mut asking = ledger.db.begin_read_of(divided).await.unwrap();
        let _: i64 =
            sql::query_scalar("SELECT count(*) FROM rollup_state").fetch_one(&mut *asking).await.unwrap();
        let mut making = ledger.db.begin_write().await.unwrap();
        let made = tokio::spawn(async move {
            let moved: i64 = sql::query_scalar("SELECT usage_partition_make(?, ?)")
                .bind(table)
                .bind(NOON)
                .fetch_one(&mut *making)
                .await
                .unwrap();
            making.commit().await.unwrap();
            moved
        });
        let waiting = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while !made.is_finished() && ledger.number(waiting).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let sql = format!("SELECT count(*) FROM {table} WHERE {column} >= ? AND {column} < ?");
        let seen: i64 = sql::query_scalar(sqlx::AssertSqlSafe(sql))
            .bind(NOON)
            .bind(NOON + HOUR)
            .fetch_one(&mut *asking)
            .await
            .unwrap();
        assert_eq!(seen, 1, "{table}");
        drop(asking);
        assert_eq!(made.await.unwrap(), 1, "{table}");
    }
    assert_eq!(ask(&ledger.db, Level::Minute, NOON).await.unwrap()[0].totals.input_tokens, 10);
}

on_every_kind_of_ledger!(
    sums_survive_the_end_of_what_they_were_made_from,
    an_event_older_than_the_minutes_and_hours_kept_still_finds_its_day,
    retention_drops_nothing_that_is_not_summed_yet,
    an_answer_before_the_kept_time_is_refused_instead_of_being_too_small,
);
