//! The journal of the events that other producers send to the control plane, and its way to the ledger.

use std::sync::Arc;

use anyhow::Context;
use mindweave_control_plane::EventIntake;
use mindweave_eventlog::{EventSink, Journal, ShipEnd, ship};
use mindweave_metering::PriceBook;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::wiring;

/// Opens the journal.
///
/// # Errors
/// When it cannot be opened.
pub(crate) fn open(config: &Config) -> anyhow::Result<EventIntake> {
    let prices = Arc::new(PriceBook::bundled().context("the bundled price book is broken")?);
    let (journal, _) = Journal::open(wiring::intake_journal(config))
        .context("the journal for events of other producers cannot be opened")?;
    Ok(EventIntake { journal, prices })
}

/// The journal on its way.
pub(crate) struct IntakeShipping {
    journal: Journal,
    stop: oneshot::Sender<()>,
    shipped: JoinHandle<ShipEnd>,
}

impl IntakeShipping {
    /// Ships the journal to `sink`, in the background.
    pub(crate) fn start(journal: Journal, sink: impl EventSink + Sync) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let until_stopped = async move { drop(stopped.await) }; // a dropped sender asks for the end too
        let shipped = tokio::spawn(ship(journal.clone(), sink, until_stopped));
        Self { journal, stop, shipped }
    }

    /// Delivers what is left, for as long as shipping waits, and closes the journal. To be called when nothing is accepted
    /// any more.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        match self.shipped.await {
            Ok(ShipEnd::Drained) => {}
            end => tracing::warn!(
                ?end,
                "the ledger did not take all events of other producers; the next start delivers the rest"
            ),
        }
        if let Err(error) = self.journal.close().await {
            tracing::error!(%error, "the journal for events of other producers could not be closed");
        }
    }
}
