//! `mindweave serve`: the proxy and its control plane in one process.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mindweave_control_plane::{ControlPlane, ReservedView, UsageSubscription};
use mindweave_metering::QuotaId;
use mindweave_policy::{AdmissionControl, Secret};
use mindweave_proxy::{JournalFull, control_plane_in_process, restore_counters};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use crate::banner::Banner;
use crate::config::{Config, Environment, Role};
use crate::data_dir::DataDir;
use crate::data_plane::{DataPlane, Opened};
use crate::endpoints::{Announcement, Endpoints, local_url};
use crate::event_intake::{self, IntakeShipping};
use crate::kafka::{Consuming, way_of_events, way_of_journal};
use crate::secrets::{self, RemoteProxies};
use crate::startup::{self, explain};
use crate::wiring;

/// Serves until a signal asks for the end.
///
/// # Errors
/// When a part cannot start, or the end is not an orderly one.
pub(crate) fn run(
    config: &Config,
    environment: &Environment,
    config_file: Option<&Path>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    startup::run(config, async |signals| {
        let server = Server::start(config, environment).await?;
        startup::tell(out, |out| server.banner(config, config_file).print(out));
        let healthy = tokio::select! {
            signal = signals.first() => {
                tracing::info!(signal, "stopping: open answers may finish");
                true
            }
            () = server.data_plane.journal_failed(), if config.journal_full == JournalFull::Refuse => false,
        };
        server.stop().await?;
        // Only a restart helps: it reads back what the disk really has. With `drop`, traffic goes on without.
        ensure!(healthy, "the journal failed, and no request may pass unrecorded; the log says why");
        Ok(())
    })
}

/// A running server.
pub(crate) struct Server {
    data_plane: DataPlane,
    control_plane: ControlPlane,
    /// Ships the events of other producers.
    intake: IntakeShipping,
    /// Takes events from Kafka, if they go that way.
    consuming: Consuming,
    /// Keeps budgets at the ledger's figures; aborted when dropped.
    feeding: JoinSet<()>,
    // The last two go in this order: the announcement lies in the folder, and the folder's lock ends last.
    announcement: Announcement,
    _data_dir: DataDir,
}

impl Server {
    /// Starts everything in order: the journal, so that nothing can be forwarded unrecorded; the control plane, so that the
    /// proxy knows its principals; the counters of budgets, so that none begins anew; the proxy; and the announcement that
    /// it is ready.
    ///
    /// # Errors
    /// When a part cannot start; the message names the setting that helps.
    pub(crate) async fn start(config: &Config, environment: &Environment) -> anyhow::Result<Self> {
        ensure!(
            config.proxy_control_plane.is_none(),
            "proxy.control_plane is for `mindweave proxy`: `mindweave serve` is its own control plane"
        );
        let data_dir = startup::take_data_dir(config)?;
        control_plane_in_process();
        let secrets = secrets::of_control_plane(config, &data_dir, environment, RemoteProxies::Possible)?;
        let opened = Opened::open(config)?;
        let intake = event_intake::open(config)?;
        let intake_journal = intake.journal.clone();
        let control_plane = ControlPlane::start(wiring::control_plane(config, secrets, intake)?).await;
        let control_plane = control_plane.map_err(|error| explain(config, Role::Serve, error.into()))?;
        data_dir.leave_owner_link(control_plane.owner_link())?;
        opened.admission.expect_feed(config.governance_stale_after);
        let feeding = feed_counters(&control_plane, &opened).await?;
        control_plane.show_reserved(Arc::new(Reservations(Arc::clone(&opened.admission))));
        let snapshots = control_plane.snapshots();
        let sink = way_of_events(config, control_plane.usage_sink())?;
        let intake_sink = way_of_journal(config, &config.intake_journal_dir(), control_plane.usage_sink())?;
        let intake = IntakeShipping::start(intake_journal, intake_sink);
        let consuming = Consuming::start(config, control_plane.usage_sinks())?;
        let data_plane = DataPlane::start(config, Role::Serve, opened, snapshots, sink).await?;
        let endpoints = Endpoints {
            pid: std::process::id(),
            proxy: Some(data_plane.proxy().local_addr()),
            admin: data_plane.proxy().admin_addr(),
            control_plane: Some(control_plane.local_addr()),
        };
        let announcement =
            endpoints.announce(&config.data_dir).context("cannot write into the data folder")?;
        tracing::info!(
            proxy = %data_plane.proxy().local_addr(),
            admin = %endpoints.admin,
            control_plane = %control_plane.local_addr(),
            upstream = config.proxy_upstream.as_str(),
            version = env!("CARGO_PKG_VERSION"),
            "ready"
        );
        Ok(Self { data_plane, control_plane, intake, consuming, feeding, announcement, _data_dir: data_dir })
    }

    /// Where apps send their traffic.
    pub(crate) fn proxy_addr(&self) -> SocketAddr {
        self.data_plane.proxy().local_addr()
    }

    /// Where the API is.
    pub(crate) fn control_plane_addr(&self) -> SocketAddr {
        self.control_plane.local_addr()
    }

    /// Stops traffic, then the ledger, so that it gets every record.
    ///
    /// # Errors
    /// When the journal cannot be flushed; its records are then read back at the next start.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        drop(self.announcement);
        let stopped = self.data_plane.stop().await;
        self.control_plane.refuse_events();
        self.intake.stop().await;
        self.consuming.shutdown().await;
        drop(self.feeding);
        self.control_plane.shutdown().await;
        stopped?;
        tracing::info!("stopped");
        Ok(())
    }

    fn banner<'a>(&'a self, config: &'a Config, config_file: Option<&Path>) -> Banner<'a> {
        let scheme = if config.proxy_tls_cert_file.is_some() { "https" } else { "http" };
        let config_flag =
            config_file.map_or_else(String::new, |file| format!("--config {} ", file.display()));
        let proxy = local_url(scheme, self.proxy_addr());
        let public = config.proxy_public_url.as_ref();
        Banner {
            base_url: public.map_or_else(|| proxy.clone(), |url| url.as_str().to_owned()),
            proxy,
            admin: local_url("http", self.data_plane.proxy().admin_addr()),
            control_plane: local_url(config.control_plane_scheme(), self.control_plane_addr()),
            upstream: config.proxy_upstream.as_str(),
            data_dir: &config.data_dir,
            watch: format!("{} {config_flag}usage --follow", program()),
            owner_link: self.control_plane.owner_link().map(Secret::expose_secret),
        }
    }
}

/// How long a start waits for the ledger's figures of budgets: many times what reading them takes.
const FIGURES_TIMEOUT: Duration = Duration::from_secs(30);

/// More figures than these are taken off the threads that serve requests: each takes a fraction of a microsecond.
const FEW_FIGURES: usize = 1_000;

/// Puts limits and budgets in force, with the ledger's figures and the journal's events that those do not have yet, and keeps
/// them so.
async fn feed_counters(control_plane: &ControlPlane, opened: &Opened) -> anyhow::Result<JoinSet<()>> {
    // First: figures of unknown budgets would be lost.
    opened.admission.apply(&control_plane.snapshots().load(), Instant::now());
    let mut figures = control_plane.usage_feed().subscribe(opened.journal.id());
    let first = timeout(FIGURES_TIMEOUT, figures.next()).await.ok().flatten();
    let first = first.context("the ledger does not say what was used of budgets; its log says why")?;
    let (journal, admission) = (opened.journal.clone(), Arc::clone(&opened.admission));
    admission.feed(&first, Instant::now());
    let restored = spawn_blocking(move || {
        restore_counters(&journal, &admission, journal.stats().next_sequence);
    });
    restored.await.context("budgets cannot be counted from the journal")?;
    let mut feeding = JoinSet::new();
    feeding.spawn(keep_feeding(figures, Arc::clone(&opened.admission)));
    Ok(feeding)
}

/// Shows the API what open requests hold of budgets.
struct Reservations(Arc<AdmissionControl>);

impl ReservedView for Reservations {
    fn reserved(&self, quota: &QuotaId, subject: &str) -> i64 {
        self.0.reserved(quota, subject)
    }
}

async fn keep_feeding(mut figures: UsageSubscription, admission: Arc<AdmissionControl>) {
    while let Some(feed) = figures.next().await {
        if feed.counters.len() <= FEW_FIGURES {
            admission.feed(&feed, Instant::now());
            continue;
        }
        let (admission, at) = (Arc::clone(&admission), Instant::now());
        if let Err(error) = spawn_blocking(move || admission.feed(&feed, at)).await {
            tracing::error!(%error, "figures of budgets cannot be taken");
        }
    }
}

/// This program as it was called, so that the printed line works where the program is not on the search path.
fn program() -> String {
    std::env::args_os()
        .next()
        .map_or_else(|| "mindweave".to_owned(), |name| name.to_string_lossy().into_owned())
}
