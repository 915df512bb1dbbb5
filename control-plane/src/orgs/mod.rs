//! Organisations: their names, the zones in which their days begin, their end, and what they used.

mod lifecycle;
mod routes;
mod statements;
mod store;

pub(crate) use routes::routes;
pub(crate) use store::{OrgZone, org_zone};
