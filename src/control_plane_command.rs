//! `mindweave control-plane`: ledger and API only, for proxies in other processes.

use std::convert::Infallible;
use std::io::Write;

use anyhow::Context;
use mindweave_control_plane::ControlPlane;
use mindweave_proxy::AdminServer;
use tokio::task::JoinSet;

use crate::banner::print_owner_link;
use crate::config::{Config, Environment, Role};
use crate::data_dir::{DataDir, PROXY_TOKEN_FILE};
use crate::endpoints::{Announcement, Endpoints, local_url};
use crate::event_intake::{self, IntakeShipping};
use crate::kafka::{Consuming, way_of_journal};
use crate::left_journal;
use crate::secrets::{self, RemoteProxies};
use crate::startup::{self, explain};
use crate::wiring;

/// Serves until a signal asks for the end.
///
/// # Errors
/// When a part cannot start.
pub(crate) fn run(config: &Config, environment: &Environment, out: &mut impl Write) -> anyhow::Result<()> {
    startup::run(config, async |signals| {
        let server = ControlPlaneServer::start(config, environment).await?;
        let api = local_url(config.control_plane_scheme(), server.control_plane.local_addr());
        let token_file = config.data_dir.join(PROXY_TOKEN_FILE);
        startup::tell(out, |out| {
            writeln!(out, "MindWeave {}: the control plane serves {api}", env!("CARGO_PKG_VERSION"))?;
            if token_file.is_file() {
                writeln!(out, "Proxies need the token in {}", token_file.display())?;
            }
            if let Some(link) = server.control_plane.owner_link() {
                print_owner_link(out, link.expose_secret())?;
            }
            out.flush()
        });
        let signal = tokio::select! {
            signal = signals.first() => signal,
            never = server.follow_database() => match never {},
        };
        tracing::info!(signal, "stopping");
        server.stop().await;
        Ok(())
    })
}

/// A running control plane.
struct ControlPlaneServer {
    control_plane: ControlPlane,
    admin: AdminServer,
    /// Ships the events of other producers.
    intake: IntakeShipping,
    /// Takes events from Kafka, if they come that way.
    consuming: Consuming,
    /// Delivers what `mindweave serve` left here; aborted when dropped.
    delivering: JoinSet<()>,
    // The last two go in this order: the announcement lies in the folder, and the folder's lock ends last.
    announcement: Announcement,
    _data_dir: DataDir,
}

impl ControlPlaneServer {
    async fn start(config: &Config, environment: &Environment) -> anyhow::Result<Self> {
        let data_dir = startup::take_data_dir(config)?;
        let secrets = secrets::of_control_plane(config, &data_dir, environment, RemoteProxies::Expected)?;
        let explained = |error| explain(config, Role::ControlPlane, error);
        let admin = AdminServer::start(config.control_plane_admin_listen).await;
        let admin = admin.context("health and metrics cannot be served").map_err(explained)?;
        let intake = event_intake::open(config)?;
        let intake_journal = intake.journal.clone();
        let control_plane = ControlPlane::start(wiring::control_plane(config, secrets, intake)?).await;
        let control_plane = control_plane.map_err(|error| explained(error.into()))?;
        data_dir.leave_owner_link(control_plane.owner_link())?;
        let delivering = left_journal::deliver(config, control_plane.usage_sink())?;
        let intake_sink = way_of_journal(config, &config.intake_journal_dir(), control_plane.usage_sink())?;
        let intake = IntakeShipping::start(intake_journal, intake_sink);
        let consuming = Consuming::start(config, control_plane.usage_sinks())?;
        admin.ready();
        let endpoints = Endpoints {
            pid: std::process::id(),
            proxy: None,
            admin: admin.local_addr(),
            control_plane: Some(control_plane.local_addr()),
        };
        let announcement =
            endpoints.announce(&config.data_dir).context("cannot write into the data folder")?;
        tracing::info!(
            control_plane = %control_plane.local_addr(),
            admin = %endpoints.admin,
            version = env!("CARGO_PKG_VERSION"),
            "ready"
        );
        Ok(Self { control_plane, admin, intake, consuming, delivering, announcement, _data_dir: data_dir })
    }

    /// Tells the load balancer whether requests can be answered.
    async fn follow_database(&self) -> Infallible {
        let mut reached = self.control_plane.reaches_database();
        loop {
            self.admin.database(*reached.borrow_and_update());
            if reached.changed().await.is_err() {
                std::future::pending::<()>().await; // it stops
            }
        }
    }

    async fn stop(self) {
        drop(self.announcement);
        self.admin.draining();
        drop(self.delivering);
        self.control_plane.refuse_events();
        self.intake.stop().await;
        self.consuming.shutdown().await;
        self.control_plane.shutdown().await;
        self.admin.stop().await;
        tracing::info!("stopped");
    }
}
