//! Members of organisations, teams and projects.

mod org;
mod project;
mod team;

use utoipa_axum::router::OpenApiRouter;

use crate::access::Role;
use crate::app::App;

/// The routes of members.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().merge(org::routes()).merge(team::routes()).merge(project::routes())
}

/// A role to be given. Nobody may give one that is more than their own.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "describes what `crate::members::edit` reads")]
struct RoleGiven {
    role: Role,
}
