//! Organisations: their names and the zones in which their days begin.

mod routes;
mod store;

pub(crate) use routes::routes;
pub(crate) use store::{OrgZone, org_zone};
