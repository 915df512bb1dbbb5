//! The journal that a `mindweave serve` left in a data folder which `mindweave control-plane` has taken over.
//!
//! After an orderly stop there is nothing in it. After a kill its last events are, and nobody else would ever deliver them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use mindweave_eventlog::{EventSink, Journal, ShipConfig, ShipEnd, ship_with};
use mindweave_metering::PriceBook;
use mindweave_proxy::book_left_open;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::wiring;

/// However long the ledger takes: the control plane serves meanwhile.
const NO_DEADLINE: Duration = Duration::MAX;

/// Delivers what is in the journal of the data folder, if there is one, in the background. Dropping the task leaves the rest to
/// the next start.
///
/// # Errors
/// When there is a journal that cannot be opened or read.
pub(crate) fn deliver(config: &Config, sink: impl EventSink + Sync) -> anyhow::Result<JoinSet<()>> {
    let mut delivering = JoinSet::new();
    if !config.journal_dir().is_dir() {
        return Ok(delivering);
    }
    let (journal, recovery) = Journal::open(wiring::journal(config))
        .context("the journal that `mindweave serve` left in this data folder cannot be opened")?;
    let prices = PriceBook::bundled().context("the bundled price book is broken")?;
    book_left_open(&journal, recovery, Arc::new(prices))?;
    let config = ShipConfig { drain_deadline: NO_DEADLINE, ..ShipConfig::default() };
    delivering.spawn(async move {
        let end = ship_with(config, journal.clone(), sink, async {}).await;
        let closed = journal.close().await;
        match (end, closed) {
            (ShipEnd::Drained, Ok(())) => {
                tracing::info!("the ledger has every event of the journal that `mindweave serve` left here");
            }
            (end, closed) => {
                tracing::error!(
                    ?end,
                    ?closed,
                    "the journal that `mindweave serve` left here cannot be delivered"
                );
            }
        }
    });
    Ok(delivering)
}
