mod downloads;

use std::collections::BTreeMap;
use std::time::Duration;

use mindweave_eventlog::Sequence;
use mindweave_metering::{EventType, KeyId, NanoUsd, OrgId, Outcome, QuotaId, TeamId, UsageEvent, UserId};
use mindweave_policy::{
    Charge, ChargeParts, ModelPattern, OnError, OnStale, QuotaAction, QuotaSpec, QuotaUnit, QuotaWindow,
    Reserve, Subject, SubjectKind, time_zone, window_bounds,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::ValueTree;

use downloads::{Item, make_download};

use super::*;
use crate::clock;
use crate::db::{Connection, Db, sql};
use crate::rollup::{Retention, retention_run, rollup_run};
use crate::snapshot::revision_raise;
use crate::testing::{
    DAY, HOUR, Ledger, MINUTE, SECOND, at, event, install, on_every_kind_of_ledger, record, run_on,
};
use crate::usage::Claim;

pub(crate) fn quota(id: &str, scope: Subject, unit: QuotaUnit, window: QuotaWindow) -> QuotaSpec {
    QuotaSpec {
        id: QuotaId::new(id),
        org_id: OrgId::new("org_1"),
        name: id.into(),
        scope,
        unit,
        window,
        limit: 1_000_000,
        models: Vec::new(),
        action: QuotaAction::Block,
        reserve: Reserve::Expected,
        thresholds: Vec::new(),
        on_unknown_price: OnError::Deny,
        on_stale: OnStale::Open,
    }
}

pub(crate) fn one(kind: SubjectKind, id: &str) -> Subject {
    Subject { kind, id: Some(id.into()) }
}

fn each(kind: SubjectKind) -> Subject {
    Subject { kind, id: None }
}

/// Whether a change says so to the counters, as the API does, or leaves it to ingest.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    Yes,
    No,
}

/// Makes or changes a budget.
async fn put(tx: &mut Connection, quota: &QuotaSpec, told: Told) {
    sql::query(
        "INSERT INTO quotas (id, org_id, name, spec, created_at, updated_at) VALUES (?, ?, ?, ?, 0, 0)
         ON CONFLICT (id) DO UPDATE SET spec = excluded.spec, deleted_at = NULL",
    )
    .bind(quota.id.as_str())
    .bind(quota.org_id.as_str())
    .bind(&*quota.name)
    .bind(serde_json::to_string(quota).unwrap())
    .execute(&mut *tx)
    .await
    .unwrap();
    if told == Told::Yes {
        counter_seed(tx, quota, clock::now()).await.unwrap();
    }
}

pub(crate) async fn put_quota(db: &Db, quota: &QuotaSpec) {
    let mut tx = db.begin_write().await.unwrap();
    put(&mut tx, quota, Told::Yes).await;
    revision_raise(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
}

async fn deliver(ledger: &Ledger, claim: &mut Claim, first: u64, events: &[UsageEvent]) {
    let records: Vec<_> = (first..).zip(events).map(|(sequence, event)| record(sequence, event)).collect();
    let last = records.last().unwrap().sequence;
    ledger.ingest.apply(claim, &records, last).await.unwrap();
}

/// Every counter that is not zero, by budget, window and subject.
pub(crate) async fn counters(db: &Db) -> BTreeMap<(String, i64, String), i64> {
    let rows: Vec<(String, i64, String, i64)> =
        sql::query_as("SELECT quota_id, window_start, subject, used FROM budget_counters WHERE used <> 0")
            .fetch_all(db.readers())
            .await
            .unwrap();
    rows.into_iter().map(|(quota, window, subject, used)| ((quota, window, subject), used)).collect()
}

fn subject_of(event: &UsageEvent, kind: SubjectKind) -> Option<&str> {
    match kind {
        SubjectKind::Org => Some(event.org_id.as_str()),
        SubjectKind::Team => event.team_id.as_ref().map(|id| id.as_str()),
        SubjectKind::User => event.user_id.as_ref().map(|id| id.as_str()),
        SubjectKind::Project => Some(event.project_id.as_str()),
        SubjectKind::Key => event.key_id.as_ref().map(|id| id.as_str()),
    }
}

/// What the counters should be: each event by itself, as a proxy charges it.
pub(crate) async fn expected(
    db: &Db,
    events: &[UsageEvent],
    quotas: &BTreeMap<String, QuotaSpec>,
    zone: &str,
) -> BTreeMap<(String, i64, String), i64> {
    let first_windows: Vec<(String, i64)> =
        sql::query_as("SELECT quota_id, first_window FROM budget_countings")
            .fetch_all(db.readers())
            .await
            .unwrap();
    let first_windows: BTreeMap<_, _> = first_windows.into_iter().collect();
    assert_eq!(first_windows.keys().collect::<Vec<_>>(), quotas.keys().collect::<Vec<_>>());
    let zone = time_zone(zone);
    let mut sums = BTreeMap::new();
    for (id, quota) in quotas {
        for event in events {
            let Some(subject) = subject_of(event, quota.scope.kind) else { continue };
            let wanted = quota.scope.id.as_deref().is_none_or(|id| id == subject);
            let amount = ChargeParts::of(event).amount(quota);
            let (start, _) = window_bounds(quota.window, &zone, event.timestamp);
            let start = start.as_microsecond();
            if wanted && amount != 0 && start >= first_windows[id] {
                *sums.entry((id.clone(), start, subject.to_owned())).or_default() += amount;
            }
        }
    }
    sums
}

#[derive(Clone, Debug)]
enum Step {
    Deliver(Vec<Draft>),
    /// The events of the last delivery, once more, by another source.
    Repeat,
    Put(QuotaSpec, Told),
    Delete(u8, Told),
    Zone(&'static str, Told),
    Rollup,
    Retention,
}

#[derive(Clone, Debug)]
struct Draft {
    age: i64,
    key: Option<u8>,
    user: Option<u8>,
    team: Option<u8>,
    model: Option<&'static str>,
    outcome: Outcome,
    event_type: EventType,
    priced: bool,
    tokens: [u64; 5],
    /// Of a download of batch results.
    items: Vec<Item>,
}

impl Draft {
    fn event(self, number: u64, now: i64) -> UsageEvent {
        let mut event = event(number, now - self.age, self.tokens[0]);
        event.key_id = self.key.map(|id| KeyId::new(format!("key_{id}")));
        event.user_id = self.user.map(|id| UserId::new(format!("usr_{id}")));
        event.team_id = self.team.map(|id| TeamId::new(format!("team_{id}")));
        (event.model, event.requested_model) = (None, self.model.map(Into::into));
        if number.is_multiple_of(2) {
            event.model = event.requested_model.clone();
        }
        (event.outcome, event.event_type) = (self.outcome, self.event_type);
        [
            _,
            event.output_tokens,
            event.cache_read_tokens,
            event.cache_write_5m_tokens,
            event.cache_write_1h_tokens,
        ] = self.tokens;
        let cost = i64::try_from(self.tokens[1] * 7 + number).unwrap();
        event.cost_nano_usd = self.priced.then_some(NanoUsd(cost));
        let is_download = event.event_type == EventType::ApiCall && event.outcome != Outcome::Denied;
        if is_download && !self.items.is_empty() {
            make_download(&mut event, number, self.priced, &self.items);
        }
        event
    }
}

fn draft() -> impl Strategy<Value = Draft> {
    let age = prop_oneof![
        3 => 0..90 * SECOND,
        1 => -90 * SECOND..0,
        2 => 0..3 * HOUR,
        2 => 0..2 * DAY,
        3 => 0..34 * DAY,
    ];
    let outcome =
        prop_oneof![4 => Just(Outcome::Complete), 1 => Just(Outcome::Denied), 1 => Just(Outcome::ClientGone)];
    let event_type = prop_oneof![6 => Just(EventType::ApiCall), 1 => Just(EventType::McpTool), 1 => Just(EventType::Session)];
    let model = option::weighted(
        0.9,
        prop_oneof![Just("claude-sonnet-4-5"), Just("claude-sonnet-4-5-20250929"), Just("claude-opus-4-1")],
    );
    let who = (option::of(0..3_u8), option::of(0..2_u8), option::of(0..2_u8));
    let items = prop_oneof![3 => Just(Vec::new()), 1 => vec((0..3_usize, 0..500_u64, 0..5_000_i64), 1..5)];
    let tokens = proptest::array::uniform5(0..1_000_u64);
    (age, who, model, outcome, event_type, any::<bool>(), tokens, items).prop_map(
        |(age, (key, user, team), model, outcome, event_type, priced, tokens, items)| Draft {
            age,
            key,
            user,
            team,
            model,
            outcome,
            event_type,
            priced,
            tokens,
            items,
        },
    )
}

fn told() -> impl Strategy<Value = Told> {
    prop_oneof![Just(Told::Yes), Just(Told::No)]
}

fn spec(number: u8) -> impl Strategy<Value = QuotaSpec> {
    let scope = prop_oneof![
        Just(one(SubjectKind::Org, "org_1")),
        Just(one(SubjectKind::Project, "prj_1")),
        Just(one(SubjectKind::Key, "key_1")),
        Just(one(SubjectKind::User, "usr_0")),
        Just(each(SubjectKind::Key)),
        Just(each(SubjectKind::Team)),
        Just(each(SubjectKind::User)),
    ];
    let unit = prop_oneof![Just(QuotaUnit::Requests), Just(QuotaUnit::Tokens), Just(QuotaUnit::Cost)];
    let window = prop_oneof![
        1 => Just(QuotaWindow::Minute),
        1 => Just(QuotaWindow::Hour),
        1 => Just(QuotaWindow::Day),
        1 => Just(QuotaWindow::Week),
        3 => Just(QuotaWindow::Month),
    ];
    let models = prop_oneof![
        3 => Just(Vec::new()),
        1 => Just(vec![ModelPattern::new("claude-sonnet-4-5")]),
        1 => Just(vec![ModelPattern::new("claude-opus-*"), ModelPattern::new("gpt")]),
    ];
    (scope, unit, window, models, 1..3_i64).prop_map(move |(scope, unit, window, models, limit)| QuotaSpec {
        models,
        limit,
        ..quota(&format!("quo_{number}"), scope, unit, window)
    })
}

fn step() -> impl Strategy<Value = Step> {
    let zone = prop_oneof![
        Just("UTC"),
        Just("Europe/Berlin"),
        Just("Asia/Kathmandu"),
        Just("America/St_Johns"),
        Just("Pacific/Kiritimati"),
        Just("Pacific/Pago_Pago"),
    ];
    prop_oneof![
        6 => vec(draft(), 1..8).prop_map(Step::Deliver),
        1 => Just(Step::Repeat),
        4 => (0..4_u8).prop_flat_map(|number| (spec(number), told())).prop_map(|(spec, told)| Step::Put(spec, told)),
        1 => (0..4_u8, told()).prop_map(|(number, told)| Step::Delete(number, told)),
        1 => (zone, told()).prop_map(|(zone, told)| Step::Zone(zone, told)),
        2 => Just(Step::Rollup),
        1 => Just(Step::Retention),
    ]
}

struct Run {
    ledger: Ledger,
    claim: Claim,
    events: Vec<UsageEvent>,
    last: Vec<UsageEvent>,
    quotas: BTreeMap<String, QuotaSpec>,
    zone: &'static str,
    /// Whether ingest has seen every change.
    seen: bool,
}

impl Run {
    async fn new(ledger: Ledger) -> Self {
        install(&ledger.db).await;
        let (claim, _) = ledger.ingest.claim("journal").await.unwrap();
        Self {
            ledger,
            claim,
            events: Vec::new(),
            last: Vec::new(),
            quotas: BTreeMap::new(),
            zone: "UTC",
            seen: true,
        }
    }

    async fn step(&mut self, step: Step) {
        let db = &self.ledger.db;
        let now = clock::now();
        match step {
            Step::Deliver(drafts) => {
                let first = u64::try_from(self.events.len()).unwrap() + 1;
                self.last = (first..)
                    .zip(drafts)
                    .map(|(number, draft)| draft.event(number, now.as_microsecond()))
                    .collect();
                self.events.extend(self.last.iter().cloned());
                deliver(&self.ledger, &mut self.claim, first, &self.last).await;
                self.seen = true;
            }
            Step::Repeat if self.last.is_empty() => {}
            Step::Repeat => {
                let (mut claim, position) = self.ledger.ingest.claim("another").await.unwrap();
                deliver(&self.ledger, &mut claim, position.unwrap_or(0) + 1, &self.last).await;
                self.seen = true;
            }
            Step::Put(quota, told) => {
                let mut tx = db.begin_write().await.unwrap();
                put(&mut tx, &quota, told).await;
                revision_raise(&mut tx).await.unwrap();
                tx.commit().await.unwrap();
                self.seen = self.seen && told == Told::Yes;
                self.quotas.insert(quota.id.as_str().to_owned(), quota);
            }
            Step::Delete(number, told) => {
                let id = format!("quo_{number}");
                if self.quotas.remove(&id).is_some() {
                    let mut tx = db.begin_write().await.unwrap();
                    sql::query("UPDATE quotas SET deleted_at = 1 WHERE id = ?")
                        .bind(&id)
                        .execute(&mut *tx)
                        .await
                        .unwrap();
                    if told == Told::Yes {
                        counter_delete(&mut tx, &QuotaId::new(id)).await.unwrap();
                    }
                    revision_raise(&mut tx).await.unwrap();
                    tx.commit().await.unwrap();
                    self.seen = self.seen && told == Told::Yes;
                }
            }
            Step::Zone(zone, told) => {
                self.zone = zone;
                let mut tx = db.begin_write().await.unwrap();
                sql::query("UPDATE orgs SET time_zone = ?").bind(zone).execute(&mut *tx).await.unwrap();
                if told == Told::Yes {
                    counters_reseed(&mut tx, &OrgId::new("org_1"), now).await.unwrap();
                }
                revision_raise(&mut tx).await.unwrap();
                tx.commit().await.unwrap();
                self.seen = self.seen && told == Told::Yes;
            }
            Step::Rollup => rollup_run(db, now).await.unwrap(),
            // Raw events stay: without them a repetition would be taken for something new.
            Step::Retention => {
                let retention = Retention { raw: Duration::from_secs(100 * 86_400), ..Retention::default() };
                retention_run(db, &retention, now).await.unwrap();
            }
        }
        if self.seen {
            let expected = expected(db, &self.events, &self.quotas, self.zone).await;
            assert_eq!(counters(db).await, expected);
        }
    }
}

async fn run(ledger: Ledger, steps: Vec<Step>) {
    let mut run = Run::new(ledger).await;
    for step in steps {
        run.step(step).await;
    }
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, max_shrink_iters: 200, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn counters_equal_what_the_events_charge_whatever_changes_in_between(steps in vec(step(), 1..30)) {
        run_on(Ledger::new(), |ledger| run(ledger, steps));
    }
}

proptest! {
    #![proptest_config(cases(8))]

    #[test]
    fn counters_equal_what_the_events_charge_whatever_changes_in_between_on_postgresql(
        steps in vec(step(), 1..30)
    ) {
        run_on(Ledger::on_postgres(), |ledger| run(ledger, steps));
    }
}

async fn a_budget_that_is_made_while_events_are_booked_counts_each_of_them_once(ledger: Ledger) {
    install(&ledger.db).await;
    let now = clock::now().as_microsecond();
    let booking = |source: &'static str, start: u64| {
        let ingest = ledger.ingest.clone();
        tokio::spawn(async move {
            let (mut claim, _) = ingest.claim(source).await.unwrap();
            for number in 1..=60 {
                let record = record(number, &event(start + number, now, 3));
                ingest.apply(&mut claim, &[record], Sequence::new(number)).await.unwrap();
            }
        })
    };
    let bookings = [booking("a", 0), booking("b", 1_000)];
    let mut made = 0;
    while bookings.iter().any(|booking| !booking.is_finished()) || made == 0 {
        let id = format!("quo_{made}");
        put_quota(
            &ledger.db,
            &quota(&id, one(SubjectKind::Org, "org_1"), QuotaUnit::Tokens, QuotaWindow::Month),
        )
        .await;
        made += 1;
    }
    for booking in bookings {
        booking.await.unwrap();
    }
    let counters = counters(&ledger.db).await;
    assert_eq!(counters.len(), made);
    assert!(counters.values().all(|used| *used == 2 * 60 * 3), "{counters:?}");
}

async fn counters_of_windows_long_past_are_deleted_and_do_not_come_back(ledger: Ledger) {
    install(&ledger.db).await;
    let (mut claim, _) = ledger.ingest.claim("journal").await.unwrap();
    put_quota(
        &ledger.db,
        &quota("quo_1", one(SubjectKind::Org, "org_1"), QuotaUnit::Requests, QuotaWindow::Minute),
    )
    .await;
    let now = clock::now().as_microsecond();
    deliver(&ledger, &mut claim, 1, &[event(1, now + 2 * MINUTE, 1)]).await;
    assert_eq!(counters(&ledger.db).await.len(), 1);
    retention_run(&ledger.db, &Retention::default(), at(now + 10 * MINUTE)).await.unwrap();
    assert_eq!(counters(&ledger.db).await.len(), 1, "kept for late events");
    retention_run(&ledger.db, &Retention::default(), at(now + 20 * MINUTE)).await.unwrap();
    assert_eq!(counters(&ledger.db).await.len(), 0);
}

async fn a_change_of_name_or_limit_counts_nothing_again(ledger: Ledger) {
    install(&ledger.db).await;
    let mut quota = quota("quo_1", one(SubjectKind::Org, "org_1"), QuotaUnit::Requests, QuotaWindow::Day);
    put_quota(&ledger.db, &quota).await;
    let moves = ledger.number("SELECT moved FROM budget_moves").await;
    (quota.name, quota.limit) = ("another".into(), 7);
    put_quota(&ledger.db, &quota).await;
    assert_eq!(ledger.number("SELECT moved FROM budget_moves").await, moves);
    quota.models = vec![ModelPattern::new("claude-opus-*")];
    put_quota(&ledger.db, &quota).await;
    assert!(ledger.number("SELECT moved FROM budget_moves").await > moves);
}

#[test]
fn an_events_use_is_what_a_proxy_charges_for_it() {
    let mut drafts = proptest::test_runner::TestRunner::deterministic();
    for number in 1..200 {
        let draft = draft().new_tree(&mut drafts).unwrap().current();
        let event = draft.event(number, 0);
        let record = record(1, &event);
        let used = Used::of(&Totals::of(&crate::usage::decode(&record).unwrap().fields));
        if event.event_type != EventType::ApiCall {
            continue; // its sums are kept apart from those of requests
        }
        for unit in [QuotaUnit::Requests, QuotaUnit::Tokens, QuotaUnit::Cost] {
            assert_eq!(used.amount(unit), Charge::of(&event).amount(unit));
        }
    }
}

on_every_kind_of_ledger!(
    a_budget_that_is_made_while_events_are_booked_counts_each_of_them_once,
    counters_of_windows_long_past_are_deleted_and_do_not_come_back,
    a_change_of_name_or_limit_counts_nothing_again,
);
