use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use mindweave_policy::Secret;
use mindweave_test_servers::Postgres;

use super::*;
use crate::db::{Database, DatabaseOptions};
use crate::testing::{Ledger, only_reading};

/// A control plane's part of it: jobs that only count how often they run.
struct Replica {
    leadership: Leadership,
    runs: Arc<AtomicU32>,
    tasks: Tasks,
    db: Db,
}

impl Replica {
    async fn start(database: &Database) -> Self {
        let db = Db::open(database, DatabaseOptions::default()).await.unwrap();
        let mut tasks = Tasks::new();
        let leadership = Leadership::seek(&mut tasks, &db);
        let runs = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&runs);
        leadership.spawn_periodic(&mut tasks, "counting", Duration::from_millis(50), move || {
            let counted = Arc::clone(&counted);
            async move {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { leadership, runs, tasks, db }
    }

    fn leads(&self) -> bool {
        *self.leadership.leads.borrow()
    }

    fn runs(&self) -> u32 {
        self.runs.load(Ordering::Relaxed)
    }

    async fn stop(self) {
        self.tasks.shutdown().await;
        self.db.close().await;
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(40);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_control_planes_one_runs_the_jobs_and_the_other_takes_over() {
    let database = Ledger::on_postgres().await.database;
    let one = Replica::start(&database).await;
    until("the first one leads", || one.leads() && one.runs() >= 3).await;
    let other = Replica::start(&database).await;
    tokio::time::sleep(PERIOD + Duration::from_secs(1)).await;
    assert!(one.leads() && !other.leads());
    assert_eq!(other.runs(), 0);
    one.stop().await;
    until("the other takes over", || other.leads() && other.runs() >= 3).await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_session_broke_is_replaced_and_knows_it() {
    let database = Ledger::on_postgres().await.database;
    let one = Replica::start(&database).await;
    until("the first one leads", || one.leads()).await;
    let other = Replica::start(&database).await;
    // As when the leader's machine is gone; and nobody is cut off for good.
    let Database::Postgres(url) = &database else { panic!("a server") };
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    tokio::task::block_in_place(|| Postgres::shared().query(url.expose_secret(), sql));
    until("somebody leads again", || one.leads() != other.leads()).await;
    let (before_one, before_other) = (one.runs(), other.runs());
    until("jobs run again", || one.runs() + other.runs() > before_one + before_other + 3).await;
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_hangs_is_replaced() {
    let database = Ledger::on_postgres().await.database;
    let db = Db::open(&database, DatabaseOptions::default()).await.unwrap();
    let mut hanging = db.leader_session().await.unwrap();
    assert!(hanging.leads().await.unwrap());
    let other = Replica::start(&database).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!other.leads());
    until("the silent one is replaced", || other.leads()).await;
    assert!(hanging.leads().await.is_err(), "it must not think that it leads");
    other.stop().await;
}

#[tokio::test]
async fn a_file_has_one_control_plane_which_leads() {
    let only = Replica::start(&Ledger::new().await.database).await;
    until("it leads", || only.leads() && only.runs() > 0).await;
    only.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_leads_while_the_database_is_away() {
    let server = Postgres::start();
    let database = Database::Postgres(Secret::new(server.create_database()));
    let one = Replica::start(&database).await;
    until("it leads", || one.leads()).await;
    tokio::task::block_in_place(|| server.kill());
    until("it does not lead", || !one.leads()).await;
    let reaches = one.leadership.reaches_database();
    until("it says so", || !*reaches.borrow()).await;
    tokio::task::block_in_place(|| server.start_again());
    until("it leads again", || one.leads() && *reaches.borrow()).await;
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_may_only_be_read_is_none_until_it_may_be_written() {
    let server = Postgres::shared();
    let url = server.create_database();
    let one = Replica::start(&Database::Postgres(Secret::new(url.clone()))).await;
    let reaches = one.leadership.reaches_database();
    until("it leads", || one.leads()).await;
    tokio::task::block_in_place(|| only_reading(server, &url, true));
    until("it says so", || !one.leads() && !*reaches.borrow()).await;
    let asked_again = Instant::now() + PERIOD * 2;
    while Instant::now() < asked_again {
        assert!(!one.leads() && !*reaches.borrow(), "a session of this time does not count");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::task::block_in_place(|| only_reading(server, &url, false));
    until("it leads again", || one.leads() && *reaches.borrow()).await;
    one.stop().await;
}
