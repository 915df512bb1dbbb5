//! The decision log: which requests were refused, which were spoken against, by what, and why. Read from the ledger, where
//! every decision stands on the event of its request.

mod audit;
mod filter;
mod names;
mod record;
mod schema;
mod shadow;
mod store;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

/// The routes of this module.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().merge(audit::routes()).merge(shadow::routes())
}
