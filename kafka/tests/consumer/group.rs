//! Members that come, go and share.

use std::time::Duration;

use mindweave_kafka::ConsumerHealth;
use rdkafka::message::{Header, OwnedHeaders};
use tokio::time::{Instant, sleep};

use crate::cluster::{Load, PARTITIONS, SESSION, Topic, shared};
use crate::ledger::Ledger;
use crate::{eventually, has, member};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_three_producers_arrive_once_each_through_two_members() {
    let topic = Topic::new(shared()).await;
    let ledger = Ledger::new();
    let (one, two) =
        (member(&topic, topic.config(), &ledger, "one"), member(&topic, topic.config(), &ledger, "two"));
    let mut truth = Vec::new();
    for producer in ["a", "b", "c"] {
        truth.extend(topic.fill(producer, 0..2_000).await);
    }
    has(&one, 2).await;
    has(&two, 2).await;
    truth.extend(topic.fill("d", 0..2_000).await);
    ledger.equals(&truth).await;
    assert_eq!(ledger.read(|state| state.again), 0, "nothing was read twice");
    ledger.read(|state| {
        assert_eq!(state.sources.len(), 4);
        assert!(state.booked_by.values().all(|booked| *booked >= 500), "{:?}", state.booked_by);
        for booked in &state.booked {
            let origin = booked.origin.as_ref().expect("the headers say where it was written down");
            let expected = format!("{} {} ", origin.journal, origin.sequence);
            assert!(booked.event.starts_with(&expected), "{expected} is in {}", booked.event);
        }
    });
    one.shutdown().await;
    two.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_join_and_leave_amid_load_and_every_event_is_booked_once() {
    let topic = Topic::new(shared()).await;
    let ledger = Ledger::new();
    let loads = [Load::start(&topic, "a"), Load::start(&topic, "b")];
    let one = member(&topic, topic.config(), &ledger, "one");
    has(&one, 4).await;
    let two = member(&topic, topic.config(), &ledger, "two");
    has(&two, 2).await;
    let three = member(&topic, topic.config(), &ledger, "three");
    has(&three, 1).await;
    one.shutdown().await;
    let held = ledger.read(|state| state.booked.len());
    ledger.holds(held + 500).await;
    let four = member(&topic, topic.config(), &ledger, "four");
    eventually("each has its part", || {
        let parts = [&two, &three, &four].map(|member| member.probe().health().assigned);
        if parts.iter().all(|part| *part > 0) && parts.iter().sum::<usize>() == 4 {
            Ok(())
        } else {
            Err(format!("{parts:?}"))
        }
    })
    .await;
    two.shutdown().await;
    drop(three); // without waiting
    has(&four, 4).await;
    let mut truth = Vec::new();
    for load in loads {
        truth.extend(load.end().await);
    }
    ledger.equals(&truth).await;
    four.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_moves_away_ends_the_batch_that_is_in_its_sink() {
    let topic = Topic::new(shared()).await;
    let ledger = Ledger::new();
    ledger.set(|mode| {
        mode.held.insert("one");
    });
    let mut config = topic.config();
    (config.handover, config.max_poll_interval) = (Duration::from_secs(30), Duration::from_secs(60));
    let truth = topic.fill("a", 0..2_000).await;
    let one = member(&topic, config.clone(), &ledger, "one");
    eventually("each of its partitions has a batch in the ledger", || {
        let deliveries = ledger.read(|state| state.deliveries);
        if deliveries == 4 { Ok(()) } else { Err(format!("{deliveries}")) }
    })
    .await;
    let two = member(&topic, config, &ledger, "two");
    let begun = Instant::now();
    while begun.elapsed() < SESSION {
        assert_eq!(two.probe().health().assigned, 0, "it waits for the batches after {:?}", begun.elapsed());
        sleep(Duration::from_millis(50)).await;
    }
    ledger.set(|mode| mode.held.clear());
    has(&two, 2).await;
    ledger.equals(&truth).await;
    assert_eq!(ledger.read(|state| (state.again, state.fenced)), (0, 0), "nothing was given up");
    one.shutdown().await;
    two.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_leaves_nothing_half_done_and_the_next_member_goes_on_at_once() {
    let topic = Topic::new(shared()).await;
    let ledger = Ledger::new();
    let load = Load::start(&topic, "a");
    let one = member(&topic, topic.config(), &ledger, "one");
    ledger.holds(500).await;
    eventually("something of each partition is booked", || {
        let booked =
            (0..PARTITIONS).filter(|partition| ledger.position(&format!(":{partition}")).is_some()).count();
        if booked == 4 { Ok(()) } else { Err(format!("of {booked}")) }
    })
    .await;
    one.shutdown().await;
    let (deliveries, positions) = ledger.read(|state| {
        let positions: Vec<_> = state.sources.values().map(|source| source.position).collect();
        (state.deliveries, positions)
    });
    let kafka = &topic;
    let (members, committed) = tokio::task::block_in_place(|| kafka.group());
    assert_eq!(members, 0, "it has left");
    for partition in 0..PARTITIONS {
        let position =
            ledger.position(&format!(":{partition}")).expect("something of each partition is booked");
        assert_eq!(
            committed[usize::try_from(partition).unwrap()],
            i64::try_from(position).unwrap(),
            "tools see the position"
        );
    }
    sleep(Duration::from_millis(300)).await; // in which the load goes on
    ledger.read(|state| {
        assert_eq!(state.deliveries, deliveries, "nothing is delivered afterwards");
        assert_eq!(state.sources.values().map(|source| source.position).collect::<Vec<_>>(), positions);
    });
    let begun = Instant::now();
    let held = ledger.read(|state| state.booked.len());
    let two = member(&topic, topic.config(), &ledger, "two");
    ledger.holds(held + 1).await;
    assert!(begun.elapsed() < SESSION, "nobody waited for the first one's session to end");
    let truth = load.end().await;
    ledger.equals(&truth).await;
    assert_eq!(ledger.read(|state| state.again), 0, "nothing was read twice");
    two.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_with_a_name_keeps_its_partitions_over_a_restart() {
    let topic = Topic::new(shared()).await;
    let ledger = Ledger::new();
    let mut config = topic.config();
    config.session_timeout = Duration::from_secs(20);
    config.max_poll_interval = Duration::from_secs(20);
    config.instance = Some("replica-1".to_owned());
    let one = member(&topic, config.clone(), &ledger, "one");
    has(&one, 4).await;
    config.instance = Some("replica-2".to_owned());
    let two = member(&topic, config.clone(), &ledger, "two");
    has(&one, 2).await;
    has(&two, 2).await;
    let truth = topic.fill("a", 0..400).await;
    ledger.equals(&truth).await;
    two.shutdown().await;
    let two = member(&topic, config, &ledger, "two");
    has(&two, 2).await;
    assert_eq!(one.probe().health().assigned, 2, "the other one was left alone");
    let mut truth = truth;
    truth.extend(topic.fill("b", 0..400).await);
    ledger.equals(&truth).await;
    one.shutdown().await;
    two.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_name_another_one_took_joins_anew_once_that_is_gone() {
    let topic = Topic::new(shared()).await;
    let ledger = Ledger::new();
    let mut config = topic.config();
    config.instance = Some("replica-1".to_owned());
    let one = member(&topic, config.clone(), &ledger, "one");
    has(&one, 4).await;
    let mut truth = topic.fill("a", 0..400).await;
    let two = member(&topic, config, &ledger, "two");
    has(&one, 0).await;
    truth.extend(topic.fill("b", 0..400).await);
    two.shutdown().await;
    truth.extend(topic.fill("c", 0..400).await);
    has(&one, 4).await;
    ledger.equals(&truth).await;
    one.shutdown().await;
}

#[test]
fn a_consumer_whose_runtime_ends_leaves_its_partitions_to_others() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().expect("a runtime")
    };
    let (ledger, second) = (Ledger::new(), runtime());
    let topic = second.block_on(Topic::new(shared()));
    let mut config = topic.config();
    // Nobody has to wait for it.
    (config.session_timeout, config.max_poll_interval) = (Duration::from_secs(300), Duration::from_secs(300));
    let first = runtime();
    let one = first.block_on(async {
        let one = member(&topic, config.clone(), &ledger, "one");
        has(&one, 4).await;
        one
    });
    first.shutdown_background();
    second.block_on(async {
        let two = member(&topic, config, &ledger, "two");
        let truth = topic.fill("a", 0..400).await;
        ledger.equals(&truth).await;
        assert_eq!(ledger.read(|state| state.booked_by.get("one").copied()), None);
        two.shutdown().await;
    });
    drop(one);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_says_what_is_assigned_and_how_far_behind_it_is() {
    let topic = Topic::new(shared()).await;
    let ledger = Ledger::new();
    ledger.set(|mode| mode.down = true);
    let truth = topic.fill("a", 0..1_000).await;
    let one = member(&topic, topic.config(), &ledger, "one");
    let probe = one.probe();
    eventually("it is stalled", || {
        let health = probe.health();
        if health.assigned == 4 && health.stalled == 4 { Ok(()) } else { Err(format!("{health:?}")) }
    })
    .await;
    assert_eq!(probe.health().last_error.as_deref(), Some("the database is down"));
    assert_eq!(probe.health().lag, None, "how far the ledger is, only it knows");
    ledger.set(|mode| {
        mode.down = false;
        mode.held.insert("one");
    });
    eventually("the lag is known", || {
        let health = probe.health();
        if health.lag == Some(1_000) { Ok(()) } else { Err(format!("{health:?}")) }
    })
    .await;
    ledger.set(|mode| mode.held.clear());
    ledger.equals(&truth).await;
    let fine = ConsumerHealth { assigned: 4, stalled: 0, lag: Some(0), last_error: None };
    eventually("all is well", || {
        let health = probe.health();
        if health == fine { Ok(()) } else { Err(format!("{health:?}")) }
    })
    .await;
    one.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_other_producers_are_events_without_an_origin() {
    let topic = Topic::new(shared()).await;
    let ledger = Ledger::new();
    let producer = topic.producer();
    let strange = [
        None,
        Some(OwnedHeaders::new().insert(Header { key: "mindweave-journal", value: Some("j") })),
        Some(
            OwnedHeaders::new()
                .insert(Header { key: "mindweave-journal", value: Some("j") })
                .insert(Header { key: "mindweave-sequence", value: Some("many") }),
        ),
        Some(
            OwnedHeaders::new()
                .insert(Header { key: "mindweave-journal", value: Some(&[0xff_u8][..]) })
                .insert(Header { key: "mindweave-sequence", value: Some(&b"1"[..]) }),
        ),
    ];
    let mut truth = Vec::new();
    for (number, headers) in strange.into_iter().enumerate() {
        let event = format!("foreign {number}");
        producer.send_with(Some(0), Some(event.as_bytes()), headers).await.unwrap().unwrap();
        truth.push(event);
    }
    let one = member(&topic, topic.config(), &ledger, "one");
    ledger.equals(&truth).await;
    assert!(ledger.read(|state| state.booked.iter().all(|booked| booked.origin.is_none())));
    one.shutdown().await;
}
