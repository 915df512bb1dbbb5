//! What the producers of events know, and whether the ledger says the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mindweave_eventlog::{Batch, EventSink, Origin, Record, Sequence, SinkError};
use mindweave_metering::{Certainty, EventId, KeyId, NanoUsd, Outcome, TeamId, UsageEvent, UserId};
use mindweave_policy::{QuotaSpec, QuotaUnit, QuotaWindow, Subject, SubjectKind};
use sqlx::AssertSqlSafe;

use crate::db::{Db, sql};
use crate::rollup::{Level, states_read};
use crate::testing::{HOUR, Ledger, SECOND, event, install, record};
use crate::usage::counters::tests::{counters, expected, one, put_quota, quota};
use crate::usage::sink::UsageSink;
use crate::usage::totals::Totals;
use crate::usage::{Ingest, decode};

const MODELS: [&str; 3] = ["claude-sonnet-4-5", "claude-opus-4-1", "claude-haiku-4-5"];

/// An event that is made up from its number alone: mostly new, some late; some refused, some without a known cost.
pub(super) fn made_up(number: u64, now: i64) -> UsageEvent {
    let age = match number {
        late if late.is_multiple_of(41) => 26 * HOUR,
        late if late.is_multiple_of(17) => 2 * HOUR,
        other => i64::try_from(other % 90).unwrap() * SECOND,
    };
    let mut event = event(number, now - age, number % 97 + 1);
    event.key_id = Some(KeyId::new(format!("key_{}", number % 3)));
    event.user_id = (!number.is_multiple_of(5)).then(|| UserId::new(format!("usr_{}", number % 2)));
    event.team_id = number.is_multiple_of(2).then(|| TeamId::new("team_1"));
    event.model = Some(MODELS[usize::try_from(number % 3).unwrap()].into());
    event.output_tokens = number % 11;
    event.cost_nano_usd = Some(NanoUsd(i64::try_from(number * 7_919 % 1_000_003).unwrap()));
    if number.is_multiple_of(19) {
        (event.cost_nano_usd, event.certainty) = (None, Certainty::Unknown);
    }
    if number.is_multiple_of(13) {
        (event.outcome, event.status) = (Outcome::Denied, 403);
    }
    event
}

/// A partition of a topic: the events of two journals, in the order of each.
#[derive(Clone, Debug)]
pub(super) struct Partition {
    pub(super) number: u64,
    pub(super) records: Vec<Record>,
}

impl Partition {
    /// Events of these numbers.
    pub(super) fn of(number: u64, events: &[UsageEvent]) -> Self {
        let mut sequences = BTreeMap::new();
        let mut records = Vec::new();
        for (place, event) in (1..).zip(events) {
            let journal = format!("journal-{number}-{}", place / 7 % 2);
            let sequence: &mut u64 = sequences.entry(journal.clone()).or_default();
            *sequence += 3; // journals number bytes, as it were: not one by one
            let origin = Origin { journal: journal.into(), sequence: Sequence::new(*sequence) };
            records.push(Record { origin: Some(origin), ..record(place, event) });
        }
        Self { number, records }
    }

    /// Its name for a group of consumers.
    pub(super) fn source(&self, group: &str) -> String {
        format!("kafka:{group}:usage.events:{}", self.number)
    }

    /// So many records at a time.
    pub(super) fn batches(&self, group: &str, cut: usize) -> Vec<Batch> {
        self.batches_after(group, cut, 0)
    }

    fn batches_after(&self, group: &str, cut: usize, position: u64) -> Vec<Batch> {
        let rest: Vec<_> = self.records.iter().filter(|record| record.sequence.get() > position).collect();
        let batch = |records: &[&Record]| Batch {
            source: self.source(group),
            first: records[0].sequence,
            last: records[records.len() - 1].sequence,
            records: records.iter().map(|record| (*record).clone()).collect(),
        };
        rest.chunks(cut).map(batch).collect()
    }

    /// Delivers it to its end, from where the ledger is or from its beginning, however often that fails.
    pub(super) async fn deliver(&self, ingest: Ingest, group: &str, cut: usize, replay: bool) {
        let mut sink = UsageSink::new(ingest);
        'claimed: loop {
            let Ok(position) = sink.position(&self.source(group)).await else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let position = position.filter(|_| !replay).map_or(0, Sequence::get);
            for batch in self.batches_after(group, cut, position) {
                match sink.deliver(&batch).await {
                    Ok(()) => {}
                    Err(SinkError::Retry(_)) => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        continue 'claimed;
                    }
                    Err(error @ SinkError::Poison { .. }) => panic!("{error}"),
                }
            }
            return;
        }
    }
}

/// What the producers know.
#[derive(Clone, Debug)]
pub(super) struct Truth {
    pub(super) events: Vec<UsageEvent>,
    pub(super) quotas: BTreeMap<String, QuotaSpec>,
    pub(super) zone: &'static str,
}

impl Truth {
    /// Of no events yet, with budgets of which each event moves several.
    pub(super) async fn with_budgets(ledger: &Ledger) -> Self {
        install(&ledger.db).await;
        let each_key = Subject { kind: SubjectKind::Key, id: None };
        let each_user = Subject { kind: SubjectKind::User, id: None };
        let mut truth = Self { events: Vec::new(), quotas: BTreeMap::new(), zone: "UTC" };
        for quota in [
            quota("quo_cost", one(SubjectKind::Org, "org_1"), QuotaUnit::Cost, QuotaWindow::Month),
            quota("quo_tokens", each_key, QuotaUnit::Tokens, QuotaWindow::Day),
            quota("quo_requests", each_user, QuotaUnit::Requests, QuotaWindow::Hour),
        ] {
            put_quota(&ledger.db, &quota).await;
            truth.quotas.insert(quota.id.as_str().to_owned(), quota);
        }
        truth
    }

    /// A topic of so many partitions with so many new events each.
    pub(super) fn topic(&mut self, partitions: u64, each: u64, now: i64) -> Vec<Partition> {
        let mut topic = Vec::new();
        for partition in 0..partitions {
            let first = u64::try_from(self.events.len()).unwrap() + 1;
            let events: Vec<_> = (first..first + each).map(|number| made_up(number, now)).collect();
            topic.push(Partition::of(partition, &events));
            self.events.extend(events);
        }
        topic
    }

    /// The ledger has these events and no others, once each, and every sum and counter is theirs.
    pub(super) async fn holds_in(&self, db: &Db) {
        self.events_are_in(db).await;
        for level in Level::ALL {
            self.sums_are_in(db, level).await;
        }
        assert_eq!(counters(db).await, expected(db, &self.events, &self.quotas, self.zone).await);
    }

    async fn events_are_in(&self, db: &Db) {
        let rows: Vec<(Vec<u8>, String)> =
            sql::query_as("SELECT event_id, event FROM usage_events").fetch_all(db.readers()).await.unwrap();
        assert_eq!(rows.len(), self.events.len(), "raw events");
        let figures = |event: &UsageEvent| (event.cost_nano_usd, event.input_tokens, event.output_tokens);
        let mut known: BTreeMap<EventId, _> =
            self.events.iter().map(|event| (event.event_id, figures(event))).collect();
        for (id, json) in rows {
            let stored: UsageEvent = serde_json::from_str(&json).unwrap();
            assert_eq!(stored.event_id.as_bytes().as_slice(), id);
            assert_eq!(known.remove(&stored.event_id), Some(figures(&stored)));
        }
        assert!(known.is_empty());
    }

    async fn sums_are_in(&self, db: &Db, level: Level) {
        let state = states_read(&mut db.begin_read().await.unwrap()).await.unwrap();
        let until = match level {
            Level::Minute => i64::MAX,
            Level::Hour => state.hour_complete_until,
            Level::Day => state.day_complete_until,
        };
        let kept_from = state.kept_from(level).unwrap_or(i64::MIN);
        let mut sums: BTreeMap<(i64, Vec<String>), Totals> = BTreeMap::new();
        for event in &self.events {
            let bucket = level.floor(event.timestamp.as_microsecond());
            if (kept_from..until).contains(&bucket) {
                let record = record(1, event);
                let totals = Totals::of(&decode(&record).unwrap().fields);
                sums.entry((bucket, dimension(event))).or_default().add(&totals);
            }
        }
        let sums: BTreeSet<_> = sums.into_iter().map(|(key, totals)| (key, totals.values())).collect();
        let table = level.table();
        let sql = format!(
            "SELECT bucket, project_id, key_id, user_id, team_id, model, {} FROM {table} JOIN usage_dims USING (dim_id)
             WHERE bucket >= {kept_from}",
            Totals::COLUMNS.join(", ")
        );
        let rows: Vec<SumRow> = sql::query_as(AssertSqlSafe(sql)).fetch_all(db.readers()).await.unwrap();
        let stored: BTreeSet<_> = rows.iter().map(SumRow::key_and_values).collect();
        assert_eq!(stored.len(), rows.len());
        let differing: Vec<_> = stored.symmetric_difference(&sums).collect();
        assert!(differing.is_empty(), "{table}: {differing:?}");
    }
}

#[derive(sqlx::FromRow)]
struct SumRow {
    bucket: i64,
    project_id: String,
    key_id: String,
    user_id: String,
    team_id: String,
    model: String,
    #[sqlx(flatten)]
    totals: Totals,
}

impl SumRow {
    fn key_and_values(&self) -> ((i64, Vec<String>), [i64; 16]) {
        let texts = [&self.project_id, &self.key_id, &self.user_id, &self.team_id, &self.model];
        ((self.bucket, texts.map(Clone::clone).into()), self.totals.values())
    }
}

fn dimension(event: &UsageEvent) -> Vec<String> {
    let text = |id: Option<&str>| id.unwrap_or_default().to_owned();
    vec![
        event.project_id.as_str().to_owned(),
        text(event.key_id.as_ref().map(KeyId::as_str)),
        text(event.user_id.as_ref().map(UserId::as_str)),
        text(event.team_id.as_ref().map(TeamId::as_str)),
        text(event.model.as_deref()),
    ]
}
