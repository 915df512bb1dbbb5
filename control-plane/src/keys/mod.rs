//! MindWeave keys: virtual credentials that apps use in place of a Claude key.

mod routes;
mod secret;
mod store;

pub(crate) use routes::routes;
pub(crate) use secret::SECRET_PREFIX;
