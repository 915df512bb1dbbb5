use std::collections::BTreeSet;

use mindweave_eventlog::Sequence;
use mindweave_metering::UsageEvent;
use serde_json::Value;
use tokio::time::timeout;

use super::*;
use crate::clock;
use crate::tasks::Tasks;
use crate::testing::{Ledger, event, on_every_kind_of_ledger, record};
use crate::usage::Ingest;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A control plane, as far as streams go.
struct Watched {
    ledger: Ledger,
    tasks: Tasks,
}

impl Watched {
    fn new(ledger: Ledger) -> Self {
        let mut tasks = Tasks::new();
        let (db, stop) = (ledger.db.clone(), tasks.stop());
        tasks.spawn("news", db.news().clone().carry(db.clone(), stop.clone()));
        tasks.spawn("live", ledger.live.clone().follow(db, stop));
        Self { ledger, tasks }
    }

    /// A stream that has begun.
    async fn subscribe(&self, project_id: Option<&str>) -> Stream {
        let body = self.ledger.live.subscribe(
            Viewer::unlimited(),
            project_id.map(str::to_owned),
            None,
            self.tasks.stop(),
        );
        let mut stream = Stream(Box::pin(body.unwrap()));
        assert_eq!(stream.piece().await.as_deref(), Some(&b": subscribed\n\n"[..]));
        stream
    }
}

struct Stream(Pin<Box<LiveBody>>);

impl Stream {
    async fn piece(&mut self) -> Option<Bytes> {
        let frame = std::future::poll_fn(|context| http_body::Body::poll_frame(self.0.as_mut(), context));
        let frame = timeout(PATIENCE, frame).await.expect("something comes, if only a sign of life");
        frame.map(|frame| frame.unwrap().into_data().unwrap())
    }

    /// The next event.
    async fn event(&mut self) -> UsageEvent {
        loop {
            let piece = self.piece().await.expect("the stream goes on");
            let text = std::str::from_utf8(&piece).unwrap();
            assert!(!text.starts_with("event: lagged"), "{text}");
            if let Some(data) = text.lines().find_map(|line| line.strip_prefix("data: ")) {
                let event: Value = serde_json::from_str(data).unwrap();
                return serde_json::from_value(event).unwrap();
            }
        }
    }
}

async fn book(ingest: Ingest, source: String, first: u64, batches: u64, size: u64) {
    let (mut claim, _) = ingest.claim(&source).await.unwrap();
    let now = clock::now().as_microsecond();
    for batch in 0..batches {
        let start = batch * size;
        let records: Vec<_> =
            (start..start + size).map(|number| record(number + 1, &event(first + number, now, 1))).collect();
        ingest.apply(&mut claim, &records, Sequence::new(start + size)).await.unwrap();
    }
}

async fn what_any_process_books_at_once_is_told_once_in_each(ledger: Ledger) {
    let other = Watched::new(ledger.another_process().await);
    let here = Watched::new(ledger);
    book(here.ledger.ingest.clone(), "before".to_owned(), 900_000, 1, 5).await;
    let mut streams = vec![here.subscribe(None).await];
    let watched = if here.ledger.live.engine == Engine::Sqlite { [&here, &here] } else { [&here, &other] };
    streams.push(watched[1].subscribe(None).await);
    let mut bookings = tokio::task::JoinSet::new();
    for number in 0..4_u64 {
        let ingest = watched[usize::try_from(number % 2).unwrap()].ledger.ingest.clone();
        let size = if number % 2 == 0 { 7 } else { 210 };
        bookings.spawn(book(ingest, format!("journal-{number}"), number * 10_000, 5, size));
    }
    for stream in &mut streams {
        let mut seen = BTreeSet::new();
        while seen.len() < 2 * 5 * (7 + 210) {
            let event = stream.event().await;
            assert!(seen.insert(event.event_id), "told twice");
        }
    }
    while let Some(booked) = bookings.join_next().await {
        booked.unwrap();
    }
    book(here.ledger.ingest.clone(), "after".to_owned(), 800_000, 1, 1).await;
    for stream in &mut streams {
        assert_eq!(stream.event().await.input_tokens, 1, "nothing comes between");
    }
}

async fn a_stream_of_a_project_tells_of_no_other(ledger: Ledger) {
    let watched = Watched::new(ledger);
    let mut stream = watched.subscribe(Some("prj_2")).await;
    let (mut claim, _) = watched.ledger.ingest.claim("journal").await.unwrap();
    let now = clock::now().as_microsecond();
    let mut wanted = event(2, now, 7);
    wanted.project_id = mindweave_metering::ProjectId::new("prj_2");
    let records = [record(1, &event(1, now, 1)), record(2, &wanted)];
    watched.ledger.ingest.apply(&mut claim, &records, Sequence::new(2)).await.unwrap();
    assert_eq!(stream.event().await.input_tokens, 7);
}

on_every_kind_of_ledger!(
    what_any_process_books_at_once_is_told_once_in_each,
    a_stream_of_a_project_tells_of_no_other,
);

#[tokio::test(flavor = "multi_thread")]
async fn without_a_subscriber_nothing_is_noted() {
    let watched = Watched::new(Ledger::on_postgres().await);
    let stream = watched.subscribe(None).await;
    book(watched.ledger.ingest.clone(), "a".to_owned(), 0, 2, 3).await;
    assert_eq!(watched.ledger.number("SELECT count(*) FROM usage_arrivals").await, 2);
    drop(stream);
    let left = async {
        while watched.ledger.number("SELECT count(*) FROM live_followers").await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, left).await.expect("the follower leaves");
    book(watched.ledger.ingest.clone(), "b".to_owned(), 100, 2, 3).await;
    assert_eq!(watched.ledger.number("SELECT count(*) FROM usage_arrivals").await, 2);
    // And whoever comes then is told what lands then.
    let mut stream = watched.subscribe(None).await;
    book(watched.ledger.ingest.clone(), "c".to_owned(), 200, 1, 1).await;
    assert_eq!(stream.event().await.request_id.as_deref(), Some("req_200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_it_cannot_be_known_what_was_missed() {
    let watched = Watched::new(Ledger::on_postgres().await);
    let mut stream = watched.subscribe(None).await;
    let mut tx = watched.ledger.db.begin_write().await.unwrap();
    crate::db::sql::query("UPDATE live_followers SET follows_until = 0").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    while stream.piece().await.is_some() {}
    let mut stream = watched.subscribe(None).await;
    book(watched.ledger.ingest.clone(), "a".to_owned(), 0, 1, 1).await;
    stream.event().await;
}
