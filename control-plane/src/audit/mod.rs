//! The audit log: every change, who made it, from where, what was before and after. Each entry is chained to the one before it in its
//! organisation, and stands in the transaction of the change: there is no change without its entry.

mod chain;
mod record;
mod store;

pub(crate) use chain::Chain;
pub(crate) use record::{AuditError, Change, Target, record};
