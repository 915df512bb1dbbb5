//! Projects and the Claude key that each one's virtual keys are exchanged for.

mod routes;
mod store;

pub(crate) use routes::routes;
pub(crate) use store::{HomeError, home_ensure, project_exists, upstream_owner};
