//! Own events that no ledger figure includes yet, whole: a budget that is made or changed now counts those that have ended already.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;

use crate::admission::Owner;
use crate::charge::ChargeParts;

/// Events kept: some seconds of a busy proxy. With a control plane that is away for longer, a budget that is made just then misses the
/// older ones until the ledger has them.
const MAX_RECENT: usize = 8_192;

/// One own event.
#[derive(Clone, Debug)]
pub(crate) struct RecentEvent {
    pub(crate) owner: Arc<Owner>,
    pub(crate) sequence: u64,
    pub(crate) at: Timestamp,
    pub(crate) charged: ChargeParts,
}

/// The latest own events.
#[derive(Debug, Default)]
pub(crate) struct RecentEvents {
    events: VecDeque<RecentEvent>,
}

impl RecentEvents {
    pub(crate) fn push(&mut self, event: RecentEvent) {
        if self.events.len() >= MAX_RECENT {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Drops what the ledger's figures include.
    pub(crate) fn drop_through(&mut self, included: u64) {
        self.events.retain(|event| event.sequence > included);
    }

    pub(crate) fn all(&self) -> Vec<RecentEvent> {
        self.events.iter().cloned().collect()
    }
}
