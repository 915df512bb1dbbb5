//! Projects: their place in an organisation, what they ask of requests, and the Claude key that each one's virtual keys are
//! exchanged for.

mod change;
mod home;
mod routes;
mod settings;
mod settings_routes;
mod store;
mod upstream;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

pub(crate) use home::{HomeError, home_ensure};
pub(crate) use settings::ProjectSettings;
pub(crate) use store::retentions_read;
pub(crate) use upstream::upstream_owner;

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<App> {
    routes::routes().merge(settings_routes::routes()).merge(upstream::routes())
}
