//! Clients' own Claude credentials, recognised by fingerprint so that their traffic is booked on the right project.

mod change;
mod routes;
mod store;

pub(crate) use routes::routes;
