mod at_once;
mod crashes;
mod delivery;
mod truth;

use crate::db::sql;
use mindweave_metering::{BatchItem, BatchResults, UsageEvent};
use mindweave_policy::{QuotaUnit, QuotaWindow, SubjectKind};
use serde_json::Value;

use super::*;
use crate::rollup::rollup_run;
use crate::testing::{
    HOUR, Ledger, MINUTE, NOON, at, bucket, cost_of, event, install, on_every_kind_of_ledger, record,
};
use crate::usage::counters::tests::{one, put_quota, quota};

const SOURCE: &str = "journal-1";

/// Raw events, requests and tokens, all of one moment.
async fn totals(ledger: &Ledger) -> (i64, i64, i64) {
    sql::query_as(
        "SELECT (SELECT count(*) FROM usage_events), CAST(coalesce(sum(requests), 0) AS BIGINT),
                CAST(coalesce(sum(input_tokens), 0) AS BIGINT) FROM usage_minute",
    )
    .fetch_one(ledger.db.readers())
    .await
    .unwrap()
}

fn records(numbers: std::ops::Range<u64>) -> Vec<Record> {
    numbers.map(|number| record(number, &event(number, NOON, 10))).collect()
}

async fn a_batch_delivered_twice_is_booked_once(ledger: Ledger) {
    let (mut claim, position) = ledger.ingest.claim(SOURCE).await.unwrap();
    assert_eq!(position, None);
    assert_eq!(ledger.ingest.apply(&mut claim, &records(1..6), Sequence::new(5)).await.unwrap(), 5);
    assert_eq!(ledger.ingest.apply(&mut claim, &records(1..6), Sequence::new(5)).await.unwrap(), 0);
    assert_eq!(totals(&ledger).await, (5, 5, 50));
}

async fn of_overlapping_batches_only_the_new_part_is_booked(ledger: Ledger) {
    let (mut claim, _) = ledger.ingest.claim(SOURCE).await.unwrap();
    ledger.ingest.apply(&mut claim, &records(1..6), Sequence::new(5)).await.unwrap();
    assert_eq!(ledger.ingest.apply(&mut claim, &records(3..9), Sequence::new(8)).await.unwrap(), 3);
    assert_eq!(totals(&ledger).await, (8, 8, 80));
}

async fn an_event_that_is_twice_in_a_batch_is_booked_once(ledger: Ledger) {
    let (mut claim, _) = ledger.ingest.claim(SOURCE).await.unwrap();
    let twice = vec![record(1, &event(7, NOON, 10)), record(2, &event(7, NOON, 10))];
    assert_eq!(ledger.ingest.apply(&mut claim, &twice, Sequence::new(2)).await.unwrap(), 1);
    assert_eq!(totals(&ledger).await, (1, 1, 10));
}

async fn an_event_that_comes_by_two_sources_is_booked_once(ledger: Ledger) {
    let (mut first, _) = ledger.ingest.claim(SOURCE).await.unwrap();
    let (mut second, _) = ledger.ingest.claim("journal-2").await.unwrap();
    ledger.ingest.apply(&mut first, &records(1..4), Sequence::new(3)).await.unwrap();
    assert_eq!(ledger.ingest.apply(&mut second, &records(2..6), Sequence::new(5)).await.unwrap(), 2);
    assert_eq!(totals(&ledger).await, (5, 5, 50));
}

async fn two_sources_deliver_at_once_and_nothing_is_lost(ledger: Ledger) {
    let (mut first, _) = ledger.ingest.claim(SOURCE).await.unwrap();
    let (mut second, _) = ledger.ingest.claim("journal-2").await.unwrap();
    let (of_first, of_second) = (records(1..2_501), records(10_001..12_501));
    let (a, b) = tokio::join!(
        ledger.ingest.apply(&mut first, &of_first, Sequence::new(2_500)),
        ledger.ingest.apply(&mut second, &of_second, Sequence::new(12_500)),
    );
    assert_eq!((a.unwrap(), b.unwrap()), (2_500, 2_500));
    assert_eq!(totals(&ledger).await, (5_000, 5_000, 50_000));
}

async fn a_restarted_consumer_goes_on_where_the_ledger_is(ledger: Ledger) {
    let (mut claim, _) = ledger.ingest.claim(SOURCE).await.unwrap();
    ledger.ingest.apply(&mut claim, &records(1..6), Sequence::new(9)).await.unwrap();
    let restarted = ledger.another_consumer();
    let (mut claim, position) = restarted.claim(SOURCE).await.unwrap();
    assert_eq!(position, Some(9));
    assert_eq!(restarted.apply(&mut claim, &records(10..12), Sequence::new(11)).await.unwrap(), 2);
    assert_eq!(totals(&ledger).await, (7, 7, 70));
}

async fn a_journal_that_was_put_back_from_a_copy_loses_and_repeats_nothing(ledger: Ledger) {
    let (mut claim, _) = ledger.ingest.claim(SOURCE).await.unwrap();
    ledger.ingest.apply(&mut claim, &records(1..10), Sequence::new(9)).await.unwrap();
    // The copy ends with record 3; the journal then gives out 4 and 5 again, to other events.
    let (mut claim, _) = ledger.ingest.claim(SOURCE).await.unwrap();
    let mut batch = records(1..4);
    batch.extend([record(4, &event(104, NOON, 10)), record(5, &event(105, NOON, 10))]);
    assert_eq!(ledger.ingest.apply(&mut claim, &batch, Sequence::new(5)).await.unwrap(), 2);
    assert_eq!(totals(&ledger).await, (11, 11, 110));
    assert_eq!(ledger.ingest.claim(SOURCE).await.unwrap().1, Some(5));
}

async fn a_consumer_that_was_replaced_writes_nothing(ledger: Ledger) {
    let (mut stale, _) = ledger.ingest.claim(SOURCE).await.unwrap();
    let replacement = ledger.another_consumer();
    let (mut fresh, _) = replacement.claim(SOURCE).await.unwrap();
    let error = ledger.ingest.apply(&mut stale, &records(1..6), Sequence::new(5)).await.unwrap_err();
    assert!(matches!(error, IngestError::Fenced(_)), "{error}");
    assert_eq!(totals(&ledger).await, (0, 0, 0));
    assert_eq!(replacement.apply(&mut fresh, &records(1..6), Sequence::new(5)).await.unwrap(), 5);
}

async fn a_delivery_that_is_dropped_half_way_leaves_nothing_and_can_be_repeated(ledger: Ledger) {
    let (mut claim, _) = ledger.ingest.claim(SOURCE).await.unwrap();
    // Poll it a growing number of times, then drop it: each drop is a crash at another step.
    let batch = records(1..6);
    let mut finished = false;
    for polls in 1..400 {
        let delivery = ledger.ingest.apply(&mut claim, &batch, Sequence::new(5));
        if poll_times(delivery, polls).await {
            finished = true;
            break;
        }
        let seen = totals(&ledger).await;
        assert!(seen == (0, 0, 0) || seen == (5, 5, 50), "after {polls} polls: {seen:?}");
    }
    assert!(finished, "the delivery needs more polls than this test grants");
    assert_eq!(totals(&ledger).await, (5, 5, 50));
}

/// Polls a future so often, each time once it has been woken; tells whether it ended.
async fn poll_times<T>(future: impl Future<Output = T>, times: usize) -> bool {
    let mut future = std::pin::pin!(future);
    let mut left = times;
    std::future::poll_fn(move |context| {
        if left == 0 {
            return std::task::Poll::Ready(false);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            std::task::Poll::Ready(_) => std::task::Poll::Ready(true),
            std::task::Poll::Pending if left == 0 => std::task::Poll::Ready(false),
            std::task::Poll::Pending => std::task::Poll::Pending,
        }
    })
    .await
}

async fn a_record_that_is_no_event_is_named_and_what_precedes_it_is_booked(ledger: Ledger) {
    let (mut claim, _) = ledger.ingest.claim(SOURCE).await.unwrap();
    let mut batch = records(1..6);
    batch[2].payload = br#"{"id":"secret text"}"#.to_vec();
    let error = ledger.ingest.apply(&mut claim, &batch.clone(), Sequence::new(5)).await.unwrap_err();
    let IngestError::Undecodable(undecodable) = error else { panic!("{error}") };
    assert_eq!(undecodable.sequence, 3);
    assert!(!undecodable.to_string().contains("secret"), "{undecodable}");
    assert_eq!(totals(&ledger).await, (2, 2, 20));
    batch.remove(2); // set aside by the shipper, which delivers the rest again
    ledger.ingest.apply(&mut claim, &batch, Sequence::new(5)).await.unwrap();
    assert_eq!(totals(&ledger).await, (4, 4, 40));
}

async fn events_of_unknown_versions_and_impossible_figures_are_refused(ledger: Ledger) {
    let (mut claim, _) = ledger.ingest.claim(SOURCE).await.unwrap();
    let mut envelope: Value = serde_json::from_slice(&record(1, &event(1, NOON, 10)).payload).unwrap();
    envelope["version"] = "2.0".into();
    let mut of_the_future = [record(1, &event(1, NOON, 10))];
    of_the_future[0].payload = serde_json::to_vec(&envelope).unwrap();
    assert!(matches!(
        ledger.ingest.apply(&mut claim, &of_the_future, Sequence::new(1)).await,
        Err(IngestError::Undecodable(Undecodable { sequence: 1, .. }))
    ));
    let mut greedy = event(1, NOON, 10);
    greedy.output_tokens = u64::MAX;
    assert!(matches!(
        ledger.ingest.apply(&mut claim, &[record(2, &greedy)], Sequence::new(2)).await,
        Err(IngestError::Undecodable(Undecodable { sequence: 2, .. }))
    ));
}

async fn an_unknown_cost_is_counted_and_never_a_silent_zero(ledger: Ledger) {
    let (mut claim, _) = ledger.ingest.claim(SOURCE).await.unwrap();
    let mut unknown = event(1, NOON, 10);
    (unknown.cost_nano_usd, unknown.cost_usd) = (None, None);
    let mut failed = event(2, NOON, 0);
    failed.status = 529;
    let batch = vec![record(1, &unknown), record(2, &failed)];
    ledger.ingest.apply(&mut claim, &batch, Sequence::new(2)).await.unwrap();
    assert_eq!(ledger.number("SELECT unknown_cost_events FROM usage_minute").await, 1);
    assert_eq!(ledger.number("SELECT errors FROM usage_minute").await, 1);
    assert_eq!(ledger.number("SELECT cost_nano_usd FROM usage_minute").await, 0);
}

fn item(custom_id: &str, tokens: u64) -> BatchItem {
    BatchItem {
        custom_id: custom_id.into(),
        input_tokens: tokens,
        output_tokens: 0,
        cache_read_tokens: 0,
        cache_write_5m_tokens: 0,
        cache_write_1h_tokens: 0,
        thinking_tokens: 0,
        web_search_requests: 0,
        buckets: vec![bucket("claude-sonnet-4-5", tokens)],
    }
}

fn download(number: u64, items: Vec<BatchItem>) -> UsageEvent {
    let mut event = event(number, NOON, items.iter().map(|item| item.input_tokens).sum());
    event.batch = Some(BatchResults { batch_id: "msgbatch_1".into(), items });
    event
}

async fn stored(ledger: &Ledger, request_id: &'static str) -> Value {
    let sql = "SELECT event FROM usage_events WHERE request_id = ?";
    let json: String = sql::query_scalar(sql).bind(request_id).fetch_one(ledger.db.readers()).await.unwrap();
    serde_json::from_str(&json).unwrap()
}

async fn a_batch_item_is_booked_once_however_often_its_results_are_downloaded(ledger: Ledger) {
    let (mut claim, _) = ledger.ingest.claim(SOURCE).await.unwrap();
    let first = download(1, vec![item("a", 10), item("b", 20)]);
    let second = download(2, vec![item("a", 10), item("b", 20), item("c", 30), item("c", 30)]);
    let third = download(3, vec![item("c", 30), item("b", 20), item("a", 10)]);
    ledger
        .ingest
        .apply(&mut claim, &[record(1, &first), record(2, &second)], Sequence::new(2))
        .await
        .unwrap();
    ledger.ingest.apply(&mut claim, &[record(3, &third)], Sequence::new(3)).await.unwrap();
    assert_eq!(totals(&ledger).await, (3, 3, 60));
    let cost = "SELECT CAST(sum(cost_nano_usd) AS BIGINT) FROM usage_minute";
    assert_eq!(ledger.number(cost).await, cost_of(60).0);
    let partial = stored(&ledger, "req_2").await;
    assert_eq!(partial["input_tokens"], 30);
    assert_eq!(partial["cost_nano_usd"], cost_of(30).0);
    assert_eq!(partial["batch"]["items"].as_array().unwrap().len(), 1);
    let repeated = stored(&ledger, "req_3").await;
    assert_eq!((&repeated["input_tokens"], &repeated["cost_nano_usd"]), (&0.into(), &0.into()));
    assert_eq!(repeated["buckets"], Value::Array(vec![]));
}

async fn a_download_that_comes_by_two_sources_among_new_events_is_booked_once(ledger: Ledger) {
    let (mut first, _) = ledger.ingest.claim(SOURCE).await.unwrap();
    let (mut second, _) = ledger.ingest.claim("journal-2").await.unwrap();
    let one = download(1, vec![item("a", 10), item("b", 20)]);
    ledger.ingest.apply(&mut first, &[record(1, &one)], Sequence::new(1)).await.unwrap();
    let again = vec![record(1, &event(2, NOON, 5)), record(2, &one), record(3, &event(3, NOON, 5))];
    assert_eq!(ledger.ingest.apply(&mut second, &again, Sequence::new(3)).await.unwrap(), 2);
    assert_eq!(totals(&ledger).await, (3, 3, 40));
    assert_eq!(stored(&ledger, "req_1").await["input_tokens"], 30);
}

async fn known_events_among_more_new_ones_than_a_statement_holds_are_left_out_of_the_sums(ledger: Ledger) {
    let (mut first, _) = ledger.ingest.claim(SOURCE).await.unwrap();
    let (mut second, _) = ledger.ingest.claim("journal-2").await.unwrap();
    ledger.ingest.apply(&mut first, &records(300..310), Sequence::new(309)).await.unwrap();
    assert_eq!(ledger.ingest.apply(&mut second, &records(1..701), Sequence::new(700)).await.unwrap(), 690);
    assert_eq!(totals(&ledger).await, (700, 700, 7_000));
}

async fn a_download_whose_unpriced_items_were_booked_before_has_a_known_cost(ledger: Ledger) {
    let (mut claim, _) = ledger.ingest.claim(SOURCE).await.unwrap();
    let mut unpriced = item("a", 10);
    (unpriced.buckets[0].unit_price_pico_usd, unpriced.buckets[0].amount_pico_usd) = (None, None);
    let mut first = download(1, vec![unpriced.clone()]);
    let mut second = download(2, vec![unpriced, item("b", 20)]);
    for event in [&mut first, &mut second] {
        let items = &event.batch.as_ref().unwrap().items;
        event.buckets = items.iter().flat_map(|item| item.buckets.clone()).collect();
        (event.cost_nano_usd, event.cost_usd) = (None, None);
        event.certainty = mindweave_metering::Certainty::Unknown;
    }
    ledger
        .ingest
        .apply(&mut claim, &[record(1, &first), record(2, &second)], Sequence::new(2))
        .await
        .unwrap();
    assert_eq!(stored(&ledger, "req_1").await["certainty"], "unknown");
    let second = stored(&ledger, "req_2").await;
    assert_eq!(second["cost_nano_usd"], cost_of(20).0);
    assert_eq!(second["certainty"], "exact");
}

async fn stored_events_carry_the_sequence_of_their_record(ledger: Ledger) {
    let (mut claim, _) = ledger.ingest.claim(SOURCE).await.unwrap();
    ledger.ingest.apply(&mut claim, &[record(42, &event(1, NOON, 10))], Sequence::new(50)).await.unwrap();
    assert_eq!(stored(&ledger, "req_1").await["sequence"], 42);
}

async fn a_late_event_is_added_to_the_closed_hour_and_day(ledger: Ledger) {
    let (mut claim, _) = ledger.ingest.claim(SOURCE).await.unwrap();
    ledger.ingest.apply(&mut claim, &[record(1, &event(1, NOON, 10))], Sequence::new(1)).await.unwrap();
    rollup_run(&ledger.db, at(NOON + 26 * HOUR)).await.unwrap();
    ledger
        .ingest
        .apply(&mut claim, &[record(2, &event(2, NOON + MINUTE, 5))], Sequence::new(2))
        .await
        .unwrap();
    for table in ["usage_minute", "usage_hour", "usage_day"] {
        let sql = format!("SELECT CAST(sum(input_tokens) AS BIGINT) FROM {table}");
        let sum: i64 =
            sql::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(ledger.db.readers()).await.unwrap();
        assert_eq!(sum, 15, "{table}");
    }
}

async fn budgets_are_read_again_when_one_of_them_changed_and_not_for_a_new_key(ledger: Ledger) {
    install(&ledger.db).await;
    let org = |id: &str| quota(id, one(SubjectKind::Org, "org_1"), QuotaUnit::Tokens, QuotaWindow::Month);
    put_quota(&ledger.db, &org("quo_1")).await;
    let (mut claim, _) = ledger.ingest.claim("journal").await.unwrap();
    let mut known = Vec::new();
    for (number, change) in [
        (1, "UPDATE projects SET name = 'x'"),
        (2, "UPDATE orgs SET time_zone = 'Asia/Tokyo'"),
        (3, "UPDATE policies SET name = 'x'"),
    ] {
        ledger
            .ingest
            .apply(&mut claim, &[record(number, &event(number, NOON, 1))], Sequence::new(number))
            .await
            .unwrap();
        let mut tx = ledger.db.begin_write().await.unwrap();
        let revision = crate::governance::budgets_revision(&mut tx).await.unwrap();
        known.push(ledger.ingest.rules.get(revision).expect("remembered"));
        sql::query(change).execute(&mut *tx).await.unwrap();
        crate::snapshot::revision_raise(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
    }
    assert!(Arc::ptr_eq(&known[0], &known[1]), "another project");
    assert!(!Arc::ptr_eq(&known[1], &known[2]), "another zone");
}

on_every_kind_of_ledger!(
    a_batch_delivered_twice_is_booked_once,
    of_overlapping_batches_only_the_new_part_is_booked,
    an_event_that_is_twice_in_a_batch_is_booked_once,
    an_event_that_comes_by_two_sources_is_booked_once,
    two_sources_deliver_at_once_and_nothing_is_lost,
    a_restarted_consumer_goes_on_where_the_ledger_is,
    a_journal_that_was_put_back_from_a_copy_loses_and_repeats_nothing,
    a_consumer_that_was_replaced_writes_nothing,
    a_delivery_that_is_dropped_half_way_leaves_nothing_and_can_be_repeated,
    a_record_that_is_no_event_is_named_and_what_precedes_it_is_booked,
    events_of_unknown_versions_and_impossible_figures_are_refused,
    an_unknown_cost_is_counted_and_never_a_silent_zero,
    a_batch_item_is_booked_once_however_often_its_results_are_downloaded,
    a_download_that_comes_by_two_sources_among_new_events_is_booked_once,
    known_events_among_more_new_ones_than_a_statement_holds_are_left_out_of_the_sums,
    a_download_whose_unpriced_items_were_booked_before_has_a_known_cost,
    stored_events_carry_the_sequence_of_their_record,
    a_late_event_is_added_to_the_closed_hour_and_day,
    budgets_are_read_again_when_one_of_them_changed_and_not_for_a_new_key,
);
