//! The same events by several ways.

use std::collections::BTreeMap;

use mindweave_eventlog::{Batch, EventSink, Origin, SinkError};
use mindweave_metering::EventId;

use super::truth::{Partition, Truth};
use super::*;
use crate::clock;
use crate::usage::sink::UsageSink;

/// How far each journal is in the ledger.
async fn journals(ledger: &Ledger) -> Vec<(String, i64)> {
    let sql = "SELECT source, position FROM consumer_offsets WHERE source LIKE 'journal-%' ORDER BY source";
    sql::query_as(sql).fetch_all(ledger.db.readers()).await.unwrap()
}

async fn a_topic_that_comes_twice_at_once_and_again_later_is_booked_once(ledger: Ledger) {
    let mut truth = Truth::with_budgets(&ledger).await;
    let topic = truth.topic(3, 700, clock::now().as_microsecond());
    let other = ledger.another_process().await;
    let groups = [(ledger.ingest.clone(), "one", 250), (other.ingest.clone(), "two", 333)];
    let mut deliveries = tokio::task::JoinSet::new();
    for (ingest, group, cut) in groups {
        for partition in topic.clone() {
            let ingest = ingest.clone();
            deliveries.spawn(async move { partition.deliver(ingest, group, cut, false).await });
        }
    }
    while let Some(delivered) = deliveries.join_next().await {
        delivered.unwrap();
    }
    truth.holds_in(&ledger.db).await;
    let before = journals(&ledger).await;
    let ends = |partition: &Partition| {
        let origins = partition.records.iter().map(|record| record.origin.clone().unwrap());
        origins
            .map(|origin| (origin.journal.to_string(), i64::try_from(origin.sequence.get()).unwrap()))
            .collect::<BTreeMap<_, _>>()
    };
    assert_eq!(before, topic.iter().flat_map(ends).collect::<Vec<_>>());
    for partition in &topic {
        partition.deliver(ledger.another_consumer(), "three", 2_000, true).await; // in one batch
        partition.deliver(other.another_consumer(), "one", 97, true).await;
    }
    assert_eq!(journals(&ledger).await, before, "a replay moves no journal");
    truth.holds_in(&ledger.db).await;
}

async fn of_two_consumers_of_a_source_the_one_that_was_replaced_writes_nothing(ledger: Ledger) {
    let mut truth = Truth::with_budgets(&ledger).await;
    let partition = truth.topic(1, 900, clock::now().as_microsecond()).remove(0);
    let batches = partition.batches("group", 300);
    let (mut old, other) = (UsageSink::new(ledger.ingest.clone()), ledger.another_process().await);
    old.position(&partition.source("group")).await.unwrap();
    old.deliver(&batches[0]).await.unwrap();
    let mut new = UsageSink::new(other.ingest.clone());
    let position = new.position(&partition.source("group")).await.unwrap();
    assert_eq!(position, Some(batches[0].last));
    for batch in &batches {
        assert!(
            matches!(old.deliver(batch).await, Err(SinkError::Retry(_))) || batch.last == batches[0].last
        );
    }
    assert_eq!(ledger.number("SELECT count(*) FROM usage_events").await, 300);
    for batch in &batches[1..] {
        new.deliver(batch).await.unwrap();
        assert!(matches!(old.deliver(batch).await, Err(SinkError::Retry(_))), "also what is booked");
    }
    truth.holds_in(&ledger.db).await;
}

async fn a_journal_that_goes_back_by_way_of_a_topic_goes_back_in_the_ledger(ledger: Ledger) {
    let (mut claim, _) = ledger.ingest.claim("kafka:c:usage.events:0").await.unwrap();
    let by_topic = |offset: u64, number: u64, sequence: u64| {
        let origin = Origin { journal: "j1".into(), sequence: Sequence::new(sequence) };
        Record { origin: Some(origin), ..record(offset, &event(number, NOON, 1)) }
    };
    let first = [by_topic(1, 1, 10), by_topic(2, 2, 20), by_topic(3, 3, 30)];
    ledger.ingest.apply(&mut claim, &first, Sequence::new(3)).await.unwrap();
    assert_eq!(journal_position(&ledger).await, 30);
    // The journal was put back from a copy that ends with 10: it gives out 20 again, to another event.
    let restored = [by_topic(4, 1, 10), by_topic(5, 4, 20)];
    ledger.ingest.apply(&mut claim, &restored, Sequence::new(5)).await.unwrap();
    assert_eq!(journal_position(&ledger).await, 20);
    ledger.ingest.apply(&mut claim, &[by_topic(6, 3, 30)], Sequence::new(6)).await.unwrap();
    assert_eq!(journal_position(&ledger).await, 20, "an old event moves nothing");
    // Whoever delivers the journal itself from now on is not taken for the one who has it.
    let (claim, position) = ledger.ingest.claim("j1").await.unwrap();
    assert_eq!((claim.epoch(), position), (1, Some(20)));
}

async fn journal_position(ledger: &Ledger) -> i64 {
    ledger.number("SELECT position FROM consumer_offsets WHERE source = 'j1'").await
}

async fn a_ledger_that_went_back_refuses_a_consumer_that_was_further_until_it_reads_from_there(
    ledger: Ledger,
) {
    const TOPIC: &str = "kafka:c:usage.events:0";
    let (mut claim, _) = ledger.ingest.claim(TOPIC).await.unwrap();
    ledger.ingest.apply(&mut claim, &records(1..4), Sequence::new(3)).await.unwrap();
    ledger.ingest.apply(&mut claim, &[], Sequence::new(6)).await.unwrap();
    // A standby takes over that had not got the last transaction, which booked 4 to 6.
    let mut tx = ledger.db.begin_write().await.unwrap();
    let lost = sql::query("UPDATE consumer_offsets SET position = 3 WHERE source = ?").bind(TOPIC);
    lost.execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    for _ in 0..2 {
        let refused = ledger.ingest.apply(&mut claim, &records(7..10), Sequence::new(9)).await.unwrap_err();
        assert!(matches!(refused, IngestError::Fenced(_)), "{refused}");
        assert_eq!(totals(&ledger).await, (3, 3, 30), "nothing is booked beyond what was lost");
    }
    let (mut claim, position) = ledger.ingest.claim(TOPIC).await.unwrap();
    assert_eq!(position, Some(3));
    assert_eq!(ledger.ingest.apply(&mut claim, &records(4..8), Sequence::new(7)).await.unwrap(), 4);
    assert_eq!(ledger.ingest.apply(&mut claim, &records(8..10), Sequence::new(9)).await.unwrap(), 2);
    assert_eq!(totals(&ledger).await, (9, 9, 90));
}

async fn an_origin_that_pretends_to_be_another_source_moves_nothing(ledger: Ledger) {
    let (mut claim, _) = ledger.ingest.claim("kafka:c:usage.events:0").await.unwrap();
    ledger.ingest.claim("kafka:c:usage.events:1").await.unwrap();
    for (offset, journal, sequence) in
        [(1, "kafka:c:usage.events:1", 9), (2, "kafka:c:usage.events:0", 9), (3, "j1", u64::MAX)]
    {
        let origin = Origin { journal: journal.into(), sequence: Sequence::new(sequence) };
        let record = Record { origin: Some(origin), ..record(offset, &event(offset, NOON, 1)) };
        ledger.ingest.apply(&mut claim, &[record], Sequence::new(offset)).await.unwrap();
    }
    assert_eq!(ledger.number("SELECT count(*) FROM usage_events").await, 3);
    assert_eq!(ledger.number("SELECT CAST(sum(position) AS BIGINT) FROM consumer_offsets").await, 3);
}

async fn texts_and_times_that_no_column_expects_do_not_hold_up_a_batch(ledger: Ledger) {
    let (mut claim, _) = ledger.ingest.claim(SOURCE).await.unwrap();
    for size in [3, 300] {
        let numbers = size * 1_000..size * 1_000 + size;
        let mut batch: Vec<_> =
            numbers.clone().map(|number| record(number, &event(number, NOON, 1))).collect();
        let mut odd = event(size * 1_000, NOON, 1);
        (odd.model, odd.requested_model) = (None, Some("a\0b\"\\\u{1f980}".into()));
        odd.request_id = Some("\0".into());
        let mut same = event(size * 1_000 + 1, NOON, 1);
        (same.model, same.requested_model) = (None, Some("a\u{fffd}b\"\\\u{1f980}".into()));
        let far = |number, id: [u8; 6]| {
            let mut event = event(number, NOON, 1);
            let mut bytes = *event.event_id.as_bytes();
            bytes[..6].copy_from_slice(&id);
            event.event_id = EventId::from_bytes(bytes);
            event
        };
        batch[0] = record(numbers.start, &odd);
        batch[1] = record(numbers.start + 1, &same);
        batch[2] = record(numbers.start + 2, &far(size, [0; 6]));
        let last = Sequence::new(numbers.end);
        batch.push(record(numbers.end, &far(size, [0xff; 6])));
        let new = ledger.ingest.apply(&mut claim, &batch, last).await.unwrap();
        assert_eq!(u64::try_from(new).unwrap(), size + 1);
    }
    let requests = ledger.number("SELECT CAST(sum(requests) AS BIGINT) FROM usage_minute").await;
    assert_eq!(requests, 305);
    let dimensions = "SELECT count(*) FROM usage_dims WHERE model LIKE 'a%b%'";
    assert_eq!(ledger.number(dimensions).await, 1, "as many as the database can tell apart");
}

async fn an_event_whose_id_tells_no_time_is_known_whatever_its_time(ledger: Ledger) {
    let (mut claim, _) = ledger.ingest.claim(SOURCE).await.unwrap();
    let foreign = |micros| {
        let mut event = event(7, micros, 10);
        event.event_id = "919108f7-52d1-4320-9bac-f847db4148a8".parse().unwrap();
        event
    };
    for (sequence, micros) in [(1, NOON), (2, NOON), (3, NOON + 26 * HOUR)] {
        let batch = [record(sequence, &foreign(micros))];
        let new = ledger.ingest.apply(&mut claim, &batch, Sequence::new(sequence)).await.unwrap();
        assert_eq!(new, usize::from(sequence == 1));
    }
    assert_eq!(totals(&ledger).await, (1, 1, 10));
}

async fn downloads_of_the_same_items_by_two_consumers_at_once_book_each_item_once(ledger: Ledger) {
    let other = ledger.another_process().await;
    let delivery = |ingest: Ingest, source: &'static str, first: u64| async move {
        let (mut claim, _) = ingest.claim(source).await.unwrap();
        for round in 0..20 {
            let items: Vec<_> = (0..30).map(|place| item(&format!("{round}-{place}"), 10)).collect();
            let mut items = items;
            items.rotate_left(usize::try_from(first % 29).unwrap());
            let record = record(round + 1, &download(first + round, items));
            ingest.apply(&mut claim, &[record], Sequence::new(round + 1)).await.unwrap();
        }
    };
    tokio::join!(delivery(ledger.ingest.clone(), "a", 1_000), delivery(other.ingest.clone(), "b", 2_010));
    assert_eq!(totals(&ledger).await, (40, 40, 20 * 30 * 10));
}

/// Late events go into pieces that are compressed, and a replay finds there what it repeats, by every way into the table.
#[tokio::test(flavor = "multi_thread")]
async fn compressed_pieces_take_late_events_and_know_repeated_ones() {
    let Some(ledger) = Ledger::on_timescale().await else { return };
    if ledger
        .number(
            "SELECT count(*) FROM pg_settings WHERE setting = 'timescale' AND name = 'timescaledb.license'",
        )
        .await
        == 0
    {
        return; // the free edition cannot compress
    }
    let mut truth = Truth::with_budgets(&ledger).await;
    let topic = truth.topic(2, 600, clock::now().as_microsecond());
    let (early, late) = (&topic[0], &topic[1]);
    early.deliver(ledger.ingest.clone(), "one", 600, false).await;
    for table in ["usage_events", "usage_minute"] {
        let sql = format!("SELECT count(compress_chunk(piece)) FROM show_chunks('{table}') AS piece");
        let mut tx = ledger.db.begin_write().await.unwrap();
        let compressed: i64 = sql::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        assert!(compressed > 0, "{table}");
    }
    early.deliver(ledger.another_consumer(), "two", 300, true).await; // a copy at first, then a statement
    early.deliver(ledger.another_consumer(), "three", 50, true).await; // statements only
    late.deliver(ledger.ingest.clone(), "one", 300, false).await;
    late.deliver(ledger.another_consumer(), "four", 600, true).await;
    truth.holds_in(&ledger.db).await;
}

async fn an_event_that_the_database_refuses_is_named_and_the_others_are_booked(ledger: Ledger) {
    // Whatever it is that a database refuses: here one model.
    let refuse = match ledger.db.engine() {
        Engine::Sqlite => {
            "CREATE TRIGGER cursed BEFORE INSERT ON usage_dims WHEN NEW.model = 'cursed'
             BEGIN INSERT INTO policy_versions (policy_id, version, rego, data, package, reads, warnings, created_at)
             VALUES ('x', -1, '', '', '', '', '', 0); END"
        }
        Engine::Postgres => "ALTER TABLE usage_dims ADD CONSTRAINT cursed CHECK (model <> 'cursed')",
    };
    let mut tx = ledger.db.begin_write().await.unwrap();
    sql::query(refuse).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let mut sink = UsageSink::new(ledger.ingest.clone());
    sink.position("kafka:a:b:0").await.unwrap();
    let records: Vec<_> = (1..=9)
        .map(|number| {
            let mut event = event(number, NOON, 10);
            if number == 4 {
                event.model = Some("cursed".into());
            }
            record(number, &event)
        })
        .collect();
    let batch = |records: Vec<Record>| Batch {
        source: "kafka:a:b:0".into(),
        first: records[0].sequence,
        last: Sequence::new(9),
        records,
    };
    let refused = sink.deliver(&batch(records.clone())).await.unwrap_err();
    let SinkError::Poison { sequence, .. } = refused else { panic!("{refused:?}") };
    assert_eq!(sequence, Sequence::new(4));
    sink.deliver(&batch(records[4..].to_vec())).await.unwrap();
    assert_eq!(ledger.number("SELECT count(*) FROM usage_events").await, 8);
}

on_every_kind_of_ledger!(
    an_event_that_the_database_refuses_is_named_and_the_others_are_booked,
    a_topic_that_comes_twice_at_once_and_again_later_is_booked_once,
    of_two_consumers_of_a_source_the_one_that_was_replaced_writes_nothing,
    a_journal_that_goes_back_by_way_of_a_topic_goes_back_in_the_ledger,
    a_ledger_that_went_back_refuses_a_consumer_that_was_further_until_it_reads_from_there,
    an_origin_that_pretends_to_be_another_source_moves_nothing,
    texts_and_times_that_no_column_expects_do_not_hold_up_a_batch,
    an_event_whose_id_tells_no_time_is_known_whatever_its_time,
    downloads_of_the_same_items_by_two_consumers_at_once_book_each_item_once,
);
