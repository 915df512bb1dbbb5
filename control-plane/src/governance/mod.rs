//! What admins put in force: policies with their versions, rate limits, budgets; and what came of it.
//!
//! A change is one transaction: what is stored, the counters that follow from it, and the revision. Its answer is sent when
//! the snapshot that holds it is in force.

mod bounds;
mod changed;
mod decisions;
mod evaluate;
mod limits;
mod listing;
mod models;
mod permit;
mod policies;
mod publish;
mod quotas;
mod replay;
mod reserved;
mod schema;
mod scope;
mod stored_specs;
mod subjects;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

pub(crate) use policies::Checker;
pub(crate) use publish::commit;
pub(crate) use replay::Replays;
pub(crate) use reserved::ReservedSource;
pub use reserved::ReservedView;
pub(crate) use stored_specs::{budgets_revision, governance_read, governance_revision, quotas_read};

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(policies::routes())
        .merge(limits::routes())
        .merge(quotas::routes())
        .merge(decisions::routes())
        .merge(evaluate::routes())
        .merge(replay::routes())
}
