//! The routes of `/auth`.

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{login, me, passwords, registration, session_routes, setup};
use crate::app::App;

/// What comes before a sign-in.
pub(crate) fn public_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(registration::register))
        .routes(routes!(registration::verify_email))
        .routes(routes!(login::login))
        .routes(routes!(session_routes::refresh))
        .routes(routes!(passwords::forgot))
        .routes(routes!(passwords::reset))
        .routes(routes!(setup::setup))
}

/// What people do about themselves.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(me::me_view, me::me_change))
        .routes(routes!(passwords::change))
        .routes(routes!(session_routes::logout))
        .routes(routes!(session_routes::session_list))
        .routes(routes!(session_routes::session_end))
}
