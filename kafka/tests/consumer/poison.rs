//! What can never be booked goes aside, and holds nothing up.

use std::collections::BTreeSet;
use std::time::Duration;

use mindweave_eventlog::{MAX_PAYLOAD_BYTES, ReadLimits};
use mindweave_kafka::{
    DEAD_LETTER_DETAIL_HEADER, DEAD_LETTER_LEFT_OUT_HEADER, DEAD_LETTER_OFFSET_HEADER,
    DEAD_LETTER_PARTITION_HEADER, DEAD_LETTER_REASON_HEADER, DEAD_LETTER_TIME_HEADER,
    DEAD_LETTER_TOPIC_HEADER, JOURNAL_HEADER, SEQUENCE_HEADER,
};
use rdkafka::Message as _;
use rdkafka::message::{Header, OwnedHeaders};

use crate::cluster::{Topic, header, shared};
use crate::ledger::{Ledger, POISON};
use crate::{eventually, member};

/// Puts messages into partition 0 in one go.
async fn put(topic: &Topic, payloads: impl IntoIterator<Item = String>) -> Vec<String> {
    let producer = topic.producer();
    let mut sent = Vec::new();
    let mut events = Vec::new();
    for (number, payload) in payloads.into_iter().enumerate() {
        sent.push(producer.send(Some(0), payload.as_bytes(), Some(("journal", number))));
        if !payload.starts_with(POISON) {
            events.push(payload);
        }
    }
    for sent in sent {
        sent.await.unwrap().unwrap();
    }
    events
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison_goes_to_the_dead_letters_wherever_it_is_in_a_batch() {
    let patterns = ["p....", "..p..", "....p", "p...p", "pp.pp", "p.p.p", "ppppp"];
    let cases = patterns.into_iter().flat_map(|pattern| [(pattern, 1), (pattern, 200)]);
    let cases: Vec<_> = cases.map(|(pattern, batch)| tokio::spawn(poison_at(pattern, batch))).collect();
    for case in cases {
        case.await.expect("this case holds");
    }
}

async fn poison_at(pattern: &'static str, batch: usize) {
    let topic = Topic::new(shared()).await;
    let ledger = Ledger::new();
    let payload =
        |(number, what)| if what == 'p' { format!("{POISON} {number}") } else { format!("good {number}") };
    let events = put(&topic, pattern.chars().enumerate().map(payload)).await;
    let poisonous = pattern.chars().enumerate().filter(|(_, what)| *what == 'p');
    let poisonous: BTreeSet<String> = poisonous.map(|(number, _)| number.to_string()).collect();
    let mut config = topic.config();
    config.batch.max_records = batch;
    let one = member(&topic, config, &ledger, "one");
    let letters = topic.messages(&topic.dead_letters, poisonous.len()).await;
    ledger.equals(&events).await;
    let offsets: BTreeSet<String> =
        letters.iter().map(|letter| header(letter, DEAD_LETTER_OFFSET_HEADER).unwrap()).collect();
    assert_eq!(offsets, poisonous, "{pattern}");
    assert_eq!(letters.len(), poisonous.len(), "{pattern}: each once");
    eventually("the ledger is past all of it", || {
        let position = ledger.position(":0");
        if position == Some(5) { Ok(()) } else { Err(format!("at {position:?} of {pattern} by {batch}")) }
    })
    .await;
    one.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_the_message_with_where_it_was_and_why_it_is_there() {
    let topic = Topic::new(shared()).await;
    let ledger = Ledger::new();
    let events = put(&topic, ["good".to_owned(), "poison 1".to_owned()]).await;
    let foreign = OwnedHeaders::new().insert(Header { key: "trace", value: Some("abc") });
    topic.producer().send_with(Some(0), Some(b"poison 2"), Some(foreign)).await.unwrap().unwrap();
    let one = member(&topic, topic.config(), &ledger, "one");
    let mut letters = topic.messages(&topic.dead_letters, 2).await;
    letters.sort_by_key(|letter| letter.payload().map(<[u8]>::to_vec));
    for (number, letter) in (1_usize..).zip(&letters) {
        assert_eq!(letter.key(), Some(&b"project"[..]));
        assert_eq!(letter.payload(), Some(format!("poison {number}").as_bytes()));
        let text = |key| header(letter, key).unwrap_or_default();
        assert_eq!(text(DEAD_LETTER_REASON_HEADER), "refused");
        assert_eq!(text(DEAD_LETTER_DETAIL_HEADER), "not an event");
        assert_eq!(text(DEAD_LETTER_TOPIC_HEADER), topic.name);
        assert_eq!(text(DEAD_LETTER_PARTITION_HEADER), "0");
        assert_eq!(text(DEAD_LETTER_OFFSET_HEADER), number.to_string());
        let time: i64 = text(DEAD_LETTER_TIME_HEADER).parse().expect("milliseconds");
        assert!(letter.timestamp().to_millis().unwrap().abs_diff(time) < 120_000, "the message's time");
    }
    assert_eq!(header(&letters[0], JOURNAL_HEADER).as_deref(), Some("journal"));
    assert_eq!(header(&letters[0], SEQUENCE_HEADER).as_deref(), Some("1"));
    assert_eq!(header(&letters[1], "trace").as_deref(), Some("abc"));
    assert_eq!(header(&letters[1], JOURNAL_HEADER), None);
    ledger.equals(&events).await;
    one.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_thousands_with_poison_everywhere_looks_at_no_record_more_than_a_few_times() {
    const RECORDS: usize = 4_000;
    let topic = Topic::new(shared()).await;
    let ledger = Ledger::new();
    let payload =
        |number| if number % 2 == 0 { format!("good {number}") } else { format!("{POISON} {number}") };
    let events = put(&topic, (0..RECORDS).map(payload)).await;
    let mut config = topic.config();
    config.batch = ReadLimits { max_records: RECORDS, max_bytes: 8 << 20 };
    config.linger = Duration::from_secs(1); // all in one batch
    let one = member(&topic, config, &ledger, "one");
    ledger.equals(&events).await;
    let letters = topic.messages(&topic.dead_letters, RECORDS / 2).await;
    let offsets: BTreeSet<_> =
        letters.iter().map(|letter| header(letter, DEAD_LETTER_OFFSET_HEADER).unwrap()).collect();
    assert_eq!((offsets.len(), letters.len()), (RECORDS / 2, RECORDS / 2));
    let decoded = ledger.read(|state| state.decoded);
    assert!(decoded <= 3 * RECORDS, "{decoded} records were looked into");
    one.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_without_a_value_or_longer_than_any_event_are_dead_letters_too() {
    let topic = Topic::unmade(shared());
    let large = (3 * MAX_PAYLOAD_BYTES).to_string();
    topic.make(&topic.name, &[("max.message.bytes", &large)]).await;
    // Its limit is lower than what arrives: the partition must not wait for ever because of that.
    topic.make(&topic.dead_letters, &[("max.message.bytes", "10000")]).await;
    let ledger = Ledger::new();
    let producer = topic.producer();
    // Bytes that no compression makes small.
    let mut state = 7_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let too_long: Vec<u8> = (0..=MAX_PAYLOAD_BYTES).map(|_| noise()).collect();
    let mut client = rdkafka::ClientConfig::new();
    client.set("bootstrap.servers", &topic.brokers).set("message.max.bytes", &large);
    let large_producer: rdkafka::producer::FutureProducer = client.create().unwrap();
    producer.send_with(Some(0), None, None).await.unwrap().unwrap();
    producer.send(Some(0), b"good 1", None).await.unwrap().unwrap();
    let record = rdkafka::producer::FutureRecord::<(), [u8]>::to(&topic.name).partition(0).payload(&too_long);
    large_producer.send(record, Duration::from_secs(10)).await.unwrap();
    producer.send_with(Some(0), Some(b""), None).await.unwrap().unwrap();
    producer.send(Some(0), b"good 2", None).await.unwrap().unwrap();
    let one = member(&topic, topic.config(), &ledger, "one");
    ledger.equals(&["good 1".to_owned(), "good 2".to_owned()]).await;
    let mut letters = topic.messages(&topic.dead_letters, 3).await;
    letters.sort_by_key(|letter| header(letter, DEAD_LETTER_OFFSET_HEADER));
    let told = |letter, key| header(letter, key).unwrap_or_default();
    let reasons: Vec<_> = letters.iter().map(|letter| told(letter, DEAD_LETTER_REASON_HEADER)).collect();
    assert_eq!(reasons, ["empty", "too_long", "empty"]);
    let offsets: Vec<_> = letters.iter().map(|letter| told(letter, DEAD_LETTER_OFFSET_HEADER)).collect();
    assert_eq!(offsets, ["0", "2", "3"]);
    assert_eq!(letters[1].payload(), None, "it is larger than its topic takes");
    assert_eq!(told(&letters[1], DEAD_LETTER_LEFT_OUT_HEADER), too_long.len().to_string());
    one.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_topic_of_dead_letters_a_partition_waits_and_the_others_go_on() {
    let topic = Topic::unmade(shared());
    topic.make(&topic.name, &[]).await;
    let ledger = Ledger::new();
    let poisoned = put(&topic, ["poison".to_owned(), "good behind the poison".to_owned()]).await;
    let one = member(&topic, topic.config(), &ledger, "one");
    let probe = one.probe();
    eventually("one partition waits", || {
        let health = probe.health();
        if health.assigned == 4 && health.stalled == 1 { Ok(()) } else { Err(format!("{health:?}")) }
    })
    .await;
    let filled = topic.fill("a", 0..400).await;
    ledger.holds(300).await;
    assert_eq!(ledger.position(":0"), None, "nothing of the partition with the poison is passed over");
    topic.make(&topic.dead_letters, &[]).await;
    ledger.equals(&[poisoned, filled].concat()).await;
    assert_eq!(topic.messages(&topic.dead_letters, 1).await[0].payload(), Some(&b"poison"[..]));
    one.shutdown().await;
}
