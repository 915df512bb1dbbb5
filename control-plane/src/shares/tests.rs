use std::sync::Arc;
use std::time::Duration;

use mindweave_metering::LimitId;
use mindweave_policy::{LimitDemand, Portion};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::*;
use crate::db::{Database, DatabaseOptions, Db, sql};
use crate::tasks::Tasks;
use crate::testing::{Ledger, SECOND};
use crate::usage::UsageSubscription;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(40);

/// One of several control planes of a database.
struct ControlPlane {
    db: Db,
    feeds: UsageFeeds,
    shares: Shares,
    tasks: Tasks,
}

impl ControlPlane {
    async fn start(database: &Database) -> Self {
        let db = Db::open(database, DatabaseOptions::default()).await.unwrap();
        let mut tasks = Tasks::new();
        let feeds = UsageFeeds::new(db.clone(), Arc::new(Notify::new()), tasks.stop());
        let (shares, dividing) = Shares::new(db.clone(), feeds.clone(), tasks.stop());
        tasks.spawn(SHARES_TASK, dividing);
        Self { db, feeds, shares, tasks }
    }

    async fn stop(self) {
        self.tasks.shutdown().await;
        self.db.close().await;
    }

    async fn live(&self, proxies: u32) {
        wait_for("so many live proxies", || self.feeds.live_proxies() == proxies).await;
    }
}

async fn wait_for(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// A proxy as far as reports go.
struct Proxy {
    journal: &'static str,
    number: u64,
    demand: u64,
    live_proxies: u32,
    held: Option<Portion>,
    _connection: UsageSubscription,
}

impl Proxy {
    fn new(journal: &'static str, connected_to: &ControlPlane, demand: u64) -> Self {
        let connection = connected_to.feeds.subscribe(journal);
        Self { journal, number: 0, demand, live_proxies: 1, held: None, _connection: connection }
    }

    fn next(&mut self) -> DemandReport {
        self.number += 1;
        let limit = LimitDemand {
            limit_id: LimitId::new("lim_1"),
            subject: "prj_1".into(),
            demand: self.demand,
            pieces: 600,
            held: self.held,
        };
        DemandReport {
            journal: self.journal.into(),
            number: self.number,
            live_proxies: self.live_proxies,
            leaving: false,
            limits: if self.demand > 0 || self.held.is_some() { vec![limit] } else { Vec::new() },
        }
    }

    async fn report(&mut self, to: &ControlPlane) {
        let answer = to.shares.report(self.next()).await.unwrap();
        self.live_proxies = answer.live_proxies;
        self.held = answer.shares.first().map(|share| share.portion);
    }

    fn part(&self) -> u64 {
        self.held.unwrap_or(Portion::one_of(self.live_proxies)).of_units(600)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_of_two_control_planes_divide_a_limit_between_them() {
    let ledger = Ledger::on_postgres().await;
    let (one, two) =
        (ControlPlane::start(&ledger.database).await, ControlPlane::start(&ledger.database).await);
    let mut busy = Proxy::new("jnl_busy", &one, 9_000);
    let mut idle = Proxy::new("jnl_idle", &two, 0);
    one.live(2).await;
    two.live(2).await;
    while (busy.part(), idle.part()) != (585, 15) {
        assert!(busy.number <= 8, "{} {}", busy.part(), idle.part());
        // Through whichever control plane the load balancer takes.
        let (first, second) = if busy.number.is_multiple_of(2) { (&one, &two) } else { (&two, &one) };
        busy.report(first).await;
        idle.report(second).await;
        if busy.number > 1 {
            assert!(busy.part() + idle.part() <= 600, "{} {}", busy.part(), idle.part());
        }
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_alive_for_its_lease_and_one_that_says_farewell_no_longer() {
    let ledger = Ledger::on_postgres().await;
    let (one, two) =
        (ControlPlane::start(&ledger.database).await, ControlPlane::start(&ledger.database).await);
    let stays = Proxy::new("jnl_stays", &one, 0);
    let killed = Proxy::new("jnl_killed", &two, 0);
    let mut leaves = Proxy::new("jnl_leaves", &two, 5);
    one.live(3).await;
    leaves.report(&two).await;
    let farewell = DemandReport { leaving: true, ..leaves.next() };
    drop(leaves);
    two.shares.report(farewell).await.unwrap();
    one.live(2).await;
    let began = Instant::now();
    drop(killed);
    one.live(1).await;
    let took = began.elapsed();
    assert!(took > mindweave_policy::SHARE_LEASE - Duration::from_secs(3), "{took:?}");
    assert!(took < mindweave_policy::SHARE_LEASE + Duration::from_secs(5), "{took:?}");
    drop(stays);
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_outage_of_all_control_planes_everybody_has_a_lease_to_come_back() {
    for ledger in Ledger::every_kind().await {
        let control_plane = ControlPlane::start(&ledger.database).await;
        let mut busy = Proxy::new("jnl_busy", &control_plane, 9_000);
        let mut idle = Proxy::new("jnl_idle", &control_plane, 0);
        control_plane.live(2).await;
        while (busy.part(), idle.part()) != (585, 15) {
            busy.report(&control_plane).await;
            idle.report(&control_plane).await;
        }
        control_plane.stop().await;
        // An hour passes.
        let mut tx = ledger.db.begin_write().await.unwrap();
        for text in [
            "UPDATE live_proxies_kept SET kept_at = kept_at - ?",
            "UPDATE live_proxies SET seen_at = seen_at - ?, reported_at = reported_at - 3600000000",
        ] {
            sql::query(text).bind(3_600 * SECOND).execute(&mut *tx).await.unwrap();
        }
        tx.commit().await.unwrap();
        let again = ControlPlane::start(&ledger.database).await;
        busy.held = None; // nobody confirmed it for longer than the lease
        let live = again.shares.report(busy.next()).await.unwrap();
        assert_eq!(live.live_proxies, 2, "the other one is not given up");
        assert_eq!(live.shares[0].portion.of_units(600), 300, "and may go by half of it by now");
        again.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_whose_clock_was_put_back_keeps_nobody_alive_for_ever() {
    let ledger = Ledger::new().await;
    let mut tx = ledger.db.begin_write().await.unwrap();
    let far = 4_000_000_000_000_000_i64;
    sql::query("UPDATE live_proxies_kept SET kept_at = ?").bind(far).execute(&mut *tx).await.unwrap();
    let dead = "INSERT INTO live_proxies (journal, seen_at) VALUES ('jnl_dead', ?), ('jnl_young', ?)";
    sql::query(dead).bind(far - 60 * SECOND).bind(far).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let control_plane = ControlPlane::start(&ledger.database).await;
    let mut proxy = Proxy::new("jnl_1", &control_plane, 0);
    proxy.report(&control_plane).await;
    assert_eq!(proxy.live_proxies, 2, "itself and the young one");
    control_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_alone_with_a_file_costs_nothing() {
    let ledger = Ledger::new().await;
    let control_plane = ControlPlane::start(&ledger.database).await;
    let mut subscription = control_plane.feeds.subscribe("jnl_1");
    assert_eq!(subscription.next().await.unwrap().live_proxies, 1);
    sleep(Duration::from_millis(2_600)).await; // a beat and more: what must not happen has had its time
    assert_eq!(ledger.number("SELECT count(*) FROM live_proxies").await, 0);
    assert_eq!(ledger.number("SELECT kept_at FROM live_proxies_kept").await, 0);
    control_plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overtaken_report_is_told_so_and_what_another_version_wrote_is_passed_over() {
    let ledger = Ledger::on_postgres().await;
    let control_plane = ControlPlane::start(&ledger.database).await;
    let mut proxy = Proxy::new("jnl_1", &control_plane, 5);
    let overtaken = proxy.next();
    proxy.report(&control_plane).await;
    let refused = control_plane.shares.report(overtaken).await;
    assert!(matches!(refused, Err(ShareError::Stale(_))));
    let mut tx = ledger.db.begin_write().await.unwrap();
    sql::query("UPDATE live_proxies SET limits = '{\"of another age\": 1}'").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    proxy.report(&control_plane).await;
    assert_eq!(ledger.number("SELECT count(*) FROM live_proxies WHERE limits LIKE '[%'").await, 1);
    control_plane.stop().await;
}
