//! Policies as admins write them, version by version.

mod answer;
mod bundled;
mod check;
mod diff;
mod making;
mod noted;
mod read;
mod routes;
mod store;
mod version_store;
mod versions;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

pub(crate) use check::Checker;
pub(in crate::governance) use check::policy_check;
pub(in crate::governance) use read::read_content;
pub(in crate::governance) use store::{Policy, policy_open};
pub(in crate::governance) use version_store::{Content, version_reads, version_view};

/// The routes of this module.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().merge(bundled::routes()).merge(routes::routes()).merge(versions::routes())
}
