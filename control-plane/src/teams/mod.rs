//! Teams: groups of projects with roles of their own.

mod routes;
mod store;

pub(crate) use routes::routes;
