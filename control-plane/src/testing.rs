//! What unit tests share: a database in a temporary folder, and events.

use std::collections::BTreeMap;

use jiff::Timestamp;
use mindweave_eventlog::{Record, Sequence};
use mindweave_metering::{
    Bucket, BucketKind, BucketSource, Certainty, DecisionRecord, EVENT_VERSION, Envelope, EventId, EventType,
    NanoUsd, OrgId, Outcome, PicoUsd, ProjectId, ProxyId, UsageEvent,
};
use mindweave_policy::Secret;
use mindweave_test_servers::Postgres;
use tempfile::TempDir;

use crate::access::{Access, Area, Caller, Reach};
use crate::db::{Database, DatabaseOptions, Db, sql};
use crate::usage::{Ingest, LiveEvents};

/// 2026-01-15T12:00:00Z in microseconds: the moment around which tests' events lie.
pub(crate) const NOON: i64 = 1_768_478_400_000_000;
pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

/// The price of a token in tests, in pico-dollars.
const PRICE: PicoUsd = PicoUsd(3_000_000);

/// A ledger of its own.
pub(crate) struct Ledger {
    pub(crate) db: Db,
    pub(crate) live: LiveEvents,
    pub(crate) ingest: Ingest,
    /// Where it is, for another control plane.
    pub(crate) database: Database,
    _folder: Option<TempDir>,
}

impl Ledger {
    /// In a file.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::Sqlite(folder.path().join("ledger.db"));
        Self { _folder: Some(folder), ..Self::open(database).await }
    }

    /// On the tests' PostgreSQL, with native partitions.
    pub(crate) async fn on_postgres() -> Self {
        let url = tokio::task::spawn_blocking(|| Postgres::shared().create_database()).await.unwrap();
        Self::open(Database::Postgres(Secret::new(url))).await
    }

    /// On the tests' PostgreSQL, with hypertables; nothing where TimescaleDB is not installed.
    pub(crate) async fn on_timescale() -> Option<Self> {
        if mindweave_test_servers::timescale().is_none() {
            eprintln!("TimescaleDB is not installed here: skipped");
            return None;
        }
        let url =
            tokio::task::spawn_blocking(|| Postgres::shared().create_timescale_database()).await.unwrap();
        Some(Self::open(Database::Postgres(Secret::new(url))).await)
    }

    /// Another process that has the same database open: nothing is shared but the database.
    pub(crate) async fn another_process(&self) -> Self {
        Self::open(self.database.clone()).await
    }

    /// One of each kind that can be had here.
    pub(crate) async fn every_kind() -> Vec<Self> {
        let mut ledgers = vec![Self::new().await, Self::on_postgres().await];
        ledgers.extend(Self::on_timescale().await);
        ledgers
    }

    /// In this database.
    pub(crate) async fn open(database: Database) -> Self {
        let db = Db::open(&database, DatabaseOptions::default()).await.unwrap();
        let live = LiveEvents::new(db.engine());
        Self { ingest: Ingest::new(db.clone(), live.clone()), live, db, database, _folder: None }
    }

    /// Another process that has the same database open: nothing is shared but the file.
    pub(crate) fn another_consumer(&self) -> Ingest {
        Ingest::new(self.db.clone(), self.live.clone())
    }

    /// One number.
    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        sql::query_scalar(sql).fetch_one(self.db.readers()).await.unwrap()
    }
}

/// Makes tests of functions that take a ledger: one in a file, one on PostgreSQL, one on TimescaleDB where that is installed.
macro_rules! on_every_kind_of_ledger {
    ($($test:ident),+ $(,)?) => {
        $(mod $test {
            use crate::testing::Ledger;

            #[tokio::test(flavor = "multi_thread")]
            async fn in_a_file() {
                super::$test(Ledger::new().await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_postgresql() {
                super::$test(Ledger::on_postgres().await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_timescaledb() {
                if let Some(ledger) = Ledger::on_timescale().await {
                    super::$test(ledger).await;
                }
            }
        })+
    };
}
pub(crate) use on_every_kind_of_ledger;

/// Runs a test that is not asynchronous itself, as those with made-up inputs are not.
pub(crate) fn run_on<L, T: Future<Output = ()>>(ledger: impl Future<Output = L>, test: impl FnOnce(L) -> T) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async { test(ledger.await).await });
}

/// Makes what the first start makes: the organisation `org_1` in UTC, its project `prj_1`, revision 1.
pub(crate) async fn install(db: &Db) {
    let mut tx = db.begin_write().await.unwrap();
    for sql in [
        "INSERT INTO orgs (id, name, created_at) VALUES ('org_1', 'Acme', 0)",
        "INSERT INTO projects (id, org_id, name, created_at) VALUES ('prj_1', 'org_1', 'default', 0)",
        "INSERT INTO installation (only_row, default_project_id, snapshot_revision) VALUES (1, 'prj_1', 1)",
    ] {
        sql::query(sql).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
}

pub(crate) fn at(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap()
}

/// An event of `tokens` input tokens that ended at this moment. Equal numbers of one moment give equal ids, of version 7.
pub(crate) fn event(number: u64, micros: i64, tokens: u64) -> UsageEvent {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    if let Ok(millis) = u64::try_from(micros / 1_000) {
        id[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        (id[6], id[8]) = (0x70, id[8] | 0x80);
    }
    let amount = PRICE.checked_mul(tokens).unwrap();
    UsageEvent {
        event_id: EventId::from_bytes(id),
        timestamp: at(micros),
        org_id: OrgId::new("org_1"),
        project_id: ProjectId::new("prj_1"),
        team_id: None,
        user_id: None,
        key_id: None,
        event_type: EventType::ApiCall,
        method: "POST".into(),
        endpoint: "/v1/messages".into(),
        model: Some("claude-sonnet-4-5".into()),
        requested_model: Some("claude-sonnet-4-5".into()),
        input_tokens: tokens,
        output_tokens: 0,
        cache_read_tokens: 0,
        cache_write_5m_tokens: 0,
        cache_write_1h_tokens: 0,
        thinking_tokens: 0,
        web_search_requests: 0,
        buckets: vec![bucket("claude-sonnet-4-5", tokens)],
        cost_nano_usd: Some(amount.round_to_nano()),
        cost_usd: Some(amount.round_to_nano().to_string()),
        certainty: Certainty::Exact,
        certainty_reason: None,
        outcome: Outcome::Complete,
        status: 200,
        stop_reason: Some("end_turn".into()),
        error_type: None,
        latency_ms: 100,
        ttft_ms: Some(20),
        overhead_us: 90,
        streamed: false,
        request_id: Some(format!("req_{number}").into()),
        message_id: Some("msg_1".into()),
        service_tier: None,
        session_id: None,
        agent_id: None,
        parent_agent_id: None,
        request_class: None,
        retry_count: 0,
        tool_calls: Vec::new(),
        decision: DecisionRecord::allowed(),
        price_book: "test".into(),
        snapshot_revision: 1,
        proxy_id: ProxyId::new("pxy_1"),
        sequence: 0,
        parent_event_id: None,
        request: None,
        batch: None,
        metadata: BTreeMap::new(),
    }
}

/// A line of a bill: input tokens of a model at the tests' price.
pub(crate) fn bucket(model: &str, tokens: u64) -> Bucket {
    Bucket {
        source: BucketSource::Message,
        model: model.into(),
        kind: BucketKind::Input,
        quantity: tokens,
        unit_price_pico_usd: Some(PRICE),
        amount_pico_usd: PRICE.checked_mul(tokens),
    }
}

/// What so many tokens cost.
pub(crate) fn cost_of(tokens: u64) -> NanoUsd {
    PRICE.checked_mul(tokens).unwrap().round_to_nano()
}

/// A journal record of an event.
pub(crate) fn record(sequence: u64, event: &UsageEvent) -> Record {
    let envelope = Envelope {
        id: event.event_id,
        kind: "usage.api_call".into(),
        source: "mindweave-proxy/pxy_1".into(),
        timestamp: event.timestamp,
        version: EVENT_VERSION.into(),
        correlation_id: "req_1".into(),
        data: event,
        metadata: BTreeMap::new(),
    };
    let payload = serde_json::to_vec(&envelope).unwrap();
    Record { sequence: Sequence::new(sequence), origin: None, payload }
}

/// The reach of who sees the usage of everybody.
pub(crate) fn everywhere() -> Reach {
    Caller::system().reach(Access::read(Area::Usage)).unwrap()
}

/// Puts a database into a state in which every new session may only read, and ends those that it has.
pub(crate) fn only_reading(server: &Postgres, url: &str, on: bool) {
    let name = url.rsplit('/').next().unwrap();
    let (admin, end) = (server.admin_url(), "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity");
    if on {
        server.query(&admin, &format!("ALTER DATABASE {name} SET default_transaction_read_only = on"));
        server.query(&admin, &format!("{end} WHERE datname = '{name}'"));
    } else {
        server.query(&admin, &format!("ALTER DATABASE {name} RESET default_transaction_read_only"));
    }
}
