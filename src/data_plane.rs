//! The half of a server that carries traffic: proxy, journal, and what ships the journal.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use mindweave_eventlog::{EventSink, Journal, Recovery, ShipEnd, ship};
use mindweave_metering::PriceBook;
use mindweave_policy::{AdmissionControl, SnapshotStore};
use mindweave_proxy::{Proxy, ProxyDeps};
use tokio::sync::{oneshot, watch};

use crate::config::{Config, Role};
use crate::startup::explain;
use crate::wiring;

/// What is opened before it is known what requests are judged by.
pub(crate) struct Opened {
    pub(crate) journal: Journal,
    /// What requests use of limits and budgets.
    pub(crate) admission: Arc<AdmissionControl>,
    recovery: Recovery,
    prices: Arc<PriceBook>,
}

impl Opened {
    /// Opens the journal.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn open(config: &Config) -> anyhow::Result<Self> {
        let prices = Arc::new(PriceBook::bundled().context("the bundled price book is broken")?);
        let (journal, recovery) =
            Journal::open(wiring::journal(config)).context("the journal cannot be opened")?;
        let admission = Arc::new(AdmissionControl::new(journal.id().into(), Instant::now()));
        Ok(Self { journal, admission, recovery, prices })
    }
}

/// A running proxy whose events are being shipped.
pub(crate) struct DataPlane {
    proxy: Proxy,
    journal: Journal,
    /// How shipping ended, once it has.
    shipped: watch::Receiver<Option<ShipEnd>>,
    stop_shipping: oneshot::Sender<()>,
}

impl DataPlane {
    /// Ships the journal to `sink` and serves traffic.
    ///
    /// # Errors
    /// When the proxy cannot start; the message names the setting that helps.
    pub(crate) async fn start(
        config: &Config,
        role: Role,
        opened: Opened,
        snapshots: Arc<SnapshotStore>,
        sink: impl EventSink + Sync,
    ) -> anyhow::Result<Self> {
        let Opened { journal, admission, recovery, prices } = opened;
        let (stop_shipping, stopped) = oneshot::channel::<()>();
        let until_stopped = async move { drop(stopped.await) }; // a dropped sender asks for the end too
        let shipping = ship(journal.clone(), sink, until_stopped);
        let (ended, shipped) = watch::channel(None);
        tokio::spawn(async move { ended.send_replace(Some(shipping.await)) });
        let deps = ProxyDeps { snapshots, journal: journal.clone(), recovery, prices, admission };
        let proxy = Proxy::start(wiring::proxy(config, role), deps).await;
        let proxy = proxy.map_err(|error| explain(config, role, error.into()))?;
        Ok(Self { proxy, journal, shipped, stop_shipping })
    }

    /// The proxy.
    pub(crate) fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Waits until the journal takes no more records: shipping only ends by itself when there is nothing more to read.
    pub(crate) async fn journal_failed(&self) {
        let mut shipped = self.shipped.clone();
        drop(shipped.wait_for(Option::is_some).await); // a shipper that is gone has ended as well
    }

    /// Stops in the order in which nothing is lost: no new requests and the open ones to their end, then every record to
    /// the sink, for as long as shipping waits.
    ///
    /// # Errors
    /// When the journal cannot be flushed; its records are then read back at the next start.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let drained = self.proxy.drain().await;
        drop(self.stop_shipping);
        let end = self.shipped.wait_for(Option::is_some).await.ok().and_then(|end| *end);
        if end != Some(ShipEnd::Drained) {
            tracing::warn!(?end, "the ledger did not take all events; the next start delivers the rest");
        }
        drained.context("the journal could not be flushed")?;
        self.journal.close().await.context("the journal could not be closed")
    }
}
