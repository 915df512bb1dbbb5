//! The decision log: which requests were refused, which were spoken against, by what, and why. Read from the ledger, where
//! every decision stands on the event of its request.

mod audit;
mod filter;
mod names;
mod record;
mod shadow;
mod store;

use axum::Router;

use crate::app::App;

/// The routes of this module.
pub(super) fn routes() -> Router<App> {
    Router::new().merge(audit::routes()).merge(shadow::routes())
}
