//! The same happens to a file, to native partitions and to hypertables: they must say the same.

use mindweave_eventlog::Sequence;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::analytics::{Answer, GroupBy, UsageQuery, usage_query};
use crate::rollup::rollup_run;
use crate::testing::{SECOND, event, record, run_on};
use crate::usage::Claim;

/// Shorter than in production, so that a test of two weeks meets every cut.
const RETENTION: Retention =
    Retention { raw: DAY.saturating_mul(3), minute: DAY.saturating_mul(2), hour: DAY.saturating_mul(5) };

#[derive(Clone, Debug)]
enum Step {
    /// Minutes pass.
    Wait(i64),
    /// Events arrive, each so many seconds old; some a second time, by another way.
    Deliver(Vec<i64>),
    /// Everything that was delivered is delivered again.
    Again,
    Rollup,
    /// Retention, partitions, compression.
    Storage,
}

fn step() -> impl Strategy<Value = Step> {
    let age = prop_oneof![
        8 => -120..600_i64,
        3 => 0..6 * 86_400_i64,
        1 => 6 * 86_400..400 * 86_400_i64, // a proxy that was forgotten
        1 => -2_000 * 86_400..-86_400_i64, // a clock that is ahead, or far ahead
    ];
    prop_oneof![
        3 => prop_oneof![1..90_i64, 60..5_000_i64].prop_map(Step::Wait),
        4 => vec(age, 1..8).prop_map(Step::Deliver),
        1 => Just(Step::Again),
        3 => Just(Step::Rollup),
        2 => Just(Step::Storage),
    ]
}

/// One of the ledgers, as its control plane has it.
struct Kept {
    ledger: Ledger,
    claim: Claim,
}

impl Kept {
    async fn deliver(&mut self, events: &[(u64, i64)], again: bool) {
        let records: Vec<_> =
            events.iter().map(|(number, at)| record(*number, &event(*number, *at, 10 + number))).collect();
        let Some((last, _)) = events.last() else { return };
        if again {
            // By another way, which has its own places.
            let (mut claim, _) = self.ledger.ingest.claim("topic").await.unwrap();
            self.ledger.ingest.apply(&mut claim, &records, Sequence::new(*last)).await.unwrap();
        } else {
            self.ledger.ingest.apply(&mut self.claim, &records, Sequence::new(*last)).await.unwrap();
        }
    }

    /// Every answer that there is: the sums by each interval as far as it is kept, and the events of the last three days.
    async fn says(&self, now: i64) -> String {
        let db = &self.ledger.db;
        let mut said = String::new();
        for interval in Level::ALL {
            let mut query = UsageQuery {
                interval,
                from: Level::Day.floor(NOON - 500 * DAY_MICROS),
                to: NOON + 3_000 * DAY_MICROS,
                group_by: vec![GroupBy::Model],
                only: Vec::new(),
            };
            let mut answer = usage_query(db, &crate::testing::everywhere(), &query, 100_000).await.unwrap();
            if let Answer::NotKept { from } = answer {
                said += &format!("{interval:?} from {from}\n");
                query.from = from;
                answer = usage_query(db, &crate::testing::everywhere(), &query, 100_000).await.unwrap();
            }
            said += &format!("{interval:?} {answer:?}\n");
        }
        let events: Vec<(Vec<u8>, i64)> = sql::query_as(
            "SELECT event_id, ended_at FROM usage_events WHERE ended_at >= ? ORDER BY ended_at, event_id",
        )
        .bind(super::super::super::retention::cutoff(at(now), RETENTION.raw))
        .fetch_all(db.readers())
        .await
        .unwrap();
        said + &format!("{events:?}\n")
    }
}

async fn run(ledgers: Vec<Ledger>, steps: Vec<Step>) {
    let mut kept = Vec::new();
    for ledger in ledgers {
        let (claim, _) = ledger.ingest.claim("journal").await.unwrap();
        kept.push(Kept { ledger, claim });
    }
    let (mut now, mut delivered) = (NOON, Vec::new());
    for step in steps {
        let events: Vec<(u64, i64)> = match &step {
            Step::Deliver(ages) => {
                let first = u64::try_from(delivered.len()).unwrap() + 1;
                (first..).zip(ages.iter().map(|age| now - age * SECOND)).collect()
            }
            // Beyond the kept time nobody can tell any more what is new.
            Step::Again => {
                let kept = super::super::super::retention::cutoff(at(now), RETENTION.raw);
                delivered.iter().copied().filter(|(_, at)| *at >= kept).collect()
            }
            Step::Wait(_) | Step::Rollup | Step::Storage => Vec::new(),
        };
        for one in &mut kept {
            let db = one.ledger.db.clone();
            match &step {
                Step::Wait(_) => {}
                Step::Deliver(_) => one.deliver(&events, false).await,
                Step::Again => one.deliver(&events, true).await,
                Step::Rollup => rollup_run(&db, at(now)).await.unwrap(),
                Step::Storage => storage_run(&db, &RETENTION, at(now)).await.unwrap(),
            }
        }
        if let Step::Deliver(_) = step {
            delivered.extend(events);
        }
        let first = kept[0].says(now).await;
        for other in &kept[1..] {
            assert_eq!(first, other.says(now).await, "after {step:?}: {:?}", other.ledger.database);
        }
        if let Step::Wait(minutes) = step {
            now += minutes * MINUTE;
        }
    }
    for one in kept {
        one.ledger.db.close().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_file_and_both_kinds_of_server_say_the_same_after_the_same(steps in vec(step(), 8..40)) {
        run_on(Ledger::every_kind(), |ledgers| run(ledgers, steps));
    }
}
