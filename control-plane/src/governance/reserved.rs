//! What open requests hold of budgets: known to the proxy, shown by the API where both run in one process.

use std::sync::{Arc, OnceLock};

use mindweave_metering::QuotaId;

/// Where what open requests hold can be read.
pub trait ReservedView: Send + Sync {
    /// What open requests of this subject hold of a budget in its current window, in the budget's unit. Must not block.
    fn reserved(&self, quota: &QuotaId, subject: &str) -> i64;
}

/// The view of this process' proxy, once there is one.
pub(crate) type ReservedSource = Arc<OnceLock<Arc<dyn ReservedView>>>;
