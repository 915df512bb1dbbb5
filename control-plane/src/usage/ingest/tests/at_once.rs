//! Many consumers, admins, rollups and retention at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mindweave_eventlog::EventSink;
use mindweave_metering::OrgId;
use mindweave_policy::Subject;
use proptest::prelude::*;

use super::truth::{Partition, Truth};
use super::*;
use crate::clock;
use crate::rollup::{Retention, retention_run};
use crate::testing::run_on;
use crate::usage::counters::{counters_reseed, tests::counters};
use crate::usage::sink::UsageSink;

async fn four_consumers_of_the_same_dimensions_and_budgets_count_each_event_once(ledger: Ledger) {
    let mut truth = Truth::with_budgets(&ledger).await;
    let topic = truth.topic(4, 1_500, clock::now().as_microsecond());
    let mut deliveries = tokio::task::JoinSet::new();
    for partition in topic {
        let process = ledger.another_process().await;
        // Small and large batches: statements with arrays, and copies.
        let cut = if partition.number.is_multiple_of(2) { 60 } else { 400 };
        deliveries.spawn(async move { partition.deliver(process.ingest.clone(), "group", cut, false).await });
    }
    while let Some(delivered) = deliveries.join_next().await {
        delivered.unwrap();
    }
    truth.holds_in(&ledger.db).await;
    let moves = "SELECT max(moved) - (SELECT moved FROM budget_moves) FROM budget_counters";
    assert_eq!(ledger.number(moves).await, 0);
}

async fn budgets_and_zones_that_change_while_events_are_booked_count_each_of_them_once(ledger: Ledger) {
    let mut truth = Truth::with_budgets(&ledger).await;
    let topic = truth.topic(4, 600, clock::now().as_microsecond());
    let mut deliveries = tokio::task::JoinSet::new();
    for partition in topic {
        let process = ledger.another_process().await;
        deliveries.spawn(async move { partition.deliver(process.ingest.clone(), "group", 20, false).await });
    }
    let units = [QuotaUnit::Cost, QuotaUnit::Tokens, QuotaUnit::Requests];
    let zones = ["Asia/Kathmandu", "America/St_Johns", "UTC"];
    let mut change = 0;
    while !deliveries.is_empty() {
        while let Some(delivered) = deliveries.try_join_next() {
            delivered.unwrap();
        }
        let id = format!("quo_{}", change % 4);
        let each = Subject { kind: SubjectKind::Key, id: None };
        let quota = quota(&id, each, units[change % 3], QuotaWindow::Month);
        put_quota(&ledger.db, &quota).await;
        truth.quotas.insert(id, quota);
        truth.zone = zones[change % 3];
        let mut tx = ledger.db.begin_write().await.unwrap();
        sql::query("UPDATE orgs SET time_zone = ?").bind(truth.zone).execute(&mut *tx).await.unwrap();
        if change.is_multiple_of(2) {
            // Every other time ingest has to find out by itself.
            counters_reseed(&mut tx, &OrgId::new("org_1"), clock::now()).await.unwrap();
        }
        tx.commit().await.unwrap();
        change += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(change > 3, "{change} changes");
    // Whoever books next counts what the last change left.
    let one_more = truth.topic(1, 1, clock::now().as_microsecond()).remove(0);
    Partition { number: 9, ..one_more }.deliver(ledger.ingest.clone(), "group", 1, false).await;
    truth.holds_in(&ledger.db).await;
}

/// What comes next: a batch of a partition, of so many records; or the same once more.
#[derive(Clone, Debug)]
struct Next {
    partition: usize,
    records: usize,
    again: bool,
}

fn nexts() -> impl Strategy<Value = Vec<Next>> {
    let next = (0..3_usize, prop_oneof![1..30_usize, 200..400_usize], prop::bool::weighted(0.2));
    let next = next.prop_map(|(partition, records, again)| Next { partition, records, again });
    prop::collection::vec(next, 1..14)
}

/// Delivers partitions in this interleaving, while another process closes hours and days and drops what is old.
async fn in_any_order(ledger: Ledger, nexts: Vec<Next>) {
    let now = clock::now().as_microsecond();
    let mut truth = Truth::with_budgets(&ledger).await;
    let topic = truth.topic(3, 400, now);
    let process = ledger.another_process().await;
    let (working, db) = (Arc::new(AtomicBool::new(true)), process.db.clone());
    let goes_on = Arc::clone(&working);
    let housekeeping = tokio::spawn(async move {
        let kept = Duration::from_secs(100 * 86_400); // raw events tell a repetition
        let retention = Retention { raw: kept, minute: Duration::from_secs(3_600), hour: kept };
        let mut ahead = 0;
        while goes_on.load(Ordering::Relaxed) {
            rollup_run(&db, at(now + ahead)).await.unwrap();
            retention_run(&db, &retention, at(now + ahead)).await.unwrap();
            ahead = (ahead + 3 * HOUR).min(10 * HOUR); // counters of an hour are kept for twelve
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    });
    let mut sinks: Vec<_> = topic.iter().map(|_| UsageSink::new(process.another_consumer())).collect();
    let mut places = vec![0_usize; topic.len()];
    let rest = (0..topic.len()).map(|partition| Next { partition, records: usize::MAX, again: false });
    for Next { partition, records, again } in nexts.into_iter().chain(rest) {
        let (from, all) = (places[partition], &topic[partition].records);
        let from = if again { from / 2 } else { from };
        let to = from.saturating_add(records).min(all.len());
        if from == to {
            continue;
        }
        let whole = Partition { records: all[from..to].to_vec(), ..topic[partition].clone() };
        let batch = whole.batches("group", usize::MAX).remove(0);
        if again {
            sinks[partition] = UsageSink::new(ledger.another_consumer()); // which claims the source
        }
        sinks[partition].deliver(&batch).await.unwrap();
        places[partition] = places[partition].max(to);
    }
    working.store(false, Ordering::Relaxed);
    housekeeping.await.unwrap();
    truth.holds_in(&ledger.db).await;
    assert!(!counters(&ledger.db).await.is_empty());
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, max_shrink_iters: 50, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(8))]

    #[test]
    fn partitions_may_come_in_any_order_and_interleaving(nexts in nexts()) {
        run_on(Ledger::new(), |ledger| in_any_order(ledger, nexts));
    }
}

proptest! {
    #![proptest_config(cases(4))]

    #[test]
    fn partitions_may_come_in_any_order_and_interleaving_on_postgresql(nexts in nexts()) {
        run_on(Ledger::on_postgres(), |ledger| in_any_order(ledger, nexts));
    }

    #[test]
    fn partitions_may_come_in_any_order_and_interleaving_on_timescaledb(nexts in nexts()) {
        run_on(Ledger::on_timescale(), |ledger| async {
            if let Some(ledger) = ledger {
                in_any_order(ledger, nexts).await;
            }
        });
    }
}

on_every_kind_of_ledger!(
    four_consumers_of_the_same_dimensions_and_budgets_count_each_event_once,
    budgets_and_zones_that_change_while_events_are_booked_count_each_of_them_once,
);
