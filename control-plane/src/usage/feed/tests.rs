use crate::db::sql;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mindweave_eventlog::Sequence;
use mindweave_metering::UsageEvent;
use mindweave_policy::{QuotaUnit, QuotaWindow, SubjectKind, UsageFeed};
use tokio::time::{Instant, timeout};

use super::*;
use crate::clock;
use crate::db::DatabaseOptions;
use crate::tasks::Tasks;
use crate::testing::{DAY, Ledger, at, event, install, record};
use crate::usage::counters::tests::{one, put_quota, quota};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

struct Feeding {
    ledger: Ledger,
    feeds: UsageFeeds,
    tasks: Tasks,
}

impl Feeding {
    async fn start() -> Self {
        Self::start_on(Ledger::new().await).await
    }

    async fn start_on(ledger: Ledger) -> Self {
        install(&ledger.db).await;
        let quota = quota("quo_1", one(SubjectKind::Org, "org_1"), QuotaUnit::Requests, QuotaWindow::Month);
        put_quota(&ledger.db, &quota).await;
        let mut tasks = Tasks::new();
        let feeds = UsageFeeds::new(ledger.db.clone(), ledger.ingest.counters_moved(), tasks.stop());
        tasks.spawn(FEED_TASK, feeds.clone().run());
        Self { ledger, feeds, tasks }
    }

    async fn book(&self, source: &str, numbers: std::ops::RangeInclusive<u64>) {
        let now = clock::now().as_microsecond();
        let (mut claim, _) = self.ledger.ingest.claim(source).await.unwrap();
        for number in numbers {
            let record = record(number, &event(number, now, 1));
            self.ledger.ingest.apply(&mut claim, &[record], Sequence::new(number)).await.unwrap();
        }
    }
}

/// What a proxy has of the figures.
#[derive(Default)]
struct Heard {
    counters: BTreeMap<(String, String, i64), i64>,
    included: BTreeMap<Arc<str>, u64>,
}

impl Heard {
    fn hear(&mut self, feed: UsageFeed) {
        if feed.full {
            self.counters.clear();
        }
        for counter in feed.counters {
            let key = (
                counter.quota_id.as_str().to_owned(),
                counter.subject.to_string(),
                counter.window_start.as_microsecond(),
            );
            self.counters.insert(key, counter.used);
        }
        self.included = feed.included;
    }

    fn used(&self) -> i64 {
        self.counters.values().sum()
    }
}

async fn next(subscription: &mut UsageSubscription) -> UsageFeed {
    timeout(PATIENCE, subscription.next()).await.expect("figures come every second").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_include_exactly_the_events_up_to_the_position_that_comes_with_them() {
    let feeding = Feeding::start().await;
    const EVENTS: u64 = 150;
    let hear = |pause: Duration| {
        let mut subscription = feeding.feeds.subscribe("journal");
        tokio::spawn(async move {
            let mut heard = Heard::default();
            let mut feeds = 0;
            loop {
                let feed = next(&mut subscription).await;
                assert_eq!(feed.full, feeds == 0 || feed.full);
                feeds += 1;
                heard.hear(feed);
                let included = heard.included.get("journal").copied().unwrap_or(0);
                assert_eq!(heard.used(), i64::try_from(included).unwrap());
                if included == EVENTS {
                    return feeds;
                }
                tokio::time::sleep(pause).await;
            }
        })
    };
    let quick = hear(Duration::ZERO);
    let slow = hear(Duration::from_millis(300));
    feeding.book("journal", 1..=EVENTS / 2).await;
    let late = hear(Duration::from_millis(10));
    feeding.book("journal", EVENTS / 2 + 1..=EVENTS).await;
    for heard in [quick, slow, late] {
        assert!(timeout(PATIENCE, heard).await.unwrap().unwrap() > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_fell_far_behind_gets_all_counters_anew() {
    let feeding = Feeding::start().await;
    let mut slow = feeding.feeds.subscribe("slow");
    let mut quick = feeding.feeds.subscribe("quick");
    let mut heard = Heard::default();
    heard.hear(next(&mut slow).await);
    let mut rounds = 0;
    while rounds <= BACKLOG_ROUNDS + 1 {
        feeding.feeds.0.wake.notify_one();
        next(&mut quick).await;
        rounds += 1;
    }
    feeding.book("slow", 1..=3).await;
    // The rounds that were missed are told by one that is full.
    let feed = next(&mut slow).await;
    assert!(feed.full);
    heard.hear(feed);
    while heard.used() < 3 {
        heard.hear(next(&mut slow).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_commit_changed_is_told_at_once_and_the_rest_not_again() {
    let feeding = Feeding::start().await;
    let mut subscription = feeding.feeds.subscribe("journal");
    assert!(next(&mut subscription).await.full);
    feeding.book("elsewhere", 1..=1).await;
    let committed = Instant::now();
    let mut heard = Heard::default();
    while heard.used() == 0 {
        let feed = next(&mut subscription).await;
        assert!(!feed.full);
        heard.hear(feed);
    }
    assert!(committed.elapsed() < Duration::from_millis(500), "{:?}", committed.elapsed());
    assert!(heard.included.is_empty(), "nothing of this journal is in the ledger");
    let quiet = next(&mut subscription).await;
    assert!(quiet.counters.is_empty() && !quiet.full);
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_come_every_second_also_when_nothing_changes() {
    let feeding = Feeding::start().await;
    let mut subscription = feeding.feeds.subscribe("journal");
    let mut before = next(&mut subscription).await.as_of;
    for _ in 0..3 {
        let as_of = next(&mut subscription).await.as_of;
        assert!(as_of.duration_since(before) <= jiff::SignedDuration::from_secs(1), "{before} {as_of}");
        before = as_of;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_of_windows_that_have_ended_are_not_told() {
    let feeding = Feeding::start().await;
    let mut daily = quota("quo_2", one(SubjectKind::Org, "org_1"), QuotaUnit::Requests, QuotaWindow::Day);
    daily.name = "daily".into();
    put_quota(&feeding.ledger.db, &daily).await;
    // As if it had been made two days ago: late events of yesterday are counted, but hold nobody.
    let mut tx = feeding.ledger.db.begin_write().await.unwrap();
    sql::query("UPDATE budget_countings SET first_window = 0").execute(&mut *tx).await.unwrap();
    crate::snapshot::revision_raise(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    let mut subscription = feeding.feeds.subscribe("journal");
    next(&mut subscription).await;
    let now = clock::now().as_microsecond();
    let (mut claim, _) = feeding.ledger.ingest.claim("journal").await.unwrap();
    let late: UsageEvent = event(1, now - 2 * DAY, 1);
    feeding.ledger.ingest.apply(&mut claim, &[record(1, &late)], Sequence::new(1)).await.unwrap();
    assert!(feeding.ledger.number("SELECT count(*) FROM budget_counters WHERE quota_id = 'quo_2'").await > 0);
    let mut heard = Heard::default();
    while heard.included.is_empty() {
        heard.hear(next(&mut subscription).await);
    }
    let told: Vec<_> = heard.counters.keys().filter(|(quota, _, _)| quota == "quo_2").collect();
    assert!(told.is_empty(), "{told:?} at {}", at(now));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_journal_counts_as_one_proxy_until_its_last_subscription_is_gone() {
    let feeding = Feeding::start().await;
    let mut first = feeding.feeds.subscribe("a");
    assert_eq!(next(&mut first).await.live_proxies, 1);
    let again = feeding.feeds.subscribe("a");
    let other = feeding.feeds.subscribe("b");
    assert_eq!(feeding.feeds.live_proxies(), 2);
    drop(again);
    assert_eq!(feeding.feeds.live_proxies(), 2);
    drop(other);
    let told = async { while next(&mut first).await.live_proxies != 1 {} };
    timeout(PATIENCE, told).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_moves_between_control_planes_hears_figures_that_go_on_where_it_was() {
    let feeding = Feeding::start_on(Ledger::on_postgres().await).await;
    let mut tasks = Tasks::new();
    let elsewhere = UsageFeeds::new(
        Db::open(&feeding.ledger.database, DatabaseOptions::default()).await.unwrap(),
        Arc::new(Notify::new()),
        tasks.stop(),
    );
    tasks.spawn(FEED_TASK, elsewhere.clone().run());
    let (mut through, mut as_of) = (0, jiff::Timestamp::MIN);
    for events in 1..=6 {
        feeding.book("journal", events..=events).await;
        let feeds = if events.is_multiple_of(2) { &feeding.feeds } else { &elsewhere };
        let mut subscription = feeds.subscribe("journal");
        let mut heard = Heard::default();
        for full in [true, false] {
            let feed = next(&mut subscription).await;
            assert!(feed.full == full && feed.through.unwrap() >= through, "{feed:?}");
            assert!(!full || feed.as_of > as_of, "{feed:?}");
            (through, as_of) = (feed.through.unwrap(), feed.as_of);
            heard.hear(feed);
        }
        assert_eq!(
            (heard.used(), heard.included.get("journal")),
            (i64::try_from(events).unwrap(), Some(&events))
        );
    }
    assert!(through >= 6, "each event moved its counter: {through}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_ends_with_the_control_plane() {
    let feeding = Feeding::start().await;
    let mut subscription = feeding.feeds.subscribe("journal");
    next(&mut subscription).await;
    let ended = tokio::spawn(async move { while subscription.next().await.is_some() {} });
    feeding.tasks.shutdown().await;
    timeout(PATIENCE, ended).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn telling_now_waits_until_every_proxy_has_dealt_with_what_was_committed() {
    let feeding = Feeding::start().await;
    let mut first = feeding.feeds.subscribe("a");
    let mut second = feeding.feeds.subscribe("b");
    next(&mut first).await;
    next(&mut second).await;
    feeding.book("elsewhere", 1..=3).await;
    let told = tokio::spawn({
        let feeds = feeding.feeds.clone();
        async move { feeds.tell_now().await }
    });
    let used = |mut subscription: UsageSubscription| async move {
        let mut heard = Heard::default();
        while heard.used() < 3 {
            heard.hear(next(&mut subscription).await);
        }
        (subscription, heard)
    };
    let (mut first, _) = used(first).await;
    let (mut second, _) = used(second).await;
    assert!(!told.is_finished(), "both have the figures, neither has dealt with them");
    let both = async {
        loop {
            tokio::join!(next(&mut first), next(&mut second));
        }
    };
    tokio::select! {
        told = told => told.unwrap(),
        () = both => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_proxy_keeps_nobody_waiting_for_long() {
    let feeding = Feeding::start().await;
    let mut stalled = feeding.feeds.subscribe("stalled");
    next(&mut stalled).await;
    timeout(PATIENCE, feeding.feeds.tell_now()).await.unwrap();
    drop(stalled);
    let nobody = Instant::now();
    timeout(PATIENCE, feeding.feeds.tell_now()).await.unwrap();
    assert!(nobody.elapsed() < Duration::from_millis(400), "nobody listens");
}
