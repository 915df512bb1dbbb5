//! What the ledger says of budgets: from the control plane to every proxy, at least once a second.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use mindweave_metering::QuotaId;
use serde::{Deserialize, Serialize};

/// The ledger's figures of budgets at one moment.
///
/// A proxy replaces its own figures by these and adds only those of its own events that lie behind `included`: no event
/// is counted twice, none is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageFeed {
    /// Whether every counter of a current window is listed. Else only those that changed since the last feed of the same
    /// stream; the others stand.
    pub full: bool,
    /// The counters.
    pub counters: Vec<CounterUsage>,
    /// Per journal (`Journal::id`) the last sequence that the figures include. A journal that is not named has none in.
    pub included: BTreeMap<Arc<str>, u64>,
    /// When the figures were read, by the clock of the ledger.
    pub as_of: Timestamp,
    /// The last change of any counter that the figures include. Rises with every change, so that of two readings of one ledger,
    /// by whichever control planes, it is known which is older. A control plane of before does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<u64>,
    /// How many proxies are connected.
    pub live_proxies: u32,
}

/// What was used of one budget by one subject in one window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterUsage {
    /// Which budget.
    pub quota_id: QuotaId,
    /// Whose: the id under which [`crate::Subject::counted`] counts.
    pub subject: Arc<str>,
    /// The window's start.
    pub window_start: Timestamp,
    /// Requests, tokens or nano-USD.
    pub used: i64,
    /// [`crate::QuotaSpec::definition`] of the budget as it was counted; 0 when that is not known.
    #[serde(default)]
    pub definition: u64,
}
