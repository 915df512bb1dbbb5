//! Consumers and servers that end in the middle of something.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mindweave_policy::Secret;
use mindweave_test_servers::Postgres;

use super::truth::{Partition, Truth, made_up};
use super::*;
use crate::clock;
use crate::db::{Database, Engine};

/// Enough for a copy into a server.
const EVENTS: u64 = 230;

async fn a_consumer_that_ends_at_any_step_leaves_all_or_nothing_to_the_next(ledger: Ledger) {
    let mut truth = Truth::with_budgets(&ledger).await;
    let now = clock::now().as_microsecond();
    let (mut before, mut ends) = (0, 0);
    for polls in 1.. {
        // One of a few sizes: statements with arrays and copies have their own steps.
        let size = if polls % 3 == 0 { 20 } else { EVENTS };
        let first = u64::try_from(truth.events.len()).unwrap() + 1;
        let events: Vec<_> = (first..first + size).map(|number| made_up(number, now)).collect();
        let partition = Partition::of(polls, &events);
        truth.events.extend(events);
        let (batch, source) = (partition.batches("group", usize::MAX).remove(0), partition.source("group"));
        let first = ledger.another_consumer();
        let delivery = async {
            let (mut claim, _) = first.claim(&source).await?;
            first.apply(&mut claim, &batch.records, batch.last).await
        };
        ends += usize::from(poll_times(delivery, usize::try_from(polls).unwrap()).await);
        let after = ledger.number("SELECT count(*) FROM usage_events").await;
        let size = i64::try_from(size).unwrap();
        assert!(after == before || after == before + size, "{polls} polls: {before}, {after} events");
        // The next one does not trust the position alone, as a replay does not.
        let next = ledger.another_consumer();
        let (mut claim, position) = next.claim(&source).await.unwrap();
        let new = next.apply(&mut claim, &batch.records, batch.last).await.unwrap();
        assert!(new == 0 || position.is_none(), "the position and the events are moved together");
        before += size;
        assert_eq!(ledger.number("SELECT count(*) FROM usage_events").await, before);
        if ends == 4 {
            break;
        }
    }
    truth.holds_in(&ledger.db).await;
    // Nothing that was left behind is still at work.
    if ledger.db.engine() == Engine::Postgres {
        let left = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in %'";
        assert_eq!(ledger.number(left).await, 0);
    }
}

on_every_kind_of_ledger!(a_consumer_that_ends_at_any_step_leaves_all_or_nothing_to_the_next);

/// Books a topic with four processes while there is trouble, in so many turns.
async fn under_trouble(server: &'static Postgres, turns: u32, trouble: impl Fn(&str, u32) + Send + 'static) {
    let url = tokio::task::spawn_blocking(|| server.create_database()).await.unwrap();
    let ledger = Ledger::open(Database::Postgres(Secret::new(url.clone()))).await;
    let mut truth = Truth::with_budgets(&ledger).await;
    let topic = truth.topic(4, 2_000, clock::now().as_microsecond());
    let mut processes = Vec::new();
    for _ in &topic {
        processes.push(ledger.another_process().await); // a start needs the server
    }
    let booking = Arc::new(AtomicBool::new(true));
    let goes_on = Arc::clone(&booking);
    let trouble = tokio::task::spawn_blocking(move || {
        let mut turn = 0;
        while turn < turns && goes_on.load(Ordering::Relaxed) {
            trouble(&url, turn);
            turn += 1;
        }
        turn
    });
    let mut deliveries = tokio::task::JoinSet::new();
    for (partition, process) in topic.into_iter().zip(processes) {
        let cut = [30, 250, 90, 400][usize::try_from(partition.number).unwrap()];
        deliveries.spawn(async move { partition.deliver(process.ingest.clone(), "group", cut, false).await });
    }
    while let Some(delivered) = deliveries.join_next().await {
        delivered.unwrap();
    }
    booking.store(false, Ordering::Relaxed);
    assert!(trouble.await.unwrap() > 2, "there was trouble");
    truth.holds_in(&ledger.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_the_server_ends_at_any_moment_lose_and_repeat_nothing() {
    under_trouble(Postgres::shared(), 40, |url, turn| {
        let database = url.rsplit('/').next().unwrap();
        let sql = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{database}' AND pid % 3 = {}",
            turn % 3
        );
        Postgres::shared().query(&Postgres::shared().admin_url(), &sql);
        std::thread::sleep(Duration::from_millis(u64::from(turn * 37 % 90)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_under_load_has_every_event_once_when_all_is_over() {
    let server: &'static Postgres =
        Box::leak(Box::new(tokio::task::spawn_blocking(Postgres::start).await.unwrap()));
    under_trouble(server, 5, move |_, turn| {
        std::thread::sleep(Duration::from_millis(u64::from(200 + turn * 113 % 300)));
        server.kill();
        server.start_again();
    })
    .await;
    tokio::task::spawn_blocking(move || server.stop()).await.unwrap();
}
