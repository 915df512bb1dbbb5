//! `POST /governance/policies/{id}/replay`: what a policy would have done to past traffic, told from what its events kept.
//!
//! Off the request path: events are read in steps and judged on the threads for blocking work, one replay at a time, up to a
//! number and a time. The newest events come first, so that what is left out is the oldest.

mod event_input;
mod recorded;
mod routes;
mod run;
mod store;
mod tally;

use std::sync::Arc;

use tokio::sync::Semaphore;

pub(super) use routes::routes;

/// The turns of replays: one at a time, which keeps a core busy. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Replays(Arc<Semaphore>);

impl Default for Replays {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}
