//! Which proxies are alive, and how limits are divided among them, over all control planes of one database.
//!
//! The rules are in [`mindweave_policy::ShareBook`]. Here its pages are kept in the database, and turned by one transaction
//! after the other, whichever control plane begins it: reports that come within half a second are answered together, so that a control
//! plane runs some ten small statements a second, however many proxies it has. No request ever waits for one.
//!
//! **Alive** is a proxy that was connected to a control plane, or reported to one, within [`SHARE_LEASE`]. Time in which no
//! control plane looked does not count: after an outage everybody has a whole lease to come back. Times are the database's, so
//! that clocks of control planes need not agree.

mod rounds;
mod store;

use mindweave_policy::{DemandReport, ShareAnswer, StaleReport};
use tokio::sync::{mpsc, oneshot};

use crate::db::Db;
use crate::tasks::Stop;
use crate::usage::UsageFeeds;

#[cfg(doc)]
use mindweave_policy::SHARE_LEASE;

/// The task's name.
pub(crate) const SHARES_TASK: &str = "shares";

/// Reports that wait for their turn: each proxy has one on its way. More than that are told to come back.
const MAX_WAITING: usize = 1_024;

/// Takes reports. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Shares(mpsc::Sender<Waiting>);

/// A report and who waits for its answer.
#[derive(Debug)]
struct Waiting {
    report: DemandReport,
    answer: oneshot::Sender<Result<ShareAnswer, StaleReport>>,
}

/// Why a report has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShareError {
    /// There are too many, or the database is away, or the process stops.
    #[error("reports of demand cannot be taken at the moment")]
    Unavailable,
    /// See [`StaleReport`].
    #[error(transparent)]
    Stale(#[from] StaleReport),
}

impl Shares {
    /// Begins to look after the proxies of this database. `feeds` says which of them are connected here, and learns how many
    /// there are elsewhere. The future runs until the stop.
    pub(crate) fn new(db: Db, feeds: UsageFeeds, stop: Stop) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, reports) = mpsc::channel(MAX_WAITING);
        (Self(sender), rounds::Rounds::new(db, feeds).run(reports, stop))
    }

    /// Takes a report and answers it within about a second.
    ///
    /// # Errors
    /// See [`ShareError`].
    pub(crate) async fn report(&self, report: DemandReport) -> Result<ShareAnswer, ShareError> {
        let (sender, answer) = oneshot::channel();
        let waiting = Waiting { report, answer: sender };
        self.0.try_send(waiting).map_err(|_| ShareError::Unavailable)?;
        Ok(answer.await.map_err(|_| ShareError::Unavailable)??)
    }
}

#[cfg(test)]
mod tests;
