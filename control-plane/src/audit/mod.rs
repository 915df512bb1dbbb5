//! The audit log: every change, who made it, from where, what was before and after. Each entry is chained to the one before it in its
//! organisation, and stands in the transaction of the change: there is no change without its entry.
//!
//! `chain` says how entries hang together, `record` writes them, `verify` walks along them, wherever they come from: the database
//! (`walk`) or an export (`file`). `outbox` tells other systems of them.

mod chain;
mod csv;
mod export;
mod file;
mod line;
mod outbox;
mod permit;
mod record;
mod routes;
mod store;
mod verify;
mod view;
mod walk;

pub(crate) use chain::Chain;
pub use file::{ExportError, ExportReport, export_verify};
pub use outbox::{AuditMessage, AuditSink, AuditTopic, NotTold};
pub(crate) use outbox::{HEADS_PERIOD, Heads, TELL_PERIOD, tell};
pub(crate) use record::{AuditError, Change, record};
pub(crate) use routes::routes;
pub use verify::{Anchor, Fault as AuditFault, FaultKind as AuditFaultKind};
