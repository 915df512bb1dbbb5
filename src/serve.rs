//! `mindweave serve`: the proxy and its control plane in one process.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use mindweave_control_plane::{ControlPlane, MasterKey};
use mindweave_eventlog::{Journal, ShipEnd, ship};
use mindweave_metering::PriceBook;
use mindweave_proxy::{JournalFull, Proxy, ProxyDeps, install_process_metrics};
use rustix::fs::Mode;
use tokio::sync::{oneshot, watch};

use crate::banner::Banner;
use crate::config::{ADMIN_TOKEN, Config, Environment, MASTER_KEY};
use crate::data_dir::DataDir;
use crate::endpoints::{Announcement, Endpoints, local_url};
use crate::signals::StopSignals;
use crate::{logging, wiring};

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
    logging::start(config);
    let runtime = tokio::runtime::Runtime::new().context("cannot start the async runtime")?;
    runtime.block_on(async {
        let signals = StopSignals::listen().context("cannot take over SIGTERM and SIGINT")?;
        let server = Server::start(config, environment).await?;
        let printed = server.banner(config, config_file).print(out);
        if let Err(error) = printed {
            tracing::debug!(%error, "nobody reads the banner"); // a daemon may have no stdout
        }
        let healthy = tokio::select! {
            signal = signals.first() => {
                tracing::info!(signal, "stopping: open answers may finish");
                true
            }
            () = server.journal_failed(), if config.journal_full == JournalFull::Refuse => false,
        };
        server.stop().await?;
        // Only a restart helps: it reads back what the disk really has. With `drop`, traffic goes on without.
        ensure!(healthy, "the journal failed, and no request may pass unrecorded; the log says why");
        Ok(())
    })
}

/// A running server.
pub(crate) struct Server {
    proxy: Proxy,
    journal: Journal,
    /// How shipping ended, once it has.
    shipped: watch::Receiver<Option<ShipEnd>>,
    stop_shipping: oneshot::Sender<()>,
    control_plane: ControlPlane,
    endpoints: Endpoints,
    // The last two go in this order: the announcement lies in the folder, and the folder's lock ends last.
    announcement: Announcement,
    _data_dir: DataDir,
}

impl Server {
    /// Starts everything in order: the metrics, so that all the rest reports there; the journal, so that nothing can be
    /// forwarded unrecorded; the control plane, so that the proxy knows its principals; the proxy; and the announcement that
    /// it is ready.
    ///
    /// # Errors
    /// When a part cannot start; the message names the setting that helps.
    pub(crate) async fn start(config: &Config, environment: &Environment) -> anyhow::Result<Self> {
        rustix::process::umask(Mode::from_raw_mode(0o077)); // ledger and journal are nobody else's business
        install_process_metrics(); // before anything looks up its counters
        let data_dir = DataDir::open(&config.data_dir)?;
        let (admin_token, master_key) = secrets(&data_dir, environment)?;
        let prices = Arc::new(PriceBook::bundled().context("the bundled price book is broken")?);
        let (journal, recovery) =
            Journal::open(wiring::journal(config)).context("the journal cannot be opened")?;
        let control_plane = ControlPlane::start(wiring::control_plane(config, admin_token, master_key));
        let control_plane = control_plane.await.map_err(|error| explain(config, error.into()))?;
        let (stop_shipping, stopped) = oneshot::channel::<()>();
        let until_stopped = async move { drop(stopped.await) }; // a dropped sender asks for the end too
        let shipping = ship(journal.clone(), control_plane.usage_sink(), until_stopped);
        let (ended, shipped) = watch::channel(None);
        tokio::spawn(async move { ended.send_replace(Some(shipping.await)) });
        let deps =
            ProxyDeps { snapshots: control_plane.snapshots(), journal: journal.clone(), recovery, prices };
        let proxy =
            Proxy::start(wiring::proxy(config), deps).await.map_err(|error| explain(config, error.into()))?;
        let endpoints = Endpoints {
            pid: std::process::id(),
            proxy: proxy.local_addr(),
            admin: proxy.admin_addr(),
            control_plane: control_plane.local_addr(),
        };
        let announcement =
            endpoints.announce(&config.data_dir).context("cannot write into the data folder")?;
        tracing::info!(
            proxy = %endpoints.proxy,
            admin = %endpoints.admin,
            control_plane = %endpoints.control_plane,
            upstream = config.proxy_upstream.as_str(),
            version = env!("CARGO_PKG_VERSION"),
            "ready"
        );
        let _data_dir = data_dir;
        Ok(Self { proxy, journal, shipped, stop_shipping, control_plane, endpoints, announcement, _data_dir })
    }

    /// Where it listens.
    pub(crate) fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Waits until the journal takes no more records: shipping only ends by itself when there is nothing more to read.
    async fn journal_failed(&self) {
        let mut shipped = self.shipped.clone();
        drop(shipped.wait_for(Option::is_some).await); // a shipper that is gone has ended as well
    }

    /// Stops in the order in which nothing is lost: no new requests and the open ones to their end, then every record to
    /// the ledger, then the ledger.
    ///
    /// # Errors
    /// When the journal cannot be flushed; its records are then read back at the next start.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.announcement);
        let drained = self.proxy.drain().await;
        drop(self.stop_shipping);
        let end = self.shipped.wait_for(Option::is_some).await.ok().and_then(|end| *end);
        if end != Some(ShipEnd::Drained) {
            tracing::warn!(?end, "the ledger did not take all events; the next start delivers the rest");
        }
        self.control_plane.shutdown().await;
        drained.context("the journal could not be flushed")?;
        self.journal.close().await.context("the journal could not be closed")?;
        tracing::info!("stopped");
        Ok(())
    }

    fn banner<'a>(&self, config: &'a Config, config_file: Option<&Path>) -> Banner<'a> {
        let scheme = if config.proxy_tls_cert_file.is_some() { "https" } else { "http" };
        let config_flag =
            config_file.map_or_else(String::new, |file| format!("--config {} ", file.display()));
        let proxy = local_url(scheme, self.endpoints.proxy);
        let public = config.proxy_public_url.as_ref();
        Banner {
            base_url: public.map_or_else(|| proxy.clone(), |url| url.as_str().to_owned()),
            proxy,
            admin: local_url("http", self.endpoints.admin),
            control_plane: local_url("http", self.endpoints.control_plane),
            upstream: config.proxy_upstream.as_str(),
            data_dir: &config.data_dir,
            watch: format!("{} {config_flag}usage --follow", program()),
        }
    }
}

/// This program as it was called, so that the printed line works where the program is not on the search path.
fn program() -> String {
    std::env::args_os()
        .next()
        .map_or_else(|| "mindweave".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The secrets from the environment, else from the data folder.
fn secrets(
    data_dir: &DataDir,
    environment: &Environment,
) -> anyhow::Result<(mindweave_policy::Secret, MasterKey)> {
    let admin_token = match environment.secret(ADMIN_TOKEN) {
        Some(token) => token,
        None => data_dir.admin_token()?,
    };
    let (text, source) = match environment.secret(MASTER_KEY) {
        Some(text) => (text, MASTER_KEY.to_owned()),
        None => (data_dir.master_key()?, data_dir.master_key_file().display().to_string()),
    };
    let master_key = MasterKey::from_text(text.expose_secret()).with_context(|| source)?;
    Ok((admin_token, master_key))
}

/// Adds to the failure to bind an address which setting it comes from and what to do.
fn explain(config: &Config, error: anyhow::Error) -> anyhow::Error {
    let bind = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
    let in_use = bind.is_some_and(|cause| cause.kind() == io::ErrorKind::AddrInUse);
    let text = format!("{error:#}");
    let names = |addr: SocketAddr| text.contains(&addr.to_string());
    match config.listeners().into_iter().find(|(_, addr)| in_use && names(*addr)) {
        Some((key, addr)) => error.context(format!(
            "{addr} is in use: is another mindweave running? Stop it, or set {key} to another address"
        )),
        None => error,
    }
}
