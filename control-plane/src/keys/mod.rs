//! MindWeave keys: virtual credentials that apps use in place of a Claude key.

mod change;
mod list;
mod rotation;
mod routes;
mod secret;
mod store;
mod uses;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

pub(crate) use secret::SECRET_PREFIX;
pub(crate) use uses::uses_note;

/// What a key is called in messages.
const KIND: &str = "key in this project";

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<App> {
    routes::routes().merge(list::routes()).merge(rotation::routes())
}
