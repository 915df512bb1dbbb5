//! Several control planes on one Kafka and one PostgreSQL: whichever takes an event, it is in the ledger once.

use serde_json::{Value, json};

use crate::deaths::{check, sums_are_of};
use crate::harness::cluster::Cluster;
use crate::{As, event, post};

#[test]
fn a_batch_that_every_control_plane_is_sent_again_and_again_is_booked_once() {
    let mut cluster = Cluster::start(2);
    let (_, key) = cluster.ledger(0).project_with_key("jobs");
    let send = |cluster: &Cluster, place: usize, batch: &[Value]| {
        let told = post(cluster.control_planes[place].api, "/v1/events", As::Key(&key), &json!(batch));
        assert_eq!((told.status, &told.body["accepted"]), (202, &json!(batch.len())), "{told:?}");
    };
    // The other control plane knows the key a moment later.
    crate::harness::eventually("both know the key", || {
        let told = post(cluster.control_planes[1].api, "/v1/track", As::Key(&key), &event(0));
        (told.status == 202).then_some(())
    });
    for (round, dying) in (0..4).zip([0, 1].into_iter().cycle()) {
        let batch: Vec<Value> = (round * 40 + 1..round * 40 + 41).map(event).collect();
        std::thread::scope(|scope| {
            for place in 0..2 {
                let (cluster, batch, send) = (&cluster, &batch, &send);
                scope.spawn(move || send(cluster, place, batch));
            }
        });
        cluster.control_planes[dying].process.kill();
        send(&cluster, 1 - dying, &batch);
        cluster.start_control_plane_again(dying);
    }
    let events = cluster.ledger(0).await_events("", 161);
    check(&events, 0..161);
    // What is sent now is behind all repetitions of the same journal; none of them has changed anything.
    for (place, number) in [(0, 500), (1, 501)] {
        send(&cluster, place, &[event(number)]);
    }
    check(&cluster.ledger(1).await_events("", 163), (0..161).chain([500, 501]));
    sums_are_of(&cluster.ledger(1), (0..161).chain([500, 501]));
}

#[test]
fn events_wait_in_the_journal_while_kafka_and_the_database_are_away() {
    let mut cluster = Cluster::start(1);
    let (_, key) = cluster.ledger(0).project_with_key("jobs");
    cluster.kafka.stop();
    cluster.postgres.stop();
    let api = cluster.control_planes[0].api;
    for number in 0..30 {
        let told = post(api, "/v1/track", As::Key(&key), &event(number));
        assert_eq!(told.status, 202, "{told:?}");
    }
    cluster.control_planes[0].process.kill();
    cluster.postgres.start_again();
    cluster.kafka.start_again();
    cluster.start_control_plane_again(0);
    check(&cluster.ledger(0).await_events("", 30), 0..30);
}
