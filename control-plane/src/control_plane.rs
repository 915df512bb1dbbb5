//! Start and stop: what is made in which order, and what runs in the background.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mindweave_policy::{Secret, SnapshotStore};
use tokio::sync::Notify;
use tokio::sync::watch::Receiver;
use tokio::time::MissedTickBehavior;

use crate::app::App;
use crate::audit::{self, AuditTopic};
use crate::clock;
use crate::config::ControlPlaneConfig;
use crate::db::{Db, OpenError, StoreError, Topic};
use crate::entropy::NoEntropy;
use crate::governance::{Checker, Replays, ReservedSource, ReservedView};
use crate::http::auth::{AdminToken, Gate};
use crate::http::idempotency::requests_prune;
use crate::http::problem::chain;
use crate::http::rates::Rates;
use crate::http::router::{self, Edge};
use crate::http::security_headers::Transport;
use crate::http::server;
use crate::http::tls::{Tls, TlsError};
use crate::identity::api_tokens::{USES_PERIOD, USES_TASK, Uses};
use crate::identity::{self, IdentityError};
use crate::intake::{self, Desk};
use crate::keys::uses_note;
use crate::leadership::Leadership;
use crate::metrics;
use crate::privacy::{ERASURE_PERIOD, erasures_run};
use crate::projects::{HomeError, home_ensure};
use crate::proxies::{Door, REFRESH_PERIOD, REFRESH_TASK, Tokens, TokensError};
use crate::rollup::{Retention, rollup_run, storage_run};
use crate::shares::{SHARES_TASK, Shares};
use crate::sign_on::SignOn;
use crate::snapshot::{FirstSnapshotError, Publisher};
use crate::tasks::{Stop, Tasks};
use crate::usage::{FEED_TASK, Ingest, LiveEvents, UsageFeeds, UsageSink, UsageSinks};
use crate::watch::{self, Past, RemoteSources};

/// How often the snapshot's revision is compared with the database. Half of the second within which a change must be in
/// force; changes through this process's API do not wait for it.
const SNAPSHOT_PERIOD: Duration = Duration::from_millis(500);
/// How often ended hours and days are closed.
const ROLLUP_PERIOD: Duration = Duration::from_secs(60);
/// How often what has passed its time is deleted.
const RETENTION_PERIOD: Duration = Duration::from_secs(60 * 60);

/// Why the control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The admin token is empty: everybody would be an admin.
    #[error("the admin token is empty")]
    EmptyAdminToken,
    /// The proxy token is empty: everybody would get every Claude key.
    #[error("the proxy token is empty")]
    EmptyProxyToken,
    /// The two tokens are the same: every proxy would be an admin.
    #[error("the proxy token is the admin token: give proxies one of their own")]
    SameTokens,
    /// The database could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored secret does not open under this master key.
    #[error(
        "the stored Claude key of project {project_id} does not open: is this the master key it was stored with?"
    )]
    MasterKey {
        /// The project.
        project_id: String,
    },
    /// The compiler of policies broke down, which it must not for any policy.
    #[error("the stored policies could not be compiled")]
    Policies(#[source] tokio::task::JoinError),
    /// The address could not be bound.
    #[error("the control plane cannot listen on {addr}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the operating system said.
        #[source]
        cause: io::Error,
    },
    /// TLS cannot be served with the files that are configured.
    #[error("the control plane cannot serve TLS")]
    Tls(#[from] TlsError),
    /// Mails or passwords cannot be handled as they are configured.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
}

impl From<TokensError> for StartError {
    fn from(error: TokensError) -> Self {
        match error {
            TokensError::Store(error) => Self::Store(error),
            TokensError::Entropy(error) => Self::Entropy(error),
        }
    }
}

impl From<HomeError> for StartError {
    fn from(error: HomeError) -> Self {
        match error {
            HomeError::Store(error) => Self::Store(error),
            HomeError::Entropy(error) => Self::Entropy(error),
        }
    }
}

impl From<FirstSnapshotError> for StartError {
    fn from(error: FirstSnapshotError) -> Self {
        match error {
            FirstSnapshotError::Store(error) => Self::Store(error),
            FirstSnapshotError::Compile(error) => Self::Policies(error),
            FirstSnapshotError::MasterKey(project_id) => {
                Self::MasterKey { project_id: project_id.to_string() }
            }
        }
    }
}

/// A running control plane. Call [`Self::shutdown`]; dropping it aborts what is running.
pub struct ControlPlane {
    local_addr: SocketAddr,
    db: Db,
    publisher: Arc<Publisher>,
    ingest: Ingest,
    feeds: UsageFeeds,
    reserved: ReservedSource,
    reaches_database: Receiver<bool>,
    desk: Option<Arc<Desk>>,
    identity: identity::Started,
    tasks: Tasks,
}

impl fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlPlane").field("local_addr", &self.local_addr).finish_non_exhaustive()
    }
}

impl ControlPlane {
    /// Opens the database, publishes the first snapshot, and then listens. The first start makes the organisation and the
    /// project `default`.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: ControlPlaneConfig) -> Result<Self, StartError> {
        check_tokens(&config)?;
        let token = AdminToken::new(&config.admin_token)?;
        metrics::register();
        mindweave_identity::register_metrics();
        let db = Db::open(&config.database, config.database_options).await?;
        let home = Arc::new(home_ensure(&db).await?);
        let publisher = Publisher::start(db.clone(), config.master_key.clone(), Arc::clone(&home)).await?;
        let publisher = Arc::new(publisher);
        let addr = config.listen;
        let listen_failed = |cause| StartError::Listen { addr, cause };
        let listener = server::listen(addr).map_err(listen_failed)?;
        let local_addr = listener.local_addr().map_err(listen_failed)?;
        let live = LiveEvents::new(db.engine());
        let mut tasks = Tasks::new();
        let listens = (local_addr, config.tls.is_some());
        let tls = config.tls.map(|tls| Tls::start(tls, &mut tasks)).transpose()?;
        let reserved = ReservedSource::default();
        let kept = config.retention.raw;
        let desk = |events| Arc::new(Desk::new(events, publisher.snapshots(), kept));
        let desk = config.events.map(desk);
        let identity = identity::start(config.identity, listens, &db, &mut tasks).await?;
        let app = App {
            db: db.clone(),
            publisher: Arc::clone(&publisher),
            live: live.clone(),
            master_key: config.master_key,
            home,
            identity: Arc::clone(&identity.shared),
            sign_on: SignOn::default(),
            checker: Checker::new(config.policy_compiler),
            replays: Replays::default(),
            reserved: Arc::clone(&reserved),
            metrics: config.metrics,
            stop: tasks.stop(),
        };
        let ingest = Ingest::new(db.clone(), live.clone());
        let feeds = spawn_feeds(&mut tasks, &db, &ingest, &publisher);
        tasks.spawn("live_events", live.follow(db.clone(), tasks.stop()));
        let past = Past::follow(&publisher.snapshots())?;
        let sources = RemoteSources::new(ingest.clone());
        let (shares, dividing) = Shares::new(db.clone(), feeds.clone(), tasks.stop());
        tasks.spawn(SHARES_TASK, dividing);
        let internal = watch::routes(past, feeds.clone(), sources, shares, tasks.stop());
        let tokens = Tokens::start(db.clone(), config.proxy_token.as_ref()).await?;
        spawn_token_refresh(&mut tasks, &tokens);
        let door = Door::new(tokens, tls.clone());
        let uses = spawn_token_uses(&mut tasks, &db);
        let gate = Gate { admin: token, db: db.clone(), rates: Rates::new(config.http.rate_limits), uses };
        let events = desk.as_ref().map(|desk| intake::routes(Arc::clone(desk), gate.clone()));
        let edge = Edge::new(config.http, Transport::of(tls.as_ref()));
        let router = router::build(app, gate, edge, internal, door, events.unwrap_or_default());
        tasks.spawn("api", server::serve(listener, router, tls, tasks.stop()));
        let leadership = Leadership::seek(&mut tasks, &db);
        let reaches_database = leadership.reaches_database();
        spawn_background(&mut tasks, &db, &publisher, &leadership, config.retention);
        spawn_audit(&mut tasks, &db, &leadership, config.audit_topic);
        Ok(Self {
            local_addr,
            db,
            publisher,
            ingest,
            feeds,
            reserved,
            reaches_database,
            desk,
            identity,
            tasks,
        })
    }

    /// Where the API listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The link whose opener becomes the first owner, while there is nobody: for the person at the terminal, and no log.
    pub fn owner_link(&self) -> Option<&Secret> {
        self.identity.owner_link.as_ref()
    }

    /// Where proxies in this process read what is in force. A change through the API is there before its answer is sent.
    pub fn snapshots(&self) -> Arc<SnapshotStore> {
        self.publisher.snapshots()
    }

    /// Whether the database can be reached, as it changes. While it cannot, the API answers 503, and events stay where they are.
    pub fn reaches_database(&self) -> Receiver<bool> {
        self.reaches_database.clone()
    }

    /// A consumer of events. Several may be used at a time, each for its own sources; the last to ask for a source's
    /// position owns that source.
    pub fn usage_sink(&self) -> UsageSink {
        UsageSink::new(self.ingest.clone())
    }

    /// Sinks like [`Self::usage_sink`], for a consumer that makes them as its sources come.
    pub fn usage_sinks(&self) -> UsageSinks {
        UsageSinks::new(self.ingest.clone())
    }

    /// The ledger's figures of budgets, for proxies in this process.
    pub fn usage_feed(&self) -> UsageFeeds {
        self.feeds.clone()
    }

    /// Says where what open requests hold of budgets can be read. The first source stays; without one, answers say that it is
    /// not known.
    pub fn show_reserved(&self, view: Arc<dyn ReservedView>) {
        if self.reserved.set(view).is_err() {
            tracing::warn!("a second source of reservations was not taken");
        }
    }

    /// Takes no events of other producers from now on. When this returns, those that were or will be accepted are in the
    /// journal of [`EventIntake`](crate::EventIntake), which can be shipped to its end.
    pub fn refuse_events(&self) {
        if let Some(desk) = &self.desk {
            desk.close();
        }
    }

    /// Stops accepting, lets running requests and background work end, and closes the database. Stop what delivers events
    /// first: a delivery after this fails.
    pub async fn shutdown(self) {
        self.tasks.shutdown().await;
        self.db.close().await;
    }
}

fn check_tokens(config: &ControlPlaneConfig) -> Result<(), StartError> {
    let blank = |token: &Secret| token.expose_secret().trim().is_empty();
    match &config.proxy_token {
        _ if blank(&config.admin_token) => Err(StartError::EmptyAdminToken),
        Some(token) if blank(token) => Err(StartError::EmptyProxyToken),
        Some(token) if *token == config.admin_token => Err(StartError::SameTokens),
        _ => Ok(()),
    }
}

fn spawn_token_uses(tasks: &mut Tasks, db: &Db) -> Uses {
    let uses = Uses::default();
    let (noted, db) = (uses.clone(), db.clone());
    tasks.spawn_periodic(USES_TASK, USES_PERIOD, move || {
        let (uses, db) = (noted.clone(), db.clone());
        async move { uses.note(&db).await }
    });
    uses
}

fn spawn_token_refresh(tasks: &mut Tasks, tokens: &Tokens) {
    let tokens = tokens.clone();
    tasks.spawn_periodic(REFRESH_TASK, REFRESH_PERIOD, move || {
        let tokens = tokens.clone();
        async move { tokens.refresh().await }
    });
}

/// Publishes what others changed: when they say so, and at every period.
async fn catch_up(publisher: Arc<Publisher>, mut news: Receiver<u64>, mut stop: Stop) {
    let mut ticks = tokio::time::interval(SNAPSHOT_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.stopped() => return,
            _ = ticks.tick() => {}
            Ok(()) = news.changed() => {}
        }
        publisher.catch_up().await;
    }
}

/// Wakes the feed of budget figures when another control plane has booked events.
async fn wake_feed(feed: Arc<Notify>, mut news: Receiver<u64>, mut stop: Stop) {
    loop {
        tokio::select! {
            () = stop.stopped() => return,
            heard = news.changed() => match heard {
                Ok(()) => feed.notify_one(),
                Err(_) => return,
            },
        }
    }
}

fn spawn_background(
    tasks: &mut Tasks,
    db: &Db,
    publisher: &Arc<Publisher>,
    leadership: &Leadership,
    retention: Retention,
) {
    tasks.spawn("news", db.news().clone().carry(db.clone(), tasks.stop()));
    tasks.spawn("snapshot", catch_up(Arc::clone(publisher), db.news().of(Topic::Revision), tasks.stop()));
    let rollup = db.clone();
    leadership.spawn_periodic(tasks, "rollup", ROLLUP_PERIOD, move || {
        let db = rollup.clone();
        async move {
            report("key_uses", uses_note(&db, clock::now()).await); // of hours that are open still
            report("rollup", rollup_run(&db, clock::now()).await);
        }
    });
    let tokens = db.clone();
    leadership.spawn_periodic(tasks, "identity", identity::CLEANUP_PERIOD, move || {
        let db = tokens.clone();
        async move { report("identity", identity::identity_prune(&db, clock::now()).await) }
    });
    let people = db.clone();
    leadership.spawn_periodic(tasks, "erasures", ERASURE_PERIOD, move || {
        let db = people.clone();
        async move { report("erasures", erasures_run(&db, clock::now()).await) }
    });
    let requests = db.clone();
    leadership.spawn_periodic(tasks, "idempotent_requests", RETENTION_PERIOD, move || {
        let db = requests.clone();
        async move { report("idempotent_requests", requests_prune(&db, clock::now()).await) }
    });
    let db = db.clone();
    leadership.spawn_periodic(tasks, "retention", RETENTION_PERIOD, move || {
        let db = db.clone();
        async move { report("retention", storage_run(&db, &retention, clock::now()).await) }
    });
}

/// Tells others of the audit log.
fn spawn_audit(tasks: &mut Tasks, db: &Db, leadership: &Leadership, topic: Option<AuditTopic>) {
    let (heads, log) = (Arc::new(audit::Heads::default()), db.clone());
    leadership.spawn_periodic(tasks, "audit_heads", audit::HEADS_PERIOD, move || {
        let (heads, db) = (Arc::clone(&heads), log.clone());
        async move { report("audit_heads", heads.tell(&db).await) }
    });
    let Some(topic) = topic else { return };
    let (db, stop) = (db.clone(), tasks.stop());
    leadership.spawn_periodic(tasks, "audit_topic", audit::TELL_PERIOD, move || {
        let (db, topic, stop) = (db.clone(), topic.clone(), stop.clone());
        async move { report("audit_topic", audit::tell(&db, &topic, stop).await) }
    });
}

/// Tells proxies the figures of budgets.
fn spawn_feeds(tasks: &mut Tasks, db: &Db, ingest: &Ingest, publisher: &Publisher) -> UsageFeeds {
    let feeds = UsageFeeds::new(db.clone(), ingest.counters_moved(), tasks.stop());
    feeds.follow(&publisher.snapshots());
    publisher.tell_figures_first(feeds.clone());
    tasks.spawn(FEED_TASK, feeds.clone().run());
    let moved = db.news().of(Topic::Counters);
    tasks.spawn("feed_news", wake_feed(ingest.counters_moved(), moved, tasks.stop()));
    feeds
}

/// A failed run is not the end: the next one does what this one did not.
fn report(task: &'static str, result: Result<(), StoreError>) {
    if let Err(error) = result {
        metrics::task_failed(task);
        tracing::error!(task, error = %chain(&error), "background work failed; trying again at its next turn");
    }
}

#[cfg(test)]
mod tests;
