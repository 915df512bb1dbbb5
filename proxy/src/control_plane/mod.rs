//! A control plane in another process: what it says is watched over HTTP, kept over restarts, and events are delivered to
//! it.
//!
//! A proxy works without its control plane for as long as that is away, also after a restart of its own: it goes on with
//! the last snapshot and the last figures of budgets, both sealed on disk, counts its own use, and its events wait in the
//! journal. Of limits that it divides with other proxies it enforces the portion that it was told last, for a while. What is
//! missing is told: by the age of what is known, by a gauge of the connection, in the log.

mod backoff;
mod cache;
mod certificate;
mod client;
mod demand;
mod events;
mod lines;
mod refusal;
mod replay;
mod saver;
mod sealed;
mod sync;
mod watch;
mod way;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use mindweave_eventlog::Journal;
use mindweave_metering::ProxyId;
use mindweave_policy::{AdmissionControl, Secret, SnapshotStore};
use tokio::task::JoinSet;
use tokio::time::{Duration, MissedTickBehavior, interval, timeout};

use self::cache::Cache;
pub use self::certificate::{CertificateError, ClientCertificate};
use self::client::Client;
pub use self::client::ControlPlaneConfigError;
pub use self::events::ControlPlaneSink;
pub use self::replay::restore_counters;
use self::saver::Saver;
pub use self::sync::Known;
use self::sync::Sync;
use self::watch::Watcher;
use self::way::Way;
use crate::error::chain;
use crate::metrics;

pub(crate) use self::client::CallError;

/// How long a start waits for the control plane before it goes on with what is cached. A control plane that is there
/// answers within milliseconds; one that is restarted together with its proxies needs a second or two.
const START_WAIT: Duration = Duration::from_secs(3);
/// How often the age of what is known is measured.
const AGE_INTERVAL: Duration = Duration::from_secs(1);

/// Where the control plane is, and what a proxy needs to work with it.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// `http://` or `https://`, a host, optionally a port and a path.
    pub url: String,
    /// The bearer token of proxies. What is cached is sealed with it.
    pub token: Secret,
    /// A PEM file of certificate authorities trusted beside the machine's own.
    pub extra_ca_file: Option<PathBuf>,
    /// A certificate to show, where the control plane wants one beside the token.
    pub certificate: Option<ClientCertificate>,
    /// Where the cached files are. Must be there.
    pub folder: PathBuf,
}

/// The way to a control plane in another process. Call [`Self::shutdown`]; dropping it stops the watch at once.
pub struct RemoteControlPlane {
    client: Arc<Client>,
    sync: Arc<Sync>,
    cache: Arc<Cache>,
    stop: tokio::sync::watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl fmt::Debug for RemoteControlPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteControlPlane")
            .field("known", &*self.sync.known().borrow())
            .finish_non_exhaustive()
    }
}

impl RemoteControlPlane {
    /// Begins to watch: from now on `snapshots` are those of the control plane, and `admission` gets the ledger's figures.
    /// [`crate::Proxy`] puts each snapshot in force in `admission`.
    ///
    /// # Errors
    ///
    /// When the address, the token, the certificate or the certificate authorities cannot be used. A control plane that does
    /// not answer is none.
    pub fn start(
        config: &RemoteConfig,
        journal: Journal,
        snapshots: Arc<SnapshotStore>,
        admission: Arc<AdmissionControl>,
    ) -> Result<Self, ControlPlaneConfigError> {
        let way = Way::of(config);
        let fingerprint = way.fingerprint(); // before the files are read: what changes in between is read again
        let target = Arc::new(tokio::sync::watch::Sender::new(Arc::new(way.load()?)));
        let client = Arc::new(Client::new(target.subscribe(), &config.token)?);
        let cache = Arc::new(Cache::new(&config.folder, &config.token));
        let watcher = Watcher {
            proxy_id: format!("{}{}", ProxyId::PREFIX, journal.id()),
            journal_id: journal.id().to_owned(),
        };
        let saver = Saver::new(Arc::clone(&cache));
        let sync = Arc::new(Sync::new(snapshots, admission, journal, saver));
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let mut tasks = JoinSet::new();
        let (watch_client, watch_sync, watch_stop) =
            (Arc::clone(&client), Arc::clone(&sync), stopped.clone());
        tasks.spawn(async move { watch::run(&watch_client, &watch_sync, &watcher, watch_stop).await });
        let saving = Arc::clone(&sync);
        let saver_stop = stopped.clone();
        tasks.spawn(async move { saving.saver.run(saving.admission(), saver_stop).await });
        let admission = Arc::clone(sync.admission());
        tasks.spawn(demand::expire(Arc::clone(&admission), stopped.clone()));
        tasks.spawn(demand::run(Arc::clone(&client), admission, sync.known(), stopped.clone()));
        tasks.spawn(way::follow(way, fingerprint, target, stopped.clone()));
        tasks.spawn(measure_age(Arc::clone(&sync), stopped));
        Ok(Self { client, sync, cache, stop, tasks })
    }

    /// Waits until the control plane has said what is in force, for a few seconds, and then goes on with what is cached.
    /// With [`Known::Nothing`] there is nothing to serve requests by until it answers.
    pub async fn await_first_word(&self) -> Known {
        let mut known = self.sync.known();
        let current = known.wait_for(|known| *known == Known::Current);
        if timeout(START_WAIT, current).await.is_err()
            && let Err(error) = self.sync.go_on_with_cached(&self.cache).await
        {
            tracing::error!(error = chain(&error), "cached snapshot cannot be used");
        }
        *self.sync.known().borrow()
    }

    /// Where the journal is to be shipped.
    pub fn event_sink(&self) -> ControlPlaneSink {
        ControlPlaneSink::new(Arc::clone(&self.client))
    }

    /// Ends the watch and writes what is not yet cached.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(error = chain(&error), "a task of the watch failed");
            }
        }
    }
}

/// Says that this process is its own control plane, so that nobody takes its metrics for those of a proxy that hears nothing.
pub fn control_plane_in_process() {
    metrics::control_plane().connected.set(1.0);
    metrics::control_plane().live_proxies.set(1.0);
}

/// Keeps the gauge of the age right until `stop`.
async fn measure_age(sync: Arc<Sync>, mut stop: tokio::sync::watch::Receiver<bool>) {
    let mut ticks = interval(AGE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                if let Some(silence) = sync.silence() {
                    metrics::control_plane().age.set(silence.as_secs_f64().max(0.0));
                }
            }
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

#[cfg(test)]
mod tests;
