//! What the intake needs to start.

use std::sync::Arc;

use mindweave_eventlog::Journal;
use mindweave_metering::PriceBook;

/// Where events of other producers are written down, and what they are priced by.
///
/// Whoever opened the journal ships it to the ledger: this crate only appends. Stop shipping after
/// [`crate::ControlPlane::refuse_events`], so that what was accepted is in the ledger.
#[derive(Clone, Debug)]
pub struct EventIntake {
    /// A journal of its own: the last sequence of a proxy's journal that budgets include must be that of a proxy.
    pub journal: Journal,
    /// List prices for events that come without a cost.
    pub prices: Arc<PriceBook>,
}
